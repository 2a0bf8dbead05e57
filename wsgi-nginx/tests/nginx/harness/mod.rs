//! A real nginx with the module, in a temporary folder, for the length of one test.
//!
//! ```text
//! Site::new(mode).file("app.py", SOURCE).location("/", "wsgi_pass app.py;").start()  ->  Nginx  ->  Client, Response
//! ```
//!
//! When an [`Nginx`] goes out of scope it is stopped, and the test fails if the error log holds an `[alert]`, an
//! `[emerg]` or a sanitizer's report that the test did not expect.

mod client;
mod gate;
mod nginx;
mod python;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Response, get, request};
pub(crate) use gate::Gate;
pub(crate) use nginx::{Nginx, kill};
pub(crate) use python::{ENVIRON, Environ, HELLO, Venv, example_venv, package_venv, python_says};
pub(crate) use site::{Mode, Site, body_temp_path, module, nginx_knows_keepalive_min_timeout, workspace};

/// How long anything may take that is sure to happen: generous, for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a scenario with an application thread and inline; a failure tells which.
pub(crate) fn in_both_modes(scenario: impl Fn(Mode)) {
    for mode in [Mode::Threads(1), Mode::Inline] {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(mode))) {
            eprintln!("failed with {mode}");
            resume_unwind(panic);
        }
    }
}

/// Asks until there is an answer; for what reports nothing by itself (a log file, the process table).
pub(crate) fn wait_for<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
