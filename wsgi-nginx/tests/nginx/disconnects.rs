//! Clients that leave at any byte and at any time.

use wsgi_testkit::{figure, leaving};

use crate::harness::{Mode, Site};

const NUMBER: u64 = 10_000;

#[test]
fn clients_that_leave_at_any_time_leave_nothing_behind_inline() {
    withstand(Mode::Inline);
}

#[test]
fn clients_that_leave_at_any_time_leave_nothing_behind_with_threads() {
    withstand(Mode::Threads(2));
}

fn withstand(mode: Mode) {
    let site = Site::new(mode).file("app.py", leaving::APPLICATION).location("/", "wsgi_pass app.py;");
    // A body that has not all come, and a connection that waits for its next request, are given up by their clients here.
    let nginx = site.start();
    let worker = nginx.worker();
    let seed = u64::from(std::process::id());
    let address = ([127, 0, 0, 1], nginx.port()).into();
    let text = leaving::withstand(address, worker, NUMBER, seed);
    figure("R14", &format!("nginx, {mode}: {text}"));
    assert_eq!(nginx.worker(), worker);
    // No traceback: that the client has left is nobody's fault.
    assert!(nginx.log_lines("Traceback").is_empty());
}
