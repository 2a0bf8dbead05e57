//! Threads that wait for another process, and never run Python.

use std::any::Any;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::host::Level;
use crate::protocol::pool::{Limits, Overloaded, Pool, StackSize, Task, Threads, panic_message};
use crate::protocol::record::Log;
use crate::protocol::transfer::Message;

/// The largest number of these threads, and of streams.
const MOST: usize = 128;

static COURIERS: OnceLock<Pool<Courier>> = OnceLock::new();

/// The descriptors of all streams. -1 marks a free place.
static STREAMS: [AtomicI32; MOST] = [const { AtomicI32::new(FREE) }; MOST];

const FREE: i32 = -1;

/// Work for such a thread.
pub(super) trait Work: Send {
    fn run(self: Box<Self>);

    /// Called if there is no thread for the work.
    fn refused(self: Box<Self>) {}
}

/// Runs `work` on such a thread.
pub(super) fn submit(log: &Log, work: Box<dyn Work>) {
    let couriers = COURIERS.get_or_init(|| {
        let limits = Limits::new(MOST).queue(0).stack(StackSize::new(StackSize::LEAST).unwrap_or_default());
        Pool::new(limits, CourierThreads { log: log.clone() })
    });
    let refused = match couriers.submit(Courier(Some(work))) {
        Ok(_) => return,
        Err(Overloaded::QueueFull(courier) | Overloaded::NoThread(courier) | Overloaded::ShuttingDown(courier)) => {
            courier
        }
    };
    if let Some(work) = refused.0 {
        work.refused();
    }
}

/// Waits until all work has ended, at most `within`. Further work is refused.
pub(super) fn shutdown(within: Duration) {
    if let Some(couriers) = COURIERS.get() {
        couriers.shutdown(within);
    }
}

/// A stream to another process. There is a thread for each: their number is limited.
pub(super) struct Stream {
    place: usize,
    stream: UnixStream,
}

impl Stream {
    /// Returns `None` if there are too many streams.
    pub(super) fn new(stream: UnixStream) -> Option<Self> {
        let descriptor = stream.as_raw_fd();
        let take =
            |place: &AtomicI32| place.compare_exchange(FREE, descriptor, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        STREAMS.iter().position(take).map(|place| Self { place, stream })
    }

    /// Sends a message. Blocks.
    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        message.write(&mut &self.stream)
    }

    /// Blocks until the next message comes. Returns an error at the end of the stream.
    pub(super) fn receive(&self) -> io::Result<Message> {
        Message::read(&mut &self.stream)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Before the descriptor is closed, and its number used again.
        STREAMS[self.place].store(FREE, Ordering::Release);
        // A process that the application has forked may have the descriptor, too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Deref for Stream {
    type Target = UnixStream;

    fn deref(&self) -> &UnixStream {
        &self.stream
    }
}

/// Closes all streams in a process that the application has forked. Otherwise the other process would not notice the end of
/// this one.
pub(super) fn close_in_forked() {
    for place in &STREAMS {
        let descriptor = place.swap(FREE, Ordering::AcqRel);
        if descriptor != FREE {
            // SAFETY: the descriptor belongs to a stream of a thread that does not exist in this process. The place is set
            // after the descriptor was opened, and freed before it is closed.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
}

struct Courier(Option<Box<dyn Work>>);

impl Task for Courier {
    fn advance(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        if let Some(work) = self.0.take() {
            work.run();
        }
        Poll::Ready(())
    }
}

struct CourierThreads {
    log: Log,
}

impl Threads for CourierThreads {
    type Guard = ();

    fn start(&self) {}

    fn release(&self) {}

    fn panicked(&self, panic: &(dyn Any + Send)) {
        let text = format!("panic in a thread that waits for another process: {}", panic_message(panic));
        self.log.log(Level::Alert, &text);
    }

    fn cannot_start(&self, _stack: StackSize, error: &io::Error) {
        self.log.log(Level::Error, &format!("cannot start a thread that waits for another process: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_streams_is_limited() {
        let stream = || UnixStream::pair().map(|(stream, _)| Stream::new(stream)).unwrap();
        let mut streams: Vec<_> = (0..MOST).map(|_| stream().expect("a place")).collect();
        assert!(stream().is_none(), "there is a place for more than {MOST} streams");
        streams.pop();
        assert!(stream().is_some(), "the place of an ended stream is free");
    }
}
