//! The host's side of a response: a sink and a log that remember, and misbehave on request.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wsgi_core::error::HostError;
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush, Level, ResponseSink};
use wsgi_core::lock::Leaf;

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
    /// The line of the log at which the client leaves.
    leaves_at: Option<String>,
    left: bool,
    /// Who wants to know that it has.
    on_leave: Option<Waker>,
    /// The sink is dropped: there is nobody to tell.
    over: bool,
}

/// A sink that keeps what it is given.
#[derive(Debug)]
pub struct CapturingSink {
    state: Arc<Leaf<State>>,
    faults: Faults,
}

/// The test's end of a [`CapturingSink`].
#[derive(Clone, Debug)]
pub struct Client {
    state: Arc<Leaf<State>>,
}

impl CapturingSink {
    /// A sink, and the client that it serves.
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

    /// Counts a call, and fails the one that is to fail.
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
    /// How many calls of the gateway the sink has had that could fail.
    pub fn calls(&self) -> usize {
        self.state.with(|state| state.calls)
    }

    /// A log whose records stand among the other [events](Self::take), in order.
    pub fn log(&self) -> Arc<dyn ErrorLog> {
        Arc::new(ExchangeLog { state: Arc::clone(&self.state) })
    }

    /// What has arrived so far; leaves nothing behind.
    pub fn take(&self) -> Vec<Event> {
        self.state.with(|state| std::mem::take(&mut state.events))
    }

    /// Whether the sink is waited for.
    pub fn is_stalled(&self) -> bool {
        self.state.with(|state| state.waker.is_some())
    }

    /// Leaves.
    pub fn leave(&self) {
        leave(&self.state);
    }

    /// Who is woken when the client leaves, at once if it has left; nobody once the sink is dropped.
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

    /// Reads on, until the next of these stalls.
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
    // They take locks of their own.
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl ResponseSink for CapturingSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.called()?;
        self.push(Event::Head(head));
        Ok(())
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.called()?;
        let leaves_after = self.faults.leaves_after;
        let from_file = matches!(chunk, Chunk::File(_));
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

/// A log that keeps its records, for what belongs to no exchange.
#[derive(Debug, Default)]
pub struct CapturingLog {
    lines: Leaf<Vec<LogLine>>,
}

impl CapturingLog {
    /// What was logged so far; leaves nothing behind.
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
        // A thread may be done before the client says whom to tell.
        client.on_leave(Waker::from(Arc::clone(&exchange)));
        assert_eq!(Arc::strong_count(&exchange), 1);
    }
}
