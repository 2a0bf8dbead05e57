//! The server's layer around the service: refuses invalid requests, and adds the `Server` header.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{HeaderValue, SERVER};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;

use super::access::{AccessLog, Entry, Logged, Start};
use super::rules::is_in_order;
use crate::connection::{Addresses, Connection};
use crate::response::plain;
use crate::service::{ResponseFuture, WsgiService};

/// Without a version, which would only help attackers.
const NAME: HeaderValue = HeaderValue::from_static("wsgi-hyper");

/// The service for one connection.
#[derive(Clone)]
pub(super) struct FrontService {
    service: WsgiService,
    peer: Option<SocketAddr>,
    known: Addresses,
    access: AccessLog,
    /// Whether the end of the connection marks the end of the last body.
    ends_by_closing: Arc<AtomicBool>,
}

impl FrontService {
    pub(super) fn new(service: WsgiService, connection: Connection, access: AccessLog) -> Self {
        Self { service, peer: connection.peer, known: connection.into(), access, ends_by_closing: Arc::default() }
    }

    pub(super) fn ends_by_closing(&self) -> bool {
        self.ends_by_closing.load(Ordering::Relaxed)
    }
}

impl Service<Request<Incoming>> for FrontService {
    type Response = Response<Logged>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let start = Start::now();
        let closing = (parts.version < Version::HTTP_11).then(|| Arc::clone(&self.ends_by_closing));
        let response = is_in_order(&parts).then(|| self.service.answer_on(&self.known, &parts, body));
        let entry = Entry::new(parts, start, self.peer, Arc::clone(&self.access));
        Answer { response, entry: Some(entry), closing }
    }
}

/// A future for the response.
pub(super) struct Answer {
    /// `None` for a request that is refused here.
    response: Option<ResponseFuture>,
    entry: Option<Entry>,
    closing: Option<Arc<AtomicBool>>,
}

impl Future for Answer {
    type Output = Result<Response<Logged>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match &mut self.response {
            Some(response) => match ready!(Pin::new(response).poll(cx)) {
                Ok(response) => response,
                Err(never) => match never {},
            },
            None => plain(StatusCode::BAD_REQUEST),
        };
        response.headers_mut().entry(SERVER).or_insert(NAME);
        if let Some(closing) = &self.closing {
            closing.store(response.body().size_hint().exact().is_none(), Ordering::Relaxed);
        }
        let entry = self.entry.take().expect("a future is not polled after it was ready");
        let status = response.status();
        Poll::Ready(Ok(response.map(|body| Logged::new(body, entry, status))))
    }
}
