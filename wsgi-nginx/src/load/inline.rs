//! Applications that run on the thread of the event loop.

use super::{LOAD, Load, clock, now};
use crate::loop_cell::Loop;

/// An application that runs on the thread of the event loop for this time makes other requests wait, in milliseconds.
const BLOCKS: u64 = 20;

/// The largest step of `CLOCK_MONOTONIC_COARSE` (with `CONFIG_HZ=100`), in milliseconds.
const CLOCK_TICK: u64 = 10;

/// Whether an application has blocked the event loop until now, so that the requests of this turn have waited.
pub(crate) fn was_blocked(lp: &Loop) -> bool {
    LOAD.get().is_some_and(|load| load.state.with(lp, |events| now() <= events.blocked_until + CLOCK_TICK))
}

/// Calls `run`, in which an application answers a request on this thread.
#[inline(always)]
pub(crate) fn run<T>(lp: &mut Loop, run: impl FnOnce(&mut Loop) -> T) -> T {
    let running = LOAD.get().map(|load| Running::new(load, lp));
    let result = run(lp);
    if let Some(running) = running {
        running.end(lp);
    }
    result
}

/// A request that runs on the thread of the event loop, until it is dropped.
struct Running {
    load: &'static Load,
    began: u64,
}

impl Running {
    fn new(load: &'static Load, lp: &Loop) -> Self {
        load.workers.requests_changed(0, 1, clock);
        if let Some(placement) = load.workers.called_before_running(now()) {
            load.carry_out(lp, placement, true);
        }
        Self { load, began: clock() }
    }

    fn end(self, lp: &Loop) {
        let (load, began, ended) = (self.load, self.began, clock());
        drop(self);
        if ended >= began + BLOCKS {
            load.state.with(lp, |events| events.blocked_until = ended);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.load.workers.requests_changed(1, 0, clock) {
            self.load.wake(self.load.own);
        }
    }
}
