//! Catches panics: no function that nginx calls unwinds into nginx.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wsgi_core::host::Level;
use wsgi_core::internal::{failpoint, panic_message};

use crate::bindings::ngx_cycle;
use crate::log;

/// Runs `work`. If it panics, logs an alert with `name` and returns `failure`: a panic must not unwind into nginx.
pub(crate) fn guard<T>(name: &str, failure: T, work: impl FnOnce() -> T) -> T {
    let work = || {
        failpoint(name);
        work()
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let alert = format!("panic in {name} of the wsgi module: {}", panic_message(&*panic));
        // SAFETY: nginx calls the module on its own thread, and has a cycle with a log once it reads the configuration.
        unsafe {
            let log = (*ngx_cycle).log;
            if log::is_open(log) {
                log::write(log, Level::Alert, &alert);
            } else {
                // nginx has already closed the files of a configuration that it destroys. Under a master, standard
                // error is the error log, too.
                eprintln!("[alert] {alert}");
            }
        }
        failure
    })
}

/// Like [`guard`], for work that must not be skipped: after a panic `work` is called once more, and does the remaining
/// part.
pub(crate) fn guard_again(name: &str, work: impl Fn()) {
    if !is_done(name, &work) {
        is_done(name, work);
    }
}

/// Like [`guard`]. Returns whether `work` completed without a panic.
pub(crate) fn is_done(name: &str, work: impl FnOnce()) -> bool {
    guard(name, false, || {
        work();
        true
    })
}
