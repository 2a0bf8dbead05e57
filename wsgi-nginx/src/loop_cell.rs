//! Values that belong to the event loop's thread, inside structures that other threads share, and a compile-time proof
//! that none of them is borrowed.
//!
//! nginx's filters call handlers, handlers call applications, and applications call the module: a call that leaves the
//! module can come back into it for the same request. A [`LoopCell`] that is borrowed then panics, in the middle of
//! nginx's work. [`Loop`] makes that a compile error.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The event loop's thread as returned by `pthread_self`; 0 before [`claim_loop_thread`]. In a shared object,
/// `pthread_self` costs a third of an access to a thread-local variable.
static LOOP: AtomicUsize = AtomicUsize::new(0);

/// Number of cells that are borrowed. Counted in debug builds, which the tests use.
static BORROWED: AtomicUsize = AtomicUsize::new(0);

/// Declares the calling thread to be nginx's event loop thread.
pub(crate) fn claim_loop_thread() {
    LOOP.store(this_thread(), Ordering::Relaxed);
}

/// Whether the calling thread runs nginx's event loop.
pub(crate) fn on_loop_thread() -> bool {
    LOOP.load(Ordering::Relaxed) == this_thread()
}

fn this_thread() -> usize {
    // SAFETY: `pthread_self` always succeeds. The loop's thread lives as long as the process, so that its id is not
    // reused.
    unsafe { libc::pthread_self() as usize }
}

/// Proof that the calling thread runs nginx's event loop and borrows no [`LoopCell`].
///
/// [`LoopCell::with`] borrows the `Loop` for as long as the cell is borrowed. A function whose calls can come back into
/// the module takes it as `&mut`, so that it cannot be called inside `with`: see [`reentry`](crate::reentry) for
/// nginx's functions.
pub(crate) struct Loop {
    _not_send: PhantomData<*mut ()>,
}

impl Loop {
    /// Creates the proof in a function that nginx or Python calls. Panics on any other thread; in debug builds also if
    /// the call comes from inside [`LoopCell::with`].
    pub(crate) fn enter() -> Self {
        assert!(on_loop_thread(), "this belongs to the event loop's thread");
        debug_assert_eq!(BORROWED.load(Ordering::Relaxed), 0, "a cell is borrowed during a call out of the module");
        Self { _not_send: PhantomData }
    }
}

/// A value that only the event loop's thread can reach.
pub(crate) struct LoopCell<T>(RefCell<T>);

// SAFETY: `with` asks for a `Loop`, which other threads do not have. The last owner may drop the value on another
// thread, which is sound since the value is `Send`.
unsafe impl<T: Send> Sync for LoopCell<T> {}

impl<T> LoopCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Calls `work` with the value. Panics if `work` borrows the same cell again.
    #[inline(always)]
    pub(crate) fn with<R>(&self, _loop: &Loop, work: impl FnOnce(&mut T) -> R) -> R {
        let _counted = Counted::new();
        work(&mut self.0.borrow_mut())
    }
}

/// Counts a borrow, in debug builds only.
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
