//! A real nginx with the module, in a temporary directory, for the duration of one test.
//!
//! ```text
//! Site::new(mode).file("app.py", SOURCE).location("/", "wsgi_pass app.py;").start()  ->  Nginx  ->  Client, Response
//! ```
//!
//! Dropping an [`Nginx`] stops it, and fails the test if the error log contains an `[alert]`, an `[emerg]` or a
//! sanitizer's report that the test did not expect.

mod daemon;
mod failpoints;
#[cfg(ngx_feature = "http_v2")]
mod http2;
mod load;
mod nginx;
mod processes;
mod python;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[cfg(ngx_feature = "http_v2")]
pub(crate) use http2::Http2;
pub(crate) use load::{LEDGER, Load, Record};
pub(crate) use nginx::Nginx;
pub(crate) use processes::{children, connections, kill, pause};
pub(crate) use python::{HELLO, Venv, example_venv, package_venv, python_says};
pub(crate) use site::{KEEPALIVE_MIN_TIMEOUT, Mode, Site, body_temp_path, module, nginx_version, workspace};
pub(crate) use wsgi_testkit::wire::{Client, Response, get, request};
pub(crate) use wsgi_testkit::{ENVIRON, Environ, Gate, WAIT_TIMEOUT, wait_for};

/// Runs a scenario with an application thread and inline. Prints the mode of a failure.
pub(crate) fn in_both_modes(scenario: impl Fn(Mode)) {
    for mode in [Mode::Threads(1), Mode::Inline] {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(mode))) {
            eprintln!("failed with {mode}");
            resume_unwind(panic);
        }
    }
}
