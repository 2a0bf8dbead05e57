//! Advances an application that runs on the event loop.

use std::ptr;
use std::task::{Context, Poll, Waker};

use wsgi_core::python::Exchange;

use super::end::{End, finish};
use super::resume::wait_for_client;
use super::watch;
use crate::handover::{HandOver, Run};
use crate::loop_cell::Loop;

/// Advances an inline exchange; the caller is attached to Python. An exchange that is not complete is put back into
/// `hand_over`, unless the request was closed meanwhile.
pub(super) fn advance_inline(lp: &mut Loop, hand_over: &HandOver, mut exchange: Exchange) -> Poll<End> {
    hand_over.run.with(lp, |run| *run = Run::InlineRunning);
    let mut cx = Context::from_waker(Waker::noop());
    match exchange.advance(&mut cx) {
        Poll::Pending => {
            // An exchange that is not put back is dropped outside of the borrow, because its destructor calls Python.
            let _over = hand_over.run.with(lp, |run| match run {
                Run::InlineRunning => std::mem::replace(run, Run::Inline(exchange)),
                _ => Run::Inline(exchange),
            });
            Poll::Pending
        }
        Poll::Ready(Ok(_)) => Poll::Ready(End::Complete),
        Poll::Ready(Err(fault)) => Poll::Ready(End::Failed(fault.status_hint())),
    }
}

/// Ends the request if its exchange is complete; otherwise arms the event that continues it.
pub(super) fn after_turn(lp: &mut Loop, hand_over: &HandOver, result: Poll<End>) {
    if let Poll::Ready(end) = result {
        return finish(lp, hand_over, end);
    }
    let is_blocked = hand_over.output.with(lp, |output| output.is_blocked());
    let Some(mut req) = hand_over.request(lp) else { return };
    watch(&mut req);
    if is_blocked {
        wait_for_client(req);
    } else if ptr::eq(req.connection().data.cast(), &raw const *req) {
        // The exchange yields after many items, so that other events are handled first.
        req.connection_mut().write_event().post_next();
    } else {
        req.post();
    }
}
