//! Values that belong to the event loop's thread, inside of things that other threads hold as well, and the proof that none
//! of them is borrowed.
//!
//! nginx's filters call handlers, handlers call applications, and applications call the module: a call that leaves the
//! module can come back into it for the same request. A [`LoopCell`] that is borrowed then panics, in the middle of nginx's
//! work. [`Loop`] makes that a compile error.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The event loop's thread, as `pthread_self` names it; 0 before there is one. In a shared object a look at the thread's
/// own pointer costs a third of one at a thread-local variable.
static LOOP: AtomicUsize = AtomicUsize::new(0);

/// Cells that are borrowed. Counted in debug builds, which the tests use.
static BORROWED: AtomicUsize = AtomicUsize::new(0);

/// Declares this thread to be the one that runs nginx's event loop.
pub(crate) fn claim_loop_thread() {
    LOOP.store(this_thread(), Ordering::Relaxed);
}

/// Whether this thread runs nginx's event loop.
pub(crate) fn on_loop_thread() -> bool {
    LOOP.load(Ordering::Relaxed) == this_thread()
}

fn this_thread() -> usize {
    // SAFETY: always succeeds. The loop's thread lives as long as the process, so that no other gets its name.
    unsafe { libc::pthread_self() as usize }
}

/// This thread runs nginx's event loop, and borrows no [`LoopCell`].
///
/// [`LoopCell::with`] borrows it for as long as the cell is borrowed. A function that calls what can come back into the
/// module takes it as `&mut`, so that it cannot be called from inside of `with`: see [`reentry`](crate::reentry) for
/// nginx's functions.
pub(crate) struct Loop {
    _not_send: PhantomData<*mut ()>,
}

impl Loop {
    /// For functions that nginx or Python calls. Panics on any other thread; in debug builds also if the call comes from
    /// inside of [`LoopCell::with`].
    pub(crate) fn enter() -> Self {
        assert!(on_loop_thread(), "this belongs to the event loop's thread");
        debug_assert_eq!(BORROWED.load(Ordering::Relaxed), 0, "a cell is borrowed during a call out of the module");
        Self { _not_send: PhantomData }
    }
}

/// A value that only the event loop's thread can reach.
pub(crate) struct LoopCell<T>(RefCell<T>);

// SAFETY: `with` asks for a `Loop`, which other threads do not have, and a value that is dropped on another thread (the
// last one to hold it) is `Send`.
unsafe impl<T: Send> Sync for LoopCell<T> {}

impl<T> LoopCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Works with the value. Panics inside of itself.
    pub(crate) fn with<R>(&self, _loop: &Loop, work: impl FnOnce(&mut T) -> R) -> R {
        let _counted = Counted::new();
        work(&mut self.0.borrow_mut())
    }
}

/// Counts a borrow, where somebody looks.
struct Counted;

impl Counted {
    fn new() -> Self {
        if cfg!(debug_assertions) {
            BORROWED.fetch_add(1, Ordering::Relaxed);
        }
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            BORROWED.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
