//! Values that belong to the event loop's thread, inside of things that other threads hold as well.

use std::cell::{Cell, RefCell};

thread_local! {
    static IS_LOOP: Cell<bool> = const { Cell::new(false) };
}

/// Declares this thread to be the one that runs nginx's event loop.
pub(crate) fn claim_loop_thread() {
    IS_LOOP.set(true);
}

/// Whether this thread runs nginx's event loop.
pub(crate) fn on_loop_thread() -> bool {
    IS_LOOP.get()
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
