//! Locks that are held for a few instructions, also by threads that hold the GIL.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// A value behind a lock that is held for a few instructions, also by threads that hold the GIL.
///
/// A thread that waits for a lock while it holds the GIL stops all Python threads. That is harmless for a `Leaf`,
/// because its owner releases it soon: it runs no Python, does not wait for the GIL, takes no other lock, and drops
/// nothing whose destructor could do any of this. Hosts may use it for data that their sinks, bodies and logs share
/// with other threads.
///
/// Builds with `debug_assertions` check these rules and panic on a violation, before the gateway calls Python, waits
/// for the GIL, drops a Python reference or takes another of its locks.
///
/// [`with`](Self::with) and [`replace`](Self::replace) release the lock before their result can be dropped. Use them to
/// move out wakers, callbacks, blocks of a body and Python references, and to use or drop these without the lock.
#[derive(Default)]
pub struct Leaf<T>(Mutex<T>);

impl<T> Leaf<T> {
    /// Creates an unlocked value.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `work` with the value, and returns its result after the lock is released.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.lock())
    }

    /// Replaces the value and returns the old one, so that the caller drops it without the lock.
    #[inline]
    #[must_use = "dropped by the caller, without the lock"]
    pub fn replace(&self, value: T) -> T {
        self.with(|present| std::mem::replace(present, value))
    }

    /// Takes the lock for the life of the guard, to wait for a [`Condvar`] or to release the lock in the middle of a
    /// function. Ignores poisoning: a value that a panic has left behind is used as it is.
    #[inline]
    pub fn lock(&self) -> LeafGuard<'_, T> {
        let rule = rules::Leaf::take();
        LeafGuard { guard: self.0.lock().unwrap_or_else(PoisonError::into_inner), _rule: rule }
    }
}

impl<T: fmt::Debug> fmt::Debug for Leaf<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = formatter.debug_tuple("Leaf");
        match self.0.try_lock() {
            Ok(guard) => tuple.field(&*guard),
            Err(TryLockError::Poisoned(poisoned)) => tuple.field(&*poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => tuple.field(&format_args!("<locked>")),
        };
        tuple.finish()
    }
}

/// Guard of a [`Leaf`]. Releases the lock when dropped.
#[must_use]
pub struct LeafGuard<'a, T> {
    // Dropped before `_rule`: no destructor runs in between.
    guard: MutexGuard<'a, T>,
    _rule: rules::Leaf,
}

impl<T> LeafGuard<'_, T> {
    /// Releases the lock, sleeps until `signal` is notified, and takes the lock again. The thread must not be attached
    /// to Python.
    pub fn wait(self, signal: &Condvar) -> Self {
        rules::sleeps();
        let Self { guard, _rule } = self;
        Self { guard: signal.wait(guard).unwrap_or_else(PoisonError::into_inner), _rule }
    }

    /// Like [`wait`](Self::wait), repeated while `condition` holds.
    pub fn wait_while(mut self, signal: &Condvar, mut condition: impl FnMut(&mut T) -> bool) -> Self {
        while condition(&mut self) {
            self = self.wait(signal);
        }
        self
    }

    /// Like [`wait`](Self::wait), for at most `within`; the second value is whether that time has passed.
    pub fn wait_timeout(self, signal: &Condvar, within: Duration) -> (Self, bool) {
        rules::sleeps();
        let Self { guard, _rule } = self;
        let (guard, waited) = signal.wait_timeout(guard, within).unwrap_or_else(PoisonError::into_inner);
        (Self { guard, _rule }, waited.timed_out())
    }

    /// Like [`wait_while`](Self::wait_while), for at most `within`; the second value is whether that time has passed.
    pub fn wait_timeout_while(
        self,
        signal: &Condvar,
        within: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> (Self, bool) {
        rules::sleeps();
        let Self { guard, _rule } = self;
        let waited = signal.wait_timeout_while(guard, within, condition);
        let (guard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        (Self { guard, _rule }, waited.timed_out())
    }
}

impl<T> Deref for LeafGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for LeafGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Run-time checks of the rules. Without `debug_assertions` they compile to nothing.
#[cfg(debug_assertions)]
pub(crate) mod rules {
    use std::cell::Cell;
    use std::marker::PhantomData;
    #[cfg(feature = "python")]
    use std::sync::OnceLock;

    thread_local! {
        /// Number of leaf locks that this thread holds.
        static LEAVES: Cell<u32> = const { Cell::new(0) };
        /// Number of parts of exchanges that this thread holds. Parts taken before the innermost call from the host or
        /// from Python are not counted (see [`Fresh`]).
        static PARTS: Cell<u32> = const { Cell::new(0) };
    }

    /// Returns whether the calling thread is attached to Python.
    #[cfg(feature = "python")]
    static IS_ATTACHED: OnceLock<fn() -> bool> = OnceLock::new();

    /// Sets the function that reports whether a thread is attached. Called when Python has been started.
    #[cfg(feature = "python")]
    pub(crate) fn ask_python(is_attached: fn() -> bool) {
        let _ = IS_ATTACHED.set(is_attached);
    }

    /// Panics if this thread holds a leaf lock.
    #[track_caller]
    pub(crate) fn no_leaf(doing: &str) {
        if LEAVES.get() > 0 && !std::thread::panicking() {
            panic!("{doing} while a leaf lock is held");
        }
    }

    /// Panics if this thread holds a lock under which no Python may run.
    #[track_caller]
    #[cfg(feature = "python")]
    pub(crate) fn no_lock(doing: &str) {
        no_leaf(doing);
        if PARTS.get() > 0 && !std::thread::panicking() {
            panic!("{doing} while a part of an exchange is held");
        }
    }

    /// Panics if this thread is attached to Python.
    #[track_caller]
    pub(super) fn sleeps() {
        #[cfg(feature = "python")]
        assert!(
            !IS_ATTACHED.get().is_some_and(|is_attached| is_attached()),
            "a thread sleeps while it is attached to Python"
        );
    }

    /// Counts a leaf lock as held until dropped.
    pub(super) struct Leaf(PhantomData<*mut ()>);

    impl Leaf {
        #[track_caller]
        pub(super) fn take() -> Self {
            no_leaf("a lock is taken");
            LEAVES.set(LEAVES.get() + 1);
            Self(PhantomData)
        }
    }

    impl Drop for Leaf {
        fn drop(&mut self) {
            LEAVES.set(LEAVES.get() - 1);
        }
    }

    /// Counts a part of an exchange as held until dropped.
    #[cfg(feature = "python")]
    pub(crate) struct Part(PhantomData<*mut ()>);

    #[cfg(feature = "python")]
    impl Part {
        pub(crate) fn take() -> Self {
            PARTS.set(PARTS.get() + 1);
            Self(PhantomData)
        }
    }

    #[cfg(feature = "python")]
    impl Drop for Part {
        fn drop(&mut self) {
            // Code that switches stacks may release parts in another order than it took them.
            PARTS.set(PARTS.get().saturating_sub(1));
        }
    }

    /// Starts a new count for code that the host or Python has called, and restores the old count when dropped. The
    /// host may call Python from within a sink, a body or a log, which are called with a part held. Taking the same
    /// part again is refused there, see `Part::lock`.
    #[cfg(feature = "python")]
    pub(crate) struct Fresh(u32);

    #[cfg(feature = "python")]
    impl Fresh {
        pub(crate) fn begin() -> Self {
            Self(PARTS.replace(0))
        }
    }

    #[cfg(feature = "python")]
    impl Drop for Fresh {
        fn drop(&mut self) {
            PARTS.set(self.0);
        }
    }
}

/// The same names, zero-sized and without code.
#[cfg(not(debug_assertions))]
pub(crate) mod rules {
    #[cfg(feature = "python")]
    pub(crate) fn ask_python(_: fn() -> bool) {}

    #[inline(always)]
    #[cfg(feature = "python")]
    pub(crate) fn no_leaf(_: &str) {}

    #[inline(always)]
    #[cfg(feature = "python")]
    pub(crate) fn no_lock(_: &str) {}

    #[inline(always)]
    pub(super) fn sleeps() {}

    pub(super) struct Leaf;

    impl Leaf {
        #[inline(always)]
        pub(super) fn take() -> Self {
            Self
        }
    }

    #[cfg(feature = "python")]
    pub(crate) struct Part;

    #[cfg(feature = "python")]
    impl Part {
        #[inline(always)]
        pub(crate) fn take() -> Self {
            Self
        }
    }

    #[cfg(feature = "python")]
    pub(crate) struct Fresh;

    #[cfg(feature = "python")]
    impl Fresh {
        #[inline(always)]
        pub(crate) fn begin() -> Self {
            Self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Takes a lock when it is dropped, as wakers and blocks of a body may.
    struct Taking(Arc<Leaf<u32>>);

    impl Drop for Taking {
        fn drop(&mut self) {
            self.0.with(|count| *count += 1);
        }
    }

    #[test]
    fn value_taken_from_a_leaf_is_dropped_without_its_lock() {
        let count = Arc::<Leaf<u32>>::default();
        let leaf = Leaf::new(Some(Taking(Arc::clone(&count))));
        drop(leaf.replace(Some(Taking(Arc::clone(&count)))));
        drop(leaf.with(Option::take));
        assert_eq!(count.with(|count| *count), 2);
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_destructor_that_takes_a_lock_under_a_leaf_is_found() {
        let count = Arc::<Leaf<u32>>::default();
        let leaf = Leaf::new(Some(Taking(count)));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| leaf.with(|value| *value = None)));
        let panic = *panic.expect_err("the rule is checked").downcast::<String>().expect("a message");
        assert_eq!(panic, "a lock is taken while a leaf lock is held");
        assert!(leaf.with(|value| value.is_none()), "the lock is free again, and is no leaf of this thread's any more");
    }

    #[test]
    fn thread_sleeps_until_it_is_notified() {
        let (leaf, signal) = (Leaf::new(0), Condvar::new());
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| *leaf.lock().wait_while(&signal, |value| *value == 0));
            leaf.with(|value| *value = 7);
            signal.notify_all();
            assert_eq!(sleeper.join().unwrap(), 7);
        });
        assert!(leaf.lock().wait_timeout(&signal, Duration::ZERO).1);
    }
}
