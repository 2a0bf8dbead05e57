//! A panic where workers share their load neither loses a connection nor stops a worker.

use super::{begun, connections_of_one_worker, occupy, site, start_site, wait_until_all_serve, worker_of};
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
fn panic_while_a_request_is_transferred_does_not_prevent_that() {
    let (nginx, gate) = start_site(site(Mode::Threads(1), 2).with_failpoints());
    let (worker, mut clients) = connections_of_one_worker(&nginx, 4);
    let mut first = clients.remove(0);
    first.send(get("/wait"));
    // It begins in this worker if the thread of the request before has returned its permit.
    wait_for("the request to begin", || (!begun(&nginx).is_empty()).then_some(()));
    assert_eq!(begun(&nginx), [worker]);
    for (name, client) in ["waiting_due", "request_received", "request_ended"].iter().zip(&mut clients) {
        nginx.arm(name);
        client.send(get("/"));
        assert_ne!(worker_of(&client.response().ok()), worker, "{name}");
        nginx.fired(name);
    }
    gate.pass();
    first.response().ok();
}
