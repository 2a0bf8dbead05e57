//! The host's side of a response: a sink and a log that remember, and misbehave on request.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use wsgi_core::error::HostError;
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush, Level, ResponseSink};

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
    state: Arc<Mutex<State>>,
    faults: Faults,
}

/// The test's end of a [`CapturingSink`].
#[derive(Clone, Debug)]
pub struct Client {
    state: Arc<Mutex<State>>,
}

impl CapturingSink {
    /// A sink, and the client that it serves.
    pub fn new(faults: Faults) -> (Self, Client) {
        let state = State {
            stalls: faults.stalls_before.iter().copied().collect(),
            leaves_at: faults.leaves_at.clone(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        (Self { state: Arc::clone(&state), faults }, Client { state })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and fails the one that is to fail.
    fn called(&self) -> Result<(), HostError> {
        let mut state = self.state();
        let number = state.calls;
        state.calls += 1;
        if state.left {
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner).calls
    }

    /// A log whose records stand among the other [events](Self::take), in order.
    pub fn log(&self) -> Arc<dyn ErrorLog> {
        Arc::new(ExchangeLog { state: Arc::clone(&self.state) })
    }

    /// What has arrived so far; leaves nothing behind.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).events)
    }

    /// Whether the sink is waited for.
    pub fn is_stalled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waker.is_some()
    }

    /// Leaves.
    pub fn leave(&self) {
        leave(&self.state);
    }

    /// Who is woken when the client leaves, at once if it has left; nobody once the sink is dropped.
    #[cfg(feature = "python")]
    pub(crate) fn on_leave(&self, waker: Waker) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return;
        }
        state.on_leave = Some(waker);
        if state.left {
            drop(state);
            self.leave();
        }
    }

    /// Whether the gateway has dropped the sink.
    pub fn is_over(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events.iter().any(|event| matches!(event, Event::Dropped))
    }

    /// Reads on, until the next of these stalls.
    pub fn go_on(&self) {
        let waker = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.stalls.pop_front();
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn leave(state: &Mutex<State>) {
    let wakers = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left = true;
        [state.on_leave.take(), state.waker.take()]
    };
    // They take locks of their own.
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl ResponseSink for CapturingSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.called()?;
        self.state().events.push(Event::Head(head));
        Ok(())
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.called()?;
        let leaves_after = self.faults.leaves_after;
        let from_file = matches!(chunk, Chunk::File(_));
        let mut state = self.state();
        if leaves_after.is_some_and(|limit| state.sent >= limit) {
            return Err(HostError::ClientGone);
        }
        let block = chunk.into_bytes()?.to_vec();
        state.sent += block.len();
        state.blocks += 1;
        state.events.push(if from_file { Event::File(block, flush) } else { Event::Block(block, flush) });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.called()?;
        self.state().events.push(Event::Flush);
        Ok(())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        if let Err(error) = self.called() {
            return Poll::Ready(Err(error));
        }
        let unwanted = self.faults.body_unwanted;
        let leaves_after = self.faults.leaves_after;
        let mut state = self.state();
        if leaves_after.is_some_and(|limit| state.sent >= limit) {
            return Poll::Ready(Err(HostError::ClientGone));
        }
        if state.stalls.front().is_some_and(|stall| *stall <= state.blocks) {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let head_sent = state.events.iter().any(|event| matches!(event, Event::Head(_)));
        Poll::Ready(Ok(if unwanted && head_sent { BodyInterest::Unwanted } else { BodyInterest::Wanted }))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        self.called()?;
        self.state().events.push(Event::Drain);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.called()?;
        self.state().events.push(Event::Finish);
        Ok(())
    }
}

impl Drop for CapturingSink {
    fn drop(&mut self) {
        // Wakers hold the exchange, whose log holds this state.
        let _wakers = {
            let mut state = self.state();
            state.events.push(Event::Dropped);
            state.over = true;
            [state.on_leave.take(), state.waker.take()]
        };
    }
}

/// The log of one exchange.
#[derive(Debug)]
struct ExchangeLog {
    state: Arc<Mutex<State>>,
}

impl ErrorLog for ExchangeLog {
    fn log(&self, level: Level, text: &str) {
        let line = LogLine { level, text: text.to_owned() };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events.push(Event::Log(line));
        if state.leaves_at.as_deref() == Some(text) {
            drop(state);
            leave(&self.state);
        }
    }
}

/// A log that keeps its records, for what belongs to no exchange.
#[derive(Debug, Default)]
pub struct CapturingLog {
    lines: Mutex<Vec<LogLine>>,
}

impl CapturingLog {
    /// What was logged so far; leaves nothing behind.
    pub fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ErrorLog for CapturingLog {
    fn log(&self, level: Level, text: &str) {
        let line = LogLine { level, text: text.to_owned() };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
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
