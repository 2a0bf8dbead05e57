//! The response under way: the protocol's state machine and the host's sink.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use pyo3::ffi;

use crate::config::{Flag, LevelSettings};
use crate::error::{HostError, ProtocolError};
use crate::host::{ApplicationFile, BodyInterest, COPY_LIMIT, Chunk, Flush, ResponseSink, Summary};
use crate::protocol::head::{HeaderList, ResponseHead, StatusLine};
use crate::protocol::output::{Gather, WriteBuffer};
use crate::protocol::response::{Accepted, Response};
use crate::python::application::location::Location;
use crate::python::attach::token::{HeldBytes, Token};

/// Why a response ended early.
pub(crate) enum Stop {
    Protocol(ProtocolError),
    Host(HostError),
    /// A call of `write` has failed and was logged.
    FailedWrite(Arc<HostError>),
}

/// The next step after a block of the iterable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask the iterable for another block.
    Ask,
    /// The body is complete by its Content-Length. Ask the iterable on, so that its code after the last block runs.
    Complete,
    /// End the response: no further block would be sent.
    End,
}

/// Response state and sink, driven together.
pub(crate) struct Reply {
    pub(crate) response: Response,
    /// `None` after the end of the request.
    pub(crate) sink: Option<Box<dyn ResponseSink>>,
    /// The failure of a write that has raised an exception in the application, kept until the exchange ends with it.
    pub(crate) failure: Option<Arc<HostError>>,
    /// The next block is the whole body, so its length is the Content-Length.
    pub(crate) single: bool,
    /// Whether to add a header `Refresh: 0`, unless the application sets one.
    pub(crate) refresh: bool,
    /// Bytes beyond Content-Length that were not sent.
    pub(crate) excess: u64,
    /// Whether blocks may be joined, if the head decides that.
    joins: Option<bool>,
    /// Bytes of blocks that the host may hold back until more follow.
    joined: usize,
    /// Joins the small blocks of a long list, which are sent together.
    gather: Option<Box<Gather>>,
    /// Blocks of the write callable that are held back until the application returns.
    written: Option<Box<WriteBuffer>>,
    status: u16,
    body_bytes: u64,
}

impl Reply {
    pub(crate) fn new(response: Response, sink: Box<dyn ResponseSink>) -> Self {
        Self {
            response,
            sink: Some(sink),
            failure: None,
            single: false,
            refresh: false,
            excess: 0,
            joins: None,
            joined: 0,
            gather: None,
            written: None,
            status: 0,
            body_bytes: 0,
        }
    }

    /// Handles a call of `start_response`. A second call, with `exc_info`, also discards the collected blocks.
    #[inline(always)]
    pub(crate) fn start(
        &mut self,
        status: StatusLine,
        mut headers: HeaderList,
        has_exc_info: bool,
    ) -> Result<(), ProtocolError> {
        if self.refresh {
            add_refresh(&mut headers);
        }
        let replaced = self.sink.as_ref().is_some_and(|sink| sink.replaces_body(&headers));
        self.response.start(status, headers, has_exc_info)?;
        self.response.replace_body(replaced);
        if self.written.take().is_some() {
            // The failure to store the discarded blocks no longer matters.
            self.failure = None;
        }
        Ok(())
    }

    /// Declares that the iterable consists of `count` blocks with `total` bytes.
    pub(crate) fn declare_blocks(&mut self, count: usize, total: u64) {
        if count >= GATHER_FROM {
            self.gather = Some(Box::new(Gather::new(total)));
        }
        let written = self.written.as_ref().map_or(0, |written| written.parts());
        if count + written == 1 {
            self.response.declare_single_block();
        }
    }

    /// Returns how the next block of the iterable, of `len` bytes, is to be sent.
    #[inline]
    pub(crate) fn flush_for(&mut self, len: usize, settings: &LevelSettings) -> Flush {
        match self.joins.unwrap_or_else(|| settings.is_on(Flag::OutputBuffering)) {
            true => self.join(len, settings.write_buffer_size()),
            false => Flush::Now,
        }
    }

    /// Like [`flush_for`](Self::flush_for), with up to `limit` bytes joined.
    fn join(&mut self, len: usize, limit: usize) -> Flush {
        self.joined += len;
        if self.joined < limit {
            return Flush::Soon;
        }
        self.joined = 0;
        Flush::Now
    }

    /// Fails if a write has failed: the application may have caught the exception that it raised.
    #[inline]
    pub(crate) fn check_writes(&mut self) -> Result<(), Stop> {
        self.failure.take().map_or(Ok(()), |failure| Err(Stop::FailedWrite(failure)))
    }

    /// Polls whether the host wants a further block of the iterable. `Pending` while it has no room; `cx` is woken
    /// then.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, Stop>> {
        self.check_writes()?;
        match self.sink.as_mut() {
            Some(sink) => sink.poll_ready(cx).map_err(Stop::Host),
            None => Poll::Ready(Err(Stop::Host(HostError::ClientGone))),
        }
    }

    /// Sends one block of the iterable, and returns whether a further one is needed.
    ///
    /// # Safety
    ///
    /// `block` is a live `bytes` object.
    #[inline(always)]
    pub(crate) unsafe fn item(
        &mut self,
        token: Token<'_>,
        block: *mut ffi::PyObject,
        flush: Flush,
    ) -> Result<Next, Stop> {
        self.release(Flush::Later)?;
        // SAFETY: the caller has checked that `block` is a `bytes` object.
        let length = unsafe { ffi::PyBytes_Size(block) } as u64;
        let accepted = self.response.item(length).map_err(Stop::Protocol)?;
        self.excess += accepted.excess;
        let next = match (accepted.last, accepted.complete) {
            (true, _) => Next::End,
            (false, true) => Next::Complete,
            (false, false) => Next::Ask,
        };
        let early = accepted.take == 0 && accepted.head.is_some() && flush != Flush::Later && next == Next::Ask;
        // The end of the response follows at once.
        let flush = if next == Next::Ask { flush } else { Flush::Later };
        // SAFETY: the caller keeps the `bytes` object alive.
        unsafe { self.send(token, accepted, block, flush) }.map_err(Stop::Host)?;
        if early && let Some(sink) = self.sink.as_mut() {
            sink.flush().map_err(Stop::Host)?;
        }
        Ok(next)
    }

    /// Sends a file of the application, whose length is that of the body unless the application has declared another.
    pub(crate) fn file(&mut self, mut part: ApplicationFile) -> Result<(), Stop> {
        self.response.declare_total(part.len);
        // The response is cut after a file that is shorter than promised; the client gets the file.
        let flush = if self.response.check_total().is_ok() { Flush::Later } else { Flush::Now };
        self.declare_blocks(1, part.len);
        self.release(Flush::Later)?;
        let accepted = self.response.item(part.len).map_err(Stop::Protocol)?;
        self.send_head(accepted.head).map_err(Stop::Host)?;
        let Some(sink) = self.sink.as_mut() else { return Err(Stop::Host(HostError::ClientGone)) };
        part.len = accepted.take;
        if part.len > 0 {
            self.body_bytes += part.len;
            sink.send(Chunk::ApplicationFile(part), flush).map_err(Stop::Host)?;
        }
        Ok(())
    }

    /// Takes one block from the write callable.
    ///
    /// With `wsgi_write_buffering` the block is collected, unless the head was sent. Otherwise it is sent, and this
    /// blocks until the sink accepts another block; other threads run Python meanwhile, but with inline execution the
    /// worker is blocked.
    ///
    /// # Safety
    ///
    /// `block` is a live `bytes` object.
    pub(crate) unsafe fn write(
        &mut self,
        token: Token<'_>,
        location: &Location,
        block: *mut ffi::PyObject,
    ) -> Result<(), Stop> {
        // SAFETY: the caller has checked that `block` is a `bytes` object.
        let length = unsafe { ffi::PyBytes_Size(block) } as u64;
        if location.settings().is_on(Flag::WriteBuffering)
            && let Some(keep) = self.response.collect(length).map_err(Stop::Protocol)?
        {
            // SAFETY: a live `bytes` object, to which the caller holds a reference during this call.
            let data = unsafe { std::slice::from_raw_parts(ffi::PyBytes_AsString(block).cast::<u8>(), keep as usize) };
            return self.collect(token, location, data).map_err(|error| Stop::Host(error.into()));
        }
        let accepted = self.response.write(length).map_err(Stop::Protocol)?;
        // SAFETY: the caller keeps the `bytes` object alive.
        unsafe { self.send(token, accepted, block, Flush::Now) }.map_err(Stop::Host)?;
        match self.sink.as_mut() {
            Some(sink) => token.detached(|| sink.drain()).map_err(Stop::Host),
            None => Err(Stop::Protocol(ProtocolError::Ended)),
        }
    }

    fn collect(&mut self, token: Token<'_>, location: &Location, block: &[u8]) -> std::io::Result<()> {
        let limit = location.settings().write_buffer_size();
        let written = self.written.get_or_insert_with(|| Box::new(WriteBuffer::new(limit)));
        if written.has_room(block.len()) {
            return written.push(block, location.store());
        }
        token.detached(|| written.push(block, location.store()))
    }

    /// Sends the collected blocks, if there are any.
    #[inline(always)]
    pub(crate) fn release(&mut self, flush: Flush) -> Result<(), Stop> {
        match self.written.take() {
            None => Ok(()),
            Some(written) => self.send_written(*written, flush),
        }
    }

    #[cold]
    fn send_written(&mut self, written: WriteBuffer, flush: Flush) -> Result<(), Stop> {
        if let Some(error) = written.error() {
            return Err(Stop::Host(error.into()));
        }
        if self.response.collected() == 0 {
            return Ok(());
        }
        let accepted = self.response.release().map_err(Stop::Protocol)?;
        let wanted = accepted.take > 0;
        self.send_head(accepted.head).map_err(Stop::Host)?;
        let Some(sink) = self.sink.as_mut() else { return Err(Stop::Host(HostError::ClientGone)) };
        if !wanted {
            return Ok(());
        }
        self.body_bytes += accepted.take;
        let (file, memory) = written.into_parts();
        let chunks = [file.map(Chunk::File), memory.map(Chunk::Owned)];
        let mut chunks = chunks.into_iter().flatten().peekable();
        while let Some(chunk) = chunks.next() {
            let flush = if chunks.peek().is_some() { Flush::Later } else { flush };
            sink.send(chunk, flush).map_err(Stop::Host)?;
        }
        Ok(())
    }

    /// Ends the response after the last block of the iterable.
    pub(crate) fn end(&mut self) -> Result<Summary, Stop> {
        self.release(Flush::Later)?;
        if self.gather.is_some() {
            self.send_gathered().map_err(Stop::Host)?;
        }
        let ending = self.response.end().map_err(Stop::Protocol)?;
        self.finish(ending.head)
    }

    /// Sends the last piece of a long list of small blocks.
    #[cold]
    fn send_gathered(&mut self) -> Result<(), HostError> {
        match (self.gather.take().and_then(|mut gather| gather.take()), self.sink.as_mut()) {
            (Some(piece), Some(sink)) => sink.send(Chunk::Owned(piece), Flush::Later),
            _ => Ok(()),
        }
    }

    /// Ends the response without the rest of the body, which the host does not want: Content-Length need not be met.
    pub(crate) fn end_unwanted(&mut self) -> Result<Summary, Stop> {
        self.finish(None)
    }

    fn finish(&mut self, head: Option<ResponseHead>) -> Result<Summary, Stop> {
        self.send_head(head).map_err(Stop::Host)?;
        let Some(sink) = self.sink.as_mut() else { return Err(Stop::Host(HostError::ClientGone)) };
        sink.finish().map_err(Stop::Host)?;
        Ok(Summary { status: self.status, body_bytes: self.body_bytes })
    }

    fn send_head(&mut self, head: Option<ResponseHead>) -> Result<(), HostError> {
        let Some(head) = head else { return Ok(()) };
        self.status = head.status.code().as_u16();
        let sink = self.sink.as_mut().ok_or(HostError::ClientGone)?;
        sink.send_head(head)?;
        self.joins = sink.joins_blocks();
        Ok(())
    }

    /// # Safety
    ///
    /// `block` is a live `bytes` object.
    unsafe fn send(
        &mut self,
        token: Token<'_>,
        accepted: Accepted,
        block: *mut ffi::PyObject,
        flush: Flush,
    ) -> Result<(), HostError> {
        self.send_head(accepted.head)?;
        let Some(sink) = self.sink.as_mut() else { return Err(HostError::ClientGone) };
        // At most the block's length, which fits into a usize.
        let take = accepted.take as usize;
        if take == 0 {
            return Ok(());
        }
        self.body_bytes += accepted.take;
        // SAFETY: a live bytes object, as the caller promises. The sink copies borrowed bytes; larger blocks get
        // another reference.
        unsafe {
            let data = std::slice::from_raw_parts(ffi::PyBytes_AsString(block).cast::<u8>(), take);
            if let Some(gather) = &mut self.gather
                && is_gathered(gather, &mut **sink, data)?
            {
                return Ok(());
            }
            if take <= COPY_LIMIT {
                sink.send(Chunk::Borrowed(data), flush)
            } else if ffi::PyBytes_CheckExact(block) == 0 {
                // A subclass may have a finaliser, which must not run where the host drops the block.
                sink.send(Chunk::Owned(Bytes::copy_from_slice(data)), flush)
            } else {
                let object = token.borrow(block).expect("a live object");
                let mut bytes = Bytes::from_owner(HeldBytes::new(object));
                bytes.truncate(take);
                sink.send(Chunk::Owned(bytes), flush)
            }
        }
    }
}

/// Lists of at least this many blocks are joined. For fewer blocks the additional copy costs more than it saves.
const GATHER_FROM: usize = 16;

/// Adds a block of a long list to the earlier ones, and sends a complete piece to the host. Returns false if the block
/// must be sent separately.
#[cold]
fn is_gathered(gather: &mut Gather, sink: &mut dyn ResponseSink, block: &[u8]) -> Result<bool, HostError> {
    let small = block.len() <= COPY_LIMIT;
    if let Some(piece) = if small { gather.add(block) } else { gather.pass(block) } {
        sink.send(Chunk::Owned(piece), Flush::Later)?;
    }
    Ok(small)
}

/// Adds a header that makes the client reload at once, unless the application has set it.
#[cold]
fn add_refresh(headers: &mut HeaderList) {
    if !headers.iter().any(|header| header.name.eq_ignore_ascii_case(b"refresh")) {
        headers.push(b"Refresh", b"0").expect("a valid header");
    }
}
