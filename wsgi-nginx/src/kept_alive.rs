//! Ends kept-alive connections of a busy worker, so that their clients connect again, to a worker with a free permit.
//!
//! A connection stays with its worker. If a request on it waits for a permit while another worker has one, the request is
//! answered here, and the connection is closed afterwards.

use std::sync::{Arc, OnceLock, Weak};

use crate::bindings::{ngx_connection_t, ngx_cycle, ngx_event_t};
use crate::guard::guard_again;
use crate::handover::{HandOver, Run};
use crate::load::{self, now};
use crate::loop_cell::{Loop, LoopCell};
use crate::req::Req;

/// The least time between two connections that a worker ends, in milliseconds: a site whose workers are all busy for most of
/// the time keeps its connections.
const END_INTERVAL: u64 = 50;

/// A request that begins within this time has not waited for other requests, in milliseconds. The one before it on the same
/// connection may still be about to return its permit.
const PATIENCE: usize = 5;

/// An HTTP/2 connection with fewer streams is kept. A browser opens many streams at once; nginx would refuse those that arrive
/// after its GOAWAY, and the browser would have to send them again.
const STREAMS: usize = 20;

static KEPT: OnceLock<LoopCell<Kept>> = OnceLock::new();

struct Kept {
    /// Requests that found no free permit, and have not been looked at since.
    waiting: Vec<Weak<HandOver>>,
    /// Its timer is set while there are such requests.
    timer: &'static mut ngx_event_t,
    /// Time at which a connection was ended last.
    ended: u64,
}

// SAFETY: only accessed through the `LoopCell`, on the loop's thread.
unsafe impl Send for Kept {}

fn kept() -> &'static LoopCell<Kept> {
    KEPT.get_or_init(|| {
        // SAFETY: a worker has a cycle with a log.
        let log = unsafe { (*ngx_cycle).log };
        let timer = ngx_event_t::leaked(log, waiting_due);
        LoopCell::new(Kept { waiting: Vec::new(), timer, ended: 0 })
    })
}

/// Looks at a request that was passed to the threads a little later, if it may have to wait although another worker has a
/// free permit.
pub(crate) fn watch(req: &Req<'_>, hand_over: &Arc<HandOver>) {
    if load::is_another_free() && is_kept(req) {
        kept().with(req.lp(), |kept| {
            kept.waiting.push(Arc::downgrade(hand_over));
            if kept.timer.timer_set() == 0 {
                kept.timer.start_timer(PATIENCE);
            }
        });
    }
}

/// Ends the connection of a request that has waited for applications on the thread of the event loop.
#[inline]
pub(crate) fn end_if_blocked(req: &mut Req<'_>) {
    // Streams of HTTP/2 block each other, which another connection would not change.
    let blocks = load::was_blocked(req.lp()) && !req.is_multiplexed();
    if blocks && is_kept(req) && load::is_another_free() {
        end(req);
    }
}

/// Whether the connection has had a request before, and can be ended: no further request has been sent on it yet. nginx's number
/// for HTTP/3, whose connection is not accessible here, is 3000.
fn is_kept(req: &Req<'_>) -> bool {
    let requests = req.connection().requests;
    match req.is_multiplexed() {
        true => req.is_main() && req.http_version < 3000 && requests > STREAMS,
        false => req.is_main() && requests > 1 && !req.has_further_input(),
    }
}

/// Called by nginx some time after requests have found no free permit.
unsafe extern "C" fn waiting_due(_event: *mut ngx_event_t) {
    guard_again("waiting_due", || {
        let lp = &mut Loop::enter();
        let waiting = kept().with(lp, |kept| std::mem::take(&mut kept.waiting));
        for hand_over in waiting.iter().filter_map(Weak::upgrade) {
            let waits = hand_over.run.with(lp, |run| matches!(run, Run::Threads(handle) if !handle.has_begun()));
            if waits
                && load::is_another_free()
                && let Some(mut req) = hand_over.request(lp)
            {
                end(&mut req);
            }
        }
    });
}

#[cold]
fn end(req: &mut Req<'_>) {
    let now = now();
    let is_due = kept().with(req.lp(), |kept| {
        let is_due = now >= kept.ended + END_INTERVAL;
        if is_due {
            kept.ended = now;
        }
        is_due
    });
    if !is_due {
        return;
    }
    if !req.is_multiplexed() {
        // nginx adds `Connection: close`.
        return req.set_keepalive(0);
    }
    let (number, limit) = (req.connection().number, req.core_location().keepalive_requests);
    // SAFETY: nginx's table of connections, on the loop's thread. Streams have copies of their connection, which are not in
    // the table, with the same number. Free entries have the descriptor -1.
    unsafe {
        let cycle = &*ngx_cycle;
        let connections: &mut [ngx_connection_t] =
            std::slice::from_raw_parts_mut(cycle.connections, cycle.connection_n);
        if let Some(real) = connections.iter_mut().find(|other| other.number == number && other.fd >= 0) {
            // nginx sends GOAWAY with the next stream (`ngx_http_v2_state_headers`).
            real.requests = limit;
        }
    }
}
