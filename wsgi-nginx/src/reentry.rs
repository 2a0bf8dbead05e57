//! nginx's functions that can call the module again before they return.
//!
//! A filter may answer in place of the application (`ngx_http_filter_finalize_request`: any status, in third-party
//! modules), the application may redirect the request (`X-Accel-Redirect`), and an error may have an `error_page`.
//! nginx then runs another handler for the same request inside the call, perhaps this module's, and may end the
//! request. So every function here takes the [`Req`] by value, or the [`Loop`] as `&mut`: no cell is borrowed, and the
//! caller checks afterwards whether the request still exists
//! ([`HandOver::request`](crate::handover::HandOver::request)). No other file calls these functions.

use crate::accel::Redirection;
use crate::bindings::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_chain_t, ngx_connection_t, ngx_http_client_body_handler_pt,
    ngx_http_finalize_request, ngx_http_internal_redirect, ngx_http_named_location, ngx_http_output_filter,
    ngx_http_read_client_request_body, ngx_http_run_posted_requests, ngx_http_send_header, ngx_int_t,
};
use crate::loop_cell::Loop;
use crate::ngx;
use crate::req::Req;

impl Req<'_> {
    /// Sends the head, which is complete in `headers_out`, through nginx's header filters.
    pub(crate) fn send_header(self) -> ngx_int_t {
        // SAFETY: a `Req` is a live request.
        unsafe { ngx_http_send_header(self.as_ptr()) }
    }

    /// Sends a chain through nginx's body filters.
    ///
    /// # Safety
    ///
    /// `chain` is null or consists of links and buffers that live as long as the request's pool.
    pub(crate) unsafe fn output_filter(self, chain: *mut ngx_chain_t) -> ngx_int_t {
        // SAFETY: a `Req` is a live request; the chain is null or lives as long as its pool, as the caller promises.
        unsafe { ngx_http_output_filter(self.as_ptr(), chain) }
    }

    /// Makes another location answer, which takes its own count of the request. The head has not been sent. The request
    /// stays alive as long as the exchange's count does, unless its connection breaks.
    pub(crate) fn redirect(mut self, redirection: Redirection) -> ngx_int_t {
        match redirection {
            // SAFETY: the request is alive, since the exchange has a count of it; the name is in its pool.
            Redirection::Named(mut name) => unsafe { ngx_http_named_location(self.as_ptr(), &raw mut name) },
            Redirection::Path { mut uri, mut args } => {
                if self.method != NGX_HTTP_HEAD {
                    self.method = NGX_HTTP_GET;
                    self.method_name = ngx::str_of(b"GET");
                }
                // SAFETY: the request is alive, since the exchange has a count of it; both strings are in its pool.
                unsafe { ngx_http_internal_redirect(self.as_ptr(), &raw mut uri, &raw mut args) }
            }
        }
    }

    /// Makes nginx read the request body and then call `handler`, immediately if the body is there. The request is in
    /// its content phase.
    pub(crate) fn read_body(self, handler: ngx_http_client_body_handler_pt) -> ngx_int_t {
        // SAFETY: a `Req` is a live request.
        unsafe { ngx_http_read_client_request_body(self.as_ptr(), handler) }
    }

    /// Returns a count of the request to nginx (that of the exchange, if it has begun), with a return code of a
    /// handler. The request may be destroyed afterwards.
    pub(crate) fn finalize(self, code: ngx_int_t) {
        self.debug(format_args!("wsgi finalize {code}"));
        // SAFETY: the request is alive, since the module has had a count of it until this call.
        unsafe { ngx_http_finalize_request(self.as_ptr(), code) }
    }
}

/// Runs the requests that were posted on a connection, as nginx does after each of its event handlers.
///
/// # Safety
///
/// `connection` is an entry of the worker's table; nginx itself checks whether it still has a request.
pub(crate) unsafe fn run_posted_requests(_loop: &mut Loop, connection: *mut ngx_connection_t) {
    // SAFETY: an entry of the worker's table, which is never freed.
    unsafe { ngx_http_run_posted_requests(connection) }
}
