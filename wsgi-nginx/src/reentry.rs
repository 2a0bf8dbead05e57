//! nginx's functions that can come back into the module before they return.
//!
//! A filter may answer in place of the application (`ngx_http_filter_finalize_request`: any status with modules of third
//! parties), the application may redirect the request (`X-Accel-Redirect`), and an error may have an `error_page`. Then nginx runs
//! another handler for the same request within the call, perhaps this module's, and may end the request. So every function here takes [`Loop`] as `&mut`, which proves
//! that no cell is borrowed, and its caller looks afterwards whether the request is over. No other file calls them.

use crate::accel::Redirection;
use crate::bindings::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_chain_t, ngx_connection_t, ngx_http_client_body_handler_pt,
    ngx_http_finalize_request, ngx_http_internal_redirect, ngx_http_named_location, ngx_http_output_filter,
    ngx_http_read_client_request_body, ngx_http_run_posted_requests, ngx_http_send_header, ngx_int_t,
};
use crate::loop_cell::Loop;
use crate::ngx::{self, Request};

/// Sends the head through nginx's header filters.
///
/// # Safety
///
/// `request` is alive, and its `headers_out` is complete.
pub(crate) unsafe fn send_header(_loop: &mut Loop, request: *mut Request) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe { ngx_http_send_header(request) }
}

/// Sends a chain through nginx's body filters.
///
/// # Safety
///
/// `request` is alive; `chain` is null or consists of links and buffers that live as long as its pool.
pub(crate) unsafe fn output_filter(_loop: &mut Loop, request: *mut Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe { ngx_http_output_filter(request, chain) }
}

/// Has another location answer, with a count of the request of its own. The request stays alive as long as the caller's count
/// does, unless its connection breaks.
///
/// # Safety
///
/// `request` is alive, its head has not been sent, and the caller owns one of its counts.
pub(crate) unsafe fn redirect(_loop: &mut Loop, request: *mut Request, redirection: Redirection) -> ngx_int_t {
    // SAFETY: the caller's promise; the strings are in the request's pool. A static string is as good as one of nginx's.
    unsafe {
        match redirection {
            Redirection::Named(mut name) => ngx_http_named_location(request, &raw mut name),
            Redirection::Path { mut uri, mut args } => {
                if (*request).method != NGX_HTTP_HEAD {
                    (*request).method = NGX_HTTP_GET;
                    (*request).method_name = ngx::str_of(b"GET");
                }
                ngx_http_internal_redirect(request, &raw mut uri, &raw mut args)
            }
        }
    }
}

/// Has nginx read the request body and call `handler`, at once if the body is there.
///
/// # Safety
///
/// `request` is alive, and in its content phase.
pub(crate) unsafe fn read_request_body(
    _loop: &mut Loop,
    request: *mut Request,
    handler: ngx_http_client_body_handler_pt,
) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe { ngx_http_read_client_request_body(request, handler) }
}

/// Hands the request back to nginx. It may be gone afterwards.
///
/// # Safety
///
/// `request` is alive, and the caller owns one of its counts.
pub(crate) unsafe fn finalize(_loop: &mut Loop, request: *mut Request, code: ngx_int_t) {
    // SAFETY: the caller's promise.
    unsafe { ngx_http_finalize_request(request, code) }
}

/// Runs the requests that were posted on a connection, as nginx does after each of its event handlers.
///
/// # Safety
///
/// `connection` is one of the worker's; nginx itself looks whether it still has a request.
pub(crate) unsafe fn run_posted_requests(_loop: &mut Loop, connection: *mut ngx_connection_t) {
    // SAFETY: the caller's promise.
    unsafe { ngx_http_run_posted_requests(connection) }
}
