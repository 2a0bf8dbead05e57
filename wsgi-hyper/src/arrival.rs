//! Waits for the body of a request before its application is called.
//!
//! A request takes a thread once the first bytes of its body have arrived, so that clients that announce a body and
//! send none occupy no thread. While many uploads already have threads, a request waits for more of its body: a
//! complete body does not count among those uploads.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::StatusCode;
use http_body::Body;

use crate::body::Source;
use crate::deadline::Deadline;

/// Bytes of a body after which the application is called, however many uploads are under way.
const ENOUGH: usize = 64 * 1024;

/// Interval at which a waiting request checks whether a thread is free for its upload.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Future that waits for the body of `source`; ready when the application should be called.
pub(crate) struct Arrival<B: Body, F> {
    /// `None` once the future is ready.
    source: Option<Source<B>>,
    /// Whether a further upload would have to wait for a thread.
    is_full: F,
    received: usize,
    waiting: Option<Waiting>,
}

/// A wait for the client.
struct Waiting {
    began: Instant,
    /// `None` if the time limit is too large for an [`Instant`].
    deadline: Option<Deadline>,
    /// When to call `is_full` again.
    look_again: Option<Deadline>,
}

impl<B, F> Arrival<B, F>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Fn() -> bool,
{
    pub(crate) fn new(source: Source<B>, is_full: F) -> Self {
        Self { source: Some(source), is_full, received: 0, waiting: None }
    }

    /// Whether to call the application without waiting for more of the body.
    fn is_enough(&self, ended: bool) -> bool {
        ended || self.received >= ENOUGH || (self.received > 0 && !(self.is_full)())
    }
}

impl<B, F> Future for Arrival<B, F>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Fn() -> bool + Unpin,
{
    /// The body with its data received so far, or the status for a client that is too slow.
    type Output = Result<Source<B>, StatusCode>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let source = this.source.as_mut().expect("a future is not polled after it was ready");
            // Takes the data that has already arrived, up to the limit.
            let part = if source.has_ended() || this.received >= ENOUGH { Poll::Pending } else { source.poll_part(cx) };
            if let Poll::Ready(part) = part {
                this.received += part;
                let waited = this.waiting.take().map_or(Duration::ZERO, |waiting| waiting.began.elapsed());
                source.limits().pace.received(part, waited);
                continue;
            }
            let (ended, next) = (source.has_ended(), source.limits().next());
            if this.is_enough(ended) {
                return Poll::Ready(this.source.take().ok_or(StatusCode::INTERNAL_SERVER_ERROR));
            }
            let waiting = this.waiting.get_or_insert_with(|| {
                let began = Instant::now();
                Waiting { began, deadline: began.checked_add(next).map(Deadline::new), look_again: None }
            });
            if waiting.deadline.as_mut().is_some_and(|deadline| deadline.poll_passed(cx).is_ready()) {
                return Poll::Ready(Err(StatusCode::REQUEST_TIMEOUT));
            }
            if this.received == 0 {
                return Poll::Pending;
            }
            let look_again = waiting.look_again.get_or_insert_with(|| Deadline::new(Instant::now() + LOOK_INTERVAL));
            ready!(look_again.poll_passed(cx));
            waiting.look_again = None;
        }
    }
}
