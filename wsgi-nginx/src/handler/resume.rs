//! A request that waits for its client, and goes on when the client takes more.

use wsgi_core::error::{Fault, HostError};
use wsgi_core::host::Level;

use super::deliver::pass_on;
use super::end::{End, finalize, finish, guard_request};
use super::inline::{turn, went};
use super::{begin, context};
use crate::bindings::{ngx_add_timer, ngx_del_timer, ngx_event_t, ngx_handle_write_event};
use crate::handover::Run;
use crate::loop_cell::Loop;
use crate::mailbox::Gone;
use crate::ngx::{self, Request};
use crate::{log, log_room};

/// Goes on when the client takes more, or when the request has been posted.
pub(super) unsafe extern "C" fn write_event(request: *mut Request) {
    // SAFETY: nginx calls this with a live request.
    guard_request("write_event", request, || unsafe { resume(request) });
}

/// The client takes more, has taken nothing for too long, or another module has posted the request.
///
/// # Safety
///
/// nginx calls this with a live request.
unsafe fn resume(request: *mut Request) {
    let lp = &mut Loop::enter();
    // SAFETY: the caller's promise.
    unsafe {
        let Some(hand_over) = context(request) else { return };
        let connection = (*request).connection;
        let event = (*connection).write;
        if (*event).timedout() != 0 {
            log::write((*connection).log, Level::Info, "client timed out");
            (*connection).set_timedout(1);
            hand_over.close(lp, Gone::TimedOut);
            return finalize(lp, request, ngx::REQUEST_TIME_OUT);
        }
        if hand_over.output.with(lp, |output| output.is_blocked()) {
            if (*event).delayed() == 0 && hand_over.retry(lp).is_err() {
                // Unless it is over: then there is nothing to finalize.
                return finish(lp, request, &hand_over, End::Fault(Fault::Host(HostError::ClientGone)));
            }
            if hand_over.output.with(lp, |output| output.is_blocked()) {
                return wait_for_client(lp, request);
            }
        }
        if (*event).timer_set() != 0 && (*event).delayed() == 0 {
            ngx_del_timer(event);
        }
        let run = hand_over.run.with(lp, |run| match run {
            Run::Inline(_) => Some(std::mem::replace(run, Run::InlineNow)),
            Run::Waiting => Some(Run::Waiting),
            Run::Threads(_) => None,
            Run::InlineNow | Run::Over => Some(Run::Over),
        });
        match run {
            // Blocks that were kept while the response waited for another part of its page follow.
            None => _ = pass_on(lp, &hand_over),
            Some(Run::Inline(exchange)) => {
                let result = {
                    let _away = log_room::Away::new();
                    let _attached = exchange.attach();
                    turn(lp, &hand_over, exchange)
                };
                went(lp, request, &hand_over, result);
            }
            Some(Run::Waiting) if hand_over.is_placed() => begin(request),
            Some(_) => {}
        }
    }
}

/// Arms the write event and `send_timeout`, as `ngx_http_writer` does.
pub(super) unsafe fn wait_for_client(lp: &mut Loop, request: *mut Request) {
    // SAFETY: a live request.
    unsafe {
        let event: *mut ngx_event_t = (*(*request).connection).write;
        let core = ngx::core_location(request);
        if (*event).delayed() == 0 {
            ngx_add_timer(event, core.send_timeout);
        }
        if ngx_handle_write_event(event, core.send_lowat) != ngx::OK {
            finalize(lp, request, ngx::ERROR);
        }
    }
}
