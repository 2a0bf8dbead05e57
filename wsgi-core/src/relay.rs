//! Hands a response from the thread of an application to the side that sends it.
//!
//! The gateway pushes parts and must not be blocked; an event loop, a task or a thread takes them and waits for its
//! client. [`relay`] creates both ends: a [`RelaySink`] for [`HostParts`](crate::host::HostParts), and a [`Relay`],
//! which a host reads in one of three ways:
//!
//! - a thread iterates over it, and sleeps until the next part comes;
//! - a task calls [`poll_part`](Relay::poll_part);
//! - an event loop calls [`take_all`](Relay::take_all) when its waker is called, and then [`report`](Relay::report),
//!   which sets how the sender may go on.
//!
//! A relay is bounded: the sender has room while fewer than `room` bytes and 64 blocks wait to be taken. An end that
//! waits is woken once: the receiver when a part must be sent now, or when the sender waits; the sender when half of
//! the room is free. So most parts pass without a wake.
//!
//! A relay does not depend on the side of the application. In the other direction, with `()` for a head, it transports
//! the body of a request: an event loop pushes with [`RelaySink::send_block`] while [`RelaySink::poll_room`] has room,
//! and the application's thread iterates.

mod blocks;
#[cfg(test)]
mod model;
mod parker;
mod sink;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use blocks::Blocks;
pub use parker::Parker;
pub use sink::RelaySink;
use state::{End, Shared};

use crate::error::HostError;
use crate::host::BodyInterest;
use crate::protocol::head::ResponseHead;
use crate::protocol::output::{ApplicationFile, FilePart};

/// Size for [`relay`], in bytes, that suits clients on the internet.
pub const ROOM: usize = 64 * 1024;

/// Creates both ends of a response. The sender has room while fewer than `room` bytes wait to be taken.
pub fn relay<H>(room: usize) -> (RelaySink<H>, Relay<H>) {
    let shared = Shared::new(room);
    (RelaySink::new(Arc::clone(&shared)), Relay { shared, closed: AtomicBool::new(false), parker: None })
}

/// An item of a response. Parts come in this order, with any number of blocks and flushes between head and end.
///
/// A receiver ignores kinds that it does not know: a response is complete without them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Part<H = ResponseHead> {
    /// Status and headers.
    Head(H),
    /// A block of the body, never empty.
    Block {
        /// Its bytes.
        data: Bytes,
        /// Whether to send it now, with everything before it.
        flush: bool,
    },
    /// A block of the body in a file.
    File {
        /// Its place in the file.
        part: FilePart,
        /// Whether to send it now, with everything before it.
        flush: bool,
    },
    /// A block of the body in a file of the application, if the sink [sends files](crate::host::ResponseSink::sends_files).
    ApplicationFile {
        /// Its place in the file.
        part: ApplicationFile,
        /// Whether to send it now, with everything before it.
        flush: bool,
    },
    /// Everything before this part must be sent now.
    Flush,
    /// The response is complete, and must be sent now.
    End,
    /// The response was cut short. The status is the answer if no head came; without a status the client is gone.
    Failed(Option<StatusCode>),
}

/// How much of a body the receiver wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demand {
    /// Unknown until the receiver has taken the head. The sender waits for a report after sending the head.
    AfterHead,
    /// The receiver takes blocks while there is room.
    Open,
    /// No further block for now: the receiver has blocks that its client has not taken.
    Full,
    /// No further block for now, but the sender must not wait: it keeps blocks in the relay, see [`RelaySink::keep`].
    Spool,
    /// The receiver takes no blocks. Those that are sent are dropped.
    Unwanted,
}

/// The reason why a receiver takes no more parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The client has the complete response. Further parts are dropped.
    Satisfied,
    /// The client has left. Sending fails with [`HostError::ClientGone`].
    Gone,
    /// The client took nothing for too long. Sending fails with [`HostError::TimedOut`].
    TimedOut,
}

/// How a sender may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Room {
    /// Whether the receiver wants a body.
    pub interest: BodyInterest,
    /// Whether the sender must [keep](RelaySink::keep) blocks instead of sending them.
    pub spool: bool,
}

/// The receiving end of a relay. Dropping it before the end of the response [closes](Self::close) it as for a client
/// that has left: sending fails, and the gateway closes the application's iterable.
pub struct Relay<H = ResponseHead> {
    shared: Arc<Shared<H>>,
    closed: AtomicBool,
    /// Wakes the thread that iterates.
    parker: Option<Arc<Parker>>,
}

impl<H> Relay<H> {
    /// Returns the next part; `None` after [`Part::End`] or [`Part::Failed`]. `Pending` wakes `cx` when a part must be
    /// sent.
    pub fn poll_part(&self, cx: &mut Context<'_>) -> Poll<Option<Part<H>>> {
        self.shared.poll_part(cx)
    }

    /// Takes all parts, without waiting. The sender goes on after [`report`](Self::report).
    pub fn take_all(&self) -> Batch<H> {
        self.take_if(|_| true)
    }

    /// Like [`take_all`](Self::take_all) if the end of the response has come; otherwise takes nothing.
    pub fn take_complete(&self) -> Batch<H> {
        self.take_if(state::State::is_complete)
    }

    fn take_if(&self, condition: impl FnOnce(&state::State<H>) -> bool) -> Batch<H> {
        let (batch, is_over) = self.shared.with(|state| {
            if !condition(state) {
                state.left();
                return (Batch { head: None, flush: false, blocks: Blocks::default(), end: None }, false);
            }
            state.taken();
            let batch = Batch {
                head: state.head.take(),
                flush: std::mem::take(&mut state.flush),
                blocks: std::mem::take(&mut state.blocks),
                end: state.take_end(),
            };
            (batch, state.is_over())
        });
        if is_over {
            self.closed.store(true, Ordering::Relaxed);
        }
        batch
    }

    /// Sets how the sender may go on, unless `demand` is `None`, and calls `waker` once when there are parts to take:
    /// at once if parts have come since [`take_all`](Self::take_all).
    pub fn report(&self, demand: Option<Demand>, waker: Waker) {
        self.shared.report(demand, waker);
    }

    /// Makes the sender wait for [`report`](Self::report) after it has sent the head. Must be called before anything is
    /// sent.
    pub fn ask_after_head(&self) {
        self.shared.with(state::State::ask_after_head);
    }

    /// Returns a handle for a third party.
    pub fn handle(&self) -> RelayHandle<H> {
        RelayHandle { shared: Arc::clone(&self.shared) }
    }

    /// Whether the response is complete and all its blocks were taken.
    pub fn is_at_end(&self) -> bool {
        self.shared.with(|state| state.is_at_end())
    }

    /// Stops taking parts. A sender that waits goes on.
    pub fn close(&self, closed: Closed) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.shared.close(closed);
        }
    }
}

impl<H> Iterator for Relay<H> {
    type Item = Part<H>;

    /// Blocks until the next part comes.
    fn next(&mut self) -> Option<Part<H>> {
        let parker = self.parker.get_or_insert_default();
        let waker = Waker::from(Arc::clone(parker));
        loop {
            if let Poll::Ready(part) = self.shared.poll_part(&Context::from_waker(&waker)) {
                return part;
            }
            parker.park(Duration::MAX);
        }
    }
}

impl<H> Drop for Relay<H> {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            self.close(Closed::Gone);
        }
    }
}

/// Parts that were taken together, in order.
pub struct Batch<H = ResponseHead> {
    head: Option<H>,
    flush: bool,
    blocks: Blocks,
    end: Option<End>,
}

impl<H> Iterator for Batch<H> {
    type Item = Part<H>;

    fn next(&mut self) -> Option<Part<H>> {
        if let Some(head) = self.head.take() {
            return Some(Part::Head(head));
        }
        if std::mem::take(&mut self.flush) {
            return Some(Part::Flush);
        }
        match self.blocks.pop() {
            Some((data, flush)) => Some(state::part(data, flush)),
            None => self.end.take().map(Part::of_end),
        }
    }
}

/// A handle to a relay for a third party: the reader of a request's body, or the owner of all responses.
pub struct RelayHandle<H = ResponseHead> {
    shared: Arc<Shared<H>>,
}

impl<H> Clone for RelayHandle<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<H> RelayHandle<H> {
    /// Ends a response that the gateway will no longer end, see [`Part::Failed`].
    pub fn fail_with(&self, status: Option<StatusCode>) {
        Arc::clone(&self.shared).end(End::Failed(status));
    }

    /// Returns the error once a response can no longer be sent; `Pending` wakes `cx` then. Only the last waker is kept.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<HostError> {
        self.shared.poll_closed(cx)
    }
}
