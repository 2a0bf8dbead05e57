//! A response on its way through nginx's filters.
//!
//! [`Output`] prepares the head and the chains. They are passed to nginx here, while nothing is borrowed: a filter may
//! answer in place of the application, and the request may be over, or in the hands of another handler, when the call
//! returns.

use wsgi_core::error::HostError;
use wsgi_core::head::ResponseHead;
use wsgi_core::host::{Chunk, Flush};

use crate::bindings::{ngx_chain_t, ngx_int_t};
use crate::chain::{Output, Prepared};
use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::ngx::Request;
use crate::reentry;

impl HandOver {
    /// Sends status and headers through nginx's header filters. They stay in nginx's buffer until a block is flushed.
    pub(crate) fn send_head(&self, lp: &mut Loop, head: &ResponseHead) -> Result<(), HostError> {
        let (request, redirection) = match self.output.with(lp, |output| output.prepare_head(head))? {
            Prepared::Send(request) => (request, None),
            Prepared::Redirect(request, redirection) => (request, Some(redirection)),
            Prepared::Refused => return Ok(()),
        };
        // SAFETY: the request is alive: it was a moment ago, on this thread. The exchange has one of its counts, and nothing
        // has been sent; without a redirection its `headers_out` is complete.
        let code = self.passing(lp, request, |lp| unsafe {
            match redirection {
                Some(redirection) => reentry::redirect(lp, request, *redirection),
                None => reentry::send_header(lp, request),
            }
        })?;
        self.output.with(lp, |output| output.head_passed(code))
    }

    /// Takes one block; with [`Flush::Now`] everything up to it goes out as far as the client takes it.
    pub(crate) fn send(&self, lp: &mut Loop, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        if self.output.with(lp, |output| output.take(chunk, flush))? { self.push(lp) } else { Ok(()) }
    }

    /// Everything that was taken leaves, the head included.
    pub(crate) fn flush(&self, lp: &mut Loop) -> Result<(), HostError> {
        if self.output.with(lp, Output::prepare_flush)? { self.push(lp) } else { Ok(()) }
    }

    /// The body is complete.
    pub(crate) fn finish(&self, lp: &mut Loop) -> Result<(), HostError> {
        if self.output.with(lp, Output::prepare_end)? { self.push(lp) } else { Ok(()) }
    }

    /// Has nginx try again to send what it holds.
    pub(crate) fn retry(&self, lp: &mut Loop) -> Result<(), HostError> {
        self.push(lp)
    }

    fn push(&self, lp: &mut Loop) -> Result<(), HostError> {
        let (request, chain) = self.output.with(lp, Output::take_pending)?;
        let code = self.pass_chain(lp, request, chain)?;
        self.output.with(lp, |output| output.chain_passed(chain, code))
    }

    fn pass_chain(
        &self,
        lp: &mut Loop,
        request: *mut Request,
        chain: *mut ngx_chain_t,
    ) -> Result<ngx_int_t, HostError> {
        // SAFETY: the request is alive: it was a moment ago, on this thread. The chain is of its pool.
        self.passing(lp, request, |lp| unsafe { reentry::output_filter(lp, request, chain) })
    }

    /// Makes a call into nginx's filters, and looks afterwards where the request is. An error: it is over.
    fn passing(
        &self,
        lp: &mut Loop,
        request: *mut Request,
        call: impl FnOnce(&mut Loop) -> ngx_int_t,
    ) -> Result<ngx_int_t, HostError> {
        // SAFETY: the callers have seen that the request is alive.
        let (changes, failed) = unsafe { ((*request).uri_changes(), (*(*request).connection).error()) };
        let code = call(lp);
        self.output.with(lp, |output| {
            if output.request().is_null() {
                return Err(HostError::ClientGone);
            }
            // SAFETY: it is not over. Each redirection counts (`ngx_http_internal_redirect`, `ngx_http_named_location`).
            if unsafe { (*request).uri_changes() } != changes {
                output.redirected();
                // `ngx_http_output_filter` takes the answer of a body filter for an error of the connection, on which the other
                // handler has yet to send. An error of the client's shows again.
                // SAFETY: as above.
                unsafe { (*(*request).connection).set_error(failed) };
            }
            Ok(code)
        })
    }
}
