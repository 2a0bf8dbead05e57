//! Locks that are held for longer than a [`Leaf`](crate::lock::Leaf). Threads wait for them detached. A thread that
//! asks for a lock that it already holds gets an error instead of a deadlock.
//!
//! | lock       | rules while it is held                                                                            |
//! |------------|---------------------------------------------------------------------------------------------------|
//! | `Leaf`     | no Python, no wait for the GIL, no other lock, only trivial destructors                           |
//! | [`Part`]   | calls of the host's sink, body or log and waits for the GIL are allowed; we run no Python         |
//! | [`Loading`]| Python runs, on purpose: a script is loaded once, an interpreter is started once                  |
//!
//! Locks are taken in the order from the bottom of the table to its top.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::thread::{Detached, this_thread};
use super::token::Token;
use crate::lock::rules;

/// Error: a call further up on the stack of this thread holds the lock.
#[derive(Debug)]
pub(crate) struct UnderWay;

/// A part of an exchange (its reply, its input, its error stream) that several threads of the application may use.
pub(crate) struct Part<T>(Owned<T>);

impl<T> Part<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Owned::new(value))
    }

    /// Takes the lock; waits for other threads detached.
    #[inline]
    pub(crate) fn lock(&self, _token: Token<'_>) -> Result<PartGuard<'_, T>, UnderWay> {
        rules::no_leaf("a part of an exchange is taken");
        Ok(PartGuard { guard: self.0.lock()?, _rule: rules::Part::take() })
    }

    /// Takes the lock when no other thread can hold it.
    pub(crate) fn lock_alone(&self) -> PartGuard<'_, T> {
        PartGuard {
            guard: self.0.guard(self.0.mutex.lock().unwrap_or_else(PoisonError::into_inner)),
            _rule: rules::Part::take(),
        }
    }
}

/// Guard of a [`Part`].
pub(crate) struct PartGuard<'a, T> {
    guard: OwnedGuard<'a, T>,
    _rule: rules::Part,
}

impl<T> Deref for PartGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard.guard
    }
}

impl<T> DerefMut for PartGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard.guard
    }
}

/// A value that is created once, by running Python. Other threads wait until that has succeeded or failed.
#[derive(Default)]
pub(crate) struct Loading<T>(Owned<T>);

impl<T> Loading<T> {
    /// Takes the lock; waits for other threads detached.
    pub(crate) fn lock(&self) -> Result<LoadingGuard<'_, T>, UnderWay> {
        rules::no_leaf("something is loaded");
        self.0.lock().map(LoadingGuard)
    }
}

/// Guard of a [`Loading`].
pub(crate) struct LoadingGuard<'a, T>(OwnedGuard<'a, T>);

impl<T> Deref for LoadingGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.guard
    }
}

impl<T> DerefMut for LoadingGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0.guard
    }
}

/// A mutex that records which thread holds it.
#[derive(Default)]
struct Owned<T> {
    mutex: Mutex<T>,
    /// Id of the owner, from [`this_thread`]; 0 while the lock is free. A thread finds its id here only if it holds the
    /// lock.
    owner: AtomicUsize,
}

impl<T> Owned<T> {
    fn new(value: T) -> Self {
        Self { mutex: Mutex::new(value), owner: AtomicUsize::new(0) }
    }

    #[inline]
    fn lock(&self) -> Result<OwnedGuard<'_, T>, UnderWay> {
        let guard = match self.mutex.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait()?,
        };
        Ok(self.guard(guard))
    }

    /// Waits detached, because the owner may be waiting for the GIL. Attaching again with the lock held is harmless: no
    /// thread waits for this lock attached.
    #[cold]
    fn wait(&self) -> Result<MutexGuard<'_, T>, UnderWay> {
        if self.owner.load(Ordering::Relaxed) == this_thread() {
            return Err(UnderWay);
        }
        let _detached = Detached::if_attached();
        Ok(self.mutex.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    fn guard<'a>(&'a self, guard: MutexGuard<'a, T>) -> OwnedGuard<'a, T> {
        self.owner.store(this_thread(), Ordering::Relaxed);
        OwnedGuard { owner: &self.owner, guard }
    }
}

struct OwnedGuard<'a, T> {
    owner: &'a AtomicUsize,
    guard: MutexGuard<'a, T>,
}

impl<T> Drop for OwnedGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Runs before the field `guard` is dropped, which releases the lock.
        self.owner.store(0, Ordering::Relaxed);
    }
}
