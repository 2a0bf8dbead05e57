//! The two ways of a response to nginx: straight through the filters, or by mail to the event loop.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wsgi_core::error::HostError;
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, Chunk, Flush, ResponseSink};

use crate::chain::Output;
use crate::handover::{HandOver, Mail};
use crate::ngx::{self, Request};

/// So many blocks of one response in a row, then the event loop has its turn.
const BLOCKS_A_TURN: u32 = 64;

/// An application that takes longer than this for an item makes its client wait: what is there leaves.
const SLOW: Duration = Duration::from_millis(1);

/// Inline: every call is made on the event loop's thread and goes to nginx on the spot.
pub(crate) struct InlineSink {
    hand_over: Arc<HandOver>,
    blocks: u32,
    /// When the application was asked for its next item, where items may be joined.
    asked: Option<Instant>,
}

impl InlineSink {
    pub(crate) fn new(hand_over: Arc<HandOver>) -> Self {
        Self { hand_over, blocks: 0, asked: None }
    }

    #[cold]
    fn send_soon(&mut self, chunk: Chunk<'_>) -> Result<(), HostError> {
        let flush = if self.is_slow() { Flush::Now } else { Flush::Soon };
        self.hand_over.output.with(|output| output.send(chunk, flush))?;
        self.asked = Some(Instant::now());
        Ok(())
    }

    /// Whether a block that may wait should not: the first one, and what comes slowly. While the application works on an
    /// item nothing can be sent here, so that what waits then has been taken for part of a quick sequence.
    fn is_slow(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() > SLOW)
    }
}

impl ResponseSink for InlineSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.hand_over.output.with(|output| output.send_head(&head))
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.blocks += 1;
        if flush == Flush::Soon {
            return self.send_soon(chunk);
        }
        self.hand_over.output.with(|output| output.send(chunk, flush))
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.hand_over.output.with(Output::flush)
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.hand_over.output.with(|output| {
            if output.is_blocked() {
                // The write event goes on.
                return Poll::Pending;
            }
            if self.blocks >= BLOCKS_A_TURN {
                self.blocks = 0;
                if output.has_joined() {
                    output.flush()?;
                }
                return Poll::Pending;
            }
            Poll::Ready(output.interest())
        })
    }

    fn drain(&mut self) -> Result<(), HostError> {
        self.hand_over.output.with(drain)
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.hand_over.output.with(Output::finish)
    }
}

/// Waits for the socket in place of the event loop, for as long as `send_timeout` allows.
fn drain(output: &mut Output) -> Result<(), HostError> {
    let request = output.request();
    let started = Instant::now();
    while output.is_blocked() {
        // SAFETY: a request that is not over, on the loop's thread.
        let (descriptor, limit) = unsafe {
            let connection = (*request).connection;
            if multiplexed(request) || (*(*connection).write).delayed() != 0 {
                // What opens the way again (window updates, the timer of limit_rate) comes through the loop.
                return Ok(());
            }
            ((*connection).fd, ngx::core_location(request).send_timeout)
        };
        let left = limit.saturating_sub(usize::try_from(started.elapsed().as_millis()).unwrap_or(usize::MAX));
        let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one descriptor, one record.
        let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
        if ready == 0 {
            return Err(HostError::TimedOut);
        }
        // SAFETY: as above: nginx tries to send only where it believes the socket to be ready.
        unsafe { (*(*(*request).connection).write).set_ready(1) };
        output.retry()?;
    }
    Ok(())
}

/// Whether several requests share the connection (HTTP/2, HTTP/3).
///
/// # Safety
///
/// `request` is alive.
pub(crate) unsafe fn multiplexed(request: *const Request) -> bool {
    // SAFETY: the caller's promise. 2000 and 3000 are nginx's numbers for these versions.
    unsafe { (*request).http_version >= 2000 }
}

/// Threads: everything becomes mail; head, blocks and end of a list result make one delivery.
pub(crate) struct ThreadSink {
    hand_over: Arc<HandOver>,
    head_sent: bool,
}

impl ThreadSink {
    pub(crate) fn new(hand_over: Arc<HandOver>) -> Self {
        Self { hand_over, head_sent: false }
    }
}

impl ResponseSink for ThreadSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.head_sent = true;
        self.hand_over.post(Mail::Head(head), false)
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        // Only small blocks are joined; a larger one leaves at once, with what waits before it.
        let flush = match (&chunk, flush) {
            (Chunk::Borrowed(block), Flush::Soon) => return self.hand_over.join(block),
            (_, Flush::Soon) => Flush::Now,
            (_, flush) => flush,
        };
        let mail = match chunk {
            Chunk::Borrowed(block) => Mail::Block(Bytes::copy_from_slice(block), flush),
            Chunk::Owned(block) => Mail::Block(block, flush),
            Chunk::File(part) => Mail::File(part, flush),
        };
        self.hand_over.post(mail, flush == Flush::Now)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.hand_over.post(Mail::Flush, true)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.hand_over.poll_room(self.head_sent, cx)
    }

    fn drain(&mut self) -> Result<(), HostError> {
        self.hand_over.wait_for_room()
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.hand_over.post(Mail::Finish, true)
    }
}
