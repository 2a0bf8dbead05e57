//! The way of a response from the thread of an application to nginx: by mail to the event loop.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use wsgi_core::error::HostError;
use wsgi_core::head::{Accel, AccelHeaders, HeaderList, ResponseHead};
use wsgi_core::host::{BodyInterest, Chunk, Flush, ResponseSink};
use wsgi_core::python::Location;

use crate::handover::HandOver;
use crate::kept::Kept;
use crate::mailbox::{Mail, Room};

/// Threads: everything becomes mail; head, blocks and end of a list result make one delivery.
pub(crate) struct ThreadSink {
    hand_over: Arc<HandOver>,
    head_sent: bool,
    /// `X-Accel-Buffering`.
    joins: Option<bool>,
    /// `X-Accel-Redirect`: another location sends a body.
    redirected: bool,
    /// Where files are made.
    location: Arc<Location>,
    /// While the response waits for another part of its page (an SSI include that comes first). Its blocks go to the mailbox,
    /// and from there to a file, so that its thread does not wait for a part that may need a thread, too.
    kept: Option<Kept>,
}

impl ThreadSink {
    pub(crate) fn new(hand_over: Arc<HandOver>, location: Arc<Location>) -> Self {
        Self { hand_over, head_sent: false, joins: None, redirected: false, location, kept: None }
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

    fn ignored_headers(&self) -> AccelHeaders {
        self.location.settings().ignored_headers.unwrap_or_default()
    }

    fn is_full(&self) -> bool {
        self.kept.as_ref().is_some_and(Kept::is_full)
    }
}

#[cold]
fn keep(kept: &mut Kept, hand_over: &HandOver, location: &Location, chunk: &Chunk<'_>) -> Result<(), HostError> {
    let block: &[u8] = match chunk {
        Chunk::Borrowed(block) => block,
        Chunk::Owned(block) => block,
        Chunk::File(part) => return hand_over.post(Mail::File(part.clone(), Flush::Now), true),
    };
    let tell = match hand_over.mailbox.keep(block)? {
        Some(tell) => tell,
        None => hand_over.mailbox.keep_in_file(kept.write(location, block)?)?,
    };
    hand_over.announce(tell);
    Ok(())
}

impl ResponseSink for ThreadSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.head_sent = true;
        let accel = Accel::of(&head.headers, self.ignored_headers());
        (self.joins, self.redirected) = (accel.buffering, accel.redirect.is_some());
        self.hand_over.post(Mail::Head(head), self.redirected)
    }

    fn replaces_body(&self, headers: &HeaderList) -> bool {
        Accel::of(headers, self.ignored_headers()).redirect.is_some()
    }

    fn joins_blocks(&self) -> Option<bool> {
        self.joins
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        if let Some(kept) = &mut self.kept {
            return keep(kept, &self.hand_over, &self.location, &chunk);
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
        if self.redirected { Ok(()) } else { self.hand_over.post(Mail::Flush, true) }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        if self.redirected {
            return Poll::Ready(Ok(BodyInterest::Unwanted));
        }
        let tell = || self.hand_over.announce(true);
        let room = self.hand_over.mailbox.poll_room(self.head_sent, self.is_full(), cx, tell);
        room.map_ok(|room| self.note(room))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        if self.redirected {
            return Ok(());
        }
        let room = self.hand_over.mailbox.wait_for_room(self.is_full(), || self.hand_over.announce(true))?;
        self.note(room);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        match self.hand_over.post(Mail::Finish, true) {
            // The other location may be done already.
            Err(_) if self.redirected => Ok(()),
            result => result,
        }
    }
}
