//! State that both ends of a relay share, and its rules: when there is room, and when an end is woken.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;

use super::blocks::{Blocks, Data};
use super::{Closed, Demand, Part, Room};
use crate::error::HostError;
use crate::host::BodyInterest;
use crate::lock::{Leaf, LeafGuard};

/// Most blocks that wait in a relay. Each block costs the receiver time, however short it is: nginx's filters examine
/// all buffers that a client has not taken, so a generator of single bytes would block an event loop for minutes.
pub(super) const BLOCKS: usize = 64;

pub(super) struct Shared<H> {
    /// In bytes.
    room: usize,
    state: Leaf<State<H>>,
}

pub(super) struct State<H> {
    pub(super) head: Option<H>,
    pub(super) head_sent: bool,
    /// Whether everything before the first block must be sent now.
    pub(super) flush: bool,
    pub(super) blocks: Blocks,
    end: Option<End>,
    end_taken: bool,
    demand: Demand,
    closed: Option<Closed>,
    /// Whether the receiver should have been woken but had left no waker.
    ripe: bool,
    receiver: Option<Waker>,
    /// Waker of the exchange while it waits for room.
    sender: Option<Waker>,
    /// Waker of a third party, called at the close.
    watcher: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Failed(Option<StatusCode>),
}

/// Result of examining the state.
pub(super) enum Looked<'a, T> {
    Ready(T),
    /// Not ready; the waker must be stored here.
    Wait(&'a mut Option<Waker>),
}

impl<H> Shared<H> {
    pub(super) fn new(room: usize) -> Arc<Self> {
        let state = State {
            head: None,
            head_sent: false,
            flush: false,
            blocks: Blocks::default(),
            end: None,
            end_taken: false,
            demand: Demand::Open,
            closed: None,
            ripe: false,
            receiver: None,
            sender: None,
            watcher: None,
        };
        Arc::new(Self { room, state: Leaf::new(state) })
    }

    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Changes the state for the sender by `work`, which returns whether to wake the receiver. After a close `work` is
    /// not called. Fails if the response can no longer be sent.
    pub(super) fn put(&self, work: impl FnOnce(&mut State<H>) -> bool) -> Result<(), HostError> {
        // If `work` is not called, it is dropped without the lock, because it may own a block of Python.
        let mut work = Some(work);
        let receiver = self.state.with(|state| match state.closed {
            Some(closed) => closed.result().map(|()| None),
            None => Ok(if work.take().is_some_and(|work| work(state)) { state.notify() } else { None }),
        });
        wake(receiver?);
        Ok(())
    }

    /// Ends a complete response.
    pub(super) fn finish(self: Arc<Self>) -> Result<(), HostError> {
        let receiver = self.state.with(|state| match state.closed {
            Some(closed) => closed.result().map(|()| None),
            None => {
                state.end.get_or_insert(End::Complete);
                Ok(state.notify())
            }
        });
        // Before the receiver runs, so that it is the one to free the memory: its thread has allocated it.
        drop(self);
        wake(receiver?);
        Ok(())
    }

    /// Ends the response, unless it has ended.
    pub(super) fn end(self: Arc<Self>, end: End) {
        let receiver = self.state.with(|state| {
            if state.closed.is_some() || state.end.is_some() {
                return None;
            }
            state.end = Some(end);
            state.notify()
        });
        drop(self);
        wake(receiver);
    }

    /// Returns how to go on once a further block may be sent. With `spool_is_full` the sender cannot spool.
    pub(super) fn poll_room(&self, cx: &Context<'_>, spool_is_full: bool) -> Poll<Result<Room, HostError>> {
        let mut receiver = None;
        let polled = self.poll(cx, |state| match state.look_for_room(self.room, spool_is_full) {
            Some(found) => Looked::Ready(found),
            None => {
                // The receiver was not woken for parts that could wait for later ones.
                if receiver.is_none() {
                    receiver = state.notify_before_waiting();
                }
                Looked::Wait(&mut state.sender)
            }
        });
        wake(receiver);
        polled
    }

    /// Returns the next part; `None` after the end.
    pub(super) fn poll_part(&self, cx: &Context<'_>) -> Poll<Option<Part<H>>> {
        let mut sender = None;
        let polled = self.poll(cx, |state| match state.pop() {
            Some(part) => {
                // Only at half of the room: otherwise the sender would wake for each block.
                if state.blocks.bytes() <= self.room / 2 && state.blocks.len() <= BLOCKS / 2 {
                    sender = state.sender.take();
                }
                Looked::Ready(Some(part))
            }
            None if state.end_taken || state.closed.is_some() => Looked::Ready(None),
            None => {
                state.ripe = false;
                Looked::Wait(&mut state.receiver)
            }
        });
        wake(sender);
        polled
    }

    /// Runs `work` with the state. It must not call wakers.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State<H>) -> T) -> T {
        self.state.with(work)
    }

    /// See [`Relay::report`](super::Relay::report).
    pub(super) fn report(&self, demand: Option<Demand>, waker: Waker) {
        let mut waker = Some(waker);
        let (again, sender, _replaced) = self.state.with(|state| {
            if state.closed.is_some() {
                return (None, None, None);
            }
            let sender = demand.and_then(|demand| {
                state.demand = demand;
                let goes_on = demand == Demand::Spool || state.look_for_room(self.room, false).is_some();
                if goes_on { state.sender.take() } else { None }
            });
            if state.ripe && state.is_receivable() {
                state.ripe = false;
                return (waker.take(), sender, None);
            }
            (None, sender, std::mem::replace(&mut state.receiver, waker.take()))
        });
        wake(sender);
        wake(again);
    }

    /// Closes the receiving side and drops all parts.
    pub(super) fn close(&self, closed: Closed) {
        let (sender, watcher, _receiver, _parts) = self.state.with(|state| {
            if state.closed.is_some() {
                return (None, None, None, None);
            }
            state.closed = Some(closed);
            state.end_taken = true;
            let parts = state.has_parts().then(|| (state.head.take(), std::mem::take(&mut state.blocks)));
            (state.sender.take(), state.watcher.take(), state.receiver.take(), parts)
        });
        wake(sender);
        wake(watcher);
    }

    /// Returns the error once the response can no longer be sent.
    pub(super) fn poll_closed(&self, cx: &Context<'_>) -> Poll<HostError> {
        self.poll(cx, |state| match state.closed.map(Closed::result) {
            Some(Err(error)) => Looked::Ready(error),
            _ => Looked::Wait(&mut state.watcher),
        })
    }

    /// Examines the state with `look`, and stores the waker of `cx` if it is not ready. Wakers are cloned and dropped
    /// without the lock, because that runs foreign code.
    fn poll<T>(&self, cx: &Context<'_>, mut look: impl FnMut(&mut State<H>) -> Looked<'_, T>) -> Poll<T> {
        let mut waker: Option<Waker> = None;
        loop {
            let mut state: LeafGuard<'_, State<H>> = self.state.lock();
            let place = match look(&mut state) {
                Looked::Ready(value) => return Poll::Ready(value),
                Looked::Wait(place) => place,
            };
            if place.as_ref().is_some_and(|present| present.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if waker.is_some() {
                let before = std::mem::replace(place, waker);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
            drop(state);
            waker = Some(cx.waker().clone());
        }
    }
}

impl<H> State<H> {
    /// Whether blocks are dropped.
    pub(super) fn is_unwanted(&self) -> bool {
        self.demand == Demand::Unwanted
    }

    /// Marks all parts so far to be sent now.
    pub(super) fn flush(&mut self) {
        if !self.blocks.flush() {
            self.flush = true;
        }
    }

    pub(super) fn ask_after_head(&mut self) {
        self.demand = Demand::AfterHead;
    }

    /// Whether the end has come and was not taken.
    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some() && !self.end_taken
    }

    /// Whether the response is complete, and everything except the end was taken.
    pub(super) fn is_at_end(&self) -> bool {
        self.end == Some(End::Complete) && self.head.is_none() && self.blocks.is_empty()
    }

    /// Returns the end once; `None` before it has come.
    pub(super) fn take_end(&mut self) -> Option<End> {
        let first = !std::mem::replace(&mut self.end_taken, self.end.is_some());
        if first { self.end } else { None }
    }

    /// Records that the receiver has taken the parts.
    pub(super) fn taken(&mut self) {
        self.ripe = false;
    }

    /// Whether a close would change nothing: the end was taken, and neither the sender nor a third party waits.
    pub(super) fn is_over(&self) -> bool {
        self.end_taken && self.sender.is_none() && self.watcher.is_none()
    }

    /// Records that the receiver leaves the parts in the relay for now.
    pub(super) fn left(&mut self) {
        self.ripe |= self.has_parts();
    }

    fn has_parts(&self) -> bool {
        self.head.is_some() || !self.blocks.is_empty()
    }

    fn pop(&mut self) -> Option<Part<H>> {
        if let Some(head) = self.head.take() {
            return Some(Part::Head(head));
        }
        if std::mem::take(&mut self.flush) {
            return Some(Part::Flush);
        }
        if let Some((data, flush)) = self.blocks.pop() {
            return Some(part(data, flush));
        }
        self.take_end().map(Part::of_end)
    }

    /// Returns how the sender goes on; `None` if it must wait.
    fn look_for_room(&self, room: usize, spool_is_full: bool) -> Option<Result<Room, HostError>> {
        let wanted = Room { interest: BodyInterest::Wanted, spool: false };
        match self.closed.map(Closed::result) {
            Some(Ok(())) => return Some(Ok(wanted)),
            Some(Err(error)) => return Some(Err(error)),
            None => {}
        }
        let found = match self.demand {
            Demand::Unwanted => Room { interest: BodyInterest::Unwanted, ..wanted },
            Demand::Spool if !spool_is_full => Room { spool: true, ..wanted },
            Demand::AfterHead if !self.head_sent => wanted,
            Demand::Open if self.blocks.bytes() < room && self.blocks.len() < BLOCKS => wanted,
            _ => return None,
        };
        Some(Ok(found))
    }

    /// Whether the receiver takes any part at present.
    fn is_receivable(&self) -> bool {
        self.demand != Demand::Spool || self.end.is_some()
    }

    /// Takes the receiver's waker, for the caller to call. Records in `ripe` if there is none.
    fn notify(&mut self) -> Option<Waker> {
        let waker = if self.is_receivable() { self.receiver.take() } else { None };
        self.ripe |= waker.is_none();
        waker
    }

    fn notify_before_waiting(&mut self) -> Option<Waker> {
        if self.has_parts() { self.notify() } else { None }
    }
}

pub(super) fn part<H>(data: Data, flush: bool) -> Part<H> {
    match data {
        Data::Memory(data) => Part::Block { data, flush },
        Data::File(part) => Part::File { part, flush },
        Data::ApplicationFile(part) => Part::ApplicationFile { part, flush },
    }
}

impl<H> Part<H> {
    pub(super) fn of_end(end: End) -> Self {
        match end {
            End::Complete => Part::End,
            End::Failed(status) => Part::Failed(status),
        }
    }
}

impl Closed {
    /// Result of sending after the close.
    fn result(self) -> Result<(), HostError> {
        match self {
            Closed::Satisfied => Ok(()),
            Closed::Gone => Err(HostError::ClientGone),
            Closed::TimedOut => Err(HostError::TimedOut),
        }
    }
}

/// Calls a waker, without our lock, since it may take other locks.
#[inline]
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
