//! Blocks as nginx's buffers: buffers that are not yet passed to the filters, and buffers that nginx is still sending.
//!
//! A buffer belongs to nginx until `pos` has reached `last`, whichever code the filters have returned. Until then its
//! content is in the request's pool, or kept alive in `handed`.

use std::collections::VecDeque;
use std::ffi::{CStr, c_void};
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::ptr;
use std::sync::Arc;

use bytes::Bytes;
use wsgi_core::error::HostError;
use wsgi_core::host::{ApplicationFile, Chunk, FilePart};

use crate::bindings::{ngx_alloc_chain_link, ngx_buf_t, ngx_chain_t, ngx_file_t, ngx_pool_cleanup_add};
use crate::guard::guard;
use crate::ngx::{self, Request};

/// Small blocks are copied into the request's pool up to this total, in bytes, buffers included. The pool frees nothing
/// before the request ends; further blocks have separate allocations, so that an endless stream does not grow.
const POOL_BUDGET: usize = 32 * 1024;

/// The buffers of one request. The request is alive during every call.
pub(super) struct Buffers {
    /// Blocks that are sent with the next flushed block.
    pending: *mut ngx_chain_t,
    pending_last: *mut ngx_chain_t,
    /// Buffers whose memory is ours and that nginx may still be reading from, oldest first. Null until there is one. It
    /// belongs to the request's pool: with HTTP/2 nginx may go on reading after the request has been given up.
    handed: *mut VecDeque<Handed>,
    /// Buffers that nginx has sent, for reuse.
    spare: Vec<*mut ngx_buf_t>,
    /// Bytes of the pool that were used for small blocks.
    spent: usize,
}

/// A buffer, and the owner of its content.
struct Handed {
    buffer: *mut ngx_buf_t,
    _content: Content,
}

/// Content that nginx reads until it has sent the buffer.
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
        // SAFETY: a buffer of the request's pool that has not been passed to nginx.
        let place = unsafe { &mut *buffer };
        match chunk {
            Chunk::Borrowed(block) if self.spent + block.len() <= POOL_BUDGET => {
                self.spent += block.len() + size_of::<ngx_buf_t>();
                let copy = request.copy(block).ok_or_else(out_of_memory)?;
                // SAFETY: the copy is in the request's pool, and lives as long as the buffer.
                place.set_bytes(unsafe { ngx::bytes(&copy) });
            }
            Chunk::Borrowed(block) => self.keep_memory(request, buffer, Bytes::copy_from_slice(block))?,
            Chunk::Owned(block) => self.keep_memory(request, buffer, block)?,
            Chunk::File(part) => self.keep_file(request, buffer, part)?,
            Chunk::ApplicationFile(part) => self.keep_application_file(request, buffer, part)?,
            chunk => self.keep_memory(request, buffer, chunk.into_bytes()?)?,
        }
        Ok(place)
    }

    /// Returns the last buffer of the pending chain, or adds an empty one if there is none.
    pub(super) fn last(&mut self, request: &mut Request) -> Result<&mut ngx_buf_t, HostError> {
        if self.pending.is_null() {
            self.empty(request)?;
        }
        // SAFETY: the chain is not empty, so `pending_last` is a link, which has a buffer.
        Ok(unsafe { &mut *(*self.pending_last).buf })
    }

    /// Takes the pending chain. Returns null if there is none.
    pub(super) fn take_pending(&mut self) -> *mut ngx_chain_t {
        self.pending_last = ptr::null_mut();
        std::mem::replace(&mut self.pending, ptr::null_mut())
    }

    /// Returns the links of a chain that was passed to nginx's filters to the pool, since nginx copies the links that
    /// it keeps. Drops the content that nginx has sent.
    pub(super) fn chain_passed(&mut self, request: &mut Request, mut chain: *mut ngx_chain_t) {
        while !chain.is_null() {
            // SAFETY: `chain` is a link of the chain, and the pool belongs to a live request.
            unsafe {
                let next = std::mem::replace(&mut (*chain).next, (*request.pool).chain);
                (*request.pool).chain = chain;
                chain = next;
            }
        }
        // SAFETY: null, or a value of the pool, which lives as long as the request.
        let Some(handed) = (unsafe { self.handed.as_mut() }) else { return };
        while let Some(Handed { buffer, .. }) = handed.front() {
            // SAFETY: the buffer is in the pool of the live request.
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

    /// Forgets all buffers. Content that nginx may still be sending lives until the pool is destroyed.
    pub(super) fn forget(&mut self) {
        self.pending = ptr::null_mut();
        self.handed = ptr::null_mut();
        self.spare.clear();
    }

    /// Points a buffer to memory, and keeps the memory alive.
    fn keep_memory(&mut self, request: &mut Request, buffer: *mut ngx_buf_t, block: Bytes) -> Result<(), HostError> {
        // SAFETY: a buffer of the request's pool that has not been passed to nginx.
        unsafe { (*buffer).set_bytes(&block) };
        self.keep(request, Handed { buffer, _content: Content::Memory(block) })
    }

    /// Points a buffer to a part of a file, and keeps the file open.
    fn keep_file(&mut self, request: &mut Request, buffer: *mut ngx_buf_t, part: FilePart) -> Result<(), HostError> {
        set_file(request, buffer, c"wsgi temporary file", &part.file, part.start..part.start + part.len)?;
        self.keep(request, Handed { buffer, _content: Content::File(part.file) })
    }

    /// The same for a file of the application, which is sent like a file that nginx has opened (`sendfile`, `aio`,
    /// `directio`).
    fn keep_application_file(
        &mut self,
        request: &mut Request,
        buffer: *mut ngx_buf_t,
        part: ApplicationFile,
    ) -> Result<(), HostError> {
        let threshold = u64::try_from(request.core_location().directio).unwrap_or(u64::MAX);
        let direct = if part.len >= threshold { reopened_for_direct_io(&part.file) } else { None };
        let is_direct = direct.is_some();
        let file = direct.map_or(part.file, Arc::new);
        let record = set_file(request, buffer, c"file of the application", &file, part.start..part.start + part.len)?;
        record.set_directio(u32::from(is_direct));
        self.keep(request, Handed { buffer, _content: Content::File(file) })
    }

    /// Keeps the content of a buffer alive until nginx has sent it.
    fn keep(&mut self, request: &mut Request, handed: Handed) -> Result<(), HostError> {
        if self.handed.is_null() {
            // SAFETY: the pool belongs to a live request.
            let cleanup = unsafe { ngx_pool_cleanup_add(request.pool, 0).as_mut() }.ok_or_else(out_of_memory)?;
            self.handed = Box::into_raw(Box::default());
            cleanup.data = self.handed.cast();
            cleanup.handler = Some(release_blocks);
        }
        // SAFETY: boxed above or in an earlier call; only the clean-up of the pool drops it, and the request is alive.
        unsafe { (*self.handed).push_back(handed) };
        Ok(())
    }

    /// Appends an empty buffer to the pending chain.
    fn empty(&mut self, request: &mut Request) -> Result<*mut ngx_buf_t, HostError> {
        let buffer = match self.spare.pop() {
            Some(buffer) => {
                // SAFETY: a spare buffer is in the pool, and nginx no longer uses it; an all-zero buffer is an empty
                // one.
                unsafe { buffer.write(std::mem::zeroed()) };
                buffer
            }
            None => request.zeroed(),
        };
        // SAFETY: the pool belongs to a live request.
        let link = unsafe { ngx_alloc_chain_link(request.pool) };
        if buffer.is_null() || link.is_null() {
            return Err(out_of_memory());
        }
        // SAFETY: `link` is new; `pending_last` is the last link of a chain that is not empty.
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

/// Drops the content that nginx was still sending when the request's pool is destroyed.
unsafe extern "C" fn release_blocks(data: *mut c_void) {
    // SAFETY: nginx calls this once, with the box that was registered.
    guard("release_blocks", (), || drop(unsafe { Box::from_raw(data.cast::<VecDeque<Handed>>()) }));
}

/// Points a buffer of the request's pool, which has not been passed to nginx, to a range of a file. `name` is for nginx's
/// error messages, some of which expect the NUL of C. Returns nginx's record of the file.
fn set_file<'a>(
    request: &'a mut Request,
    buffer: *mut ngx_buf_t,
    name: &'static CStr,
    file: &File,
    range: Range<u64>,
) -> Result<&'a mut ngx_file_t, HostError> {
    let record: *mut ngx_file_t = request.zeroed();
    // SAFETY: null, or zeroed memory of the pool.
    let place = unsafe { record.as_mut() }.ok_or_else(out_of_memory)?;
    place.fd = file.as_raw_fd();
    place.name = ngx::str_of(name.to_bytes());
    place.log = request.connection().log;
    // SAFETY: a buffer of the request's pool that has not been passed to nginx.
    let buffer = unsafe { &mut *buffer };
    buffer.file = record;
    buffer.file_pos = position(range.start)?;
    buffer.file_last = position(range.end)?;
    buffer.set_in_file(1);
    Ok(place)
}

/// Opens a file once more, for reads that bypass the page cache. The application's descriptor must not get that flag,
/// which its duplicates share. `None` if the file system has no such reads.
#[cold]
fn reopened_for_direct_io(file: &File) -> Option<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok()
}

/// Converts a file position to the system's type.
fn position(offset: u64) -> Result<libc::off_t, HostError> {
    libc::off_t::try_from(offset).map_err(|_| HostError::Io(std::io::ErrorKind::FileTooLarge.into()))
}

pub(super) fn out_of_memory() -> HostError {
    HostError::Io(std::io::Error::from_raw_os_error(libc::ENOMEM))
}
