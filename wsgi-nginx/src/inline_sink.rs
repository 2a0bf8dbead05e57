//! Sink of an application with inline execution: calls nginx's filters directly.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wsgi_core::error::HostError;
use wsgi_core::host::{
    Accel, AccelHeaders, BodyInterest, Chunk, FilePart, Flush, HeaderList, ResponseHead, ResponseSink,
};
use wsgi_core::python::Location;

use crate::burst::Burst;
use crate::chain::Backlog;
use crate::conf;
use crate::handover::HandOver;
use crate::kept::Kept;
use crate::loop_cell::Loop;

/// Items that an exchange may produce in a row before it yields to the event loop.
const ITEMS_A_TURN: u32 = 64;

/// Longest time between the items of a quick sequence. An item that takes longer is sent at once, with the blocks
/// before it.
const SLOW_ITEM_INTERVAL: Duration = Duration::from_millis(1);

/// Sink whose calls are made on the event loop's thread and passed to nginx immediately.
pub(crate) struct InlineSink {
    hand_over: Arc<HandOver>,
    /// Headers that nginx must not obey.
    ignored: AccelHeaders,
    /// The value of `X-Accel-Buffering`.
    joins: Option<bool>,
    /// Items that the application was asked for since the exchange last yielded after [`ITEMS_A_TURN`].
    items: u32,
    /// When the last block that may be joined was taken, which is when the application begins its next item. `None`
    /// before the first.
    asked: Option<Instant>,
    /// Blocks written while only the event loop could send, which waits for the application. `None` otherwise.
    kept: Option<Box<Unsent>>,
    /// Set with the first block that is sent by itself.
    burst: Option<Box<Burst>>,
}

/// A temporary file, and its part that has not been passed to nginx.
struct Unsent {
    /// The location in whose temporary directory files are created.
    location: Arc<Location>,
    kept: Kept,
    part: Option<FilePart>,
}

impl InlineSink {
    pub(crate) fn new(hand_over: Arc<HandOver>, ignored: AccelHeaders) -> Self {
        Self { hand_over, ignored, joins: None, items: 0, asked: None, kept: None, burst: None }
    }

    #[cold]
    fn send_soon(&mut self, chunk: Chunk<'_>) -> Result<(), HostError> {
        let flush = if self.is_slow() { Flush::Now } else { Flush::Soon };
        self.hand_over.send(&mut Loop::enter(), chunk, flush)?;
        self.asked = Some(Instant::now());
        Ok(())
    }

    #[inline]
    fn end_burst(&mut self) {
        if let Some(burst) = &mut self.burst {
            burst.end(&mut Loop::enter(), &self.hand_over);
        }
    }

    /// Whether to send a block at once although it may wait: true for the first block, and for a block that the
    /// application took long to produce. Nothing can be sent here while the application produces an item, so blocks
    /// wait only in a quick sequence.
    fn is_slow(&self) -> bool {
        self.asked.is_none_or(|asked| asked.elapsed() > SLOW_ITEM_INTERVAL)
    }

    /// Passes the kept blocks to nginx. The event loop runs next, and sends them.
    #[inline]
    fn release(&mut self) -> Result<(), HostError> {
        match self.kept.take() {
            None => Ok(()),
            Some(unsent) => self.send_kept(*unsent),
        }
    }

    #[cold]
    fn send_kept(&self, unsent: Unsent) -> Result<(), HostError> {
        let Some(part) = unsent.part else { return Ok(()) };
        self.hand_over.send(&mut Loop::enter(), Chunk::File(part), Flush::Now)
    }
}

impl Unsent {
    #[cold]
    fn new(lp: &mut Loop, hand_over: &HandOver) -> Option<Box<Self>> {
        let location = conf::of(&*hand_over.request(lp)?).location.as_ref()?;
        Some(Box::new(Self { location: Arc::clone(location), kept: Kept::default(), part: None }))
    }

    #[cold]
    fn keep(&mut self, block: &[u8]) -> Result<(), HostError> {
        if self.kept.is_full() {
            return Err(HostError::Io(std::io::Error::from_raw_os_error(libc::EFBIG)));
        }
        let part = self.kept.write(&self.location, block)?;
        match &mut self.part {
            Some(before) => before.len += part.len,
            None => self.part = Some(part),
        }
        Ok(())
    }
}

impl ResponseSink for InlineSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.joins = Accel::of(&head.headers, self.ignored).buffering;
        self.hand_over.send_head(&mut Loop::enter(), &head)
    }

    fn replaces_body(&self, headers: &HeaderList) -> bool {
        Accel::of(headers, self.ignored).redirect.is_some()
    }

    fn joins_blocks(&self) -> Option<bool> {
        self.joins
    }

    fn sends_files(&self) -> bool {
        true
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        if let Some(unsent) = &mut self.kept {
            match &chunk {
                Chunk::Borrowed(block) => return unsent.keep(block),
                Chunk::Owned(block) => return unsent.keep(block),
                _ => self.release()?,
            }
        }
        if flush == Flush::Soon {
            return self.send_soon(chunk);
        }
        let lp = &mut Loop::enter();
        if flush == Flush::Now {
            self.burst.get_or_insert_default().next(lp, &self.hand_over);
        }
        self.hand_over.send(lp, chunk, flush)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.release()?;
        self.hand_over.flush(&mut Loop::enter())
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.release()?;
        let lp = &mut Loop::enter();
        let (blocked, joined) = self.hand_over.output.with(lp, |output| (output.is_blocked(), output.has_joined()));
        if blocked {
            // The exchange continues after the write event.
            return Poll::Pending;
        }
        if self.items >= ITEMS_A_TURN {
            self.items = 0;
            if joined {
                self.hand_over.flush(lp)?;
            }
            return Poll::Pending;
        }
        self.items += 1;
        Poll::Ready(self.hand_over.output.with(lp, |output| output.interest()))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        if self.kept.is_none() && !drain(&mut Loop::enter(), &self.hand_over)? {
            self.kept = Unsent::new(&mut Loop::enter(), &self.hand_over);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.release()?;
        let lp = &mut Loop::enter();
        let finished = self.hand_over.finish(lp);
        self.end_burst();
        finished
    }
}

impl Drop for InlineSink {
    /// Ends a sequence of a response that has failed.
    fn drop(&mut self) {
        self.end_burst();
    }
}

/// Blocks until the socket has taken the output, for at most `send_timeout` between two sends. Returns false if the
/// output waits for something else (another part of the page, the timer of `limit_rate`, a window of HTTP/2), so that
/// only the event loop can continue.
fn drain(lp: &mut Loop, hand_over: &HandOver) -> Result<bool, HostError> {
    let mut waiting_since = Instant::now();
    loop {
        match hand_over.output.with(lp, |output| output.backlog()) {
            Backlog::None => return Ok(true),
            Backlog::Part => return Ok(false),
            Backlog::Client => {}
        }
        let mut req = hand_over.request(lp).ok_or(HostError::ClientGone)?;
        if req.is_multiplexed() || req.connection_mut().write_event().delayed() != 0 {
            return Ok(false);
        }
        let sent = req.connection().sent;
        // nginx tries to send only while it considers the socket ready.
        if req.connection_mut().write_event().ready() == 0 {
            wait_for_socket(req.connection().fd, req.core_location().send_timeout, waiting_since)?;
            req.connection_mut().write_event().set_ready(1);
        }
        hand_over.retry(lp)?;
        let mut req = hand_over.request(lp).ok_or(HostError::ClientGone)?;
        if req.connection().sent != sent {
            waiting_since = Instant::now();
        } else if req.connection_mut().write_event().ready() != 0 {
            // The socket accepts more, but nginx sends nothing: its output waits for something else.
            return Ok(false);
        }
    }
}

/// Blocks until the socket accepts more, at most until `limit` milliseconds after `started`.
fn wait_for_socket(descriptor: libc::c_int, limit: usize, started: Instant) -> Result<(), HostError> {
    let left = limit.saturating_sub(usize::try_from(started.elapsed().as_millis()).unwrap_or(usize::MAX));
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: `poll` is one record, as the count says.
    let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
    if ready == 0 { Err(HostError::TimedOut) } else { Ok(()) }
}
