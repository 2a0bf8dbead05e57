//! Processes that an application has forked: they end where application code returns to the gateway.
//!
//! A forked process is a copy of this one with a single thread. It runs application code as long as it likes, and never
//! answers a request.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::token::Token;
use crate::host::{ErrorLog, Level};
use crate::record::Log;

/// Whether this process was forked by an application. Written by the only thread of a new process.
static FORKED: AtomicBool = AtomicBool::new(false);

/// The exit status of a forked process: takes the pending exception and the name of the application. `None` if Python fails.
pub(crate) type ExitStatus = fn(Token<'_>, &str) -> Option<c_int>;

/// Set before the first application is loaded.
static EXIT_STATUS: OnceLock<ExitStatus> = OnceLock::new();

/// Has `exit_status` called in a forked process before it ends. Once a process.
pub(crate) fn on_end(exit_status: ExitStatus) {
    let _ = EXIT_STATUS.set(exit_status);
}

/// This is a forked process from here on.
pub(crate) fn set_forked() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Whether this process was forked by an application.
#[inline]
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Where lines go: to `log`, unless this process was forked by an application. Then nothing of the host runs that would
/// write them, and they go to standard error.
#[inline]
pub(crate) fn log_of(log: &Log) -> &Log {
    if is_forked() { standard_error() } else { log }
}

/// Made in the forked process, where no other thread can be at it.
#[cold]
fn standard_error() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| Log::new(Arc::new(StandardError)))
}

struct StandardError;

impl ErrorLog for StandardError {
    fn log(&self, level: Level, text: &str) {
        let line = format!("[{}] {}: {text}\n", level.name(), std::process::id());
        // Not by Rust's own standard error: another thread may have held its lock as the process was forked.
        // SAFETY: the bytes of a string. Where they cannot be written, nothing can be said about that either.
        unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    }
}

/// Ends this process if the application has forked it. Called wherever application code has returned, before anything of
/// the host is touched. `what` names the application; a pending exception decides about the exit status.
#[inline(always)]
pub(crate) fn end_if_forked(token: Token<'_>, what: impl FnOnce() -> String) {
    if is_forked() {
        end(token, what);
    }
}

/// As [`end_if_forked`], on a thread that has no Python state any more: with status 0.
pub(crate) fn exit_if_forked() {
    if is_forked() {
        // SAFETY: ends the process.
        unsafe { libc::_exit(libc::EXIT_SUCCESS) }
    }
}

#[cold]
#[inline(never)]
fn end(token: Token<'_>, what: impl FnOnce() -> String) -> ! {
    let status = catch_unwind(AssertUnwindSafe(|| {
        let what = what();
        EXIT_STATUS.get().and_then(|exit_status| exit_status(token, &what)).unwrap_or_else(|| {
            standard_error().log(Level::Error, &format!("a process that {what} has forked ends with an error"));
            1
        })
    }));
    // SAFETY: ends the process. Functions of `atexit` are those of the process that was forked.
    unsafe { libc::_exit(status.unwrap_or(1)) }
}
