//! Request bodies: a thread of the application reads a body that is written for tasks.

use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use tokio::runtime::Handle;
use wsgi_core::error::HostError;
use wsgi_core::host::decimal;
use wsgi_core::host::{BodySource, Pace};
use wsgi_core::relay::{Parker, RelayHandle};

use crate::blame::Blame;
use crate::sink::Head;

/// The extent of a request body, as far as it is known from the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Whether the body may have any bytes.
    pub(crate) any: bool,
    /// The value of CONTENT_LENGTH. `None` if the length is unknown, or if no body was announced.
    pub(crate) length: Option<u64>,
}

impl Extent {
    pub(crate) fn of<B: Body>(headers: &HeaderMap, body: &B) -> Self {
        let exact = body.size_hint().exact();
        if body.is_end_stream() || exact == Some(0) {
            let announced = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
            return Self { any: false, length: announced.then_some(0) };
        }
        Self { any: true, length: exact.or_else(|| declared(headers)) }
    }
}

/// Returns the Content-Length of the client. Reading fails if the client sends less.
fn declared(headers: &HeaderMap) -> Option<u64> {
    decimal(headers.get(CONTENT_LENGTH)?.as_bytes())
}

/// A request body that a thread reads by blocking.
///
/// The part that arrived before the application was called is in memory. The body is not polled again until the
/// application reads: so a client that expects `100 Continue` gets it at that time, and a client that sends faster than
/// the application reads is held up.
pub(crate) struct Source<B: Body> {
    body: Pin<Box<B>>,
    /// Data that has arrived and was not read. `further` is only used if several blocks arrived before the application
    /// was called.
    data: Bytes,
    further: VecDeque<Bytes>,
    /// Whether the body is at its end or has failed, so that it is not polled again.
    ended: bool,
    /// The failure of the body, until the application has read all data before it.
    failure: Option<HostError>,
    left: Option<u64>,
    /// The relay of the response.
    relay: RelayHandle<Head>,
    blame: Arc<Blame>,
    limits: Limits,
    /// The runtime that the body's timers need.
    runtime: Option<Handle>,
}

/// Limits on the time that a client may take.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Longest time between two parts of a body.
    pub(crate) client_timeout: Duration,
    /// Limit on the total time of a body.
    pub(crate) pace: Pace,
}

impl Limits {
    /// Returns how long the next part may take.
    pub(crate) fn next(&self) -> Duration {
        self.pace.left().map_or(self.client_timeout, |left| left.min(self.client_timeout))
    }
}

impl<B> Source<B>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Creates a body. `relay` is that of the response: reading fails once it is closed.
    pub(crate) fn new(body: B, length: Option<u64>, relay: RelayHandle<Head>, limits: Limits) -> Self {
        Self {
            body: Box::pin(body),
            data: Bytes::new(),
            further: VecDeque::new(),
            ended: false,
            failure: None,
            left: length,
            relay,
            blame: Arc::default(),
            limits,
            runtime: Handle::try_current().ok(),
        }
    }

    pub(crate) fn blame(&self) -> &Arc<Blame> {
        &self.blame
    }

    pub(crate) fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// Whether the body is not polled again.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the next part that has arrived and was not read.
    pub(crate) fn take_part(&mut self) -> Option<Bytes> {
        let part = std::mem::replace(&mut self.data, self.further.pop_front().unwrap_or_default());
        (!part.is_empty()).then_some(part)
    }

    /// Returns the failure of the body, if it has failed.
    pub(crate) fn take_failure(&mut self) -> Option<HostError> {
        self.failure.take()
    }

    /// Polls the body for its next part, and returns the length of that part. A failure is stored until the application
    /// reads.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let body = self.body.as_mut();
        // The body is foreign code, and may panic; for example if its runtime has ended and it uses timers.
        let polled = catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx)));
        let failure = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                self.ended = self.body.is_end_stream();
                // Trailers are dropped: PEP 3333 has none.
                let Ok(mut data) = frame.into_data() else { return Poll::Ready(0) };
                let data = data.copy_to_bytes(data.remaining());
                let length = data.len();
                match self.data.is_empty() {
                    true => self.data = data,
                    false => self.further.push_back(data),
                }
                return Poll::Ready(length);
            }
            Ok(Poll::Ready(None)) => None,
            Ok(Poll::Ready(Some(Err(error)))) => {
                let error = error.into();
                if is_malformed(&*error) {
                    self.blame.put_on_client(StatusCode::BAD_REQUEST);
                }
                Some(host_error(error))
            }
            Err(_) => Some(HostError::Io(io::Error::other("the request body panicked"))),
        };
        self.ended = true;
        self.failure = failure;
        Poll::Ready(0)
    }

    /// Registers `waker` for the close of the response. Fails if it is closed already.
    fn wait_with(&self, waker: &Waker) -> Result<(), HostError> {
        match self.relay.poll_closed(&mut Context::from_waker(waker)) {
            Poll::Ready(error) => Err(error),
            Poll::Pending => Ok(()),
        }
    }

    /// Blocks until there is data, or the end.
    fn fill(&mut self) -> Result<(), HostError> {
        let runtime = self.runtime.clone();
        let _entered = runtime.as_ref().map(Handle::enter);
        let parker = Arc::<Parker>::default();
        let waker = Waker::from(Arc::clone(&parker));
        while self.data.is_empty() && !self.ended {
            self.wait_with(&waker)?;
            let began = Instant::now();
            let part = loop {
                match self.poll_part(&mut Context::from_waker(&waker)) {
                    Poll::Ready(part) => break part,
                    Poll::Pending if parker.park(self.limits.next().saturating_sub(began.elapsed())) => {
                        self.wait_with(&waker)?;
                    }
                    Poll::Pending => {
                        self.blame.put_on_client(StatusCode::REQUEST_TIMEOUT);
                        return Err(HostError::TimedOut);
                    }
                }
            };
            self.limits.pace.received_since(part, began);
        }
        match self.failure.take() {
            Some(failure) if self.data.is_empty() => Err(failure),
            failure => {
                self.failure = failure;
                Ok(())
            }
        }
    }
}

impl<B> BodySource for Source<B>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn remaining(&self) -> Option<u64> {
        // A length that the client announces must not make the gateway allocate memory: larger bodies are read as they
        // arrive.
        self.left.filter(|left| *left <= TRUSTED || self.is_ready())
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        if buf.is_empty() || self.left == Some(0) {
            return Ok(0);
        }
        self.fill()?;
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let count = buf.len().min(self.data.len()).min(left);
        self.data.copy_to_slice(&mut buf[..count]);
        if self.data.is_empty() {
            self.data = self.further.pop_front().unwrap_or_default();
        }
        match &mut self.left {
            Some(left) if count == 0 && *left > 0 => return Err(HostError::ClientGone),
            Some(left) => *left = left.saturating_sub(count as u64),
            None => {}
        }
        Ok(count)
    }

    fn is_ready(&self) -> bool {
        self.ended
    }

    fn may_wait(&self) -> bool {
        self.data.is_empty() && !self.ended
    }
}

/// Longest body, in bytes, for which memory is allocated because the client has announced it.
const TRUSTED: u64 = 1024 * 1024;

/// Classifies an error of the body: errors of the connection mean that the client is gone, errors of layers in between
/// go to the application.
fn host_error(error: Box<dyn Error + Send + Sync>) -> HostError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.is::<hyper::Error>() {
            return HostError::ClientGone;
        }
        cause = error.source();
    }
    HostError::Io(io::Error::other(error))
}

/// Whether the client has sent a malformed body. hyper shows that only by the kind of the I/O error that caused its
/// error.
fn is_malformed(error: &(dyn Error + 'static)) -> bool {
    let is_hypers = error.is::<hyper::Error>();
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return is_hypers && matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Empty, Full};
    use wsgi_core::relay::{ROOM, Relay, relay};

    use super::*;

    /// A body of one frame and unknown length.
    struct Surprise(Option<&'static [u8]>);

    impl Body for Surprise {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.take().map(|data| Ok(Frame::data(Bytes::from_static(data)))))
        }
    }

    fn extent(length: Option<&'static str>, body: impl Body) -> (bool, Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.extend(length.map(|length| (CONTENT_LENGTH, HeaderValue::from_static(length))));
        let Extent { any, length } = Extent::of(&headers, &body);
        (any, length)
    }

    /// Also returns the receiving end of the response, which keeps the response open until dropped.
    fn source(body: Surprise, length: u64) -> (Source<Surprise>, Relay<Head>) {
        let limits = Limits { client_timeout: Duration::MAX, pace: Pace::default() };
        let (_, relay) = relay(ROOM);
        (Source::new(body, Some(length), relay.handle(), limits), relay)
    }

    #[test]
    fn the_length_is_that_of_the_body_or_what_the_client_declares() {
        assert_eq!(extent(None, Empty::<Bytes>::new()), (false, None));
        assert_eq!(extent(Some("0"), Empty::<Bytes>::new()), (false, Some(0)));
        assert_eq!(extent(Some("9"), Full::new(Bytes::from_static(b"abc"))), (true, Some(3)));
        assert_eq!(extent(Some("9"), Surprise(None)), (true, Some(9)));
        for odd in [None, Some(""), Some("+9"), Some("9, 9"), Some("99999999999999999999")] {
            assert_eq!(extent(odd, Surprise(None)), (true, None), "{odd:?}");
        }
    }

    #[test]
    fn no_memory_is_promised_to_a_client_that_announces_much() {
        assert_eq!(source(Surprise(None), TRUSTED).0.remaining(), Some(TRUSTED));
        assert_eq!(source(Surprise(None), TRUSTED + 1).0.remaining(), None);
    }

    #[test]
    fn a_body_is_read_as_far_as_it_was_announced() {
        let (mut source, _response) = source(Surprise(Some(b"abcdef")), 4);
        let mut buf = [0; 3];
        assert_eq!(source.read(&mut buf).unwrap(), 3);
        assert_eq!(source.remaining(), Some(1));
        assert_eq!((source.read(&mut buf).unwrap(), buf), (1, *b"dbc"));
        assert_eq!(source.read(&mut buf).unwrap(), 0);
    }
}
