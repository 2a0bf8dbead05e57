//! Applications that nginx calls while it serves another request, or again for the same request, and clients that
//! disconnect meanwhile. Each result is closed once, and the worker keeps no resources.

use std::sync::atomic::{AtomicU64, Ordering};

use wsgi_harness::Chance;
use wsgi_testkit::figure;

use crate::harness::{Client, Gate, Mode, Nginx, Site, in_both_modes, request, wait_for};

/// `application` acts as the query of the client's request says. The others lead to it.
const SOURCE: &str = r#"
import os, sys, threading
lock = threading.Lock()
counts = {"begun": 0, "closed": 0, "again": 0}
seen = set()
def count(what):
    with lock:
        counts[what] += 1
class Blocks:
    def __init__(self, blocks):
        self.blocks, self.is_closed = blocks, False
        count("begun")
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks)
    def close(self):
        count("again" if self.is_closed else "closed")
        self.is_closed = True
def gate(query):
    # One of those that a request leads to stops here.
    with lock:
        first = query not in seen
        seen.add(query)
    if first:
        open(os.path.join(os.path.dirname(__file__), "gate")).read()
def blocks(query):
    yield b"x" * 9000
    if query.startswith("begun"):
        gate(query)
    if query.startswith("raise"):
        raise ValueError("expected")
    for _ in range(64 if query.startswith("long") else 1):
        yield b"y" * 70000
def application(environ, start_response):
    query = environ["REQUEST_URI"].partition("?")[2]
    if query.startswith("called"):
        gate(query)
    environ["wsgi.input"].read()
    if query.startswith("list"):
        start_response("200 OK", [("Content-Type", "text/html")])
        return Blocks(iter([b"z" * 20000]))
    start_response("200 OK", [("Content-Type", "text/html")])
    return Blocks(blocks(query))
def state(environ, start_response):
    start_response("200 OK", [])
    return [" ".join(str(counts[what]) for what in ("begun", "closed", "again")).encode()]
def quick(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return Blocks(iter([b"quick"]))
def failing(environ, start_response):
    raise ValueError("expected")
def failing_late(environ, start_response):
    def late():
        raise ValueError("expected")
        yield
    start_response("200 OK", [])
    return Blocks(late())
def including(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    def page():
        yield b'a<!--#include virtual="/app" -->b'
        yield b'<!--#include virtual="/named-after-error" -->c'
    return Blocks(page())
def elsewhere(environ, start_response):
    start_response("200 OK", [("X-Accel-Redirect", "/app")])
    return Blocks(iter([]))
"#;

/// Locations that lead to `application`, each in a different way.
///
/// Locations whose name begins with `/refused` are requested with a condition, so that nginx answers 412 in place of
/// the first application. It calls the second one inside the call that sends the head.
const WAYS: [(&str, &str); 18] = [
    ("/app", "wsgi_pass app.py;"),
    ("/page", "root html;\ntry_files /page.html =404;"),
    ("/page-of-errors", "root html;\ntry_files /errors.html =404;"),
    ("/including", "wsgi_pass app.py including;"),
    ("/authorized", "auth_request /app;\nwsgi_pass app.py quick;"),
    ("/after-authorization", "auth_request /quick;\nwsgi_pass app.py;"),
    ("/authorized-after-error", "auth_request /after-error;\nwsgi_pass app.py;"),
    ("/after-error", "wsgi_pass app.py failing;\nerror_page 500 =200 /app;"),
    ("/after-late-error", "wsgi_pass app.py failing_late;\nerror_page 500 =200 /app;"),
    ("/named-after-error", "wsgi_pass app.py failing;\nerror_page 500 =200 @app;"),
    ("/tried", "root html;\ntry_files $uri.missing @app;"),
    ("/rewritten", "rewrite ^ /app last;"),
    ("/index/", "root html;\nindex missing.html /app;"),
    ("/mirrored", "mirror /app;\nwsgi_pass app.py quick;"),
    ("/accelerated", "proxy_pass http://unix:other.sock:;"),
    ("/redirecting", "wsgi_pass app.py elsewhere;"),
    ("/refused-named", "wsgi_pass app.py;\nerror_page 412 @app;"),
    ("/refused-again", "wsgi_pass app.py;\nerror_page 412 =200 /refused-named;"),
];

const CONDITION: &str = "If-Match: \"other\"\r\n";

fn start(mode: Mode) -> Nginx {
    let page = "a<!--#include virtual=\"/app\" -->b<!--#include virtual=\"/rewritten\" -->c";
    let errors = "a<!--#include virtual=\"/after-late-error\" -->b<!--#include virtual=\"/named-after-error\" -->c";
    let mut site = Site::new(mode)
        .file("app.py", SOURCE)
        .file("html/page.html", page)
        .file("html/errors.html", errors)
        .file("html/index/other", "")
        .http(
            "default_type text/html;\nssi on;\nssi_types *;\ngzip on;\ngzip_types *;\ngzip_min_length 0;\n\
             wsgi_allow_ranges on;\nrecursive_error_pages on;",
        )
        .location("= /state", "ssi off;\nwsgi_pass app.py state;")
        .location("= /quick", "wsgi_pass app.py quick;")
        .location("@app", "wsgi_pass app.py;");
    for (name, directives) in WAYS {
        let directives = directives.replace("other.sock", &site.path("other.sock").display().to_string());
        site = site.location(&format!("= {name}"), &directives);
    }
    let socket = site.path("other.sock");
    let nginx = site
        .another_server(&format!("listen unix:{};\nadd_header X-Accel-Redirect /app;\nreturn 200;", socket.display()))
        .start();
    // Creates the resources that come with the first request.
    for (way, _) in WAYS {
        assert_eq!(nginx.get(&format!("{way}?warm")).status, 200, "{way}");
    }
    nginx
}

/// Request headers that activate nginx's filters.
const FILTERS: [&str; 3] = ["", "Accept-Encoding: gzip\r\n", "Range: bytes=5-9000\r\n"];

/// A query that no other request has.
fn unique(moment: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{moment}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asserts that every result that was begun is closed exactly once. Returns their number.
#[track_caller]
fn assert_all_closed(nginx: &Nginx) -> u64 {
    let [begun, closed, again] = wait_for("results to be closed", || {
        let state = nginx.get("/state").ok();
        let numbers: Vec<u64> = state.split(' ').map(|number| number.parse().expect("a number")).collect();
        <[u64; 3]>::try_from(numbers).ok().filter(|[begun, closed, again]| begun == closed || *again > 0)
    });
    assert_eq!((closed, again), (begun, 0), "of {begun} results so many are closed once, and so many again");
    begun
}

/// Number of descriptors of the worker.
fn descriptors(nginx: &Nginx) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", nginx.worker())).expect("a worker").count()
}

/// Runs `scenario`, and asserts that the worker is the same afterwards and has no more descriptors.
#[track_caller]
fn without_a_trace(nginx: &Nginx, scenario: impl FnOnce()) {
    assert_all_closed(nginx);
    let (worker, before) = (nginx.worker(), descriptors(nginx));
    scenario();
    assert_all_closed(nginx);
    assert_eq!(nginx.worker(), worker, "another worker");
    wait_for("the worker to let go of its descriptors", || (descriptors(nginx) <= before).then_some(()));
}

fn ask(nginx: &Nginx, way: &str, query: &str, headers: &str) -> Client {
    let mut client = nginx.connect();
    let condition = if is_refused(way) { CONDITION } else { "" };
    client.send(request("GET", &format!("{way}?{query}"), &format!("{condition}{headers}"), b""));
    client
}

fn is_refused(way: &str) -> bool {
    way.starts_with("/refused")
}

/// Runs the scenario for each location and filter.
fn in_all_ways(scenario: impl Fn(&Nginx, &str, &str)) {
    in_both_modes(|mode| {
        let nginx = start(mode);
        for (way, _) in WAYS {
            for headers in FILTERS {
                without_a_trace(&nginx, || scenario(&nginx, way, headers));
            }
        }
    });
}

#[test]
fn a_client_that_stays_gets_a_whole_answer_in_each_way() {
    in_all_ways(|nginx, way, headers| {
        for moment in ["list", "whole", "long"] {
            let response = ask(nginx, way, &unique(moment), headers).response();
            let expected = if is_refused(way) { [412; 2] } else { [200, 206] };
            assert!(expected.contains(&response.status) && response.whole, "{way}?{moment}: {response:?}");
        }
    });
}

#[test]
fn a_client_may_leave_at_once() {
    in_all_ways(|nginx, way, headers| drop(ask(nginx, way, &unique("long"), headers)));
}

#[test]
fn a_client_may_leave_within_its_body() {
    in_both_modes(|mode| {
        let nginx = start(mode);
        for (way, _) in WAYS {
            without_a_trace(&nginx, || {
                let mut client = nginx.connect();
                let text = format!(
                    "POST {way}?whole HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                );
                client.send(text);
                // Reads 100, or the final response if nothing reads the body. nginx then waits for the rest of the
                // body.
                client.head();
                client.send("abc");
            });
        }
    });
}

#[test]
fn a_client_may_leave_while_the_application_is_called() {
    in_all_ways(|nginx, way, headers| leaves_at_the_gate(nginx, way, headers, "called"));
}

#[test]
fn a_client_may_leave_when_the_response_has_begun() {
    in_all_ways(|nginx, way, headers| {
        // nginx ignores the bodies of authorization and mirror subrequests, so that it does not ask for a second block.
        if !matches!(way, "/authorized" | "/mirrored") {
            leaves_at_the_gate(nginx, way, headers, "begun");
        }
    });
}

fn leaves_at_the_gate(nginx: &Nginx, way: &str, headers: &str, moment: &str) {
    let gate = Gate::new(nginx.path("gate"));
    let client = ask(nginx, way, &unique(moment), headers);
    let standing = gate.arrival();
    drop(client);
    drop(standing);
    std::fs::remove_file(nginx.path("gate")).expect("the gate goes");
}

#[test]
fn a_client_may_leave_within_the_response() {
    in_all_ways(|nginx, way, headers| {
        let mut client = ask(nginx, way, &unique("long"), &format!("{headers}Connection: close\r\n"));
        client.head();
        client.take(1000);
    });
}

#[test]
fn an_application_may_fail_within_the_response() {
    in_all_ways(|nginx, way, headers| {
        // The response is truncated, or the page that includes it lacks a part; in either case it ends.
        ask(nginx, way, &unique("raise"), &format!("{headers}Connection: close\r\n")).rest();
    });
}

/// Number of requests of [`clients_may_leave_at_any_time`] in each mode.
fn amount() -> u64 {
    std::env::var("WSGI_TEST_REENTRANT").map_or(600, |text| text.parse().expect("WSGI_TEST_REENTRANT is a number")) / 2
}

/// Number of concurrent clients.
const CLIENTS: u64 = 4;

#[test]
fn clients_may_leave_at_any_time() {
    in_both_modes(|mode| {
        let nginx = start(mode);
        let before = assert_all_closed(&nginx);
        without_a_trace(&nginx, || {
            std::thread::scope(|scope| {
                for client in 0..CLIENTS {
                    let nginx = &nginx;
                    scope.spawn(move || {
                        let mut chance = Chance::new(client);
                        for _ in 0..amount().div_ceil(CLIENTS) {
                            visit(nginx, &mut chance);
                        }
                    });
                }
            });
        });
        let results = assert_all_closed(&nginx) - before;
        let requests = amount().div_ceil(CLIENTS) * CLIENTS;
        figure("R17", &format!("{requests} requests left at any time, {results} results closed once each, {mode}"));
    });
}

/// Sends one request, with a client that disconnects after a random number of bytes, or at the end.
fn visit(nginx: &Nginx, chance: &mut Chance) {
    let (way, _) = chance.one_of(&WAYS);
    let moment = chance.one_of(&["list", "whole", "long", "raise"]);
    let headers = format!("{}Connection: close\r\n", chance.one_of(&FILTERS));
    let mut client = ask(nginx, way, &unique(moment), &headers);
    match chance.below(3) {
        // Disconnects before nginx has seen the request, or soon after.
        0 => (0..chance.below(20_000)).for_each(|_| std::hint::spin_loop()),
        1 => drop(client.take(chance.below(200_000))),
        _ => drop(client.rest()),
    }
}
