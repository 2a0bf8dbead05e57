//! Sink of an application that runs on a thread: sends the response to the event loop through a relay.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use wsgi_core::error::{Fault, HostError};
use wsgi_core::host::{Accel, AccelHeaders, BodyInterest, Chunk, Flush, HeaderList, ResponseHead, ResponseSink};
use wsgi_core::python::Location;
use wsgi_core::relay::{RelaySink, Room};

use crate::kept::Kept;

pub(crate) struct ThreadSink {
    relay: RelaySink,
    /// The value of `X-Accel-Buffering`.
    joins: Option<bool>,
    /// Whether the head has `X-Accel-Redirect`: another location sends a body.
    redirected: bool,
    /// The location in whose temporary directory files are created.
    location: Arc<Location>,
    /// Set while the response waits for another part of its page (an SSI include that must be sent first). Its blocks
    /// stay in the relay and are written from there to a file, so that its thread does not wait for a part that may
    /// need a thread, too.
    kept: Option<Kept>,
}

impl ThreadSink {
    pub(crate) fn new(relay: RelaySink, location: Arc<Location>) -> Self {
        Self { relay, joins: None, redirected: false, location, kept: None }
    }

    /// Starts or stops keeping blocks, as `room` requires.
    fn note(&mut self, room: Room) -> BodyInterest {
        if !room.spool {
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
fn keep(kept: &mut Kept, relay: &mut RelaySink, location: &Location, chunk: Chunk<'_>) -> Result<(), HostError> {
    let block: &[u8] = match &chunk {
        Chunk::Borrowed(block) => block,
        Chunk::Owned(block) => block,
        Chunk::File(part) => return relay.send_file(part.clone(), true),
        Chunk::ApplicationFile(part) => return relay.send_application_file(part.clone(), true),
        _ => return relay.send(chunk, Flush::Now),
    };
    if relay.keep(block)? {
        return Ok(());
    }
    let part = kept.write(location, block)?;
    relay.send_file(part, true)
}

impl ResponseSink for ThreadSink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        let accel = Accel::of(&head.headers, self.ignored_headers());
        (self.joins, self.redirected) = (accel.buffering, accel.redirect.is_some());
        self.relay.head(head)?;
        if self.redirected { self.relay.send_flush() } else { Ok(()) }
    }

    fn replaces_body(&self, headers: &HeaderList) -> bool {
        Accel::of(headers, self.ignored_headers()).redirect.is_some()
    }

    fn joins_blocks(&self) -> Option<bool> {
        self.joins
    }

    fn sends_files(&self) -> bool {
        true
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        if let Some(kept) = &mut self.kept {
            return keep(kept, &mut self.relay, &self.location, chunk);
        }
        match chunk {
            Chunk::File(part) => self.relay.send_file(part, flush != Flush::Later),
            Chunk::ApplicationFile(part) => self.relay.send_application_file(part, flush != Flush::Later),
            chunk => self.relay.send_chunk(chunk, flush),
        }
    }

    fn flush(&mut self) -> Result<(), HostError> {
        if self.redirected { Ok(()) } else { self.relay.send_flush() }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        if self.redirected {
            return Poll::Ready(Ok(BodyInterest::Unwanted));
        }
        let is_full = self.is_full();
        self.relay.poll_room(cx, is_full).map_ok(|room| self.note(room))
    }

    fn drain(&mut self) -> Result<(), HostError> {
        if self.redirected {
            return Ok(());
        }
        // No timeout: the event loop closes the relay if the client accepts nothing for `send_timeout`.
        let is_full = self.is_full();
        let room = self.relay.wait_for_room(Duration::MAX, is_full)?;
        self.note(room);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), HostError> {
        match self.relay.end() {
            // The other location may have completed the response already.
            Err(_) if self.redirected => Ok(()),
            result => result,
        }
    }

    fn fail(&mut self, fault: &Fault) {
        self.relay.fail_with(fault.status_hint());
    }
}
