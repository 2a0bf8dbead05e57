//! The end of a request: by its response, by a fault, by nginx.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use wsgi_core::error::Fault;

use super::context;
use crate::bindings::ngx_int_t;
use crate::chain::{Ended, Output};
use crate::guard::{guard, guard_again, is_done};
use crate::handover::HandOver;
use crate::loop_cell::Loop;
use crate::mailbox::Gone;
use crate::ngx::{self, Request, multiplexed};
use crate::{conf, log, reentry};

/// How an exchange came to its end.
pub(super) enum End {
    Complete,
    Fault(Fault),
}

/// Ends the request, with an answer of nginx's own where none has been sent.
pub(super) unsafe fn finish(lp: &mut Loop, request: *mut Request, hand_over: &HandOver, end: End) {
    let Some(Ended { head_sent, code, redirected, refused }) = hand_over.output.with(lp, Output::end) else { return };
    hand_over.leave(lp);
    // SAFETY: a live request; it may be gone after `finalize`, which comes last.
    unsafe {
        match end {
            // Another handler answers: our count is given back, and nothing else is ours to decide.
            _ if redirected => finalize(lp, request, ngx::DONE),
            _ if refused => finalize(lp, request, code),
            End::Complete => finalize(lp, request, code),
            End::Fault(fault) if !head_sent => match fault.status_hint() {
                Some(status) => finalize(lp, request, ngx_int_t::from(status.as_u16() as i16)),
                None => finalize(lp, request, ngx::CLIENT_CLOSED_REQUEST),
            },
            End::Fault(_) => cut(lp, request),
        }
    }
}

/// Ends a response whose head is out so that the client can tell that it is not complete.
unsafe fn cut(lp: &mut Loop, request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        let by_close = (*request).chunked() == 0 && (*request).headers_out.content_length_n == -1;
        if by_close && !multiplexed(request) && (*request).header_only() == 0 {
            // The end of the connection would be the end of the body: a reset is none.
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            libc::setsockopt(
                (*(*request).connection).fd,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            );
        }
        (*request).set_keepalive(0);
        finalize(lp, request, ngx::ERROR);
    }
}

/// A defect of our own: the request must not hang, and what its application still sends must not follow.
///
/// # Safety
///
/// `request` is alive.
unsafe fn fail_request(request: *mut Request) {
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise.
    unsafe {
        match context(request) {
            Some(hand_over) => fail(lp, &hand_over),
            None => answer_defect(lp, request),
        }
    }
}

/// As [`fail_request`], for a request that has its exchange.
pub(super) unsafe fn fail(lp: &mut Loop, hand_over: &HandOver) {
    hand_over.mailbox.close(Gone::Closed);
    let request = hand_over.output.with(lp, |output| output.request());
    let Some(Ended { redirected, .. }) = hand_over.output.with(lp, Output::end) else { return };
    // SAFETY: `end` gives the request away while it is alive, and once.
    unsafe { if redirected { finalize(lp, request, ngx::DONE) } else { answer_defect(lp, request) } }
}

/// Answers with 500, or cuts the response if its head is out.
unsafe fn answer_defect(lp: &mut Loop, request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        match (*request).header_sent() {
            0 => finalize(lp, request, ngx::INTERNAL_SERVER_ERROR),
            _ => cut(lp, request),
        }
    }
}

/// Hands the request back to nginx. It may be gone afterwards.
pub(super) unsafe fn finalize(lp: &mut Loop, request: *mut Request, code: ngx_int_t) {
    // SAFETY: a live request, of which the exchange holds a count until here.
    unsafe {
        log::debug((*(*request).connection).log, format_args!("wsgi finalize {code}"));
        reentry::finalize(lp, request, code);
    }
}

/// As [`guard`]; a request that panicked is answered with 500, or cut if its head is out.
pub(super) fn guard_request(name: &str, request: *mut Request, work: impl FnOnce()) {
    if !is_done(name, work) {
        // SAFETY: a panic leaves the request to us: whatever ends it is the last thing a handler does.
        is_done(name, || unsafe { fail_request(request) });
    }
}

/// The request is over, whatever the reason.
pub(super) unsafe extern "C" fn request_over(data: *mut c_void) {
    // SAFETY: `data` is the record that was registered along with this function, which nginx calls once.
    let record = unsafe { record(data) };
    // SAFETY: as above.
    guard_again("request_over", || unsafe { over(&record, data) });
    guard("request_over", (), || drop(record));
}

/// The two sides of a request that is over, with the count that its context had.
///
/// # Safety
///
/// `data` is the pointer that `register` has made, and this is called once with it.
unsafe fn record(data: *mut c_void) -> Arc<HandOver> {
    // SAFETY: the caller's promise.
    unsafe { Arc::from_raw(data.cast_const().cast()) }
}

/// The request is over: the response is out, the client has left, or nginx gives up. After a panic it may be called again,
/// and does what is left to do.
///
/// # Safety
///
/// nginx says so, of the request of this record; `data` is its context.
unsafe fn over(hand_over: &HandOver, data: *mut c_void) {
    let lp = &mut Loop::enter();
    let request = hand_over.close(lp, Gone::Closed);
    // SAFETY: the caller's promise: a request that is not null is alive for the length of this call.
    unsafe {
        // With the count the pointer in the request's context goes.
        if !request.is_null() && *conf::context_of(request) == data {
            *conf::context_of(request) = ptr::null_mut();
        }
    }
}
