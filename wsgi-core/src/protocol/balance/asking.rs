//! Requests that wait for a permit in one worker while another one has a free permit.
//!
//! A worker asks for the oldest waiting request when one of its permits becomes free. A worker with waiting requests also looks for
//! workers with free permits, because a worker that has just started asks for nothing.

use std::sync::atomic::Ordering::SeqCst;

use super::{BLOCKED_AFTER, LONG, Slot, Workers};

/// A worker is asked for a waiting request at most once in this time: it must wake up to answer, and requests that wait for so
/// short a time are not worth a transfer.
pub(super) const ASK_INTERVAL: u64 = 5;

/// A transferred request counts in its new worker for this time, if it does not arrive before.
pub(super) const INCOMING: u64 = 5;

/// A worker that has not seen a transferred request counts as busy until this time after the transfer, from [`BLOCKED_AFTER`] on.
pub(super) const DISTRUST: u64 = 1000;

/// The bits of `incoming` that hold the number.
const NUMBER: u64 = 0xffff;

/// The bits of `asked` that hold the slot.
const ASKER: u64 = 0xffff;

impl Workers<'_> {
    /// Publishes the time at which the oldest waiting request began to wait; `None` if no request waits.
    pub fn set_oldest(&self, since: Option<u64>) {
        self.own().oldest.store(since.map_or(0, |since| since.max(1)), SeqCst);
    }

    /// Asks the worker with the oldest waiting request to transfer it, if this worker has a free permit. Returns its slot if it
    /// must be woken. Called on any thread when a permit has become free. `clock` returns the time.
    pub fn ask_for_request(&self, clock: impl FnOnce() -> u64) -> Option<usize> {
        if self.own().requests.load(SeqCst) >= self.permits || !self.own().is_available() {
            return None;
        }
        let (_, other) = self.oldest_of_others()?;
        self.ask(other, clock()).map(|_| other)
    }

    /// Like [`ask_for_request`](Self::ask_for_request) for a worker that has waiting requests itself: asks only if the other
    /// request waits for much longer, and the other worker has answered the last question.
    pub fn ask_for_older_request(&self, clock: impl FnOnce() -> u64) -> Option<usize> {
        let own = self.own().oldest.load(SeqCst);
        let (since, other) = self.oldest_of_others()?;
        let is_older = own != 0 && since.saturating_add(LONG) < own;
        (is_older && self.ask(other, clock())?).then_some(other)
    }

    /// Since when the oldest waiting request of other workers waits, and in which slot.
    fn oldest_of_others(&self) -> Option<(u64, usize)> {
        let oldest = |other: usize| (self.slots[other].oldest.load(SeqCst), other);
        self.others().map(oldest).filter(|(since, _)| *since != 0).min()
    }

    /// Asks another worker, unless it has just been asked. Returns whether that worker has answered the last question.
    fn ask(&self, other: usize, now: u64) -> Option<bool> {
        let asked = &self.slots[other].asked;
        let before = asked.load(SeqCst);
        if (before >> 16).saturating_add(ASK_INTERVAL) > now {
            return None;
        }
        let by = (self.own as u64 + 1).min(ASKER);
        asked.compare_exchange(before, now << 16 | by, SeqCst, SeqCst).ok().map(|before| before & ASKER == 0)
    }

    /// Returns the worker that has asked for a waiting request since the last call.
    pub fn was_asked(&self) -> Option<usize> {
        let by = (self.own().asked.fetch_and(!ASKER, SeqCst) & ASKER).checked_sub(1)?;
        (by < self.slots.len() as u64).then_some(by as usize)
    }

    /// Notes that a request is about to be transferred to another worker.
    pub fn expect(&self, at: usize, now: u64) {
        let incoming = &self.slots[at].incoming;
        let before = incoming.load(SeqCst);
        let is_over = before == 0 || now.saturating_sub(before >> 16) > DISTRUST;
        let after = if is_over { now << 16 | 1 } else { before + 1 };
        // After an error the number is too low: the other worker may refuse a request.
        let _ = incoming.compare_exchange(before, after, SeqCst, SeqCst);
    }

    /// Notes that an expected request could not be sent.
    pub fn expect_none(&self, at: usize) {
        self.slots[at].incoming.store(0, SeqCst);
    }

    /// Notes that this worker has seen all transferred requests.
    pub fn arrived(&self) {
        self.expect_none(self.own);
    }

    /// Whether requests wait for a permit in this worker.
    pub fn has_waiting(&self) -> bool {
        self.own().requests.load(SeqCst) > self.permits
    }
}

impl Slot {
    /// The number of transferred requests that count and have not arrived. `None` if the worker does not look at them.
    pub(super) fn incoming(&self, now: u64) -> Option<u32> {
        let incoming = self.incoming.load(SeqCst);
        match now.saturating_sub(incoming >> 16) {
            _ if incoming == 0 => Some(0),
            age if age < INCOMING => Some((incoming & NUMBER) as u32),
            age if age > BLOCKED_AFTER && age <= DISTRUST => None,
            _ => Some(0),
        }
    }
}
