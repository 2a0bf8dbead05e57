//! The host's side of a response: a sink and a log that remember, and misbehave on request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use wsgi_core::error::HostError;
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, Chunk, ErrorLog, Flush, Level, ResponseSink};

use crate::captured::{Event, LogLine};

/// How the client behaves.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The client is gone after that many body bytes.
    pub leaves_after: Option<usize>,
    /// Before these blocks (counted from 0) the client is slow: the sink is pending until the test lets it go on.
    pub stalls_before: Vec<usize>,
    /// The host wants no body once the head is out, as with a 304 that it made itself.
    pub body_unwanted: bool,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    stalls: VecDeque<usize>,
    blocks: usize,
    sent: usize,
    waker: Option<Waker>,
}

/// A sink that keeps what it is given.
#[derive(Debug)]
pub struct CapturingSink {
    state: Arc<Mutex<State>>,
    script: Script,
}

/// The test's end of a [`CapturingSink`].
#[derive(Clone, Debug)]
pub struct Client {
    state: Arc<Mutex<State>>,
}

impl CapturingSink {
    /// A sink, and the client that it serves.
    pub fn new(script: Script) -> (Self, Client) {
        let state = State { stalls: script.stalls_before.iter().copied().collect(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        (Self { state: Arc::clone(&state), script }, Client { state })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// What has arrived so far; leaves nothing behind.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).events)
    }

    /// Whether the sink is waited for.
    pub fn is_stalled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waker.is_some()
    }

    /// Reads on, until the next stall of the script.
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

impl ResponseSink for CapturingSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.state().events.push(Event::Head(head));
        Ok(())
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        let leaves_after = self.script.leaves_after;
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
        self.state().events.push(Event::Flush);
        Ok(())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        let unwanted = self.script.body_unwanted;
        let leaves_after = self.script.leaves_after;
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
        self.state().events.push(Event::Drain);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.state().events.push(Event::Finish);
        Ok(())
    }
}

impl Drop for CapturingSink {
    fn drop(&mut self) {
        self.state().events.push(Event::Dropped);
    }
}

/// A log that keeps its records.
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
