//! Ends a request: after its response, after a fault, or when nginx destroys it.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use http::StatusCode;
use wsgi_core::error::{Fault, HostError};
use wsgi_core::relay::Closed;

use super::resume::wait_for_client;
use super::{context, watch};
use crate::bindings::{ngx_connection_t, ngx_int_t};
use crate::chain::{Ended, Output};
use crate::conf;
use crate::guard::{guard, guard_again, is_done};
use crate::handover::{HandOver, Run};
use crate::loop_cell::Loop;
use crate::ngx::{self, Request};
use crate::req::Req;

/// The result of an exchange.
pub(super) enum End {
    Complete,
    /// The status to answer with if no head was sent. `None`: the client is gone.
    Failed(Option<StatusCode>),
}

impl From<HostError> for End {
    fn from(error: HostError) -> Self {
        End::Failed(Fault::Host(error).status_hint())
    }
}

/// Ends the request. If the exchange failed before its head was sent, nginx answers with an error page; if it failed later,
/// the client first gets the blocks before the failure, as far as it takes them. Does nothing if the exchange has ended
/// before.
pub(super) fn finish(lp: &mut Loop, hand_over: &HandOver, end: End) {
    if matches!(end, End::Failed(_))
        && hand_over.output.with(lp, |output| output.has_unsent_blocks())
        && let Some(mut req) = hand_over.request(lp)
    {
        let before = hand_over.run.with(req.lp(), |run| std::mem::replace(run, Run::Failed));
        if !matches!(before, Run::Failed) {
            hand_over.leave(req.lp());
            watch(&mut req);
            return wait_for_client(req);
        }
    }
    let Some(Ended { head_sent, code, redirected, refused }) = hand_over.output.with(lp, Output::end) else { return };
    hand_over.leave(lp);
    let Some(req) = hand_over.request(lp) else { return };
    match end {
        // Another handler answers: only the count of the exchange is returned.
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

/// Ends a response whose head was sent, in a way that shows the client that the response is incomplete.
fn cut(mut req: Req<'_>) {
    let by_close = req.chunked() == 0 && req.headers_out.content_length_n == -1;
    if by_close && !req.is_multiplexed() && req.header_only() == 0 {
        // The client would take a normal close for the end of the body; a reset is an error.
        reset_at_close(req.connection());
    }
    req.set_keepalive(0);
    req.finalize(ngx::ERROR);
}

/// Makes the kernel reset the connection when it is closed (`SO_LINGER`).
fn reset_at_close(connection: &ngx_connection_t) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the pointer and size are those of `linger`. If the call fails, the connection is closed normally.
    unsafe { libc::setsockopt(connection.fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size) };
}

/// Ends a request after a panic: it must not hang, and nothing more of its application's response may be sent.
fn fail_request(req: Req<'_>) {
    match context(&req) {
        Some(hand_over) => fail(req.leave(), &hand_over),
        None => answer_defect(req),
    }
}

/// Like [`fail_request`], for a request that has an exchange.
pub(super) fn fail(lp: &mut Loop, hand_over: &HandOver) {
    hand_over.close_relay(lp, Closed::Gone);
    let Some(Ended { redirected, .. }) = hand_over.output.with(lp, Output::end) else { return };
    let Some(req) = hand_over.request(lp) else { return };
    if redirected { req.finalize(ngx::DONE) } else { answer_defect(req) }
}

/// Answers with 500, or cuts the response if its head was sent.
fn answer_defect(req: Req<'_>) {
    if req.header_sent() == 0 { req.finalize(ngx::INTERNAL_SERVER_ERROR) } else { cut(req) }
}

/// Like [`guard`]. After a panic the request is answered with 500, or cut if its head was sent. `request` is alive
/// until `work` ends it.
pub(super) fn guard_request(name: &str, request: *mut Request, work: impl FnOnce()) {
    if !is_done(name, work) {
        // SAFETY: the request is alive after a panic: a function that ends it does nothing afterwards that could panic.
        is_done(name, || unsafe { Req::enter(request, fail_request) });
    }
}

/// Called by nginx when the request is destroyed: the response was sent, the client has left, or nginx has given up.
pub(super) unsafe extern "C" fn request_over(data: *mut c_void) {
    // SAFETY: nginx calls this once, with the pointer that was registered with it.
    let hand_over = unsafe { take_context(data) };
    guard_again("request_over", || request_destroyed(&hand_over, data));
    guard("request_over", (), || drop(hand_over));
}

/// Takes over the count of the [`HandOver`] that the context of its request held.
///
/// # Safety
///
/// `data` is the pointer that `register` has made, and this is called once with it.
unsafe fn take_context(data: *mut c_void) -> Arc<HandOver> {
    // SAFETY: `register` made the pointer with `Arc::into_raw`, and it is taken back once, as the caller promises.
    unsafe { Arc::from_raw(data.cast_const().cast()) }
}

/// Ends the exchange of a request that is destroyed, whose context is `data`. May be called again after a panic, and
/// then does the remaining work.
fn request_destroyed(hand_over: &HandOver, data: *mut c_void) {
    // The context must no longer be found through the request.
    if let Some(mut req) = hand_over.close(&mut Loop::enter(), Closed::Gone)
        && conf::context(&req) == data
    {
        conf::set_context(&mut req, ptr::null_mut());
    }
}
