//! Panics stop here: no function that nginx calls unwinds into nginx.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wsgi_core::failpoint::failpoint;
use wsgi_core::host::Level;
use wsgi_core::pool::panic_message;

use crate::bindings::ngx_cycle;
use crate::log;

/// A panic inside `work` becomes an alert in the log that has `name`, and `failure` as the answer: it must not unwind into
/// nginx.
pub(crate) fn guard<T>(name: &str, failure: T, work: impl FnOnce() -> T) -> T {
    let work = || {
        failpoint(name);
        work()
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let alert = format!("panic in {name} of the wsgi module: {}", panic_message(&*panic));
        // SAFETY: nginx calls us on its own thread, and has a cycle with a log from the start of the configuration.
        unsafe {
            let log = (*ngx_cycle).log;
            if log::is_open(log) {
                log::write(log, Level::Alert, &alert);
            } else {
                // As a configuration goes, its files are closed already. Where a master runs, this is the error log, too.
                eprintln!("[alert] {alert}");
            }
        }
        failure
    })
}

/// As [`guard`], for what nobody else would do later: after a panic `work` is called once more, and goes on with what is
/// left to do.
pub(crate) fn guard_again(name: &str, work: impl Fn()) {
    if !is_done(name, &work) {
        is_done(name, work);
    }
}

/// As [`guard`]: whether there was no panic.
pub(crate) fn is_done(name: &str, work: impl FnOnce()) -> bool {
    guard(name, false, || {
        work();
        true
    })
}
