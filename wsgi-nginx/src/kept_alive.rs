//! Ends kept-alive connections of a busy worker, so that their clients connect again, to a worker with a free permit.
//!
//! A connection stays with its worker. If a request on it waits for a permit while another worker has one, the connection is
//! closed after the answer.

use std::sync::OnceLock;

use crate::bindings::{ngx_connection_t, ngx_cycle};
use crate::load::{self, now};
use crate::loop_cell::LoopCell;
use crate::req::Req;

/// The least time between two connections that a worker ends, in milliseconds: a site whose workers are all busy for most of
/// the time keeps its connections.
const END_INTERVAL: u64 = 50;

/// An HTTP/2 connection with fewer streams is kept. A browser opens many streams at once; nginx would refuse those that arrive
/// after its GOAWAY, and the browser would have to send them again. Some clients (httpx 0.28) do not even read the answers to
/// the streams before it.
const STREAMS: usize = 100;

static KEPT: OnceLock<LoopCell<Kept>> = OnceLock::new();

struct Kept {
    /// Time at which a connection was ended last.
    ended: u64,
}

fn kept() -> &'static LoopCell<Kept> {
    KEPT.get_or_init(|| LoopCell::new(Kept { ended: 0 }))
}

/// Ends the connection of a request that has waited for applications on the thread of the event loop.
#[inline]
pub(crate) fn end_if_blocked(req: &mut Req<'_>) {
    // Streams of HTTP/2 block each other, which another connection would not change.
    let blocks = load::inline::was_blocked(req.lp()) && !req.is_multiplexed();
    if blocks && is_kept(req) && load::requests::is_another_free() {
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

/// Ends the connection of a request that is answered by another worker, if it is kept.
pub(crate) fn end_if_kept(req: &mut Req<'_>) {
    if is_kept(req) {
        end(req);
    }
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
