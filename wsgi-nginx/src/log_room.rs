//! A bound for the lines of the error log that wait for the event loop.
//!
//! Threads make lines faster than the loop writes them. Each request has a [`LogRoom`], and the worker has one for lines that
//! belong to no request. A thread waits while its room is full, unless the loop runs an application, which may be waiting for
//! this very thread: then the thread writes its line itself.

use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wsgi_core::lock::Leaf;

/// As many bytes of lines wait before a thread does. The loop writes them within about a millisecond.
const SIZE: usize = 32 * 1024;

/// Bytes that a line counts besides its text.
const LINE: usize = 64;

/// How long a thread waits at most. The loop comes to its mail sooner, unless it is held up by something else than an
/// application: a slow disk, or Python code that runs outside of a request.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of lines that wait.
pub(crate) struct LogRoom(AtomicUsize);

impl LogRoom {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Counts a line in.
    pub(crate) fn enter(&self, text: &str) {
        self.0.fetch_add(size(text), Ordering::SeqCst);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    /// Whether a thread should wait before it writes another line.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::SeqCst) > SIZE
    }

    /// Counts lines of so many bytes out, which are written or about to be. On the loop's thread.
    pub(crate) fn leave(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
        tell_those_that_wait();
    }

    /// Blocks until there is room, or the loop is away. On another thread, which is not attached to Python.
    pub(crate) fn wait(&self) {
        let guard = LOOP.lock();
        WAITING.fetch_add(1, Ordering::SeqCst);
        let _ = guard.wait_timeout_while(&CHANGED, STOP_TIMEOUT, |stopped| {
            self.is_full() && !*stopped && APPLICATIONS.load(Ordering::SeqCst) == 0
        });
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The bytes that a line counts.
pub(crate) fn size(text: &str) -> usize {
    text.len() + LINE
}

/// Whether the worker is at its end, so that no mail is delivered. Other threads write to the log under this lock.
static LOOP: Leaf<bool> = Leaf::new(false);

/// Lines have been written, or the loop has gone.
static CHANGED: Condvar = Condvar::new();

/// Applications that run on the loop's thread, one within another. Changed there alone.
static APPLICATIONS: AtomicUsize = AtomicUsize::new(0);

/// Threads that wait for room.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Threads that write, or are about to look whether they may.
static WRITING: AtomicUsize = AtomicUsize::new(0);

/// Wakes threads that wait for room.
///
/// A thread counts itself first and looks at the state of the loop then. The loop changes its state first and looks at the
/// count then. So at least one of the two notices the other.
#[inline]
fn tell_those_that_wait() {
    if WAITING.load(Ordering::SeqCst) > 0 {
        // A thread that has counted itself holds the lock until it waits.
        LOOP.with(|_| ());
        CHANGED.notify_all();
    }
}

/// While it lives, Python code runs on the loop's thread. That may wait for threads that write lines.
pub(crate) struct Away(());

impl Away {
    #[inline]
    pub(crate) fn new() -> Self {
        APPLICATIONS.store(APPLICATIONS.load(Ordering::Relaxed) + 1, Ordering::SeqCst);
        tell_those_that_wait();
        Self(())
    }
}

impl Drop for Away {
    #[inline]
    fn drop(&mut self) {
        APPLICATIONS.store(APPLICATIONS.load(Ordering::Relaxed) - 1, Ordering::SeqCst);
        if WRITING.load(Ordering::SeqCst) > 0 {
            // Waits until that thread has written.
            LOOP.with(|_| ());
        }
    }
}

/// Runs `work` on the loop's thread at the end of the worker, when no mail is delivered any more.
pub(crate) fn with_loop_stopped(work: impl FnOnce()) {
    LOOP.with(|stopped| *stopped = true);
    CHANGED.notify_all();
    work();
    LOOP.with(|stopped| *stopped = false);
}

/// Runs `write`, on another thread, if no mail is delivered at the moment. It writes to the log of the cycle, which the loop's
/// thread neither closes nor opens again before `write` has returned.
pub(crate) fn if_stopped(write: impl FnOnce()) -> bool {
    // Under the lock, which the loop's thread takes before it goes on.
    LOOP.with(|stopped| stopped.then(write)).is_some()
}

/// As [`if_stopped`], also while the loop's thread runs an application.
pub(crate) fn if_away(write: impl FnOnce()) -> bool {
    WRITING.fetch_add(1, Ordering::SeqCst);
    let is_away = LOOP.with(|stopped| {
        let is_away = *stopped || APPLICATIONS.load(Ordering::SeqCst) > 0;
        is_away.then(write).is_some()
    });
    WRITING.fetch_sub(1, Ordering::SeqCst);
    is_away
}
