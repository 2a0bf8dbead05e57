//! Transfers requests that wait for a permit to workers with a free one.
//!
//! The worker with the client keeps the request, and gets the response of the application over a stream. The request has
//! passed nginx's phases here, and its response passes nginx's filters here.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock, Weak};

use wsgi_core::host::HostParts;
use wsgi_core::python::Location;

use crate::bindings::{ngx_cycle, ngx_event_t};
use crate::guard::guard_again;
use crate::handover::{HandOver, Run};
use crate::load::{Transfers, now, requests};
use crate::loop_cell::{Loop, LoopCell};
use crate::mailbox::Mailbox;
use crate::req::Req;
use crate::thread_sink::ThreadSink;
use crate::{event, kept_alive, worker};

/// A request waits at least for this time before it is transferred, in milliseconds. A transfer takes about 0.1 ms of CPU time in
/// all, which a shorter wait is not worth.
const PATIENCE: u64 = 5;

/// How long a request waits before the next attempt if no worker had a free permit, in milliseconds: an accepted connection
/// that sends no request no longer counts as a request then.
const RETRY_INTERVAL: u64 = 20;

/// The functions that [`load`] calls.
pub(crate) const TRANSFERS: Transfers = Transfers { give, received: request_received };

static WAITING: OnceLock<LoopCell<Waiting>> = OnceLock::new();

struct Waiting {
    /// Requests that found no free permit, with the time, the oldest first. Those that have begun are removed late.
    requests: VecDeque<(Weak<HandOver>, u64)>,
    /// Set when requests have begun to wait.
    timer: &'static mut ngx_event_t,
    /// When the timer expires, if it is set.
    due: u64,
}

// SAFETY: only accessed through the `LoopCell`, on the loop's thread.
unsafe impl Send for Waiting {}

fn waiting() -> &'static LoopCell<Waiting> {
    WAITING.get_or_init(|| {
        // SAFETY: a worker has a cycle with a log.
        let log = unsafe { (*ngx_cycle).log };
        LoopCell::new(Waiting { requests: VecDeque::new(), timer: ngx_event_t::leaked(log, waiting_due), due: 0 })
    })
}

impl Waiting {
    /// Makes the timer expire in this time, unless it expires before.
    fn start_timer(&mut self, milliseconds: u64) {
        let due = now() + milliseconds;
        if self.timer.timer_set() != 0 {
            if self.due <= due {
                return;
            }
            // nginx would not change the time of a timer by less than 300 milliseconds (`NGX_TIMER_LAZY_DELAY`).
            self.timer.stop_timer();
        }
        self.due = due;
        self.timer.start_timer(milliseconds as usize);
    }

    /// Forgets the first requests if they no longer wait. Returns the oldest request that can be transferred, and the time at
    /// which it began to wait.
    fn oldest(&mut self, lp: &Loop) -> Option<(Arc<HandOver>, u64)> {
        let waits = |hand_over: &Weak<HandOver>| hand_over.upgrade().is_some_and(|hand_over| hand_over.waits(lp));
        while self.requests.front().is_some_and(|(hand_over, _)| !waits(hand_over)) {
            self.requests.pop_front();
        }
        let live = self.requests.iter().filter_map(|(hand_over, since)| Some((hand_over.upgrade()?, *since)));
        let oldest = live.into_iter().find(|(hand_over, _)| hand_over.can_transfer(lp));
        requests::set_oldest(oldest.as_ref().map(|(_, since)| *since));
        oldest
    }
}

/// Notes a request that was passed to the threads, if it may have to wait.
pub(crate) fn watch(req: &Req<'_>, hand_over: &Arc<HandOver>) {
    if !requests::has_waiting() || !hand_over.can_transfer(req.lp()) {
        return;
    }
    waiting().with(req.lp(), |waiting| {
        waiting.requests.push_back((Arc::downgrade(hand_over), now()));
        waiting.start_timer(PATIENCE);
    });
}

/// Called by nginx some time after requests have found no free permit.
unsafe extern "C" fn waiting_due(_event: *mut ngx_event_t) {
    guard_again("waiting_due", || give(&mut Loop::enter(), None));
}

/// Transfers waiting requests, the oldest first: to a worker that has asked for one, then while other workers have free
/// permits.
fn give(lp: &mut Loop, mut to: Option<usize>) {
    let next = loop {
        let Some((hand_over, since)) = waiting().with(lp, |waiting| waiting.oldest(lp)) else { break RETRY_INTERVAL };
        let waited = now().saturating_sub(since);
        if waited < PATIENCE {
            break PATIENCE - waited;
        }
        let Some((other, mailbox)) = requests::reserve(to.take()) else { break RETRY_INTERVAL };
        if !transfer(lp, &hand_over, other, mailbox) {
            // Other workers are not to wait for it.
            requests::set_oldest(None);
            break RETRY_INTERVAL;
        }
    };
    waiting().with(lp, |waiting| {
        // Requests that are being transferred may come back.
        if !waiting.requests.is_empty() {
            waiting.start_timer(next);
        }
    });
}

/// Returns false if the request stays here.
fn transfer(lp: &mut Loop, hand_over: &HandOver, to: usize, mailbox: &Mailbox) -> bool {
    let pair = UnixStream::pair();
    // Sent first: if that fails, the request stays.
    let is_sent = pair.as_ref().is_ok_and(|(_, there)| mailbox.send(there).is_ok());
    let (Some(worker), Ok((here, _)), true) = (worker::running(), pair, is_sent) else {
        requests::unreserve(to);
        return false;
    };
    let is_transferred = hand_over.run.with(lp, |run| match run {
        Run::Threads(handle) => handle.transfer(worker.locations, here),
        _ => false,
    });
    if is_transferred && let Some(mut req) = hand_over.request(lp) {
        kept_alive::end_if_kept(&mut req);
    }
    is_transferred
}

/// Called by nginx when another worker has transferred a request.
unsafe extern "C" fn request_received(_event: *mut ngx_event_t) {
    guard_again("request_received", || {
        let lp = &Loop::enter();
        let (Some(mailbox), Some(worker)) = (requests::own_mailbox(), worker::running()) else { return };
        while let Some(stream) = mailbox.receive() {
            // This worker does not exit before the response is complete.
            worker::other_began(lp);
            let parts =
                |sink, log, location: &Arc<Location>| HostParts::new(ThreadSink::new(sink, Arc::clone(location)), log);
            worker.gateway.answer(stream, worker.locations, Box::new(parts), event::request_ended);
        }
        requests::arrived();
    });
}
