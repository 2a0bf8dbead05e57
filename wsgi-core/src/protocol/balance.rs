//! The load of the workers of a server, in memory that they share, and the rules by which a worker leaves a new
//! connection to a worker with less load.
//!
//! The kernel hands a connection to any worker that waits for events. Before that worker accepts it, it compares its
//! [level](Workers::level) with those of the others. If another level is lower, it *passes* the connection *on*: it
//! stops waiting for connections (it *pauses*), and *calls* that worker, which compares again and accepts the
//! connection or passes it on. A difference of less than half of the lower level does not count: with long queues, passing
//! on costs more time than it saves. Of workers with the same level, those in which a request has begun lately are preferred:
//! the requests of the others take long.
//!
//! A paused worker resumes when it is called, when it has a free permit again, or when
//! [`should_resume`](Workers::should_resume) returns true, which the host calls from time to time. Therefore:
//!
//! - Every connection that was passed on has a worker that was called and will look at it. If that worker dies first,
//!   a paused worker notices the death.
//! - At any time a worker waits for connections, unless all workers are paused because calls are under way.
//!
//! All fields are atomic, and a worker that is killed at any moment leaves a usable table. A worker writes to its own slot,
//! except that it sets `called`, `asked` and `incoming` of others and frees the slots of dead processes.

mod asking;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::config::Mode;

/// The state of a worker. The numbers are part of the shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// There is no process. Memory of zeros means this.
    Absent = 0,
    /// The process starts Python, or could not start it.
    Starting = 1,
    /// The worker answers requests.
    Serving = 2,
    /// The worker will be replaced, and answers requests until then.
    Retiring = 3,
    /// The worker finishes its requests, and accepts no connection.
    Draining = 4,
}

/// The slot of a worker in the shared memory, which is zero at first.
// On a cache line of its own, since each worker writes to one slot all the time.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Slot {
    /// The process id in the upper half, a [`State`] in the lower one: a worker that finds a dead process frees its slot
    /// only if no new process has taken it.
    process: AtomicU64,
    /// Requests that run or wait for a permit.
    requests: AtomicU32,
    /// Time at which the last request has begun to run while no permit was free afterwards.
    progress: AtomicU64,
    /// Accepted connections without a request, in the lower 16 bits, and the time until which they count.
    arrivals: AtomicU64,
    /// Whether the worker has no descriptors or connections left, so that it cannot accept.
    exhausted: AtomicBool,
    /// Transferred requests that this worker has not seen yet, in the lower 16 bits, and the time of the first one.
    incoming: AtomicU64,
    /// Time at which the oldest request that waits for a permit began to wait; 0 if there is none.
    oldest: AtomicU64,
    /// In the lower 16 bits the slot of another worker that has a permit for a waiting request, plus 1; otherwise 0. Above them
    /// the time of the last question.
    asked: AtomicU64,
    /// Whether the worker has stopped waiting for connections.
    paused: AtomicBool,
    /// Time of the first call since the worker has looked at its listening sockets last, or one of the two numbers below.
    called: AtomicU64,
}

const NOT_CALLED: u64 = 0;
/// The worker's own threads have called it.
const CALLED_BY_ITSELF: u64 = u64::MAX;

/// A worker that has not looked for so long after a call is blocked, and counts as unavailable.
const BLOCKED_AFTER: u64 = 100;

/// Of two workers with the same level, the first one has long requests if its last request began so much earlier.
const LONG: u64 = 100;

/// The bits of `arrivals` that hold the number.
const ARRIVALS: u64 = 0xffff;

/// The level of a worker that cannot answer requests.
const UNAVAILABLE: u32 = u32::MAX;

/// Action of a worker that finds a connection in a listening socket, or is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Placement {
    /// Accept connections; the worker is not paused.
    Accept,
    /// Stop waiting for connections; the worker is paused.
    PassOn {
        /// The slot of the called worker.
        to: usize,
        /// Whether that worker must be woken. If not, another call has woken it, and it has not looked yet.
        wake: bool,
    },
}

/// The workers of a server, from the view of one.
///
/// Times are milliseconds of a clock that all processes share and that never goes back (`CLOCK_MONOTONIC`).
#[derive(Clone, Copy, Debug)]
pub struct Workers<'a> {
    slots: &'a [Slot],
    own: usize,
    permits: u32,
    /// Whether applications run on the thread that accepts connections.
    inline: bool,
}

impl<'a> Workers<'a> {
    /// The view of the worker with slot `own`, which runs its applications as `mode` says. Panics if there is no such slot.
    pub fn new(slots: &'a [Slot], own: usize, mode: Mode) -> Self {
        assert!(own < slots.len(), "worker {own} has no slot");
        let (permits, inline) = match mode {
            Mode::Inline => (1, true),
            Mode::Threads(limits) => (u32::try_from(limits.permits).unwrap_or(u32::MAX).max(1), false),
        };
        Self { slots, own, permits, inline }
    }

    fn own(&self) -> &Slot {
        &self.slots[self.own]
    }

    /// Takes the slot for a new process, in the state [`Starting`](State::Starting).
    pub fn enter(&self, process: u32) {
        let own = self.own();
        own.process.store(word(process, State::Starting), SeqCst);
        own.requests.store(0, SeqCst);
        own.progress.store(0, SeqCst);
        own.incoming.store(0, SeqCst);
        own.oldest.store(0, SeqCst);
        own.asked.store(0, SeqCst);
        own.arrivals.store(0, SeqCst);
        own.exhausted.store(false, SeqCst);
        own.paused.store(false, SeqCst);
        own.called.store(NOT_CALLED, SeqCst);
    }

    /// Changes the state of this worker.
    pub fn set_state(&self, state: State) {
        let process = (self.own().process.load(SeqCst) >> 32) as u32;
        self.own().process.store(word(process, state), SeqCst);
    }

    /// Changes the number of requests that run or wait for a permit. Called on any thread. `clock` is asked for the time if all
    /// permits are taken and a request may have begun. Returns true if the worker is paused and has a free permit now: it must
    /// be woken, and then resume.
    pub fn requests_changed(&self, before: usize, now: usize, clock: impl FnOnce() -> u64) -> bool {
        let change = (now as u32).wrapping_sub(before as u32);
        let requests = self.own().requests.fetch_add(change, SeqCst).wrapping_add(change);
        // Otherwise a permit is free, or the request waits for one.
        if requests == self.permits || requests > self.permits && now < before {
            self.own().progress.store(clock(), SeqCst);
        }
        let called = &self.own().called;
        requests < self.permits
            && self.is_paused()
            && called.compare_exchange(NOT_CALLED, CALLED_BY_ITSELF, SeqCst, SeqCst).is_ok()
    }

    /// Sets the number of accepted connections whose first request is not known yet. They count as requests until `until`.
    pub fn set_arrivals(&self, number: usize, until: u64) {
        let number = (number as u64).min(ARRIVALS);
        self.own().arrivals.store(until << 16 | number, SeqCst);
    }

    /// Whether this worker has no descriptors or connections left.
    pub fn is_exhausted(&self) -> bool {
        self.own().exhausted.load(SeqCst)
    }

    /// Sets whether this worker has no descriptors or connections left. Returns whether that has changed.
    pub fn set_exhausted(&self, exhausted: bool) -> bool {
        self.own().exhausted.load(SeqCst) != exhausted && {
            self.own().exhausted.store(exhausted, SeqCst);
            true
        }
    }

    /// Whether this worker has been called.
    pub fn was_called(&self) -> bool {
        self.own().called.load(SeqCst) != NOT_CALLED
    }

    /// Returns a worker with a free permit.
    pub fn another_free(&self, now: u64) -> Option<usize> {
        self.others().find(|other| self.level(*other, now) == 0)
    }

    /// Whether this worker is paused.
    pub fn is_paused(&self) -> bool {
        self.own().paused.load(SeqCst)
    }

    /// Whether this worker has a free permit.
    pub fn is_free(&self, now: u64) -> bool {
        self.own_level(now) == 0
    }

    /// Whether another worker has a free permit.
    pub fn is_another_free(&self, now: u64) -> bool {
        self.another_free(now).is_some()
    }

    /// The level of a worker: the number of times that its requests use up its permits. 0 means that a permit is free. The
    /// highest number means that the worker starts, retires, drains, cannot accept, does not answer calls, or does not exist.
    pub fn level(&self, slot: usize, now: u64) -> u32 {
        let slot = &self.slots[slot];
        let called = slot.called.load(SeqCst);
        let is_blocked = called != NOT_CALLED && now.saturating_sub(called) > BLOCKED_AFTER;
        if is_blocked { UNAVAILABLE } else { slot.level(self.permits, now) }
    }

    fn own_level(&self, now: u64) -> u32 {
        self.own().level(self.permits, now)
    }

    /// Decides about the connections that wait in the listening sockets: when the kernel reports one, and after a call.
    pub fn offered(&self, now: u64) -> Placement {
        // It looks now. A caller that was killed may not have woken it.
        if self.own().called.load(SeqCst) != NOT_CALLED {
            self.own().called.store(NOT_CALLED, SeqCst);
        }
        if let Some(to) = self.better(now) {
            self.own().paused.store(true, SeqCst);
            // Checked again: a thread that returned its permit before `paused` was set has not woken this worker.
            if !self.is_free(now) {
                return Placement::PassOn { to, wake: self.slots[to].call(now) };
            }
        }
        if self.is_paused() {
            self.own().paused.store(false, SeqCst);
        }
        Placement::Accept
    }

    /// Whether another worker has a lower level.
    pub fn is_another_better(&self, now: u64) -> bool {
        self.better(now).is_some()
    }

    /// Resumes without a decision, for a worker whose call was not answered.
    pub fn resume(&self) {
        self.own().paused.store(false, SeqCst);
    }

    /// Decides for a worker that is about to run an application on the thread of its event loop, if it has been called:
    /// it will not look at its listening sockets soon.
    pub fn called_before_running(&self, now: u64) -> Option<Placement> {
        (self.own().called.load(SeqCst) != NOT_CALLED).then(|| self.offered(now))
    }

    /// Decides again, after `to` has been called and woken, if it runs an application on the thread of its event loop: it may have
    /// begun between the decision and the call, and then it looks for calls when the application has returned.
    pub fn look_again(&self, to: usize, now: u64) -> Option<Placement> {
        let is_running = self.inline && self.slots[to].requests.load(SeqCst) > 0;
        (is_running && self.better(now).is_some_and(|best| best != to)).then(|| self.offered(now))
    }

    /// Calls another worker for the connections that this one, which ends, may have been woken for.
    pub fn leave(&self, now: u64) -> Option<Placement> {
        self.set_state(State::Draining);
        match self.offered(now) {
            Placement::Accept => None,
            decision => Some(decision),
        }
    }

    /// Whether a paused worker must [decide](Self::offered) again: it has a free permit, or no other worker waits for
    /// connections. Frees the slots of dead processes.
    pub fn should_resume(&self, now: u64, is_alive: impl Fn(u32) -> bool) -> bool {
        let mut accepting = false;
        for other in self.others() {
            let slot = &self.slots[other];
            let process = slot.process.load(SeqCst);
            if process as u32 == State::Absent as u32 {
                continue;
            }
            if !is_alive((process >> 32) as u32) {
                // An error means that a new process has taken the slot.
                let _ = slot.process.compare_exchange(process, word(0, State::Absent), SeqCst, SeqCst);
            } else {
                accepting |= !slot.paused.load(SeqCst) && self.level(other, now) != UNAVAILABLE;
            }
        }
        !accepting || self.is_free(now)
    }

    /// The worker that should accept connections in place of this one.
    fn better(&self, now: u64) -> Option<usize> {
        let own = self.own_level(now);
        if own == 0 {
            return None;
        }
        let key = |other: &usize| (self.level(*other, now), self.slots[*other].arrivals(now) > 0);
        let progress = |other: usize| self.slots[other].progress.load(SeqCst);
        let best = self.others().min_by_key(|other| (key(other), Reverse(progress(*other))))?;
        let (level, has_arrivals) = key(&best);
        // With inline execution a further connection waits until the application of the connections that have just arrived
        // has run. If the other worker runs an application already, it will be the first that is free.
        let is_sooner = self.inline && level == own && !has_arrivals && self.own().arrivals(now) > 0;
        let is_faster =
            level == own && level != UNAVAILABLE && progress(self.own).saturating_add(LONG) < progress(best);
        (level.saturating_add(level / 2) < own || is_sooner || is_faster).then_some(best)
    }

    /// The other slots, beginning behind the own one, so that equal workers are called in turn.
    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let (own, count) = (self.own, self.slots.len());
        (1..count).map(move |step| (own + step) % count)
    }
}

impl Slot {
    fn is_available(&self) -> bool {
        self.process.load(SeqCst) as u32 == State::Serving as u32 && !self.exhausted.load(SeqCst)
    }

    fn level(&self, permits: u32, now: u64) -> u32 {
        let incoming = match self.incoming(now) {
            Some(incoming) if self.is_available() => incoming,
            _ => return UNAVAILABLE,
        };
        self.requests.load(SeqCst).saturating_add(self.arrivals(now)).saturating_add(incoming) / permits
    }

    /// The number of arrivals that count.
    fn arrivals(&self, now: u64) -> u32 {
        let arrivals = self.arrivals.load(SeqCst);
        if now < arrivals >> 16 { (arrivals & ARRIVALS) as u32 } else { 0 }
    }

    /// Calls the worker. Returns whether it must be woken.
    fn call(&self, now: u64) -> bool {
        let now = now.max(NOT_CALLED + 1);
        match self.called.compare_exchange(NOT_CALLED, now, SeqCst, SeqCst) {
            Ok(_) => true,
            Err(earlier) => {
                if earlier == CALLED_BY_ITSELF {
                    // The time begins to count now. An error means that the worker has looked since: it must look again.
                    let set = self.called.compare_exchange(CALLED_BY_ITSELF, now, SeqCst, SeqCst);
                    return set.is_err() && self.call(now);
                }
                false
            }
        }
    }
}

fn word(process: u32, state: State) -> u64 {
    u64::from(process) << 32 | state as u64
}
