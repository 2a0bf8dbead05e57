//! What the server does around the service: what hyper lets through and must not (RFC 9112), and its own name.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{HOST, HeaderValue, SERVER};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;

use super::access::{AccessLog, Entry, Logged, Start};
use crate::connection::{Connection, Known};
use crate::response::plain;
use crate::service::{ResponseFuture, WsgiService};

/// Without a version: that is for those who look for one with a hole in it.
const NAME: HeaderValue = HeaderValue::from_static("wsgi-hyper");

/// The service as one connection sees it.
#[derive(Clone)]
pub(super) struct Front {
    service: WsgiService,
    peer: Option<SocketAddr>,
    known: Known,
    access: AccessLog,
    /// The end of the last body is told by the end of the connection.
    ends_by_closing: Arc<AtomicBool>,
}

impl Front {
    pub(super) fn new(service: WsgiService, connection: Connection, access: AccessLog) -> Self {
        Self { service, peer: connection.peer, known: connection.into(), access, ends_by_closing: Arc::default() }
    }

    pub(super) fn ends_by_closing(&self) -> bool {
        self.ends_by_closing.load(Ordering::Relaxed)
    }
}

impl Service<Request<Incoming>> for Front {
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

/// Whether a request that hyper lets through is answered by the service.
pub(super) fn is_in_order(request: &Parts) -> bool {
    is_plain(request) && has_one_host(request)
}

/// Whether method and target are such as nginx takes. Anything else is legal, and used by nobody but those who try what
/// happens.
fn is_plain(request: &Parts) -> bool {
    let method = request.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte));
    let target = request.uri.authority().is_none_or(|authority| {
        let port = authority.as_str().strip_prefix(authority.host()).map(|port| port.trim_start_matches(':'));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    });
    method && target
}

/// A client that sends a request with no host or with two cannot be trusted to mean the same by it as others on the way
/// (RFC 9112, 3.2). It is hung up on. So is one whose host has an empty label, or is empty.
fn has_one_host(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version < Version::HTTP_11,
        (Some(host), None) => {
            let host = host.as_bytes();
            !host.is_empty() && host != b"." && !host.windows(2).any(|pair| pair == b"..")
        }
        _ => false,
    }
}

/// The response to come.
pub(super) struct Answer {
    /// None for a request that is refused here.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, host: &str) -> Parts {
        Request::builder().method(method).uri(uri).header(HOST, host).body(()).unwrap().into_parts().0
    }

    #[test]
    fn odd_methods_and_targets_are_refused() {
        for (method, uri, plain) in [
            ("GET", "/", true),
            ("M-SEARCH", "*", true),
            ("get", "/", false),
            ("G!T", "/", false),
            ("GET", "http://a:80/", true),
            ("GET", "http://[::1]:80/", true),
            ("GET", "http://a:/", true),
            ("GET", "http://a:b/", false),
            ("GET", "http://me@a/", false),
        ] {
            assert_eq!(is_plain(&request(method, uri, "a")), plain, "{method} {uri}");
        }
    }

    #[test]
    fn hosts_without_a_name_are_refused() {
        for (host, good) in [("a", true), ("a.", true), ("[::1]:80", true), ("", false), (".", false), ("a..b", false)]
        {
            assert_eq!(has_one_host(&request("GET", "/", host)), good, "{host:?}");
        }
    }
}
