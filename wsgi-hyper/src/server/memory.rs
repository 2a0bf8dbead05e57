//! The server as far as it reads requests, over any stream and with nothing behind it. For fuzzing.

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

/// A request as the service would get it.
#[derive(Debug)]
pub struct Received {
    /// Its head.
    pub head: Parts,
    /// Whether the service would be asked.
    pub in_order: bool,
    /// What came of its body.
    pub body: Vec<u8>,
    /// The body came to its end.
    pub whole: bool,
}

/// Reads requests until the stream ends, or must not be read any further. Runs inside a tokio runtime with time.
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
    // How it ends is seen by what was received.
    let _ = strictest().serve_connection(TokioIo::new(Guarded::new(stream)), service).await;
    received.into_inner()
}
