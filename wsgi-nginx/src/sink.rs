//! The two ways of a response to nginx: straight through the filters, or by mail to the event loop.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wsgi_core::error::HostError;
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{BodyInterest, Chunk, Flush, ResponseSink};
use wsgi_core::output::FilePart;
use wsgi_core::python::Location;

use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::mailbox::{Backlog, Mail, Room};
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
        self.hand_over.send(&mut Loop::enter(), chunk, flush)?;
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
        self.hand_over.send_head(&mut Loop::enter(), &head)
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.blocks += 1;
        if flush == Flush::Soon {
            return self.send_soon(chunk);
        }
        self.hand_over.send(&mut Loop::enter(), chunk, flush)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.hand_over.flush(&mut Loop::enter())
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        let lp = &mut Loop::enter();
        let (blocked, joined) = self.hand_over.output.with(lp, |output| (output.is_blocked(), output.has_joined()));
        if blocked {
            // The write event goes on.
            return Poll::Pending;
        }
        if self.blocks >= BLOCKS_A_TURN {
            self.blocks = 0;
            if joined {
                self.hand_over.flush(lp)?;
            }
            return Poll::Pending;
        }
        Poll::Ready(self.hand_over.output.with(lp, |output| output.interest()))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        drain(&mut Loop::enter(), &self.hand_over)
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.hand_over.finish(&mut Loop::enter())
    }
}

/// Waits for the socket in place of the event loop, for as long as `send_timeout` allows. Where output waits for something
/// else (another part of the page, the timer of `limit_rate`, a window of HTTP/2), only the loop can go on: it stays with
/// nginx.
fn drain(lp: &mut Loop, hand_over: &HandOver) -> Result<(), HostError> {
    let started = Instant::now();
    loop {
        let (backlog, request) = hand_over.output.with(lp, |output| (output.backlog(), output.request()));
        if backlog != Backlog::Client {
            return Ok(());
        }
        // SAFETY: output is left, so that the request is not over.
        let connection = unsafe { (*request).connection };
        // SAFETY: as above.
        let (write, limit) = unsafe { ((*connection).write, ngx::core_location(request).send_timeout) };
        // SAFETY: a live connection and its event.
        if unsafe { multiplexed(request) || (*write).delayed() != 0 } {
            return Ok(());
        }
        // SAFETY: as above: nginx has noted whether the socket takes more.
        let (ready, sent) = unsafe { ((*write).ready() != 0, (*connection).sent) };
        if !ready {
            // SAFETY: the connection is open.
            wait_for_socket(unsafe { (*connection).fd }, limit, started)?;
            // SAFETY: nginx tries to send only where it believes the socket to be ready.
            unsafe { (*write).set_ready(1) };
        }
        hand_over.retry(lp)?;
        if hand_over.output.with(lp, |output| output.request().is_null()) {
            return Err(HostError::ClientGone);
        }
        // SAFETY: the request is not over.
        if unsafe { (*write).ready() != 0 && (*connection).sent == sent } {
            // The socket takes more, and nginx gives it nothing: it waits for something else.
            return Ok(());
        }
    }
}

/// Blocks until a socket takes more, at most `limit` milliseconds since `started`.
fn wait_for_socket(descriptor: libc::c_int, limit: usize, started: Instant) -> Result<(), HostError> {
    let left = limit.saturating_sub(usize::try_from(started.elapsed().as_millis()).unwrap_or(usize::MAX));
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one descriptor, one record.
    let ready = unsafe { libc::poll(&raw mut poll, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
    if ready == 0 { Err(HostError::TimedOut) } else { Ok(()) }
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
    /// Where files are made.
    location: Arc<Location>,
    /// While the response waits for another part of its page.
    kept: Option<Kept>,
}

/// A response that waits for another part of its page (an SSI include that comes first). Its blocks go to the mailbox, and
/// from there to a file, so that its thread does not wait for a part that may need a thread, too.
#[derive(Default)]
struct Kept {
    file: Option<Arc<File>>,
    len: u64,
}

/// As much of one response goes to a file while it waits for another part of its page; its thread waits for more room. That
/// is what nginx keeps of a proxied response (`proxy_max_temp_file_size`).
const LONGEST_KEPT: u64 = 1 << 30;

impl ThreadSink {
    pub(crate) fn new(hand_over: Arc<HandOver>, location: Arc<Location>) -> Self {
        Self { hand_over, head_sent: false, location, kept: None }
    }

    /// Notes whether blocks are to be kept from here on.
    fn note(&mut self, room: Room) -> BodyInterest {
        if !room.behind_part {
            self.kept = None;
        } else if self.kept.is_none() {
            self.kept = Some(Kept::default());
        }
        room.interest
    }

    fn is_full(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.len >= LONGEST_KEPT)
    }
}

impl Kept {
    #[cold]
    fn keep(&mut self, hand_over: &HandOver, location: &Location, chunk: &Chunk<'_>) -> Result<(), HostError> {
        let block: &[u8] = match chunk {
            Chunk::Borrowed(block) => block,
            Chunk::Owned(block) => block,
            Chunk::File(part) => return hand_over.post(Mail::File(part.clone(), Flush::Now), true),
        };
        let tell = match hand_over.mailbox.keep(block)? {
            Some(tell) => tell,
            None => hand_over.mailbox.keep_in_file(self.write(location, block)?)?,
        };
        hand_over.announce(tell);
        Ok(())
    }

    fn write(&mut self, location: &Location, block: &[u8]) -> io::Result<FilePart> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(location.temporary_file()?)),
        };
        file.write_all_at(block, self.len)?;
        let part = FilePart { file: Arc::clone(file), start: self.len, len: block.len() as u64 };
        self.len += part.len;
        Ok(part)
    }
}

impl ResponseSink for ThreadSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.head_sent = true;
        self.hand_over.post(Mail::Head(head), false)
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        if let Some(kept) = &mut self.kept {
            return kept.keep(&self.hand_over, &self.location, &chunk);
        }
        // Only small blocks are joined; a larger one leaves at once, with what waits before it.
        let flush = match (&chunk, flush) {
            (Chunk::Borrowed(block), Flush::Soon) => {
                return self.hand_over.mailbox.join(block).map(|tell| self.hand_over.announce(tell));
            }
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
        let tell = || self.hand_over.announce(true);
        let room = self.hand_over.mailbox.poll_room(self.head_sent, self.is_full(), cx, tell);
        room.map_ok(|room| self.note(room))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        let room = self.hand_over.mailbox.wait_for_room(self.is_full(), || self.hand_over.announce(true))?;
        self.note(room);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.hand_over.post(Mail::Finish, true)
    }
}
