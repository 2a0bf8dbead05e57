//! From blocks to nginx's buffer chains: the response of one request on its way through nginx's filters.
//!
//! Everything here happens on the event loop's thread. nginx takes a chain and sends what the socket has room for; a
//! buffer belongs to it until `pos` has reached `last`, whatever the filters have returned.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use wsgi_core::config::Flag;
use wsgi_core::error::HostError;
use wsgi_core::head::{Accel, ResponseHead};
use wsgi_core::host::{BodyInterest, COPY_LIMIT, Chunk, Flush};
use wsgi_core::output::FilePart;

use crate::accel::{self, Redirection};
use crate::bindings::{
    ngx_alloc_chain_link, ngx_buf_t, ngx_chain_t, ngx_file_t, ngx_int_t, ngx_pcalloc, ngx_pool_cleanup_add,
};
use crate::conf::{self, LocationConf};
use crate::guard::guard;
use crate::mailbox::Backlog;
use crate::ngx::{self, Request};
use crate::{head, log, preconditions};

/// Small blocks are copied into the request's pool up to this total, buffers included. The pool gives nothing back
/// before the request ends; blocks beyond it have memory of their own, so that an endless stream stays small.
const POOL_BUDGET: usize = 32 * 1024;

/// What one request has handed to nginx. Nothing here calls nginx's filters: see [`response`](crate::response).
pub(crate) struct Output {
    /// Null when the request is over.
    request: *mut Request,
    head_sent: bool,
    ended: bool,
    /// Whether nginx wants a body: not for HEAD, nor when the answer has become a 304 or 412.
    wanted: bool,
    /// The application or a filter has redirected the request: it is another handler's.
    is_redirected: bool,
    /// nginx answers with its page for `code`, and nothing has been sent.
    is_refused: bool,
    /// What nginx's filters returned last.
    code: ngx_int_t,
    /// Small blocks that may wait for what follows, in one.
    joined: BytesMut,
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

// SAFETY: the pointers are followed on the event loop's thread only (`LoopCell`); dropping them does nothing.
unsafe impl Send for Output {}

/// Drops the blocks of a request whose pool goes, and with it what nginx was sending. `data` is what [`Output`] has registered.
unsafe extern "C" fn release_blocks(data: *mut c_void) {
    // SAFETY: nginx calls this once, with the box that was registered.
    guard("release_blocks", (), || drop(unsafe { Box::from_raw(data.cast::<VecDeque<Handed>>()) }));
}

/// How far a response has come when its exchange ends.
pub(crate) struct Ended {
    pub(crate) head_sent: bool,
    /// The last one that nginx's filters returned.
    pub(crate) code: ngx_int_t,
    /// Another handler answers the request.
    pub(crate) redirected: bool,
    /// nginx answers with its page for `code`.
    pub(crate) refused: bool,
}

/// How a head goes on its way.
pub(crate) enum Prepared {
    /// Through nginx's filters.
    Send(*mut Request),
    /// Not at all: another location answers (`X-Accel-Redirect`).
    Redirect(*mut Request, Box<Redirection>),
    /// Not at all: nginx answers with its page for a status.
    Refused,
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

impl Output {
    pub(crate) fn new(request: *mut Request) -> Self {
        Self {
            request,
            head_sent: false,
            ended: false,
            wanted: true,
            is_redirected: false,
            is_refused: false,
            code: ngx::OK,
            joined: BytesMut::new(),
            pending: ptr::null_mut(),
            pending_last: ptr::null_mut(),
            handed: ptr::null_mut(),
            spare: Vec::new(),
            spent: 0,
        }
    }

    /// The request; null when it is over.
    pub(crate) fn request(&self) -> *mut Request {
        self.request
    }

    /// The exchange has come to its end. `None` if it had ended before, or the request is over: then it is not ours to end
    /// any more.
    pub(crate) fn end(&mut self) -> Option<Ended> {
        let first = !std::mem::replace(&mut self.ended, true) && !self.request.is_null();
        first.then_some(Ended {
            head_sent: self.head_sent,
            code: self.code,
            redirected: self.is_redirected,
            refused: self.is_refused,
        })
    }

    /// Whether nothing is sent any more: the exchange has ended (nginx may still be sending), or the request is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended || self.request.is_null()
    }

    pub(crate) fn head_sent(&self) -> bool {
        self.head_sent
    }

    /// Lets go of the request. What nginx may still be sending stays until the pool goes.
    pub(crate) fn close(&mut self) -> *mut Request {
        self.pending = ptr::null_mut();
        self.handed = ptr::null_mut();
        self.spare.clear();
        std::mem::replace(&mut self.request, ptr::null_mut())
    }

    /// Writes status and headers to the request, unless nginx or another location answers instead.
    pub(crate) fn prepare_head(&mut self, head: &ResponseHead) -> Result<Prepared, HostError> {
        let request = self.live()?;
        self.head_sent = true;
        // SAFETY: the request is alive, and this is the loop's thread.
        unsafe {
            let conf = conf::of(request);
            if head.headers.has_accel()
                && let Some(prepared) = self.prepare_accel(request, head, conf)?
            {
                return Ok(prepared);
            }
            if !preconditions::may_be_judged(request) {
                (*request).set_disable_not_modified(1);
            } else if preconditions::are_there(request) && preconditions::fail(request, head) {
                return Ok(self.refuse(ngx::PRECONDITION_FAILED));
            } else if conf.settings.is_on(Flag::AllowRanges) {
                head::allow_ranges(request, head);
            }
            if !head::fill(request, head) {
                return Err(out_of_memory());
            }
            Ok(Prepared::Send(request))
        }
    }

    /// Obeys headers that are for nginx; how the head goes on its way, where they say so.
    ///
    /// # Safety
    ///
    /// `request` is alive and its head has not been sent; `conf` is that of its location.
    #[cold]
    unsafe fn prepare_accel(
        &mut self,
        request: *mut Request,
        head: &ResponseHead,
        conf: &LocationConf,
    ) -> Result<Option<Prepared>, HostError> {
        let ignored = conf.settings.ignored_headers.unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe {
            if !accel::obey(request, head, ignored) {
                return Err(out_of_memory());
            }
            let Some(target) = Accel::of(&head.headers, ignored).redirect else { return Ok(None) };
            Ok(Some(match accel::prepare_redirection(request, head, target) {
                Ok(redirection) => Prepared::Redirect(request, Box::new(redirection)),
                Err(status) => self.refuse(status),
            }))
        }
    }

    fn refuse(&mut self, status: ngx::Status) -> Prepared {
        (self.is_refused, self.wanted, self.code) = (true, false, status);
        Prepared::Refused
    }

    /// nginx's header filters have returned.
    pub(crate) fn head_passed(&mut self, code: ngx_int_t) -> Result<(), HostError> {
        if self.is_redirected {
            return Ok(());
        }
        let request = self.live()?;
        self.code = code;
        // SAFETY: the request is alive.
        unsafe {
            if (*(*request).connection).error() != 0 {
                return Err(HostError::ClientGone);
            }
            // A filter may have answered in place of the application. Its code ends the request.
            let answered = code == ngx::ERROR || code > ngx::OK;
            self.wanted = !answered && (*request).header_only() == 0;
        }
        Ok(())
    }

    /// The request was redirected to another handler, which has a count of it of its own: by `X-Accel-Redirect`, or by a filter
    /// that has answered in our place. Ours is given back at the end of the exchange, as nginx's upstream module does where that happens to it.
    pub(crate) fn redirected(&mut self) {
        self.is_redirected = true;
        self.wanted = false;
        self.code = ngx::DONE;
        self.pending = ptr::null_mut();
    }

    /// Whether another handler or nginx itself answers the request.
    pub(crate) fn is_given_away(&self) -> bool {
        self.is_redirected || self.is_refused
    }

    /// Takes one block; whether it is to be passed to nginx at once, with everything before it.
    pub(crate) fn take(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<bool, HostError> {
        let request = self.live()?;
        if !self.wanted {
            return Ok(false);
        }
        if flush == Flush::Soon
            && let Chunk::Borrowed(block) = chunk
            && self.joined.len() + block.len() <= COPY_LIMIT
        {
            self.joined.extend_from_slice(block);
            return Ok(false);
        }
        self.settle_joined(request)?;
        // SAFETY: the request is alive.
        let buffer = unsafe { self.buffer(request, chunk)? };
        if flush == Flush::Now {
            // SAFETY: a buffer of this request's pool.
            unsafe { (*buffer).set_flush(1) };
        }
        Ok(flush == Flush::Now)
    }

    /// Whether blocks wait for what follows.
    pub(crate) fn has_joined(&self) -> bool {
        !self.joined.is_empty()
    }

    /// Marks the end of what was taken, so that all of it leaves with the next pass; whether there is to be one.
    pub(crate) fn prepare_flush(&mut self) -> Result<bool, HostError> {
        let request = self.live()?;
        if !self.wanted {
            return Ok(false);
        }
        self.settle_joined(request)?;
        // SAFETY: the request is alive; its pending chain consists of links and buffers of its pool.
        unsafe {
            (*self.last_buffer(request)?).set_flush(1);
        }
        Ok(true)
    }

    /// What was joined becomes a block like the others.
    #[inline(always)]
    fn settle_joined(&mut self, request: *mut Request) -> Result<(), HostError> {
        if self.joined.is_empty() { Ok(()) } else { self.send_joined(request) }
    }

    #[cold]
    fn send_joined(&mut self, request: *mut Request) -> Result<(), HostError> {
        let block = self.joined.split().freeze();
        // SAFETY: the callers have seen that the request is alive.
        unsafe { self.buffer(request, Chunk::Owned(block))? };
        Ok(())
    }

    /// Marks the end of the body; whether there is something to be passed to nginx.
    pub(crate) fn prepare_end(&mut self) -> Result<bool, HostError> {
        let request = self.live()?;
        if !self.wanted {
            return Ok(false);
        }
        self.settle_joined(request)?;
        // SAFETY: the request is alive; its pending chain consists of links and buffers of its pool.
        unsafe {
            let buffer = self.last_buffer(request)?;
            if request == (*request).main && (*request).post_action() == 0 {
                (*buffer).set_last_buf(1);
            } else if (*buffer).pos == (*buffer).last {
                (*buffer).set_sync(1);
            }
            (*buffer).set_last_in_chain(1);
        }
        Ok(true)
    }

    /// Whether a further block may be produced.
    pub(crate) fn interest(&self) -> Result<BodyInterest, HostError> {
        let request = self.live()?;
        if self.is_redirected {
            return Ok(BodyInterest::Unwanted);
        }
        // SAFETY: the request and its connection are alive.
        if unsafe { (*(*request).connection).error() } != 0 {
            return Err(HostError::ClientGone);
        }
        Ok(if self.wanted { BodyInterest::Wanted } else { BodyInterest::Unwanted })
    }

    /// What nginx's output waits for. These are `ngx_http_writer`'s conditions.
    pub(crate) fn backlog(&self) -> Backlog {
        let request = self.request;
        if request.is_null() || self.is_redirected {
            return Backlog::None;
        }
        // SAFETY: the request and its connection are alive.
        unsafe {
            if !(*request).postponed.is_null() {
                return Backlog::Part;
            }
            let connection = request == (*request).main && (*(*request).connection).buffered() != 0;
            if (*request).buffered() != 0 || connection { Backlog::Client } else { Backlog::None }
        }
    }

    /// Whether nginx still holds output.
    pub(crate) fn is_blocked(&self) -> bool {
        self.backlog() != Backlog::None
    }

    fn live(&self) -> Result<*mut Request, HostError> {
        if self.request.is_null() { Err(HostError::ClientGone) } else { Ok(self.request) }
    }

    /// The request, and the chain to pass to nginx's body filters; null to have nginx try again with what it holds.
    pub(crate) fn take_pending(&mut self) -> Result<(*mut Request, *mut ngx_chain_t), HostError> {
        let request = self.live()?;
        self.pending_last = ptr::null_mut();
        Ok((request, std::mem::replace(&mut self.pending, ptr::null_mut())))
    }

    /// nginx's body filters have returned; `chain` is what they were called with.
    pub(crate) fn chain_passed(&mut self, mut chain: *mut ngx_chain_t, code: ngx_int_t) -> Result<(), HostError> {
        if self.is_redirected {
            return Ok(());
        }
        let request = self.live()?;
        self.code = code;
        // SAFETY: the request is alive. nginx copies the links that it keeps, so ours go back to the pool's list.
        unsafe {
            while !chain.is_null() {
                let next = (*chain).next;
                (*chain).next = (*(*request).pool).chain;
                (*(*request).pool).chain = chain;
                chain = next;
            }
            self.reap();
            if code == ngx::ERROR {
                log::debug((*(*request).connection).log, format_args!("wsgi output filter failed"));
                return Err(HostError::ClientGone);
            }
        }
        Ok(())
    }

    /// Lets go of what nginx is done with.
    fn reap(&mut self) {
        // SAFETY: null, or the pool's, which is alive as long as the request; so are the buffers.
        unsafe {
            let Some(handed) = self.handed.as_mut() else { return };
            while let Some(Handed { buffer, .. }) = handed.front() {
                let sent = match (**buffer).in_file() {
                    0 => (**buffer).pos == (**buffer).last,
                    _ => (**buffer).file_pos == (**buffer).file_last,
                };
                if !sent {
                    break;
                }
                self.spare.push(*buffer);
                handed.pop_front();
            }
        }
    }

    /// Keeps the content of a block until nginx has sent it.
    ///
    /// # Safety
    ///
    /// `request` is alive.
    unsafe fn keep(&mut self, request: *mut Request, handed: Handed) -> Result<(), HostError> {
        // SAFETY: the caller's promise; the pool drops once what is boxed here.
        unsafe {
            if self.handed.is_null() {
                let cleanup = ngx_pool_cleanup_add((*request).pool, 0);
                if cleanup.is_null() {
                    return Err(out_of_memory());
                }
                self.handed = Box::into_raw(Box::default());
                (*cleanup).data = self.handed.cast();
                (*cleanup).handler = Some(release_blocks);
            }
            (*self.handed).push_back(handed);
        }
        Ok(())
    }

    /// A buffer for a block, at the end of the pending chain.
    ///
    /// # Safety
    ///
    /// `request` is alive.
    #[inline(always)]
    unsafe fn buffer(&mut self, request: *mut Request, chunk: Chunk<'_>) -> Result<*mut ngx_buf_t, HostError> {
        // SAFETY: the caller's promise. Memory is either the pool's or kept by `handed` until nginx has sent it.
        unsafe {
            let buffer = self.empty_buffer(request)?;
            let memory = match chunk {
                Chunk::Borrowed(block) if self.spent + block.len() <= POOL_BUDGET => {
                    self.spent += block.len() + size_of::<ngx_buf_t>();
                    let copy = ngx::copy((*request).pool, block).ok_or_else(out_of_memory)?;
                    (*buffer).pos = copy.data;
                    (*buffer).last = copy.data.add(copy.len);
                    None
                }
                Chunk::Borrowed(block) => Some(Bytes::copy_from_slice(block)),
                Chunk::Owned(block) => Some(block),
                Chunk::File(part) => {
                    self.file_buffer(request, buffer, part)?;
                    return Ok(buffer);
                }
            };
            if let Some(block) = memory {
                (*buffer).pos = block.as_ptr().cast_mut();
                (*buffer).last = (*buffer).pos.add(block.len());
                self.keep(request, Handed { buffer, _content: Content::Memory(block) })?;
            }
            (*buffer).start = (*buffer).pos;
            (*buffer).end = (*buffer).last;
            (*buffer).set_memory(1);
            Ok(buffer)
        }
    }

    /// Makes `buffer` one that nginx sends from a file.
    ///
    /// # Safety
    ///
    /// `request` is alive, and `buffer` is an empty one of its pool.
    unsafe fn file_buffer(
        &mut self,
        request: *mut Request,
        buffer: *mut ngx_buf_t,
        part: FilePart,
    ) -> Result<(), HostError> {
        // SAFETY: the caller's promise. The descriptor stays open as long as `handed` has the file.
        unsafe {
            let file: *mut ngx_file_t = ngx_pcalloc((*request).pool, size_of::<ngx_file_t>()).cast();
            if file.is_null() {
                return Err(out_of_memory());
            }
            (*file).fd = part.file.as_raw_fd();
            (*file).name = ngx::str_of(b"wsgi temporary file");
            (*file).log = (*(*request).connection).log;
            (*buffer).file = file;
            (*buffer).file_pos = position(part.start)?;
            (*buffer).file_last = position(part.start + part.len)?;
            (*buffer).set_in_file(1);
            self.keep(request, Handed { buffer, _content: Content::File(part.file) })
        }
    }

    /// The last buffer of the pending chain, an empty one if there is none.
    ///
    /// # Safety
    ///
    /// `request` is alive.
    unsafe fn last_buffer(&mut self, request: *mut Request) -> Result<*mut ngx_buf_t, HostError> {
        // SAFETY: the caller's promise; the chain consists of links and buffers of the request's pool.
        unsafe { if self.pending.is_null() { self.empty_buffer(request) } else { Ok((*self.pending_last).buf) } }
    }

    /// An empty buffer at the end of the pending chain.
    ///
    /// # Safety
    ///
    /// `request` is alive.
    unsafe fn empty_buffer(&mut self, request: *mut Request) -> Result<*mut ngx_buf_t, HostError> {
        // SAFETY: the caller's promise; a spare buffer is one that nginx no longer knows.
        unsafe {
            let pool = (*request).pool;
            let buffer = match self.spare.pop() {
                Some(buffer) => {
                    buffer.write(std::mem::zeroed());
                    buffer
                }
                None => ngx_pcalloc(pool, size_of::<ngx_buf_t>()).cast(),
            };
            let link = ngx_alloc_chain_link(pool);
            if buffer.is_null() || link.is_null() {
                return Err(out_of_memory());
            }
            (*link).buf = buffer;
            (*link).next = ptr::null_mut();
            if self.pending.is_null() {
                self.pending = link;
            } else {
                (*self.pending_last).next = link;
            }
            self.pending_last = link;
            Ok(buffer)
        }
    }
}

/// A position in a file as the system counts.
fn position(offset: u64) -> Result<libc::off_t, HostError> {
    libc::off_t::try_from(offset).map_err(|_| HostError::Io(std::io::ErrorKind::FileTooLarge.into()))
}

fn out_of_memory() -> HostError {
    HostError::Io(std::io::Error::from_raw_os_error(libc::ENOMEM))
}
