//! Processes that an application has forked. They exit where application code returns to the gateway.
//!
//! A forked process is a copy of this process with a single thread. It runs application code for as long as that takes,
//! and never answers a request.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::token::Token;
use crate::host::{ErrorLog, Level};
use crate::protocol::record::Log;

/// Whether this process was forked by an application. Written by the only thread of a new process.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Computes the exit status of a forked process from the pending exception and the name of the application. `None` if
/// Python fails.
pub(crate) type ExitStatus = fn(Token<'_>, &str) -> Option<c_int>;

/// Set before the first application is loaded.
static EXIT_STATUS: OnceLock<ExitStatus> = OnceLock::new();

/// Sets the function that is called in a forked process before it exits. Once per process.
pub(crate) fn on_end(exit_status: ExitStatus) {
    let _ = EXIT_STATUS.set(exit_status);
}

/// Marks this process as forked by an application.
pub(crate) fn set_forked() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Whether this process was forked by an application.
#[inline]
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Returns `log`, or standard error in a process that an application has forked: the code of the host that would write
/// the lines does not run there.
#[inline]
pub(crate) fn log_of(log: &Log) -> &Log {
    if is_forked() { standard_error() } else { log }
}

/// Created in the forked process, which has no other thread.
#[cold]
fn standard_error() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| Log::new(Arc::new(StandardError)))
}

struct StandardError;

impl ErrorLog for StandardError {
    fn log(&self, level: Level, text: &str) {
        let line = format!("[{}] {}: {text}\n", level.name(), std::process::id());
        // Not through `std::io::stderr`: another thread may have held its lock at the fork.
        // SAFETY: pointer and length of one string. A failed write cannot be reported anywhere.
        unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
    }
}

/// Exits if the application has forked this process. Called wherever application code has returned, before anything of
/// the host is used. `what` names the application; a pending exception determines the exit status.
#[inline(always)]
pub(crate) fn end_if_forked(token: Token<'_>, what: impl FnOnce() -> String) {
    if is_forked() {
        end(token, what);
    }
}

/// Like [`end_if_forked`], on a thread that has no Python state any more: exits with status 0.
pub(crate) fn exit_if_forked() {
    if is_forked() {
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(libc::EXIT_SUCCESS) }
    }
}

#[cold]
#[inline(never)]
fn end(token: Token<'_>, what: impl FnOnce() -> String) -> ! {
    let status = catch_unwind(AssertUnwindSafe(|| {
        let what = what();
        EXIT_STATUS.get().and_then(|exit_status| exit_status(token, &what)).unwrap_or_else(|| {
            standard_error().log(Level::Error, &format!("a process forked by {what} exits with an error"));
            1
        })
    }));
    // SAFETY: `_exit` has no preconditions. It skips the functions of `atexit`, which belong to the parent process.
    unsafe { libc::_exit(status.unwrap_or(1)) }
}
