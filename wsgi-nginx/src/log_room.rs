//! How many lines of the error log wait for the event loop, and what becomes of further ones while it does not come to them.
//!
//! Threads write lines faster than the loop does. Each request, and the worker for lines of none, has a [`LogRoom`]; a thread
//! that finds it full waits, unless the loop may be waiting for that very thread.

use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wsgi_core::lock::Leaf;

/// As many bytes of lines wait before a thread does. The loop writes them within about a millisecond.
const SIZE: usize = 32 * 1024;

/// What a line counts besides its text.
const LINE: usize = 64;

/// How long a thread waits at most. The loop comes to its mail sooner, unless it is held up by something else than an
/// application: a slow disk, or Python code that runs outside of a request.
const PATIENCE: Duration = Duration::from_secs(1);

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

    /// Whether a thread should wait before it writes another line.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::SeqCst) > SIZE
    }

    /// Counts lines of so many bytes out, which are written or about to be. On the loop's thread.
    pub(crate) fn leave(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
        if LOOP.with(|state| state.waiting > 0) {
            CHANGED.notify_all();
        }
    }

    /// Blocks until there is room, or the loop is away. On another thread, which is not attached to Python.
    pub(crate) fn wait(&self) {
        let mut state = LOOP.lock();
        state.waiting += 1;
        let (mut state, _) = state.wait_timeout_while(&CHANGED, PATIENCE, |state| self.is_full() && !state.is_away());
        state.waiting -= 1;
    }
}

/// What a line counts.
pub(crate) fn size(text: &str) -> usize {
    text.len() + LINE
}

/// Whether the loop takes mail, and who waits for that.
struct State {
    /// Applications that run on the loop's thread, one within another.
    applications: usize,
    /// The worker is at its end, and no mail is delivered.
    stopped: bool,
    /// Threads that wait for room.
    waiting: usize,
}

impl State {
    fn is_away(&self) -> bool {
        self.stopped || self.applications > 0
    }
}

static LOOP: Leaf<State> = Leaf::new(State { applications: 0, stopped: false, waiting: 0 });

/// Lines have been written, or the loop has gone.
static CHANGED: Condvar = Condvar::new();

/// Runs Python code on the loop's thread. It may wait for threads that write lines.
pub(crate) fn in_application<T>(work: impl FnOnce() -> T) -> T {
    let waiting = LOOP.with(|state| {
        state.applications += 1;
        state.waiting > 0
    });
    if waiting {
        CHANGED.notify_all();
    }
    let _back = Back;
    work()
}

/// An application has returned to the loop.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        LOOP.with(|state| state.applications -= 1);
    }
}

/// Runs `work` on the loop's thread at the end of the worker, when no mail is delivered any more.
pub(crate) fn with_loop_stopped(work: impl FnOnce()) {
    LOOP.with(|state| state.stopped = true);
    CHANGED.notify_all();
    work();
    LOOP.with(|state| state.stopped = false);
}

/// Runs `write`, on another thread, if no mail is delivered at the moment. It writes to the log of the cycle, which the loop's
/// thread neither closes nor opens again before `write` has returned.
pub(crate) fn if_stopped(write: impl FnOnce()) -> bool {
    // Under the lock, which the loop's thread takes before it goes on.
    LOOP.with(|state| state.stopped.then(write)).is_some()
}

/// As [`if_stopped`], also while the loop's thread runs an application.
pub(crate) fn if_away(write: impl FnOnce()) -> bool {
    LOOP.with(|state| state.is_away().then(write)).is_some()
}
