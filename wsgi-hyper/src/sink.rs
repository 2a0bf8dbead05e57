//! Sink of an exchange: a relay to the task of the client, with a head in the types of `http`.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::response::Parts;
use hyper::ext::ReasonPhrase;
use wsgi_core::error::{Fault, HostError};
use wsgi_core::host::{BodyInterest, Chunk, Flush, Framing, ResponseHead, ResponseSink, StatusLine};
use wsgi_core::relay::RelaySink;

use crate::blame::Blame;

/// The head of a response, as it is relayed.
pub(crate) struct Head {
    pub(crate) parts: Parts,
    /// Bytes of body to send to the client. `None`: only the end of the body shows its length.
    pub(crate) length: Option<u64>,
}

pub(crate) struct Sink {
    relay: RelaySink<Head>,
    client_timeout: Duration,
    head_request: bool,
    /// Shared with the request's body. `None` without a body.
    blame: Option<Arc<Blame>>,
}

impl Sink {
    /// `client_timeout` is how long the client may take no data while the application waits for it.
    pub(crate) fn new(
        relay: RelaySink<Head>,
        head_request: bool,
        client_timeout: Duration,
        blame: Option<Arc<Blame>>,
    ) -> Self {
        Self { relay, client_timeout, head_request, blame }
    }
}

impl ResponseSink for Sink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        let length = match head.framing {
            _ if self.head_request => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Unknown => None,
            Framing::NoBody => Some(0),
        };
        self.relay.head(Head { parts: parts(&head)?, length })
    }

    fn sends_files(&self) -> bool {
        true
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.relay.send_chunk(chunk, flush)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.relay.send_flush()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.relay.poll_room(cx, false).map_ok(|room| room.interest)
    }

    fn drain(&mut self) -> Result<(), HostError> {
        self.relay.wait_for_room(self.client_timeout, false).map(drop)
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.relay.end()
    }

    fn fail(&mut self, fault: &Fault) {
        let blame = self.blame.as_ref().and_then(|blame| blame.status());
        self.relay.fail_with(blame.or_else(|| fault.status_hint()));
    }
}

/// Converts a head to the types of `http`, which make names lower case and group headers of the same name.
fn parts(head: &ResponseHead) -> Result<Parts, HostError> {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = head.status.code();
    if let Some(reason) = own_reason(&head.status)? {
        parts.extensions.insert(reason);
    }
    // Room for Content-Length and for the server's name, too.
    parts.headers.reserve(head.headers.len() + 2);
    for header in head.headers.iter() {
        let name = HeaderName::from_bytes(header.name).map_err(unusable)?;
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(header.value)).map_err(unusable)?;
        parts.headers.try_append(name, value).map_err(unusable)?;
    }
    if let Framing::Length(length) = head.framing {
        parts.headers.try_insert(CONTENT_LENGTH, length.into()).map_err(unusable)?;
    }
    Ok(parts)
}

/// Returns the reason phrase, unless the server would send the same one.
fn own_reason(status: &StatusLine) -> Result<Option<ReasonPhrase>, HostError> {
    if status.code().canonical_reason().is_some_and(|usual| usual.as_bytes() == status.reason()) {
        return Ok(None);
    }
    ReasonPhrase::try_from(status.reason()).map(Some).map_err(unusable)
}

/// Error for a head that the gateway accepts but `http` does not, because of its size limits.
fn unusable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HostError {
    HostError::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::StatusCode;
    use wsgi_core::host::HeaderList;
    use wsgi_core::relay::{Part, ROOM, relay};

    use super::*;

    fn head(status: &[u8], headers: &[(&str, &[u8])], framing: Framing) -> ResponseHead {
        let mut list = HeaderList::new();
        for (name, value) in headers {
            list.push(name.as_bytes(), value).unwrap();
        }
        ResponseHead::new(StatusLine::parse(status).unwrap(), list, framing)
    }

    #[test]
    fn duplicate_headers_keep_their_order() {
        let headers: [(&str, &[u8]); 3] = [("Set-Cookie", b"a"), ("X-B", b"\xe9"), ("set-cookie", b"b")];
        let parts = parts(&head(b"200 OK", &headers, Framing::Unknown)).unwrap();
        let cookies: Vec<_> = parts.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a", "b"]);
        assert_eq!(parts.headers["x-b"].as_bytes(), b"\xe9");
        assert!(!parts.headers.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn a_reason_is_kept_unless_it_is_the_usual_one() {
        let reason = |status: &[u8]| {
            let parts = parts(&head(status, &[], Framing::Length(7))).unwrap();
            assert_eq!(parts.headers[CONTENT_LENGTH], "7");
            parts.extensions.get::<ReasonPhrase>().map(|reason| reason.as_bytes().to_vec())
        };
        assert_eq!(reason(b"404 Not Found"), None);
        assert_eq!(reason(b"404 Gibt es nicht \xfc"), Some(b"Gibt es nicht \xfc".to_vec()));
        assert_eq!(reason(b"299 Odd"), Some(b"Odd".to_vec()));
        assert_eq!(reason(b"200"), Some(Vec::new()));
    }

    #[test]
    fn no_body_bytes_are_due_for_head_and_bodyless_responses() {
        for (head_request, framing, owed) in [
            (false, Framing::Length(7), Some(7)),
            (false, Framing::Unknown, None),
            (false, Framing::NoBody, Some(0)),
            (true, Framing::Length(7), Some(0)),
            (true, Framing::Unknown, Some(0)),
        ] {
            let (sink, relay) = relay(ROOM);
            let mut sink = Sink::new(sink, head_request, Duration::ZERO, None);
            sink.send_head(head(b"200 OK", &[], framing)).unwrap();
            let Poll::Ready(Some(Part::Head(head))) = relay.poll_part(&mut Context::from_waker(Waker::noop())) else {
                panic!("no head")
            };
            assert_eq!(head.length, owed, "{head_request} {framing:?}");
        }
    }

    #[test]
    fn a_name_beyond_what_http_allows_is_an_error() {
        let name = "x".repeat(70_000);
        assert!(matches!(parts(&head(b"200 OK", &[(&name, b"")], Framing::Unknown)), Err(HostError::Io(_))));
    }

    #[test]
    fn malformed_or_slow_body_is_answered_with_400_or_408() {
        for status in [StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT] {
            let (sink, relay) = relay(ROOM);
            let blame = Arc::<Blame>::default();
            let mut sink = Sink::new(sink, false, Duration::ZERO, Some(Arc::clone(&blame)));
            blame.put_on_client(status);
            sink.fail(&Fault::Application);
            let part = relay.poll_part(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(part, Poll::Ready(Some(Part::Failed(Some(answer)))) if answer == status));
        }
    }
}
