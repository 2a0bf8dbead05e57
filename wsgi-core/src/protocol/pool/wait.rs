//! Waiting without a permit in the middle of a step.

use std::cell::RefCell;
use std::rc::Rc;

/// The permit and the place of the task that runs on a thread of a pool.
pub(super) trait Hold {
    /// Gives the permit to another task; false if the thread holds none.
    fn give_permit_back(&self) -> bool;

    /// Blocks until the task has a permit again.
    fn take_permit_again(&self);

    /// Gives the task's place back: it no longer waits for its client within a step.
    fn give_place_back(&self);
}

thread_local! {
    static HELD: RefCell<Option<Rc<dyn Hold>>> = const { RefCell::new(None) };
}

/// Runs `work`, which may wait for a client, in the middle of a step. Meanwhile another task has this one's permit;
/// afterwards this function blocks until there is a permit again. On a thread outside of a pool, it just runs `work`.
///
/// The thread must not be attached to Python, nor hold a lock that another task may wait for.
pub fn without_permit<T>(work: impl FnOnce() -> T) -> T {
    let held = held();
    let away = held.as_deref().filter(|held| held.give_permit_back()).map(Away);
    let result = work();
    drop(away);
    result
}

/// Reports that the task on this thread has received all data of its client: another task that [streams] gets its place.
///
/// [streams]: super::Task::streams
pub fn stream_ended() {
    if let Some(held) = held() {
        held.give_place_back();
    }
}

fn held() -> Option<Rc<dyn Hold>> {
    // The thread-local may be destroyed already at the end of a thread, when there is no task either.
    HELD.try_with(|held| held.borrow().clone()).ok().flatten()
}

/// Takes the permit again when dropped, also during a panic.
struct Away<'a>(&'a dyn Hold);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.0.take_permit_again();
    }
}

/// Makes `hold` available to code on this thread, until the result is dropped.
pub(super) fn held_by_this_thread(hold: Rc<dyn Hold>) -> impl Drop {
    HELD.set(Some(hold));
    Holding
}

struct Holding;

impl Drop for Holding {
    fn drop(&mut self) {
        HELD.set(None);
    }
}
