//! The requests of this worker: their number, and those that wait for a permit while another worker has one.

use std::sync::Arc;
use std::time::Duration;

use wsgi_core::host::LoadObserver;

use super::{LOAD, clock, now};
use crate::mailbox::Mailbox;

/// How long a thread waits for a request that another worker transfers, before it answers one of its own worker.
const OLDER_TIMEOUT: Duration = Duration::from_millis(5);

/// Returns the receiver of the load of the thread pools.
pub(crate) fn observer() -> Option<Arc<dyn LoadObserver>> {
    LOAD.get().map(|_| Arc::new(Pools { _place: 0 }) as Arc<dyn LoadObserver>)
}

/// Has a field because LeakSanitizer reports an `Arc` without content.
#[derive(Debug)]
struct Pools {
    _place: u8,
}

impl LoadObserver for Pools {
    fn load_changed(&self, before: usize, now: usize) {
        let Some(load) = LOAD.get() else { return };
        if load.workers.requests_changed(before, now, clock) {
            load.wake(load.own);
        }
        if now < before
            && let Some(other) = load.workers.ask_for_request(clock)
        {
            load.wake(other);
        }
    }

    fn waits_for_older(&self) -> Option<Duration> {
        let load = LOAD.get()?;
        load.wake(load.workers.ask_for_older_request(clock)?);
        Some(OLDER_TIMEOUT)
    }
}

/// Whether another worker has a free permit. With threads, false also if this worker has one.
pub(crate) fn is_another_free() -> bool {
    LOAD.get().is_some_and(|load| {
        let now = now();
        (load.inline || !load.workers.is_free(now)) && load.workers.is_another_free(now)
    })
}

/// Whether requests wait in this worker for a permit, and can be transferred.
pub(crate) fn has_waiting() -> bool {
    LOAD.get().is_some_and(|load| load.transfers_requests && load.workers.has_waiting())
}

/// Publishes since when the oldest request waits for a permit.
pub(crate) fn set_oldest(since: Option<u64>) {
    if let Some(load) = LOAD.get() {
        load.workers.set_oldest(since);
    }
}

/// Chooses a worker for a waiting request: `preferred`, which has asked for it, or another one with a free permit. Returns its
/// number and its mailbox.
pub(crate) fn reserve(preferred: Option<usize>) -> Option<(usize, &'static Mailbox)> {
    let (load, now) = (LOAD.get()?, now());
    let worker = preferred.or_else(|| load.workers.another_free(now))?;
    load.workers.expect(worker, now);
    Some((worker, load.shared.mailbox(worker)?))
}

/// Notes that no request has been sent to a chosen worker.
pub(crate) fn unreserve(worker: usize) {
    if let Some(load) = LOAD.get() {
        load.workers.expect_none(worker);
    }
}

/// Notes that the mailbox of this worker is empty.
pub(crate) fn arrived() {
    if let Some(load) = LOAD.get() {
        load.workers.arrived();
    }
}

/// Returns the mailbox of this worker.
pub(crate) fn own_mailbox() -> Option<&'static Mailbox> {
    let load = LOAD.get()?;
    load.shared.mailbox(load.own)
}
