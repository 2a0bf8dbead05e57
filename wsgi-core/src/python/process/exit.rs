//! Ending the interpreters of a process within a time limit.
//!
//! Two steps have no built-in time limit: waiting for the GIL, which C code may hold, and the functions of `atexit`.
//! With threads both run on threads that are abandoned when the time is over. With inline execution they run on the
//! host's thread, as the applications did, and a watchdog thread ends the process.

#[cfg(target_env = "gnu")]
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::host::Level;
use crate::protocol::pool::StackSize;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::Attached;

/// Ends this process at once, without exit handlers, destructors and flushing of buffers, even if threads are running.
/// For a host whose orderly shutdown does not complete.
pub fn exit_at_once(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Limit of the wait for the GIL after applications were abandoned.
const GIL_TIMEOUT: Duration = Duration::from_millis(300);

/// Returns the time until `deadline`; zero after it.
pub(crate) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Ends the interpreters one after the other on this thread, the main one last, and keeps the GIL. Each gets an equal
/// share of the time until `deadline` for its threads. Ends the process if something still runs `atexit_limit` after
/// `deadline`.
pub(crate) fn end_inline(main: &'static Engine, own: Vec<&'static Engine>, deadline: Instant, atexit_limit: Duration) {
    let log = main.interpreter.log.clone();
    let (finished, watchdog) = mpsc::channel::<()>();
    let watch = move || {
        if watchdog.recv_timeout(remaining(deadline + atexit_limit)) == Err(RecvTimeoutError::Timeout) {
            let text = "functions of atexit, or code that holds the GIL, still running at exit are abandoned";
            log.log(Level::Warn, text);
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(libc::EXIT_SUCCESS) }
        }
    };
    if let Err(error) = spawn(StackSize::default(), watch) {
        log_spawn_error(main.interpreter, &error, "shutdown then waits for atexit without a time limit");
    }
    let mut waiting = own.len() as u32 + 1;
    for engine in own.into_iter().chain([main]) {
        engine.end(remaining(deadline) / waiting);
        waiting -= 1;
    }
    main.interpreter.log.flush();
    std::mem::forget(Attached::new(main.interpreter));
    drop(finished);
}

/// Ends all interpreters at the same time, each on a separate thread; a further thread acquires the GIL and keeps it.
/// Threads of applications have until `deadline`, and functions of `atexit` until `atexit_limit` after it. Returns at
/// most [`GIL_TIMEOUT`] later.
pub(crate) fn end_on_threads(
    main: &'static Engine,
    own: Vec<&'static Engine>,
    deadline: Instant,
    atexit_limit: Duration,
    stack: StackSize,
) {
    let (sender, ended) = mpsc::channel();
    let mut running = 0;
    for engine in [main].into_iter().chain(own) {
        let sender = sender.clone();
        let end = move || {
            engine.end(remaining(deadline));
            // Fails if the receiver has given up.
            let _ = sender.send(());
        };
        match spawn(stack, end) {
            Ok(()) => running += 1,
            Err(error) => log_spawn_error(engine.interpreter, &error, "its functions of atexit do not run"),
        }
    }
    let deadline = deadline + atexit_limit;
    if !(0..running).all(|_| ended.recv_timeout(remaining(deadline)).is_ok()) {
        main.interpreter.log.log(Level::Warn, "functions of atexit still running at exit are abandoned");
    }
    hold_gil(main.interpreter, stack);
}

/// Starts a thread that acquires the GIL and keeps it, so that no other thread runs Python while the process exits.
fn hold_gil(main: &'static Interpreter, stack: StackSize) {
    let (sender, acquired) = mpsc::channel();
    let hold = move || {
        let _attached = Attached::new(main);
        let _ = sender.send(());
        loop {
            thread::park();
        }
    };
    match spawn(stack, hold) {
        Ok(()) if acquired.recv_timeout(GIL_TIMEOUT).is_ok() => return,
        Ok(()) => main.log.log(Level::Warn, "code that holds the GIL still running at exit is abandoned"),
        Err(error) => log_spawn_error(main, &error, "threads of applications run until the process has ended"),
    }
    exit_without_handlers();
}

/// Makes a later `exit` end the process at once. Exit handlers and C++ destructors would run concurrently with the code
/// that holds the GIL, and free memory that it uses. `exit` calls handlers in reverse order of registration.
fn exit_without_handlers() {
    // SAFETY: the handler may be called at any time, and ignores its argument. Registration fails only without memory.
    unsafe {
        #[cfg(target_env = "gnu")]
        on_exit(leave, std::ptr::null_mut());
        #[cfg(not(target_env = "gnu"))]
        libc::atexit(leave);
    }
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// Like `atexit`, but passes the exit status (on_exit(3)).
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

#[cfg(target_env = "gnu")]
extern "C" fn leave(status: c_int, _argument: *mut c_void) {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Only glibc passes the exit status to handlers.
#[cfg(not(target_env = "gnu"))]
extern "C" fn leave() {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(libc::EXIT_SUCCESS) }
}

fn spawn(stack: StackSize, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name("wsgi-exit".to_owned()).stack_size(stack.bytes()).spawn(body).map(drop)
}

fn log_spawn_error(interpreter: &Interpreter, error: &io::Error, consequence: &str) {
    let name = interpreter.name().display();
    let text = format!("cannot start a thread that ends the interpreter \"{name}\": {error}; {consequence}");
    interpreter.log.log(Level::Error, &text);
}
