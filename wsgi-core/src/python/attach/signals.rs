//! Keeps the host's signals unblocked on the thread where it runs applications inline.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::interpreter::Interpreter;
use crate::host::Level;

/// Signals of the host that were not blocked on its thread when the gateway started. Empty with thread execution, where
/// that thread runs no application.
static OPEN: OnceLock<libc::sigset_t> = OnceLock::new();

/// Whether an application may have blocked signals.
static MASK_CHANGED: AtomicBool = AtomicBool::new(false);

/// Records which of `signals` are not blocked on this thread, which runs applications inline.
pub(crate) fn keep_open(signals: &[c_int]) {
    let mut open = MaybeUninit::<libc::sigset_t>::uninit();
    let mut blocked = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are initialised before they are read. A null set leaves this thread's mask as it is.
    unsafe {
        libc::sigemptyset(open.as_mut_ptr());
        if libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), blocked.as_mut_ptr()) != 0 {
            return;
        }
        for signal in signals {
            if libc::sigismember(blocked.as_ptr(), *signal) == 0 {
                libc::sigaddset(open.as_mut_ptr(), *signal);
            }
        }
        // Called once per process, when Python starts.
        let _ = OPEN.set(open.assume_init());
    }
}

/// Called when an application has called `pthread_sigmask`.
pub(crate) fn mask_changed() {
    MASK_CHANGED.store(true, Ordering::Relaxed);
}

/// Unblocks the recorded signals. Called when application code has returned to the host's thread.
#[inline]
pub(crate) fn unblock(interpreter: &Interpreter) {
    if MASK_CHANGED.load(Ordering::Relaxed) {
        unblock_now(interpreter);
    }
}

#[cold]
fn unblock_now(interpreter: &Interpreter) {
    if interpreter.inline_thread != Some(super::thread::this_thread()) {
        return;
    }
    MASK_CHANGED.store(false, Ordering::Relaxed);
    let Some(open) = OPEN.get() else { return };
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `open` is initialised, and the call initialises `before` if it returns 0.
    let left = unsafe {
        libc::pthread_sigmask(libc::SIG_UNBLOCK, open, before.as_mut_ptr()) == 0
            && (1..=libc::SIGRTMAX())
                .any(|signal| libc::sigismember(open, signal) == 1 && libc::sigismember(before.as_ptr(), signal) == 1)
    };
    if left {
        let text = "an application left signals of the server blocked; they are unblocked again";
        interpreter.log.log(Level::Warn, text);
    }
}
