//! The host's side of a response: a sink and a log that record, and fail on request.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wsgi_core::error::HostError;
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush, Leaf, Level, ResponseHead, ResponseSink};

use crate::captured::{Event, LogLine};
use crate::faults::Faults;

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    stalls: VecDeque<usize>,
    blocks: usize,
    sent: usize,
    calls: usize,
    waker: Option<Waker>,
    /// The log line at which the client leaves.
    leaves_at: Option<String>,
    left: bool,
    /// Woken when the client leaves.
    on_leave: Option<Waker>,
    /// Whether the sink has been dropped, so that no waker is needed.
    over: bool,
}

/// A sink that records the response.
#[derive(Debug)]
pub struct CapturingSink {
    state: Arc<Leaf<State>>,
    faults: Faults,
}

/// The client of a [`CapturingSink`], for the test.
#[derive(Clone, Debug)]
pub struct Client {
    state: Arc<Leaf<State>>,
}

impl CapturingSink {
    /// Creates a sink and its client.
    pub fn new(faults: Faults) -> (Self, Client) {
        let state = State {
            stalls: faults.stalls_before.iter().copied().collect(),
            leaves_at: faults.leaves_at.clone(),
            ..State::default()
        };
        let state = Arc::new(Leaf::new(state));
        (Self { state: Arc::clone(&state), faults }, Client { state })
    }

    fn push(&self, event: Event) {
        self.state.with(|state| state.events.push(event));
    }

    /// Counts a call, and returns an error if it should fail.
    fn called(&self) -> Result<(), HostError> {
        let (number, left) = self.state.with(|state| {
            state.calls += 1;
            (state.calls - 1, state.left)
        });
        if left {
            return Err(HostError::ClientGone);
        }
        match self.faults.call_fails {
            Some(failing) if failing == number => Err(HostError::Io(io::Error::other("this call is to fail"))),
            _ => Ok(()),
        }
    }
}

impl Client {
    /// Returns how many calls of the gateway to the sink could have failed.
    pub fn calls(&self) -> usize {
        self.state.with(|state| state.calls)
    }

    /// Returns a log whose records are among the other [events](Self::take), in order.
    pub fn log(&self) -> Arc<dyn ErrorLog> {
        Arc::new(ExchangeLog { state: Arc::clone(&self.state) })
    }

    /// Takes the events so far.
    pub fn take(&self) -> Vec<Event> {
        self.state.with(|state| std::mem::take(&mut state.events))
    }

    /// Whether the exchange waits for the sink.
    pub fn is_stalled(&self) -> bool {
        self.state.with(|state| state.waker.is_some())
    }

    /// Makes the client leave.
    pub fn leave(&self) {
        leave(&self.state);
    }

    /// Sets the waker for when the client leaves. Wakes it at once if the client has left; drops it if the sink has been
    /// dropped.
    #[cfg(feature = "python")]
    pub(crate) fn on_leave(&self, waker: Waker) {
        let (left, _other) = self
            .state
            .with(|state| if state.over { (false, Some(waker)) } else { (state.left, state.on_leave.replace(waker)) });
        if left {
            self.leave();
        }
    }

    /// Whether the gateway has dropped the sink.
    pub fn is_over(&self) -> bool {
        self.state.with(|state| state.events.iter().any(|event| matches!(event, Event::Dropped)))
    }

    /// Makes the client continue until the next stall.
    pub fn go_on(&self) {
        let waker = self.state.with(|state| {
            state.stalls.pop_front();
            state.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn leave(state: &Leaf<State>) {
    let wakers = state.with(|state| {
        state.left = true;
        [state.on_leave.take(), state.waker.take()]
    });
    // Wakers take locks, so they run without this one.
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl ResponseSink for CapturingSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.called()?;
        self.push(Event::Head(head));
        Ok(())
    }

    fn sends_files(&self) -> bool {
        true
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.called()?;
        let leaves_after = self.faults.leaves_after;
        let from_file = matches!(chunk, Chunk::File(_) | Chunk::ApplicationFile(_));
        let gone = self.state.with(|state| leaves_after.is_some_and(|limit| state.sent >= limit));
        if gone {
            return Err(HostError::ClientGone);
        }
        let block = chunk.into_bytes()?.to_vec();
        self.state.with(|state| {
            state.sent += block.len();
            state.blocks += 1;
            state.events.push(if from_file { Event::File(block, flush) } else { Event::Block(block, flush) });
        });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.called()?;
        self.push(Event::Flush);
        Ok(())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        if let Err(error) = self.called() {
            return Poll::Ready(Err(error));
        }
        let unwanted = self.faults.body_unwanted;
        let leaves_after = self.faults.leaves_after;
        let waker = cx.waker().clone();
        let (polled, _other) = self.state.with(|state| {
            if leaves_after.is_some_and(|limit| state.sent >= limit) {
                return (Poll::Ready(Err(HostError::ClientGone)), Some(waker));
            }
            if state.stalls.front().is_some_and(|stall| *stall <= state.blocks) {
                return (Poll::Pending, state.waker.replace(waker));
            }
            let head_sent = state.events.iter().any(|event| matches!(event, Event::Head(_)));
            let interest = if unwanted && head_sent { BodyInterest::Unwanted } else { BodyInterest::Wanted };
            (Poll::Ready(Ok(interest)), Some(waker))
        });
        polled
    }

    fn drain(&mut self) -> Result<(), HostError> {
        self.called()?;
        self.push(Event::Drain);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.called()?;
        self.push(Event::Finish);
        Ok(())
    }
}

impl Drop for CapturingSink {
    fn drop(&mut self) {
        // Wakers hold the exchange, whose log holds this state.
        let _wakers = self.state.with(|state| {
            state.events.push(Event::Dropped);
            state.over = true;
            [state.on_leave.take(), state.waker.take()]
        });
    }
}

/// The log of one exchange.
#[derive(Debug)]
struct ExchangeLog {
    state: Arc<Leaf<State>>,
}

impl ErrorLog for ExchangeLog {
    fn log(&self, level: Level, text: &str) {
        let line = LogLine { level, text: text.to_owned() };
        let leaves = self.state.with(|state| {
            state.events.push(Event::Log(line));
            state.leaves_at.as_deref() == Some(text)
        });
        if leaves {
            leave(&self.state);
        }
    }
}

/// A log that keeps its records, for those that belong to no exchange.
#[derive(Debug, Default)]
pub struct CapturingLog {
    lines: Leaf<Vec<LogLine>>,
}

impl CapturingLog {
    /// Takes the records so far.
    pub fn take(&self) -> Vec<LogLine> {
        self.lines.replace(Vec::new())
    }
}

impl ErrorLog for CapturingLog {
    fn log(&self, level: Level, text: &str) {
        let line = LogLine { level, text: text.to_owned() };
        self.lines.with(|lines| lines.push(line));
    }
}

#[cfg(all(test, feature = "python"))]
mod tests {
    use std::task::Wake;

    use super::*;

    struct Exchange;

    impl Wake for Exchange {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn an_exchange_is_not_held_beyond_its_sink() {
        let exchange = Arc::new(Exchange);
        let (sink, client) = CapturingSink::new(Faults::default());
        client.on_leave(Waker::from(Arc::clone(&exchange)));
        assert_eq!(Arc::strong_count(&exchange), 2);
        drop(sink);
        assert_eq!(Arc::strong_count(&exchange), 1, "by its client, who was to be told");
        // A thread may have ended before the client's waker is set.
        client.on_leave(Waker::from(Arc::clone(&exchange)));
        assert_eq!(Arc::strong_count(&exchange), 1);
    }
}
