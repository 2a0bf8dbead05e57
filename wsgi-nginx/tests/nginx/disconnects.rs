//! Clients that disconnect at any byte and at any time.

use wsgi_harness::leaving;
use wsgi_testkit::figure;

use crate::harness::{Gate, Mode, Site, get, request};

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
    // Clients also disconnect in the middle of a body, and while a connection waits for its next request.
    let nginx = site.start();
    let worker = nginx.worker();
    let seed = u64::from(std::process::id());
    let address = ([127, 0, 0, 1], nginx.port()).into();
    let text = leaving::withstand(address, worker, NUMBER, seed);
    figure("R14", &format!("nginx, {mode}: {text}"));
    assert_eq!(nginx.worker(), worker);
    // No traceback: a disconnect is not an error of the application.
    assert!(nginx.log_lines("Traceback").is_empty());
}

/// nginx's own proxy drops such a request, too (`ngx_http_upstream_check_broken_connection`).
#[test]
fn a_client_that_closes_its_half_of_the_connection_has_left_with_threads_and_is_answered_inline() {
    let source = r#"
import os
def application(environ, start_response):
    environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/gate":
        open(os.path.join(os.path.dirname(__file__), "gate")).read()
    start_response("200 OK", [])
    return [b"ok"]
"#;
    let body = vec![b'x'; 40_000];
    for mode in [Mode::Threads(1), Mode::Inline] {
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").ok(), "ok");
        let gate = Gate::new(nginx.path("gate"));
        let mut holder = nginx.connect();
        if mode != Mode::Inline {
            holder.send(get("/gate"));
        }
        // With threads, the only thread is busy: nginx notices the disconnect before it can answer.
        let busy = (mode != Mode::Inline).then(|| gate.arrival());
        for bytes in [get("/"), request("POST", "/", "", &body)] {
            let mut client = nginx.connect();
            client.send(bytes);
            client.end();
            match mode {
                Mode::Inline => assert_eq!(client.response().ok(), "ok"),
                Mode::Threads(_) => assert!(client.is_ended(), "it is answered"),
            }
        }
        drop(busy);
        if mode != Mode::Inline {
            assert_eq!(holder.response().ok(), "ok");
        }
    }
}
