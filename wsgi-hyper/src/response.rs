//! Response bodies: the body of an application, taken from its exchange, or a short text of the host.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use wsgi_core::host::Level;
use wsgi_core::python::ExchangeHandle;
use wsgi_core::relay::{Closed, Part, Relay};

use crate::file::Reading;
use crate::open::Entry;
use crate::sink::Head;

/// The body of a response.
///
/// The application is asked for its next block while less than 64 KiB wait to be taken from here. Dropping the body
/// before its end is a disconnect for the application: its iterable is closed, and writing raises.
#[derive(Debug)]
pub struct ResponseBody(Kind);

#[derive(Debug)]
enum Kind {
    Application(ResponseReader),
    Text(Option<&'static str>),
}

impl ResponseBody {
    pub(crate) fn new(reader: ResponseReader) -> Self {
        Self(Kind::Application(reader))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let block = match &mut self.0 {
            Kind::Application(reader) => ready!(reader.poll_block(cx)),
            Kind::Text(text) => text.take().map(|text| Ok(Bytes::from_static(text.as_bytes()))),
        };
        Poll::Ready(block.map(|block| block.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Application(reader) => reader.is_satisfied(),
            Kind::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Application(reader) => reader.owed.map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Text(text) => SizeHint::with_exact(text.map_or(0, |text| text.len() as u64)),
        }
    }
}

/// Receiving end of an exchange. Dropping it before the end of the response cancels the exchange.
pub(crate) struct ResponseReader {
    relay: Relay<Head>,
    handle: ExchangeHandle,
    /// Registers the response in [`Open`](crate::open::Open), so that it is cut if the gateway shuts down before its
    /// end.
    _entry: Entry,
    /// Bytes of body that the client has yet to receive. `None` if the length is unknown.
    owed: Option<u64>,
    /// Whether the response is cut short. The error is withheld once, so that hyper first sends the blocks before it.
    cut: bool,
    /// Whether the body was pending at an earlier poll.
    waited: bool,
    /// The file of the application that is being sent.
    reading: Option<Reading>,
}

impl ResponseReader {
    pub(crate) fn new(relay: Relay<Head>, handle: ExchangeHandle, entry: Entry) -> Self {
        Self { relay, handle, _entry: entry, owed: None, cut: false, waited: false, reading: None }
    }

    /// Returns the response head, or a status to answer with instead. The body is then read from `self`.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::response::Parts, StatusCode>> {
        Poll::Ready(match ready!(self.relay.poll_part(cx)) {
            Some(Part::Head(head)) => {
                self.owed = head.length;
                Ok(head.parts)
            }
            Some(Part::Failed(Some(status))) => Err(status),
            _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
        })
    }

    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if self.owed == Some(0) {
            return Poll::Ready(None);
        }
        if self.cut {
            return Poll::Ready(Some(Err(Cut(()))));
        }
        let Poll::Ready(part) = self.poll_part(cx) else {
            self.waited = true;
            return Poll::Pending;
        };
        let block = match part {
            Some(Part::Block { data, .. }) => Some(Ok(data)),
            Some(Part::File { part, .. }) => Some(part.map().map_err(|_| Cut(()))),
            Some(Part::ApplicationFile { part, .. }) => {
                self.reading = Some(Reading::Idle(part));
                return self.poll_block(cx);
            }
            Some(Part::End) | None => None,
            Some(Part::Failed(_)) => {
                self.cut = true;
                // hyper sends the blocks that it has when the body is pending.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // A flush says nothing here: every block is sent as soon as it is taken.
            Some(_) => return self.poll_block(cx),
        };
        if let (Some(Ok(block)), Some(owed)) = (&block, &mut self.owed) {
            // The gateway sends no more than the Content-Length of the head.
            *owed = owed.saturating_sub(block.len() as u64);
        }
        if self.waited && (block.is_none() || self.is_satisfied()) {
            // hyper 1.12 polls a body twice. After the second poll it sends the data, and if that was the end of the
            // body it does not read the next request on the connection, which may have been received long ago
            // (`Dispatcher::poll_loop`). The wake makes it poll once more.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(block)
    }

    /// Returns the next part of the relay. Files come as blocks; the response is cut at a block that cannot be read.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part<Head>>> {
        if let Some(reading) = &mut self.reading {
            match ready!(reading.poll_block(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Part::Block { data, flush: true })),
                Some(Err(error)) => {
                    self.reading = None;
                    self.handle.log(Level::Error, &format!("cannot read the file of the application: {error}"));
                    return Poll::Ready(Some(Part::Failed(None)));
                }
                None => self.reading = None,
            }
        }
        self.relay.poll_part(cx)
    }

    fn is_satisfied(&self) -> bool {
        self.owed == Some(0) || self.reading.is_none() && self.relay.is_at_end()
    }
}

impl Drop for ResponseReader {
    fn drop(&mut self) {
        if self.is_satisfied() {
            return self.relay.close(Closed::Satisfied);
        }
        self.relay.close(Closed::Gone);
        self.handle.cancel();
    }
}

impl std::fmt::Debug for ResponseReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ResponseReader").field("owed", &self.owed).finish_non_exhaustive()
    }
}

/// Error of a response body that is incomplete because the application failed. The server closes the connection, so
/// that the client does not take the response for complete.
#[derive(Debug)]
pub struct Cut(());

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the application failed in the middle of its response")
    }
}

impl std::error::Error for Cut {}

/// Returns an answer of the host, made without the application.
pub(crate) fn plain(status: StatusCode) -> Response<ResponseBody> {
    let text = match status {
        StatusCode::BAD_REQUEST => "400 Bad Request\n",
        StatusCode::NOT_FOUND => "404 Not Found\n",
        StatusCode::REQUEST_TIMEOUT => "408 Request Timeout\n",
        StatusCode::METHOD_NOT_ALLOWED => "405 Method Not Allowed\n",
        StatusCode::PAYLOAD_TOO_LARGE => "413 Payload Too Large\n",
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Unavailable\n",
        _ => "500 Internal Server Error\n",
    };
    let mut response = Response::new(ResponseBody(Kind::Text(Some(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    // The rest of a body may follow, bytes that are no request, or after CONNECT a protocol other than HTTP.
    if matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
    ) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match status {
        // The client may retry after a second.
        StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
        StatusCode::METHOD_NOT_ALLOWED => {
            drop(headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")))
        }
        _ => {}
    }
    response
}
