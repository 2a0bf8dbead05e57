//! Turns of an application that runs on the event loop.

use std::ffi::c_void;
use std::ptr;
use std::task::{Context, Poll, Waker};

use wsgi_core::python::Exchange;

use super::end::{End, finish};
use super::resume::wait_for_client;
use super::watch;
use crate::bindings::{ngx_http_post_request, ngx_post_event, ngx_posted_next_events};
use crate::handover::{HandOver, Run};
use crate::loop_cell::Loop;
use crate::ngx::Request;

/// Lets an inline exchange run, attached to Python. It is put back if it is to go on, unless `over` has come meanwhile.
pub(super) fn turn(lp: &mut Loop, hand_over: &HandOver, mut exchange: Exchange) -> Poll<End> {
    hand_over.run.with(lp, |run| *run = Run::InlineNow);
    let mut cx = Context::from_waker(Waker::noop());
    match exchange.advance(&mut cx) {
        Poll::Pending => {
            // An exchange that is not put back is dropped where nothing is borrowed: it calls Python.
            let _over = hand_over.run.with(lp, |run| match run {
                Run::InlineNow => std::mem::replace(run, Run::Inline(exchange)),
                _ => Run::Inline(exchange),
            });
            Poll::Pending
        }
        Poll::Ready(Ok(_)) => Poll::Ready(End::Complete),
        Poll::Ready(Err(fault)) => Poll::Ready(End::Fault(fault)),
    }
}

/// After a turn: ends the request, or waits for what the exchange waits for.
pub(super) unsafe fn went(lp: &mut Loop, request: *mut Request, hand_over: &HandOver, result: Poll<End>) {
    if let Poll::Ready(end) = result {
        // SAFETY: the request is alive, unless it is over, which `finish` looks at first.
        return unsafe { finish(lp, request, hand_over, end) };
    }
    let (over, blocked) = hand_over.output.with(lp, |output| (output.request().is_null(), output.is_blocked()));
    if over {
        return;
    }
    // SAFETY: the request is not over.
    unsafe {
        watch(request);
        if blocked {
            wait_for_client(lp, request);
        } else if request.cast::<c_void>() == (*(*request).connection).data {
            // The exchange gives way after many blocks: others first.
            ngx_post_event((*(*request).connection).write, &raw mut ngx_posted_next_events);
        } else {
            ngx_http_post_request(request, ptr::null_mut());
        }
    }
}
