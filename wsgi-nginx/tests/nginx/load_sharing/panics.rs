//! A panic where workers share their load neither loses a connection nor stops a worker.

use std::time::Duration;

use super::{begun, occupy, site, start_site, two_of_one_worker, wait_until_all_serve, worker_of};
use crate::harness::{Mode, get, wait_for};

#[test]
fn panic_in_the_master_leaves_workers_that_do_not_share_their_load() {
    let site = site(Mode::Threads(1), 2).with_failpoints();
    site.arm("init_module");
    let nginx = site.start();
    nginx.fired("init_module");
    wait_until_all_serve(&nginx);
}

#[test]
fn panic_where_load_is_shared_loses_no_connection() {
    let (nginx, gate) = start_site(site(Mode::Threads(1), 3).with_failpoints());
    let mut held = occupy(&nginx, 1);
    let busy = begun(&nginx)[0];
    for name in ["accept_event", "connection_accepted", "request_known", "called", "check_due", "resume_if_free"] {
        nginx.arm(name);
        wait_for(&format!("{name} to be reached"), || {
            // A worker that has accepted this connection counts as busy until the request comes.
            let mut late = nginx.connect();
            assert_ne!(worker_of(&nginx.get("/").ok()), busy, "{name}");
            late.send(get("/"));
            assert_ne!(worker_of(&late.response().ok()), busy, "{name}");
            nginx.has_fired(name).then_some(())
        });
        nginx.fired(name);
    }
    gate.pass();
    assert_eq!(worker_of(&held[0].response().ok()), busy);
    wait_until_all_serve(&nginx);
}

#[test]
fn panic_while_a_kept_connection_is_ended_does_not_prevent_that() {
    let (nginx, gate) = start_site(site(Mode::Threads(1), 2).with_failpoints());
    let (worker, mut first, mut second) = two_of_one_worker(&nginx);
    first.send(get("/wait"));
    wait_for("the request to begin", || (begun(&nginx) == [worker]).then_some(()));
    nginx.arm("waiting_due");
    second.send(get("/"));
    nginx.fired("waiting_due");
    // The function is called again.
    assert!(!second.has_answer_within(Duration::from_millis(100)));
    gate.pass();
    first.response().ok();
    assert_eq!(second.response().header("Connection"), Some("close"));
}
