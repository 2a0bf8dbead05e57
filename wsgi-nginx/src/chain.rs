//! From blocks to nginx's buffer chains: the response of one request on its way through nginx's filters.
//!
//! Everything here happens on the event loop's thread, and nothing calls nginx's filters: see [`response`](crate::response).

mod buffers;

use bytes::BytesMut;
use wsgi_core::config::Flag;
use wsgi_core::error::HostError;
use wsgi_core::head::{Accel, ResponseHead};
use wsgi_core::host::{BodyInterest, COPY_LIMIT, Chunk, Flush};

use buffers::{Buffers, out_of_memory};

use crate::accel::{self, Redirection};
use crate::bindings::{ngx_chain_t, ngx_int_t};
use crate::conf::{self, LocationConf};
use crate::ngx::{self, Request};
use crate::req::Req;
use crate::{head, preconditions};

/// The response of one request, as far as nginx has it.
pub(crate) struct Output {
    request: Live,
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
    buffers: Buffers,
}

// SAFETY: the pointers are followed on the event loop's thread only (`LoopCell`); dropping them does nothing.
unsafe impl Send for Output {}

/// A request until it is over; null from then on.
struct Live(*mut Request);

impl Live {
    fn is_over(&self) -> bool {
        self.0.is_null()
    }

    fn get(&self) -> Option<&Request> {
        // SAFETY: null, or alive: `close` comes before nginx destroys it. As long as the output is borrowed nothing changes it.
        unsafe { self.0.as_ref() }
    }

    fn get_mut(&mut self) -> Result<&mut Request, HostError> {
        // SAFETY: as for `get`; the output is borrowed exclusively, and so no `Req` is in use.
        unsafe { self.0.as_mut() }.ok_or(HostError::ClientGone)
    }
}

/// What nginx's output of a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    None,
    /// The client, who has not taken what there is, or an event of nginx's.
    Client,
    /// Another request of the same page, whose output comes first (`ngx_http_postpone_filter`). That one may need a thread
    /// or a permit, so that a thread must not wait for it.
    Part,
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
    Send,
    /// Not at all: another location answers (`X-Accel-Redirect`).
    Redirect(Box<Redirection>),
    /// Not at all: nginx answers with its page for a status.
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

    /// The request; null when it is over.
    pub(crate) fn request(&self) -> *mut Request {
        self.request.0
    }

    /// The exchange has come to its end. `None` if it had ended before, or the request is over: then it is not ours to end
    /// any more.
    pub(crate) fn end(&mut self) -> Option<Ended> {
        let first = !std::mem::replace(&mut self.ended, true) && !self.request.is_over();
        first.then_some(Ended {
            head_sent: self.head_sent,
            code: self.code,
            redirected: self.is_redirected,
            refused: self.is_refused,
        })
    }

    /// Whether nothing is sent any more: the exchange has ended (nginx may still be sending), or the request is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended || self.request.is_over()
    }

    pub(crate) fn head_sent(&self) -> bool {
        self.head_sent
    }

    /// Lets go of the request, which is returned; null if it was over. What nginx may still be sending stays until its pool goes.
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

    /// Obeys headers that are for nginx; how the head goes on its way, where they say so. `conf` is that of the location.
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

    /// nginx's header filters have returned.
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

    /// The request was redirected to another handler, which has a count of it of its own: by `X-Accel-Redirect`, or by a filter
    /// that has answered in our place. Ours is given back at the end of the exchange, as nginx's upstream module does where that
    /// happens to it.
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

    /// Takes one block; whether it is to be passed to nginx at once, with everything before it.
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

    /// Whether blocks wait for what follows.
    pub(crate) fn has_joined(&self) -> bool {
        !self.joined.is_empty()
    }

    /// Marks the end of what was taken, so that all of it leaves with the next pass; whether there is to be one.
    pub(crate) fn prepare_flush(&mut self) -> Result<bool, HostError> {
        let request = self.request.get_mut()?;
        if self.wanted {
            settle(&mut self.joined, &mut self.buffers, request)?;
            self.buffers.last(request)?.set_flush(1);
        }
        Ok(self.wanted)
    }

    /// Marks the end of the body; whether there is something to be passed to nginx.
    pub(crate) fn prepare_end(&mut self) -> Result<bool, HostError> {
        let request = self.request.get_mut()?;
        if !self.wanted {
            return Ok(false);
        }
        settle(&mut self.joined, &mut self.buffers, request)?;
        let buffer = self.buffers.last(request)?;
        if request.is_main() && request.post_action() == 0 {
            buffer.set_last_buf(1);
        } else if buffer.pos == buffer.last {
            buffer.set_sync(1);
        }
        buffer.set_last_in_chain(1);
        Ok(true)
    }

    /// Whether a further block may be produced.
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

    /// What nginx's output waits for. These are `ngx_http_writer`'s conditions.
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

    /// The chain to pass to nginx's body filters; null to have nginx try again with what it holds.
    pub(crate) fn take_pending(&mut self) -> Result<*mut ngx_chain_t, HostError> {
        self.request.get_mut()?;
        Ok(self.buffers.take_pending())
    }

    /// nginx's body filters have returned; `chain` is what they were called with.
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

/// Makes one block of those that were joined.
#[inline(always)]
fn settle(joined: &mut BytesMut, buffers: &mut Buffers, request: &mut Request) -> Result<(), HostError> {
    if joined.is_empty() { Ok(()) } else { add_joined(joined, buffers, request) }
}

#[cold]
fn add_joined(joined: &mut BytesMut, buffers: &mut Buffers, request: &mut Request) -> Result<(), HostError> {
    buffers.add(request, Chunk::Owned(joined.split().freeze())).map(drop)
}
