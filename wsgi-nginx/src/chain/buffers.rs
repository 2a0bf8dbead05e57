//! Blocks as nginx's buffers: those that wait to be passed on, and those that nginx is still sending.
//!
//! A buffer belongs to nginx until `pos` has reached `last`, whatever the filters have returned. Its content is in the
//! request's pool, or kept in `handed` until then.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;

use bytes::Bytes;
use wsgi_core::error::HostError;
use wsgi_core::host::Chunk;
use wsgi_core::output::FilePart;

use crate::bindings::{ngx_alloc_chain_link, ngx_buf_t, ngx_chain_t, ngx_file_t, ngx_pool_cleanup_add};
use crate::guard::guard;
use crate::ngx::{self, Request};

/// Small blocks are copied into the request's pool up to this total, buffers included. The pool gives nothing back
/// before the request ends; blocks beyond it have memory of their own, so that an endless stream stays small.
const POOL_BUDGET: usize = 32 * 1024;

/// The buffers of one request, which is alive wherever it is asked for.
pub(super) struct Buffers {
    /// Blocks that leave with the next one that is flushed.
    pending: *mut ngx_chain_t,
    pending_last: *mut ngx_chain_t,
    /// Buffers whose memory is ours and that nginx may still be reading from, oldest first. Null until there is one. It
    /// belongs to the request's pool: with HTTP/2 nginx may read on after the request has been given up.
    handed: *mut VecDeque<Handed>,
    /// Buffers that nginx is done with.
    spare: Vec<*mut ngx_buf_t>,
    /// Bytes of the pool that were spent on small blocks.
    spent: usize,
}

/// A buffer, and what keeps its content alive.
struct Handed {
    buffer: *mut ngx_buf_t,
    _content: Content,
}

/// What nginx reads from until it has sent it.
enum Content {
    Memory(#[expect(dead_code, reason = "held, not looked at")] Bytes),
    File(#[expect(dead_code, reason = "as above")] Arc<File>),
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            pending: ptr::null_mut(),
            pending_last: ptr::null_mut(),
            handed: ptr::null_mut(),
            spare: Vec::new(),
            spent: 0,
        }
    }

    /// Adds a buffer for a block to the pending chain.
    #[inline(always)]
    pub(super) fn add(&mut self, request: &mut Request, chunk: Chunk<'_>) -> Result<&mut ngx_buf_t, HostError> {
        let buffer = self.empty(request)?;
        // SAFETY: a buffer of the request's pool that nginx has not been given.
        let place = unsafe { &mut *buffer };
        match chunk {
            Chunk::Borrowed(block) if self.spent + block.len() <= POOL_BUDGET => {
                self.spent += block.len() + size_of::<ngx_buf_t>();
                let copy = request.copy(block).ok_or_else(out_of_memory)?;
                // SAFETY: memory of the request's pool.
                place.set_bytes(unsafe { ngx::bytes(&copy) });
            }
            Chunk::Borrowed(block) => self.keep_memory(request, buffer, Bytes::copy_from_slice(block))?,
            Chunk::Owned(block) => self.keep_memory(request, buffer, block)?,
            Chunk::File(part) => self.keep_file(request, buffer, part)?,
        }
        Ok(place)
    }

    /// The last buffer of the pending chain, an empty one if there is none.
    pub(super) fn last(&mut self, request: &mut Request) -> Result<&mut ngx_buf_t, HostError> {
        if self.pending.is_null() {
            self.empty(request)?;
        }
        // SAFETY: the last link of a chain that is not empty, with its buffer.
        Ok(unsafe { &mut *(*self.pending_last).buf })
    }

    /// Takes the pending chain; null if there is none.
    pub(super) fn take_pending(&mut self) -> *mut ngx_chain_t {
        self.pending_last = ptr::null_mut();
        std::mem::replace(&mut self.pending, ptr::null_mut())
    }

    /// Gives the links of a chain that nginx's filters were called with back to the pool's list, since nginx copies those that
    /// it keeps; and lets go of what nginx is done with.
    pub(super) fn chain_passed(&mut self, request: &mut Request, mut chain: *mut ngx_chain_t) {
        while !chain.is_null() {
            // SAFETY: a link of the chain; the pool of a live request.
            unsafe {
                let next = std::mem::replace(&mut (*chain).next, (*request.pool).chain);
                (*request.pool).chain = chain;
                chain = next;
            }
        }
        // SAFETY: null, or the pool's, which is alive as long as the request.
        let Some(handed) = (unsafe { self.handed.as_mut() }) else { return };
        while let Some(Handed { buffer, .. }) = handed.front() {
            // SAFETY: a buffer of the pool.
            if !unsafe { (**buffer).is_sent() } {
                break;
            }
            self.spare.push(*buffer);
            handed.pop_front();
        }
    }

    /// Drops the pending chain.
    pub(super) fn clear_pending(&mut self) {
        self.pending = ptr::null_mut();
    }

    /// Forgets everything: what nginx may still be sending stays until the pool goes.
    pub(super) fn forget(&mut self) {
        self.pending = ptr::null_mut();
        self.handed = ptr::null_mut();
        self.spare.clear();
    }

    /// Lets a buffer point to memory.
    fn keep_memory(&mut self, request: &mut Request, buffer: *mut ngx_buf_t, block: Bytes) -> Result<(), HostError> {
        // SAFETY: a buffer of the request's pool that nginx has not been given.
        unsafe { (*buffer).set_bytes(&block) };
        self.keep(request, Handed { buffer, _content: Content::Memory(block) })
    }

    /// Lets nginx send a buffer from a file.
    fn keep_file(&mut self, request: &mut Request, buffer: *mut ngx_buf_t, part: FilePart) -> Result<(), HostError> {
        let record: *mut ngx_file_t = request.zeroed();
        // SAFETY: null, or memory of the pool, zeroed.
        let file = unsafe { record.as_mut() }.ok_or_else(out_of_memory)?;
        file.fd = part.file.as_raw_fd();
        file.name = ngx::str_of(b"wsgi temporary file");
        file.log = request.connection().log;
        // SAFETY: a buffer of the request's pool that nginx has not been given.
        let place = unsafe { &mut *buffer };
        place.file = record;
        place.file_pos = position(part.start)?;
        place.file_last = position(part.start + part.len)?;
        place.set_in_file(1);
        self.keep(request, Handed { buffer, _content: Content::File(part.file) })
    }

    /// Keeps the content of a buffer until nginx has sent it.
    fn keep(&mut self, request: &mut Request, handed: Handed) -> Result<(), HostError> {
        if self.handed.is_null() {
            // SAFETY: the pool of a live request.
            let cleanup = unsafe { ngx_pool_cleanup_add(request.pool, 0).as_mut() }.ok_or_else(out_of_memory)?;
            self.handed = Box::into_raw(Box::default());
            cleanup.data = self.handed.cast();
            cleanup.handler = Some(release_blocks);
        }
        // SAFETY: boxed here; the pool of a live request has not dropped it.
        unsafe { (*self.handed).push_back(handed) };
        Ok(())
    }

    /// An empty buffer at the end of the pending chain.
    fn empty(&mut self, request: &mut Request) -> Result<*mut ngx_buf_t, HostError> {
        let buffer = match self.spare.pop() {
            Some(buffer) => {
                // SAFETY: a spare buffer is one of the pool that nginx no longer knows; all-zero is an empty one.
                unsafe { buffer.write(std::mem::zeroed()) };
                buffer
            }
            None => request.zeroed(),
        };
        // SAFETY: the pool of a live request.
        let link = unsafe { ngx_alloc_chain_link(request.pool) };
        if buffer.is_null() || link.is_null() {
            return Err(out_of_memory());
        }
        // SAFETY: a new link; the last link of a chain that is not empty.
        unsafe {
            ((*link).buf, (*link).next) = (buffer, ptr::null_mut());
            if self.pending.is_null() {
                self.pending = link;
            } else {
                (*self.pending_last).next = link;
            }
        }
        self.pending_last = link;
        Ok(buffer)
    }
}

/// Drops the blocks of a request whose pool goes, and with it what nginx was sending.
unsafe extern "C" fn release_blocks(data: *mut c_void) {
    // SAFETY: nginx calls this once, with the box that was registered.
    guard("release_blocks", (), || drop(unsafe { Box::from_raw(data.cast::<VecDeque<Handed>>()) }));
}

/// A position in a file as the system counts.
fn position(offset: u64) -> Result<libc::off_t, HostError> {
    libc::off_t::try_from(offset).map_err(|_| HostError::Io(std::io::ErrorKind::FileTooLarge.into()))
}

pub(super) fn out_of_memory() -> HostError {
    HostError::Io(std::io::Error::from_raw_os_error(libc::ENOMEM))
}
