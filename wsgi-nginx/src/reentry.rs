//! nginx's functions that can come back into the module before they return.
//!
//! A filter may answer in place of the application (`ngx_http_filter_finalize_request`: any status with modules of third
//! parties), the application may redirect the request (`X-Accel-Redirect`), and an error may have an `error_page`. Then nginx
//! runs another handler for the same request within the call, perhaps this module's, and may end the request. So every
//! function here takes the [`Req`] by value, or the [`Loop`] as `&mut`: no cell is borrowed, and the caller looks afterwards
//! whether the request is over ([`HandOver::request`](crate::handover::HandOver::request)). No other file calls them.

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
        // SAFETY: a live request.
        unsafe { ngx_http_send_header(self.as_ptr()) }
    }

    /// Sends a chain through nginx's body filters.
    ///
    /// # Safety
    ///
    /// `chain` is null or consists of links and buffers that live as long as the request's pool.
    pub(crate) unsafe fn output_filter(self, chain: *mut ngx_chain_t) -> ngx_int_t {
        // SAFETY: a live request; the chain is as the caller promises.
        unsafe { ngx_http_output_filter(self.as_ptr(), chain) }
    }

    /// Has another location answer, with a count of the request of its own. The head has not been sent. The request stays alive
    /// as long as the exchange's count does, unless its connection breaks.
    pub(crate) fn redirect(mut self, redirection: Redirection) -> ngx_int_t {
        match redirection {
            // SAFETY: a live request of which the exchange has a count; the name is in its pool.
            Redirection::Named(mut name) => unsafe { ngx_http_named_location(self.as_ptr(), &raw mut name) },
            Redirection::Path { mut uri, mut args } => {
                if self.method != NGX_HTTP_HEAD {
                    self.method = NGX_HTTP_GET;
                    self.method_name = ngx::str_of(b"GET");
                }
                // SAFETY: a live request of which the exchange has a count; both strings are in its pool.
                unsafe { ngx_http_internal_redirect(self.as_ptr(), &raw mut uri, &raw mut args) }
            }
        }
    }

    /// Has nginx read the request body and call `handler`, at once if the body is there. The request is in its content phase.
    pub(crate) fn read_body(self, handler: ngx_http_client_body_handler_pt) -> ngx_int_t {
        // SAFETY: a live request.
        unsafe { ngx_http_read_client_request_body(self.as_ptr(), handler) }
    }

    /// Hands a count of the request back to nginx, with a return code of a handler: that of the exchange, if it has begun. The
    /// request may be gone afterwards.
    pub(crate) fn finalize(self, code: ngx_int_t) {
        self.debug(format_args!("wsgi finalize {code}"));
        // SAFETY: a live request, of which the module has a count until here.
        unsafe { ngx_http_finalize_request(self.as_ptr(), code) }
    }
}

/// Runs the requests that were posted on a connection, as nginx does after each of its event handlers.
///
/// # Safety
///
/// `connection` is one of the worker's; nginx itself looks whether it still has a request.
pub(crate) unsafe fn run_posted_requests(_loop: &mut Loop, connection: *mut ngx_connection_t) {
    // SAFETY: a record of the worker's table, which is never freed.
    unsafe { ngx_http_run_posted_requests(connection) }
}
