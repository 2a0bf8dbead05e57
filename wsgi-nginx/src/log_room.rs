//! Limits the log lines that wait for the event loop.
//!
//! Threads produce lines faster than the loop writes them. Each request has a [`LogRoom`], and the worker has one for
//! lines that belong to no request. A thread waits while its room is full, unless the loop runs an application, which
//! may be waiting for that thread: in that case the thread writes its line itself.

use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wsgi_core::host::Leaf;

/// Bytes of waiting lines beyond which a thread waits. The loop writes them within about a millisecond.
const SIZE: usize = 32 * 1024;

/// Bytes that a line counts in addition to its text.
const LINE: usize = 64;

/// How long a thread waits at most. The loop usually writes the lines sooner, unless it is blocked by a slow disk, or
/// by Python code that runs without an [`Away`].
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of the lines that wait.
pub(crate) struct LogRoom(AtomicUsize);

impl LogRoom {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Counts a line that will wait.
    pub(crate) fn enter(&self, text: &str) {
        self.0.fetch_add(size(text), Ordering::SeqCst);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    /// Whether a thread should wait before it logs another line.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::SeqCst) > SIZE
    }

    /// Subtracts the bytes of lines that are written or about to be. Called on the loop's thread.
    pub(crate) fn leave(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
        tell_those_that_wait();
    }

    /// Blocks until there is room, until the loop runs an application or has stopped, or for [`STOP_TIMEOUT`]. Called
    /// on another thread, which is not attached to Python.
    pub(crate) fn wait(&self) {
        let guard = LOOP.lock();
        WAITING.fetch_add(1, Ordering::SeqCst);
        let _ = guard.wait_timeout_while(&CHANGED, STOP_TIMEOUT, |stopped| {
            self.is_full() && !*stopped && APPLICATIONS.load(Ordering::SeqCst) == 0
        });
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns the bytes that a line counts.
pub(crate) fn size(text: &str) -> usize {
    text.len() + LINE
}

/// Whether the loop has stopped because the worker exits. Other threads write to the log under this lock.
static LOOP: Leaf<bool> = Leaf::new(false);

/// Notified when lines were written, when the loop runs an application, and when it has stopped.
static CHANGED: Condvar = Condvar::new();

/// Number of applications that run on the loop's thread, one within another. Changed on that thread only.
static APPLICATIONS: AtomicUsize = AtomicUsize::new(0);

/// Number of threads that wait for room.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Number of threads that write, or are about to check whether they may.
static WRITING: AtomicUsize = AtomicUsize::new(0);

/// Wakes the threads that wait for room.
///
/// A thread first counts itself and then reads the state of the loop. The loop first changes its state and then reads
/// the count. So at least one of the two sees the other's change.
#[inline]
fn tell_those_that_wait() {
    if WAITING.load(Ordering::SeqCst) > 0 {
        // A thread that has counted itself holds the lock until it sleeps.
        LOOP.with(|_| ());
        CHANGED.notify_all();
    }
}

/// Guard that exists while Python code runs on the loop's thread. That code may wait for threads that log lines.
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
            // Blocks until that thread has written.
            LOOP.with(|_| ());
        }
    }
}

/// Runs `work` on the loop's thread while the worker exits and the loop runs no tasks.
pub(crate) fn with_loop_stopped(work: impl FnOnce()) {
    LOOP.with(|stopped| *stopped = true);
    CHANGED.notify_all();
    work();
    LOOP.with(|stopped| *stopped = false);
}

/// Runs `write`, on another thread, if the loop has stopped. Returns whether it did. The loop's thread neither closes
/// nor reopens the cycle's log before `write` returns.
pub(crate) fn if_stopped(write: impl FnOnce()) -> bool {
    // The loop's thread takes this lock before it continues.
    LOOP.with(|stopped| stopped.then(write)).is_some()
}

/// Like [`if_stopped`], but also while the loop's thread runs an application.
pub(crate) fn if_away(write: impl FnOnce()) -> bool {
    WRITING.fetch_add(1, Ordering::SeqCst);
    let is_away = LOOP.with(|stopped| {
        let is_away = *stopped || APPLICATIONS.load(Ordering::SeqCst) > 0;
        is_away.then(write).is_some()
    });
    WRITING.fetch_sub(1, Ordering::SeqCst);
    is_away
}
