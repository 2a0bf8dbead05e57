//! Continues a request that waits for its client when the client accepts more.

use wsgi_core::error::HostError;
use wsgi_core::host::Level;
use wsgi_core::relay::Closed;

use super::deliver::forward;
use super::end::{End, finish, guard_request};
use super::inline::{advance_inline, after_turn};
use super::{begin, context};
use crate::handover::Run;
use crate::ngx::{self, Request};
use crate::req::Req;
use crate::{load, log_room};

/// Called by nginx when the client accepts more, and when the request was posted.
pub(super) unsafe extern "C" fn write_event(request: *mut Request) {
    // SAFETY: nginx calls this with a live request.
    guard_request("write_event", request, || unsafe { Req::enter(request, resume) });
}

/// Continues a request: its client accepts more or has timed out, or the request was posted.
fn resume(mut req: Req<'_>) {
    let Some(hand_over) = context(&req) else { return };
    let event = req.connection_mut().write_event();
    let is_delayed = event.delayed() != 0;
    if event.timedout() != 0 {
        req.log(Level::Info, "client timed out");
        req.connection_mut().set_timedout(1);
        if let Some(req) = hand_over.close(req.leave(), Closed::TimedOut) {
            req.finalize(ngx::REQUEST_TIME_OUT);
        }
        return;
    }
    let lp = req.leave();
    if hand_over.output.with(lp, |output| output.is_blocked()) {
        if !is_delayed && hand_over.retry(lp).is_err() {
            return finish(lp, &hand_over, HostError::ClientGone.into());
        }
        if hand_over.output.with(lp, |output| output.is_blocked()) {
            return hand_over.request(lp).map_or((), wait_for_client);
        }
    }
    let Some(mut req) = hand_over.request(lp) else { return };
    let event = req.connection_mut().write_event();
    if event.delayed() == 0 {
        event.stop_timer();
    }
    if hand_over.is_waiting(req.lp()) {
        if hand_over.is_placed() {
            begin(req);
        }
        return;
    }
    let run = hand_over.run.with(req.lp(), |run| match run {
        Run::Inline(_) => Some(std::mem::replace(run, Run::InlineRunning)),
        Run::Threads(_) => None,
        Run::Failed => Some(Run::Failed),
        Run::InlineRunning | Run::Waiting(_) | Run::Over => Some(Run::Over),
    });
    match run {
        // Forwards the blocks that were kept while the response waited for another part of its page.
        None => _ = forward(req.leave(), &hand_over),
        Some(Run::Inline(exchange)) => {
            let lp = req.leave();
            let result = load::inline::run(lp, |lp| {
                let _away = log_room::Away::new();
                let _attached = exchange.attach();
                advance_inline(lp, &hand_over, exchange)
            });
            after_turn(lp, &hand_over, result);
        }
        Some(Run::Failed) => finish(req.leave(), &hand_over, End::Failed(None)),
        Some(_) => {}
    }
}

/// Arms the write event and the timer of `send_timeout`, as `ngx_http_writer` does.
pub(super) fn wait_for_client(mut req: Req<'_>) {
    let (timeout, low_watermark) = (req.core_location().send_timeout, req.core_location().send_lowat);
    let event = req.connection_mut().write_event();
    if event.delayed() == 0 {
        event.start_timer(timeout);
    }
    if !event.watch_writes(low_watermark) {
        req.finalize(ngx::ERROR);
    }
}
