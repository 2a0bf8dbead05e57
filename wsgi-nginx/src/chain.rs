//! Output state of one request: the response head, and its blocks as nginx buffer chains.
//!
//! All functions run on the event loop's thread, and none calls nginx's filters: see [`response`](crate::response).

mod buffers;

use bytes::BytesMut;
use wsgi_core::config::Flag;
use wsgi_core::error::HostError;
use wsgi_core::host::{Accel, BodyInterest, COPY_LIMIT, Chunk, Flush, ResponseHead};

use buffers::{Buffers, out_of_memory};

use crate::accel::{self, Redirection};
use crate::bindings::{ngx_chain_t, ngx_int_t};
use crate::conf::{self, LocationConf};
use crate::ngx::{self, Request};
use crate::req::Req;
use crate::{head, preconditions};

/// The response of one request, as far as it was passed to nginx.
pub(crate) struct Output {
    request: Live,
    head_sent: bool,
    ended: bool,
    /// Whether nginx wants a body: not for HEAD, nor when the answer has become a 304 or 412.
    wanted: bool,
    /// Whether the application or a filter has redirected the request, so that another handler answers it.
    is_redirected: bool,
    /// Whether nginx answers with its page for `code`, and nothing has been sent.
    is_refused: bool,
    /// The last return value of nginx's filters.
    code: ngx_int_t,
    /// Small blocks ([`Flush::Soon`]) that are joined until a later block or flush.
    joined: BytesMut,
    buffers: Buffers,
}

// SAFETY: `LoopCell` gives access on the event loop's thread only, where the pointers are dereferenced. Dropping them
// does nothing.
unsafe impl Send for Output {}

/// A request until [`Output::close`]; null afterwards.
struct Live(*mut Request);

impl Live {
    fn is_over(&self) -> bool {
        self.0.is_null()
    }

    fn get(&self) -> Option<&Request> {
        // SAFETY: the pointer is null, or the request is alive: `close` runs before nginx destroys it. The borrow of
        // the output keeps everything else from changing the request.
        unsafe { self.0.as_ref() }
    }

    fn get_mut(&mut self) -> Result<&mut Request, HostError> {
        // SAFETY: the pointer is null, or the request is alive: `close` runs before nginx destroys it. The output is
        // borrowed exclusively, so no `Req` is in use.
        unsafe { self.0.as_mut() }.ok_or(HostError::ClientGone)
    }
}

/// The reason why nginx holds output of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    None,
    /// The client has not taken all output, or nginx waits for an event.
    Client,
    /// Another request of the same page must be sent first (`ngx_http_postpone_filter`). That request may need a thread
    /// or a permit, so a thread must not wait for it.
    Part,
}

/// State of the response at the end of its exchange.
pub(crate) struct Ended {
    pub(crate) head_sent: bool,
    /// The last return value of nginx's filters.
    pub(crate) code: ngx_int_t,
    /// Whether another handler answers the request.
    pub(crate) redirected: bool,
    /// Whether nginx answers with its page for `code`.
    pub(crate) refused: bool,
}

/// The way to continue after [`Output::prepare_head`].
pub(crate) enum Prepared {
    /// Pass the head to nginx's filters.
    Send,
    /// Send no head: another location answers (`X-Accel-Redirect`).
    Redirect(Box<Redirection>),
    /// Send no head: nginx answers with its page for a status.
    Refused,
}

impl Output {
    pub(crate) fn new(req: &mut Req<'_>) -> Self {
        Self {
            request: Live(req.as_ptr()),
            head_sent: false,
            ended: false,
            wanted: true,
            is_redirected: false,
            is_refused: false,
            code: ngx::OK,
            joined: BytesMut::new(),
            buffers: Buffers::new(),
        }
    }

    /// Returns the request; null after [`close`](Self::close).
    pub(crate) fn request(&self) -> *mut Request {
        self.request.0
    }

    /// Ends the exchange. Returns `None` if it had ended before, or if the request is closed: the exchange must not end
    /// the request then.
    pub(crate) fn end(&mut self) -> Option<Ended> {
        let first = !std::mem::replace(&mut self.ended, true) && !self.request.is_over();
        first.then_some(Ended {
            head_sent: self.head_sent,
            code: self.code,
            redirected: self.is_redirected,
            refused: self.is_refused,
        })
    }

    /// Whether nothing more is sent: the exchange has ended (nginx may still be sending), or the request is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended || self.request.is_over()
    }

    pub(crate) fn head_sent(&self) -> bool {
        self.head_sent
    }

    /// Releases the request and returns it; null if it was closed before. Content that nginx may still be sending stays
    /// until nginx frees the request's pool.
    pub(crate) fn close(&mut self) -> *mut Request {
        self.buffers.forget();
        std::mem::replace(&mut self.request.0, std::ptr::null_mut())
    }

    /// Writes status and headers to the request, unless nginx or another location answers instead.
    pub(crate) fn prepare_head(&mut self, head: &ResponseHead) -> Result<Prepared, HostError> {
        let request = self.request.get_mut()?;
        self.head_sent = true;
        let conf = conf::of(request);
        if head.headers.has_accel()
            && let Some(prepared) = self.prepare_accel(head, conf)?
        {
            return Ok(prepared);
        }
        let request = self.request.get_mut()?;
        if !preconditions::may_be_judged(request) {
            request.set_disable_not_modified(1);
        } else if preconditions::are_there(request) && preconditions::fail(request, head) {
            return Ok(self.refuse(ngx::PRECONDITION_FAILED));
        } else if conf.settings.is_on(Flag::AllowRanges) {
            head::allow_ranges(request, head);
        }
        if head::fill(request, head) { Ok(Prepared::Send) } else { Err(out_of_memory()) }
    }

    /// Applies the headers that are addressed to nginx. Returns how to continue if they decide it. `conf` is the
    /// location's configuration.
    #[cold]
    fn prepare_accel(&mut self, head: &ResponseHead, conf: &LocationConf) -> Result<Option<Prepared>, HostError> {
        let ignored = conf.settings.ignored_headers.unwrap_or_default();
        let request = self.request.get_mut()?;
        if !accel::obey(request, head, ignored) {
            return Err(out_of_memory());
        }
        let Some(target) = Accel::of(&head.headers, ignored).redirect else { return Ok(None) };
        Ok(Some(match accel::prepare_redirection(request, head, target) {
            Ok(redirection) => Prepared::Redirect(Box::new(redirection)),
            Err(status) => self.refuse(status),
        }))
    }

    fn refuse(&mut self, status: ngx::Status) -> Prepared {
        (self.is_refused, self.wanted, self.code) = (true, false, status);
        Prepared::Refused
    }

    /// Records that nginx's header filters have returned `code`.
    pub(crate) fn head_passed(&mut self, code: ngx_int_t) -> Result<(), HostError> {
        if self.is_redirected {
            return Ok(());
        }
        let request = self.request.get_mut()?;
        self.code = code;
        if request.connection().error() != 0 {
            return Err(HostError::ClientGone);
        }
        // A filter may have answered in place of the application. Its code ends the request.
        let answered = code == ngx::ERROR || code > ngx::OK;
        self.wanted = !answered && request.header_only() == 0;
        Ok(())
    }

    /// Records that another handler answers the request, by `X-Accel-Redirect` or because a filter redirected it. That
    /// handler has taken a count of the request. The exchange returns its count at its end, as nginx's upstream module
    /// does in that case.
    pub(crate) fn redirected(&mut self) {
        self.is_redirected = true;
        self.wanted = false;
        self.code = ngx::DONE;
        self.buffers.clear_pending();
    }

    /// Whether another handler or nginx itself answers the request.
    pub(crate) fn is_given_away(&self) -> bool {
        self.is_redirected || self.is_refused
    }

    /// Takes one block. Returns whether to pass it to nginx at once, with everything before it.
    pub(crate) fn take(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<bool, HostError> {
        let request = self.request.get_mut()?;
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
        settle(&mut self.joined, &mut self.buffers, request)?;
        let buffer = self.buffers.add(request, chunk)?;
        if flush == Flush::Now {
            buffer.set_flush(1);
        }
        Ok(flush == Flush::Now)
    }

    /// Whether joined blocks wait for a later block or flush.
    pub(crate) fn has_joined(&self) -> bool {
        !self.joined.is_empty()
    }

    /// Flushes everything taken so far with the next pass. Returns whether the caller must pass the chain to nginx.
    pub(crate) fn prepare_flush(&mut self) -> Result<bool, HostError> {
        let request = self.request.get_mut()?;
        if self.wanted {
            settle(&mut self.joined, &mut self.buffers, request)?;
            self.buffers.last(request)?.set_flush(1);
        }
        Ok(self.wanted)
    }

    /// Marks the end of the body. Returns whether the caller must pass the chain to nginx.
    pub(crate) fn prepare_end(&mut self) -> Result<bool, HostError> {
        let request = self.request.get_mut()?;
        if !self.wanted {
            return Ok(false);
        }
        settle(&mut self.joined, &mut self.buffers, request)?;
        let buffer = self.buffers.last(request)?;
        if request.is_main() && request.post_action() == 0 {
            buffer.set_last_buf(1);
        } else if buffer.pos == buffer.last && buffer.in_file() == 0 {
            buffer.set_sync(1);
        }
        buffer.set_last_in_chain(1);
        Ok(true)
    }

    /// Returns whether a further block may be produced.
    pub(crate) fn interest(&self) -> Result<BodyInterest, HostError> {
        let request = self.request.get().ok_or(HostError::ClientGone)?;
        if self.is_redirected {
            return Ok(BodyInterest::Unwanted);
        }
        if request.connection().error() != 0 {
            return Err(HostError::ClientGone);
        }
        Ok(if self.wanted { BodyInterest::Wanted } else { BodyInterest::Unwanted })
    }

    /// Returns the reason why nginx holds output, by the conditions of `ngx_http_writer`.
    pub(crate) fn backlog(&self) -> Backlog {
        let Some(request) = self.request.get().filter(|_| !self.is_redirected) else { return Backlog::None };
        if !request.postponed.is_null() {
            return Backlog::Part;
        }
        let connection = request.is_main() && request.connection().buffered() != 0;
        if request.buffered() != 0 || connection { Backlog::Client } else { Backlog::None }
    }

    /// Whether nginx still holds output.
    pub(crate) fn is_blocked(&self) -> bool {
        self.backlog() != Backlog::None
    }

    /// Whether the client has yet to take blocks of a response that goes on. Those of a subrequest are not waited for:
    /// other parts of the page may come first.
    pub(crate) fn has_unsent_blocks(&self) -> bool {
        let goes_on = self.head_sent && !self.ended && !self.is_given_away();
        let takes = |request: &Request| request.is_main() && request.connection().error() == 0;
        goes_on && self.request.get().is_some_and(takes) && self.backlog() == Backlog::Client
    }

    /// Returns the chain to pass to nginx's body filters; null makes nginx retry the output that it holds.
    pub(crate) fn take_pending(&mut self) -> Result<*mut ngx_chain_t, HostError> {
        self.request.get_mut()?;
        Ok(self.buffers.take_pending())
    }

    /// Records that nginx's body filters have returned `code` for `chain`.
    pub(crate) fn chain_passed(&mut self, chain: *mut ngx_chain_t, code: ngx_int_t) -> Result<(), HostError> {
        if self.is_redirected {
            return Ok(());
        }
        let request = self.request.get_mut()?;
        self.code = code;
        self.buffers.chain_passed(request, chain);
        if code == ngx::ERROR {
            request.debug(format_args!("wsgi output filter failed"));
            return Err(HostError::ClientGone);
        }
        Ok(())
    }
}

/// Adds the joined blocks as one buffer.
#[inline(always)]
fn settle(joined: &mut BytesMut, buffers: &mut Buffers, request: &mut Request) -> Result<(), HostError> {
    if joined.is_empty() { Ok(()) } else { add_joined(joined, buffers, request) }
}

#[cold]
fn add_joined(joined: &mut BytesMut, buffers: &mut Buffers, request: &mut Request) -> Result<(), HostError> {
    buffers.add(request, Chunk::Owned(joined.split().freeze())).map(drop)
}
