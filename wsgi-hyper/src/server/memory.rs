//! The server's reading of requests, over any stream and without a service. For fuzzing.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;

use http::request::Parts;
use http::{Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::guarded::Guarded;
use super::rules::is_in_order;
use super::strictest;
use crate::response::plain;

/// A request as the service would receive it.
#[derive(Debug)]
pub struct Received {
    /// The head of the request.
    pub head: Parts,
    /// Whether the service would be called.
    pub in_order: bool,
    /// The received part of the body.
    pub body: Vec<u8>,
    /// Whether the body is complete.
    pub whole: bool,
}

/// Reads requests until the stream ends, or must not be read any further. Needs a tokio runtime with time.
pub async fn requests<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Vec<Received> {
    let received = RefCell::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, mut body) = request.into_parts();
        let in_order = is_in_order(&head);
        let (mut read, mut whole) = (Vec::new(), true);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => read.extend_from_slice(&data),
                // Trailers.
                Ok(Err(_)) => {}
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        received.borrow_mut().push(Received { head, in_order, body: read, whole });
        Ok::<_, Infallible>(plain(StatusCode::OK))
    });
    // The received requests show how the connection ended.
    let _ = strictest().serve_connection(TokioIo::new(Guarded::new(stream)), service).await;
    received.into_inner()
}
