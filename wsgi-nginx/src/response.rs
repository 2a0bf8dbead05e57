//! Passes a response through nginx's filters.
//!
//! [`Output`] prepares the head and the chains. They are passed to nginx here, while nothing is borrowed: a filter may
//! answer in place of the application, and when the call returns the request may be destroyed, or belong to another
//! handler.

use wsgi_core::error::HostError;
use wsgi_core::host::{Chunk, Flush, ResponseHead};

use crate::bindings::ngx_int_t;
use crate::chain::{Output, Prepared};
use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::req::Req;

impl HandOver {
    /// Sends status and headers through nginx's header filters. They stay in nginx's buffer until a block is flushed.
    pub(crate) fn send_head(&self, lp: &mut Loop, head: &ResponseHead) -> Result<(), HostError> {
        let code = match self.output.with(lp, |output| output.prepare_head(head))? {
            Prepared::Send => self.passing(lp, |req| req.send_header())?,
            Prepared::Redirect(redirection) => self.passing(lp, |req| req.redirect(*redirection))?,
            Prepared::Refused => return Ok(()),
        };
        self.output.with(lp, |output| output.head_passed(code))
    }

    /// Takes one block. With [`Flush::Now`] sends everything up to this block, as far as the client accepts it.
    pub(crate) fn send(&self, lp: &mut Loop, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        if self.output.with(lp, |output| output.take(chunk, flush))? { self.push(lp) } else { Ok(()) }
    }

    /// Sends everything taken so far, the head included.
    pub(crate) fn flush(&self, lp: &mut Loop) -> Result<(), HostError> {
        if self.output.with(lp, Output::prepare_flush)? { self.push(lp) } else { Ok(()) }
    }

    /// Ends the body and sends it.
    pub(crate) fn finish(&self, lp: &mut Loop) -> Result<(), HostError> {
        if self.output.with(lp, Output::prepare_end)? { self.push(lp) } else { Ok(()) }
    }

    /// Makes nginx retry the output that it holds.
    pub(crate) fn retry(&self, lp: &mut Loop) -> Result<(), HostError> {
        self.push(lp)
    }

    fn push(&self, lp: &mut Loop) -> Result<(), HostError> {
        let chain = self.output.with(lp, Output::take_pending)?;
        // SAFETY: `chain` is null, or a chain of the request's pool.
        let code = self.passing(lp, |req| unsafe { req.output_filter(chain) })?;
        self.output.with(lp, |output| output.chain_passed(chain, code))
    }

    /// Calls nginx's filters, and records whether the call redirected the request. Fails if the request is closed.
    fn passing(&self, lp: &mut Loop, call: impl FnOnce(Req<'_>) -> ngx_int_t) -> Result<ngx_int_t, HostError> {
        let req = self.request(lp).ok_or(HostError::ClientGone)?;
        let (changes, failed) = (req.uri_changes(), req.connection().error());
        let code = call(req);
        let mut req = self.request(lp).ok_or(HostError::ClientGone)?;
        // Each redirection changes this counter (`ngx_http_internal_redirect`, `ngx_http_named_location`).
        if req.uri_changes() != changes {
            self.output.with(req.lp(), Output::redirected);
            // `ngx_http_output_filter` takes the answer of a body filter for a connection error, but the other handler
            // has yet to send on the connection. A real error occurs again.
            req.connection_mut().set_error(failed);
        }
        Ok(code)
    }
}
