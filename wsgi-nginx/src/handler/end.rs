//! The end of a request: by its response, by a fault, by nginx.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use http::StatusCode;
use wsgi_core::error::{Fault, HostError};
use wsgi_core::relay::Closed;

use super::context;
use crate::bindings::{ngx_connection_t, ngx_int_t};
use crate::chain::{Ended, Output};
use crate::conf;
use crate::guard::{guard, guard_again, is_done};
use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::ngx::{self, Request};
use crate::req::Req;

/// How an exchange came to its end.
pub(super) enum End {
    Complete,
    /// The status is to be answered if no head was sent; without one the client is gone.
    Failed(Option<StatusCode>),
}

impl From<HostError> for End {
    fn from(error: HostError) -> Self {
        End::Failed(Fault::Host(error).status_hint())
    }
}

/// Ends the request, with an answer of nginx's own where none has been sent. Does nothing if it has ended before.
pub(super) fn finish(lp: &mut Loop, hand_over: &HandOver, end: End) {
    let Some(Ended { head_sent, code, redirected, refused }) = hand_over.output.with(lp, Output::end) else { return };
    hand_over.leave(lp);
    let Some(req) = hand_over.request(lp) else { return };
    match end {
        // Another handler answers: our count is given back, and nothing else is ours to decide.
        _ if redirected => req.finalize(ngx::DONE),
        _ if refused => req.finalize(code),
        End::Complete => req.finalize(code),
        End::Failed(status) if !head_sent => match status {
            Some(status) => req.finalize(ngx_int_t::from(status.as_u16() as i16)),
            None => req.finalize(ngx::CLIENT_CLOSED_REQUEST),
        },
        End::Failed(_) => cut(req),
    }
}

/// Ends a response whose head is out so that the client can tell that it is not complete.
fn cut(mut req: Req<'_>) {
    let by_close = req.chunked() == 0 && req.headers_out.content_length_n == -1;
    if by_close && !req.is_multiplexed() && req.header_only() == 0 {
        // The end of the connection would be the end of the body: a reset is none.
        reset_at_close(req.connection());
    }
    req.set_keepalive(0);
    req.finalize(ngx::ERROR);
}

/// Has the system reset a connection when it is closed (`SO_LINGER`).
fn reset_at_close(connection: &ngx_connection_t) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: an option of a socket, and a value of its size. Where it is refused, the connection ends as others do.
    unsafe { libc::setsockopt(connection.fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size) };
}

/// Ends a request after a defect of our own: it must not hang, and nothing that its application still sends may follow.
fn fail_request(req: Req<'_>) {
    match context(&req) {
        Some(hand_over) => fail(req.leave(), &hand_over),
        None => answer_defect(req),
    }
}

/// As [`fail_request`], for a request that has its exchange.
pub(super) fn fail(lp: &mut Loop, hand_over: &HandOver) {
    hand_over.close_relay(Closed::Gone);
    let Some(Ended { redirected, .. }) = hand_over.output.with(lp, Output::end) else { return };
    let Some(req) = hand_over.request(lp) else { return };
    if redirected { req.finalize(ngx::DONE) } else { answer_defect(req) }
}

/// Answers with 500, or cuts the response if its head is out.
fn answer_defect(req: Req<'_>) {
    if req.header_sent() == 0 { req.finalize(ngx::INTERNAL_SERVER_ERROR) } else { cut(req) }
}

/// As [`guard`]; a request that panicked is answered with 500, or cut if its head is out. `request` is alive until `work` ends it.
pub(super) fn guard_request(name: &str, request: *mut Request, work: impl FnOnce()) {
    if !is_done(name, work) {
        // SAFETY: a panic leaves the request to us: a function that ends it does nothing afterwards.
        is_done(name, || unsafe { Req::enter(request, fail_request) });
    }
}

/// Called by nginx when the request is destroyed, whatever the reason: the response is out, the client has left, nginx gives up.
pub(super) unsafe extern "C" fn request_over(data: *mut c_void) {
    // SAFETY: nginx calls this once, with the pointer that was registered along with it.
    let hand_over = unsafe { take_context(data) };
    guard_again("request_over", || request_destroyed(&hand_over, data));
    guard("request_over", (), || drop(hand_over));
}

/// The record of a request, with the count that its context had.
///
/// # Safety
///
/// `data` is the pointer that `register` has made, and this is called once with it.
unsafe fn take_context(data: *mut c_void) -> Arc<HandOver> {
    // SAFETY: a count that `Arc::into_raw` has given away in `register`.
    unsafe { Arc::from_raw(data.cast_const().cast()) }
}

/// Ends the exchange of a request that is destroyed, whose context is `data`. After a panic it may be called again, and does the
/// rest.
fn request_destroyed(hand_over: &HandOver, data: *mut c_void) {
    // The record is gone for those who look for it in the request.
    if let Some(mut req) = hand_over.close(&mut Loop::enter(), Closed::Gone)
        && conf::context(&req) == data
    {
        conf::set_context(&mut req, ptr::null_mut());
    }
}
