//! Waiting in the middle of a step, without the permit.

use std::cell::RefCell;
use std::rc::Rc;

/// What a thread of a pool holds while it runs a task.
pub(super) trait Hold {
    /// Hands the permit to another task; false if there is none to hand on.
    fn give_permit_back(&self) -> bool;

    /// Waits until the task has a permit again.
    fn take_permit_again(&self);

    /// The task does not wait for its client within a step any more.
    fn give_place_back(&self);
}

thread_local! {
    static HELD: RefCell<Option<Rc<dyn Hold>>> = const { RefCell::new(None) };
}

/// Runs `work`, which may wait for a client, in the middle of a step. Meanwhile another task has the permit of this one, and
/// afterwards this function waits until there is a permit again. On a thread that belongs to no pool it only runs `work`.
///
/// The thread must not be attached to Python, and hold no lock that a further task may wait for.
pub fn without_permit<T>(work: impl FnOnce() -> T) -> T {
    let held = held();
    let away = held.as_deref().filter(|held| held.give_permit_back()).map(Away);
    let result = work();
    drop(away);
    result
}

/// Tells that the task on this thread has received all that its client sends: another task that [streams] gets its place.
///
/// [streams]: super::Task::streams
pub fn stream_ended() {
    if let Some(held) = held() {
        held.give_place_back();
    }
}

fn held() -> Option<Rc<dyn Hold>> {
    // At the end of a thread there may be no such variable any more, and there is no task either.
    HELD.try_with(|held| held.borrow().clone()).ok().flatten()
}

/// Takes the permit again when it is dropped, also by a panic.
struct Away<'a>(&'a dyn Hold);

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.0.take_permit_again();
    }
}

/// Makes `hold` known to what runs on this thread, until the result is dropped.
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
