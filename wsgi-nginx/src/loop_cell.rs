//! Values that belong to the event loop's thread, inside of things that other threads hold as well.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The event loop's thread, as `pthread_self` names it; 0 before there is one. In a shared object a look at the thread's
/// own pointer costs a third of one at a thread-local variable.
static LOOP: AtomicUsize = AtomicUsize::new(0);

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

/// A value that only the event loop's thread can reach.
pub(crate) struct LoopCell<T>(RefCell<T>);

// SAFETY: `with` refuses other threads, and what may be dropped on them (the last one to hold it) is `Send`.
unsafe impl<T: Send> Sync for LoopCell<T> {}

impl<T> LoopCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Works with the value. Panics on any other thread, and inside of itself.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        assert!(on_loop_thread(), "this belongs to the event loop's thread");
        work(&mut self.0.borrow_mut())
    }
}
