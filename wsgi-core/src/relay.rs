//! Hands a response from the thread of an application to one that writes it: for hosts with a thread for each client.
//!
//! The gateway pushes and must not be held up, a thread that writes to a socket pulls and waits. [`relay`] gives both
//! ends: a [`RelaySink`] for [`HostParts`](crate::host::HostParts), and a [`Relay`] to iterate over.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::error::HostError;
use crate::head::ResponseHead;
use crate::host::{BodyInterest, Chunk, Flush, ResponseSink};
use crate::lock::Leaf;

/// Both ends of a response. The application is asked for further blocks while fewer than `room` bytes are on their way.
pub fn relay(room: usize) -> (RelaySink, Relay) {
    let shared = Arc::new(Shared { room, state: Leaf::default(), changed: Condvar::new() });
    (RelaySink { shared: Arc::clone(&shared) }, Relay { shared })
}

/// What a response consists of. It comes in this order, with any number of blocks and flushes in between.
#[derive(Debug)]
pub enum Part {
    /// Status and headers.
    Head(ResponseHead),
    /// A block of the body, never empty.
    Block(Bytes),
    /// All that came so far is to be sent now.
    Flush,
    /// The response is complete, and to be sent. Where the iteration ends without it, the response was cut short.
    End,
}

/// The gateway's end.
pub struct RelaySink {
    shared: Arc<Shared>,
}

/// The writer's end: an iterator that waits for the next part.
///
/// To ask for a part says that the one before is dealt with: after a [`Part::Flush`], that all has left the process. It
/// is what applications wait for. Drop the iterator when the client has gone: writing fails then, and what the application
/// has returned is closed.
pub struct Relay {
    shared: Arc<Shared>,
}

struct Shared {
    room: usize,
    state: Leaf<State>,
    /// A part is there, the writer is idle, or one end has gone.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Bytes of blocks that wait, and of the one that is being written.
    bytes: usize,
    in_hand: usize,
    /// The writer waits for a part.
    idle: bool,
    sink_gone: bool,
    writer_gone: bool,
    /// The exchange, where it waits for room.
    waker: Option<Waker>,
}

impl Shared {
    /// Changes something that the other end may wait for.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.state.with(change);
        self.changed.notify_all();
        result
    }
}

impl RelaySink {
    fn push(&mut self, parts: impl IntoIterator<Item = Part>, bytes: usize) -> Result<(), HostError> {
        let mut parts = Some(parts);
        let ripe = self.shared.state.with(|state| {
            if state.writer_gone {
                return Err(HostError::ClientGone);
            }
            state.parts.extend(parts.take().into_iter().flatten());
            state.bytes += bytes;
            // A head or a block that is to wait for more is not worth waking the writer for, as long as more comes.
            Ok(matches!(state.parts.back(), Some(Part::Flush | Part::End)) || state.bytes >= self.shared.room)
        });
        if ripe? {
            self.shared.changed.notify_all();
        }
        Ok(())
    }
}

impl ResponseSink for RelaySink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.push([Part::Head(head)], 0)
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        let block = chunk.into_bytes()?;
        let bytes = block.len();
        let flush = (flush != Flush::Later).then_some(Part::Flush);
        self.push([Part::Block(block)].into_iter().chain(flush), bytes)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.push([Part::Flush], 0)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        let room = self.shared.room;
        // Wakers are cloned and dropped without the lock: they are code of who made them.
        let mut waker = None;
        loop {
            let (polled, replaced) = self.shared.state.with(|state| match () {
                () if state.writer_gone => (Poll::Ready(Err(HostError::ClientGone)), None),
                () if state.bytes < room => (Poll::Ready(Ok(BodyInterest::Wanted)), None),
                () => (Poll::Pending, waker.take().map(|waker| state.waker.replace(waker))),
            });
            if polled.is_ready() || replaced.is_some() {
                return polled;
            }
            waker = Some(cx.waker().clone());
        }
    }

    fn drain(&mut self) -> Result<(), HostError> {
        // A head alone may still wait for more.
        self.flush()?;
        let idle = |state: &State| state.writer_gone || state.idle && state.parts.is_empty();
        let state = self.shared.state.lock().wait_while(&self.shared.changed, |state| !idle(state));
        if state.writer_gone { Err(HostError::ClientGone) } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.push([Part::End], 0)
    }
}

impl Drop for RelaySink {
    fn drop(&mut self) {
        self.shared.change(|state| state.sink_gone = true);
    }
}

impl Iterator for Relay {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let room = self.shared.room;
        let waker = self.shared.state.with(|state| {
            state.bytes -= std::mem::take(&mut state.in_hand);
            if state.bytes < room { state.waker.take() } else { None }
        });
        if let Some(waker) = waker {
            waker.wake();
        }
        let mut state = self.shared.state.lock();
        loop {
            if let Some(part) = state.parts.pop_front() {
                state.idle = false;
                if let Part::Block(block) = &part {
                    state.in_hand = block.len();
                }
                return Some(part);
            }
            if state.sink_gone {
                return None;
            }
            if !std::mem::replace(&mut state.idle, true) {
                self.shared.changed.notify_all();
            }
            state = state.wait(&self.shared.changed);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Blocks may be Python's: they are dropped without the lock.
        let (waker, _parts) = self.shared.change(|state| {
            state.writer_gone = true;
            (state.waker.take(), std::mem::take(&mut state.parts))
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;

    const BLOCK: Chunk<'static> = Chunk::Borrowed(&[b'x'; 6]);

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there is room, and what tells that it may have changed.
    fn poll(sink: &mut RelaySink) -> (Poll<Result<BodyInterest, HostError>>, Arc<Count>) {
        let count = Arc::<Count>::default();
        let polled = sink.poll_ready(&mut Context::from_waker(&Waker::from(Arc::clone(&count))));
        (polled, count)
    }

    fn is_gone<T>(result: Result<T, HostError>) -> bool {
        matches!(result, Err(HostError::ClientGone))
    }

    #[test]
    fn parts_arrive_in_order_and_end_with_the_sink() {
        let (mut sink, mut relay) = relay(10);
        sink.send(Chunk::Borrowed(b"a"), Flush::Later).unwrap();
        sink.send(Chunk::Borrowed(b"b"), Flush::Now).unwrap();
        sink.finish().unwrap();
        assert!(matches!(relay.next(), Some(Part::Block(block)) if block == "a"));
        assert!(matches!(relay.next(), Some(Part::Block(block)) if block == "b"));
        assert!(matches!(relay.next(), Some(Part::Flush)));
        assert!(matches!(relay.next(), Some(Part::End)));
        drop(sink);
        assert!(relay.next().is_none());
    }

    #[test]
    fn a_response_that_is_given_up_ends_without_an_end() {
        let (sink, mut relay) = relay(10);
        let dropped = thread::spawn(move || drop(sink));
        assert!(relay.next().is_none());
        dropped.join().unwrap();
    }

    #[test]
    fn a_block_that_is_being_written_takes_room() {
        let (mut sink, mut relay) = relay(10);
        sink.send(BLOCK, Flush::Later).unwrap();
        assert!(poll(&mut sink).0.is_ready());
        sink.send(BLOCK, Flush::Later).unwrap();
        let (pending, woken) = poll(&mut sink);
        assert!(pending.is_pending());
        relay.next();
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(poll(&mut sink).0.is_pending());
        let (_, woken) = poll(&mut sink);
        relay.next();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(poll(&mut sink).0.is_ready());
    }

    #[test]
    fn drain_returns_when_the_writer_has_flushed() {
        let (mut sink, mut relay) = relay(10);
        sink.send(BLOCK, Flush::Later).unwrap();
        let written = Arc::<Count>::default();
        let counted = Arc::clone(&written);
        let writer = thread::spawn(move || {
            while relay.next().is_some() {
                counted.0.fetch_add(1, Ordering::Relaxed);
            }
        });
        sink.drain().unwrap();
        assert_eq!(written.0.load(Ordering::Relaxed), 2);
        drop(sink);
        writer.join().unwrap();
    }

    #[test]
    fn blocks_that_fill_the_room_do_not_wait_for_more() {
        let (mut sink, mut relay) = relay(10);
        let writer = thread::spawn(move || (relay.next().is_some(), relay));
        // Whether the writer waits already or not: it comes to the block.
        sink.send(BLOCK, Flush::Later).unwrap();
        sink.send(BLOCK, Flush::Later).unwrap();
        assert!(writer.join().unwrap().0);
    }

    #[test]
    fn a_writer_that_goes_frees_whoever_waits_for_it() {
        let (mut sink, mut relay) = relay(1);
        sink.send(BLOCK, Flush::Now).unwrap();
        relay.next();
        let (pending, woken) = poll(&mut sink);
        assert!(pending.is_pending());
        let draining = thread::spawn(move || (sink.drain(), sink));
        drop(relay);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        let (drained, mut sink) = draining.join().unwrap();
        assert!(is_gone(drained) && is_gone(sink.send(BLOCK, Flush::Now)) && is_gone(sink.finish()));
        assert!(matches!(poll(&mut sink).0, Poll::Ready(Err(HostError::ClientGone))));
    }
}
