//! The sending end.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::blocks::Blocks;
use super::state::{End, Shared};
use super::{Parker, Room};
use crate::error::{Fault, HostError};
use crate::host::{BodyInterest, Chunk, Flush, ResponseSink};
use crate::protocol::head::ResponseHead;
use crate::protocol::output::{ApplicationFile, FilePart};

/// The sending end of a relay.
///
/// Dropping it before the end of the response cuts the response short.
pub struct RelaySink<H = ResponseHead> {
    /// Until the end of the response. Then the receiver, which has allocated it, frees it.
    shared: Option<Arc<Shared<H>>>,
    /// The `spool` of the last [`Room`].
    spools: bool,
    /// Wakes the thread that waits for room.
    parker: Option<Arc<Parker>>,
}

impl<H> RelaySink<H> {
    pub(super) fn new(shared: Arc<Shared<H>>) -> Self {
        Self { shared: Some(shared), spools: false, parker: None }
    }

    fn shared(&self) -> Result<&Shared<H>, HostError> {
        self.shared.as_deref().ok_or(HostError::ClientGone)
    }

    /// Sends the head, which may wait for later parts.
    pub fn head(&mut self, head: H) -> Result<(), HostError> {
        let mut head = Some(head);
        self.shared()?.put(|state| {
            (state.head, state.head_sent) = (head.take(), true);
            false
        })
    }

    /// Sends a block. Without `flush` it may wait for later parts.
    pub fn send_block(&mut self, block: Bytes, flush: bool) -> Result<(), HostError> {
        let mut block = Some(block);
        self.shared()?.put(|state| match block.take_if(|_| !state.is_unwanted()) {
            Some(block) => {
                state.blocks.push(block, flush);
                flush
            }
            None => false,
        })
    }

    /// Sends a part of a file. Without `flush` it may wait for later parts.
    pub fn send_file(&mut self, part: FilePart, flush: bool) -> Result<(), HostError> {
        self.put_file(flush, |blocks| blocks.push_file(part, flush))
    }

    /// Sends a part of a file of the application. Without `flush` it may wait for later parts.
    pub fn send_application_file(&mut self, part: ApplicationFile, flush: bool) -> Result<(), HostError> {
        self.put_file(flush, |blocks| blocks.push_application_file(part, flush))
    }

    fn put_file(&mut self, flush: bool, add: impl FnOnce(&mut Blocks)) -> Result<(), HostError> {
        let mut add = Some(add);
        self.shared()?.put(|state| match add.take_if(|_| !state.is_unwanted()) {
            Some(add) => {
                add(&mut state.blocks);
                flush
            }
            None => false,
        })
    }

    /// Sends a block like a [`ResponseSink`]. A part of a file is read into memory.
    pub fn send_chunk(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        match (chunk, flush) {
            (Chunk::Borrowed(block), Flush::Soon | Flush::Now) => self.join(block),
            (Chunk::ApplicationFile(part), flush) => self.send_application_file(part, flush != Flush::Later),
            (chunk, flush) => self.send_block(chunk.into_bytes()?, flush != Flush::Later),
        }
    }

    /// Sends a small block now. It is joined to earlier blocks that were also sent with `join` and were not taken.
    pub fn join(&mut self, block: &[u8]) -> Result<(), HostError> {
        self.shared()?.put(|state| {
            let is_wanted = !state.is_unwanted();
            if is_wanted {
                state.blocks.join(block);
            }
            is_wanted
        })
    }

    /// Keeps a block in memory while the receiver [spools](super::Demand::Spool). Returns false if the room is too small for
    /// it, or if the last block is part of a file: then the caller writes the block to a file and sends it with
    /// [`send_file`](Self::send_file).
    pub fn keep(&mut self, block: &[u8]) -> Result<bool, HostError> {
        let mut kept = true;
        let room = self.shared()?.room();
        self.shared()?.put(|state| {
            kept = state.blocks.bytes() + block.len() <= room && !state.blocks.ends_with_file();
            if kept {
                state.blocks.join(block);
            }
            kept
        })?;
        Ok(kept)
    }

    /// Whether the sender must keep blocks, as the last [`poll_room`](Self::poll_room) returned.
    pub fn spools(&self) -> bool {
        self.spools
    }

    /// Makes the receiver send everything so far now.
    pub fn send_flush(&mut self) -> Result<(), HostError> {
        self.shared()?.put(|state| {
            state.flush();
            true
        })
    }

    /// Ends a complete response. Later parts are refused.
    pub fn end(&mut self) -> Result<(), HostError> {
        self.shared.take().map_or(Ok(()), Shared::finish)
    }

    /// Ends a response that has failed, see [`Part::Failed`](super::Part::Failed).
    pub fn fail_with(&mut self, status: Option<StatusCode>) {
        if let Some(shared) = self.shared.take() {
            shared.end(End::Failed(status));
        }
    }

    /// Returns how to go on once a further block may be sent or kept. `Pending` wakes `cx` once that may have changed.
    /// With `spool_is_full` there is no room for a block that must be kept.
    pub fn poll_room(&mut self, cx: &mut Context<'_>, spool_is_full: bool) -> Poll<Result<Room, HostError>> {
        let polled = self.shared()?.poll_room(cx, spool_is_full);
        if let Poll::Ready(Ok(room)) = &polled {
            self.spools = room.spool;
        }
        polled
    }

    /// Blocks until a further block may be sent or kept. Fails with [`HostError::TimedOut`] if the receiver takes
    /// nothing for `timeout`.
    pub fn wait_for_room(&mut self, timeout: Duration, spool_is_full: bool) -> Result<Room, HostError> {
        let parker = Arc::clone(self.parker.get_or_insert_default());
        let waker = Waker::from(Arc::clone(&parker));
        let waiting = |sink: &Self| sink.shared().map_or(0, |shared| shared.with(|state| state.blocks.bytes()));
        loop {
            if let Poll::Ready(room) = self.poll_room(&mut Context::from_waker(&waker), spool_is_full) {
                return room;
            }
            let before = waiting(self);
            if !parker.park(timeout) && waiting(self) == before {
                return Err(HostError::TimedOut);
            }
        }
    }
}

impl ResponseSink for RelaySink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.head(head)
    }

    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.send_chunk(chunk, flush)
    }

    fn flush(&mut self) -> Result<(), HostError> {
        self.send_flush()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.poll_room(cx, false).map_ok(|room| room.interest)
    }

    fn drain(&mut self) -> Result<(), HostError> {
        self.wait_for_room(Duration::MAX, false).map(drop)
    }

    fn finish(&mut self) -> Result<(), HostError> {
        self.end()
    }

    fn fail(&mut self, fault: &Fault) {
        self.fail_with(fault.status_hint());
    }
}

impl<H> Drop for RelaySink<H> {
    fn drop(&mut self) {
        self.fail_with(Some(StatusCode::INTERNAL_SERVER_ERROR));
    }
}
