//! Connections that this worker has accepted and whose first request is not known yet. They count as requests for a time.

use std::collections::VecDeque;

use super::{LOAD, Load, now};
use crate::bindings::{ngx_connection_t, ngx_http_init_connection, ngx_int_t};
use crate::guard::guard;
use crate::loop_cell::Loop;
use crate::ngx::{self, Request};

/// For how long a connection counts as a request before its first request is known, in milliseconds. Without that a worker
/// would accept several connections at once, because nginx reads no request before it has accepted the next connection.
const ARRIVAL: u64 = 20;

impl Load {
    /// Lets connections whose time is over count until the end of this turn of the event loop: if the loop was late, the turn
    /// may have their requests.
    pub(super) fn keep_arrivals(&self, lp: &Loop, now: u64) {
        self.state.with(lp, |events| {
            if events.arrivals.front().is_some_and(|(_, until)| *until <= now) {
                let until = events.arrivals.back().map_or(0, |(_, until)| *until);
                self.workers.set_arrivals(events.arrivals.len(), until.max(now + 1));
                events.resume.post();
            }
        });
    }

    /// Forgets connections whose time is over.
    pub(super) fn end_arrivals(&self, lp: &Loop, now: u64) {
        self.state.with(lp, |events| {
            while events.arrivals.front().is_some_and(|(_, until)| *until <= now) {
                events.arrivals.pop_front();
            }
            self.arrivals_changed(&events.arrivals);
        });
    }

    /// Updates the number of connections without a request.
    fn arrivals_changed(&self, arrivals: &VecDeque<(u64, u64)>) {
        self.workers.set_arrivals(arrivals.len(), arrivals.back().map_or(0, |(_, until)| *until));
    }

    fn request_known(&self, lp: &Loop, number: u64) {
        let is_changed = self.state.with(lp, |events| {
            let at = events.arrivals.iter().position(|(other, _)| *other == number);
            if let Some(at) = at {
                events.arrivals.remove(at);
                self.arrivals_changed(&events.arrivals);
            }
            at.is_some()
        });
        if is_changed && self.workers.is_paused() {
            self.post_resume(lp);
        }
    }
}

/// Called by nginx, within `ngx_event_accept`, with a connection that it has accepted.
pub(super) unsafe extern "C" fn connection_accepted(connection: *mut ngx_connection_t) {
    // SAFETY: nginx passes the connection that it has just accepted, to which it makes no other reference during the call.
    guard("connection_accepted", (), || unsafe { count_arrival(&mut *connection) });
    // SAFETY: nginx would have called this function with the same connection: `intercept` has replaced no other.
    unsafe { ngx_http_init_connection(connection) };
}

/// Counts a new connection.
fn count_arrival(connection: &mut ngx_connection_t) {
    let Some(load) = LOAD.get() else { return };
    let now = now();
    load.state.with(&Loop::enter(), |events| {
        events.arrivals.push_back((connection.number, now + ARRIVAL));
        load.arrivals_changed(&events.arrivals);
    });
    // SAFETY: a new connection has a listening socket, which has a connection with an event.
    let event = unsafe { (*(*connection.listening).connection).read_event() };
    // With `multi_accept` nginx accepts until there is no connection left, or this is 0.
    if event.available != 0 && load.workers.is_another_better(now) {
        event.available = 0;
    }
}

/// Called by nginx for each request whose head it has read (`NGX_HTTP_POST_READ_PHASE`).
pub(crate) unsafe extern "C" fn request_known(request: *mut Request) -> ngx_int_t {
    if let Some(load) = LOAD.get() {
        guard("request_known", (), || {
            // SAFETY: a live request. Streams of HTTP/2 have a copy of the connection.
            let number = unsafe { (*request).connection().number };
            load.request_known(&Loop::enter(), number);
        });
    }
    ngx::DECLINED
}
