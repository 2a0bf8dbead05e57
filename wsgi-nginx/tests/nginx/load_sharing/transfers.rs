//! A request that waits in a busy worker is answered by a worker with a free permit, as if it had arrived there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{begun, start_site, worker_of};
use crate::harness::{Client, Gate, Mode, Nginx, Site, get, kill, pause, request, wait_for};

/// Answers with the process id in a header. `/wait` records it first, and waits at the gate.
const MANY: &str = r#"
import hashlib, os, sys, tempfile, time
HERE = os.path.dirname(__file__)
def begin():
    with open(os.path.join(HERE, "begun"), "a") as begun:
        begun.write(f"{os.getpid()}\n")
class Closing:
    def __init__(self, blocks):
        self.blocks = blocks
    def __iter__(self):
        return self.blocks
    def close(self):
        print("closed", file=sys.stderr)
def endless():
    for number in range(1 << 40):
        with open(os.path.join(HERE, "blocks"), "w") as blocks:
            blocks.write(f"{number:10}")
        yield b"x" * 10000
def application(environ, start_response):
    path, worker = environ["PATH_INFO"], str(os.getpid())
    headers = [("X-Worker", worker)]
    if path == "/wait":
        begin()
        open(os.path.join(HERE, "gate")).read()
    elif path == "/second":
        begin()
        open(os.path.join(HERE, "second")).read()
    elif path == "/exit":
        os._exit(3)
    elif path == "/fork":
        if os.fork() == 0:
            open(os.path.join(HERE, "child")).read()
            os._exit(0)
        begin()
        time.sleep(60)
    elif path == "/raise":
        raise ValueError("a mistake")
    elif path == "/log":
        print("a line of the application", file=environ["wsgi.errors"])
    elif path == "/body":
        body = environ["wsgi.input"].read()
        environ["wsgi.input"].seek(0)
        assert environ["wsgi.input"].read() == body
        start_response("200 OK", headers)
        return [f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()]
    elif path == "/blocks":
        start_response("200 OK", headers)
        return (bytes([97 + number % 26]) * 10000 for number in range(500))
    elif path == "/one":
        start_response("200 OK", headers)
        return [b"y" * 3_000_000]
    elif path == "/wrapped":
        file = tempfile.TemporaryFile()
        file.write(b"f" * 3_000_000)
        file.seek(0)
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](file)
    elif path == "/late":
        start_response("200 OK", headers)
        def late():
            yield b"y" * 20_000_000
            raise ValueError("a mistake")
        return late()
    elif path == "/write":
        write = start_response("200 OK", headers)
        for _ in range(100):
            write(b"z" * 10000)
        return [b"end"]
    elif path == "/endless":
        start_response("200 OK", headers)
        return Closing(endless())
    elif path == "/etag":
        start_response("200 OK", headers + [("ETag", '"one"'), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")])
        return [b"changed"]
    elif path == "/redirect":
        start_response("200 OK", headers + [("X-Accel-Redirect", "/file")])
        return [b"not this"]
    start_response("200 OK", headers)
    return [worker.encode()]
"#;

fn site() -> Site {
    Site::new(Mode::Threads(1))
        .workers(2)
        .http("wsgi_preload on;\nclient_max_body_size 10m;")
        .file("app.py", MANY)
        .file("html/file", "file")
        .location("/", "wsgi_pass app.py;")
        .location("= /file", "root html;")
}

/// A server with a busy worker, and a connection to that worker.
struct Busy {
    nginx: Nginx,
    gate: Gate,
    worker: u32,
    first: Client,
    second: Client,
}

fn busy(site: Site) -> Busy {
    let (nginx, gate) = start_site(site);
    let mut kept = BTreeMap::new();
    while kept.len() < 2 {
        let mut client = nginx.connect();
        client.send(get("/"));
        kept.insert(worker_of(&client.response().ok()), client);
    }
    let mut first = nginx.connect();
    first.send(get("/wait"));
    let worker = wait_for("the request to begin", || begun(&nginx).first().copied());
    let second = kept.remove(&worker).expect("a connection to each worker");
    Busy { nginx, gate, worker, first, second }
}

impl Busy {
    fn end(mut self) {
        self.gate.pass();
        assert_eq!(worker_of(&self.first.response().ok()), self.worker);
    }
}

#[test]
fn a_request_behind_a_busy_one_is_answered_by_a_free_worker() {
    let mut busy = busy(site());
    busy.second.send(get("/"));
    let answer = busy.second.response();
    assert_eq!(answer.header("Connection"), Some("close"), "the client is to connect again");
    assert_ne!(worker_of(&answer.ok()), busy.worker);
    busy.end();
}

#[test]
fn transferred_requests_have_their_body_and_responses_their_blocks() {
    for (path, length) in [("/blocks", 5_000_000), ("/one", 3_000_000), ("/wrapped", 3_000_000), ("/write", 1_000_003)]
    {
        let mut busy = busy(site());
        busy.second.send(get(path));
        let answer = busy.second.response();
        assert_ne!(answer.header("X-Worker"), Some(&*busy.worker.to_string()), "{path}");
        assert_eq!(answer.ok().len(), length, "{path}");
        busy.end();
    }
    let mut busy = busy(site());
    let body = vec![b'b'; 50_000];
    busy.second.send(request("POST", "/body", "", &body));
    let answer = busy.second.response();
    assert_ne!(answer.header("X-Worker"), Some(&*busy.worker.to_string()));
    assert!(answer.ok().starts_with("50000 "));
    busy.end();
}

#[test]
fn a_request_with_a_large_body_stays_in_its_worker() {
    let mut busy = busy(site());
    busy.second.send(request("POST", "/body", "", &vec![b'b'; 1_000_000]));
    assert!(!busy.second.has_answer_within(Duration::from_millis(300)));
    let Busy { gate, mut second, worker, .. } = busy;
    gate.pass();
    let answer = second.response();
    assert_eq!(answer.header("X-Worker"), Some(&*worker.to_string()));
    assert!(answer.ok().starts_with("1000000 "));
}

#[test]
fn transferred_requests_fail_and_log_like_others() {
    let mut busy = busy(site());
    busy.second.send(get("/raise"));
    assert_eq!(busy.second.response().status, 500);
    let line = busy.nginx.logged("ValueError: a mistake");
    assert!(line.contains("request: \"GET /raise HTTP/1.1\""), "{line}");
    busy.end();
    let mut busy = self::busy(site());
    busy.second.send(get("/log"));
    busy.second.response().ok();
    let line = busy.nginx.logged("a line of the application");
    assert!(line.contains("request: \"GET /log HTTP/1.1\""), "{line}");
    busy.end();
}

#[test]
fn a_client_gets_the_blocks_before_the_failure_of_a_transferred_request() {
    let mut busy = busy(site());
    busy.second.send(get("/late"));
    let answer = busy.second.response();
    assert_eq!((answer.body.len(), answer.whole), (20_000_000, false));
    assert_ne!(answer.header("X-Worker"), Some(busy.worker.to_string().as_str()));
    busy.end();
}

#[test]
fn nginx_decides_about_bodies_of_transferred_requests() {
    let mut busy = busy(site());
    busy.second.send(request("GET", "/etag", "If-None-Match: \"one\"\r\n", b""));
    assert_eq!(busy.second.response().status, 304);
    busy.end();
    let mut busy = self::busy(site());
    busy.second.send(get("/redirect"));
    assert_eq!(busy.second.response().ok(), "file");
    busy.end();
}

#[test]
fn a_client_that_leaves_ends_its_transferred_request() {
    let mut busy = busy(site());
    busy.second.send(get("/endless"));
    assert!(busy.second.has_answer_within(Duration::from_secs(5)));
    let Busy { nginx, gate, mut first, second, .. } = busy;
    drop(second);
    nginx.logged("closed");
    gate.pass();
    first.response().ok();
}

#[test]
fn a_client_that_reads_nothing_stalls_its_transferred_response() {
    let mut busy = busy(site());
    busy.second.send(get("/endless"));
    let blocks = || std::fs::read_to_string(busy.nginx.path("blocks")).unwrap_or_default();
    let mut before = blocks();
    let stalled = wait_for("the application to wait", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = blocks();
        (std::mem::replace(&mut before, now.clone()) == now && now.len() == 10).then_some(now)
    });
    let count: usize = stalled.trim().parse().expect("a number");
    assert!(count < 1600, "{count} blocks of 10,000 bytes for a client that reads nothing");
    // The permit of the other worker is free.
    assert_ne!(worker_of(&busy.nginx.get("/").ok()), busy.worker);
    let Busy { nginx: _nginx, gate, mut first, second, .. } = busy;
    drop(second);
    gate.pass();
    first.response().ok();
}

#[test]
fn a_transferred_request_fails_if_its_worker_is_killed() {
    let mut busy = busy(site().expect_in_log("exited on signal 9"));
    let second = Gate::new(busy.nginx.path("second"));
    busy.second.send(get("/second"));
    wait_for("the request to begin", || (begun(&busy.nginx).len() == 2).then_some(()));
    let other = begun(&busy.nginx)[1];
    assert_ne!(other, busy.worker);
    kill(other, libc::SIGKILL);
    assert_eq!(busy.second.response().status, 500);
    busy.nginx.logged("the process that answered this request has ended");
    drop(second);
    busy.end();
}

#[test]
fn the_end_of_a_worker_by_a_transferred_request_is_logged() {
    let mut busy = busy(site().expect_in_log("os._exit(3)").expect_in_log("exited with code 3"));
    busy.second.send(get("/exit"));
    assert_eq!(busy.second.response().status, 500);
    busy.nginx.logged("os._exit(3)");
    busy.end();
}

#[test]
fn a_worker_that_quits_does_not_wait_for_a_transferred_request_whose_client_has_left() {
    let mut busy = busy(site().expect_in_log("applications still running at exit are abandoned"));
    let _second = Gate::new(busy.nginx.path("second"));
    busy.second.send(get("/second"));
    wait_for("the request to begin", || (begun(&busy.nginx).len() == 2).then_some(()));
    let other = begun(&busy.nginx)[1];
    let Busy { nginx, gate, mut first, second, .. } = busy;
    kill(other, libc::SIGQUIT);
    nginx.logged("gracefully shutting down");
    drop(second);
    wait_for("the worker to end", || (!nginx.workers().contains(&other)).then_some(()));
    gate.pass();
    first.response().ok();
}

#[test]
fn requests_stay_if_applications_have_interpreters_of_their_own() {
    let mut busy = busy(site().http("wsgi_enable_subinterpreters on;"));
    busy.second.send(get("/"));
    assert!(!busy.second.has_answer_within(Duration::from_millis(300)));
    busy.gate.pass();
    assert_eq!(worker_of(&busy.first.response().ok()), busy.worker);
    assert_eq!(worker_of(&busy.second.response().ok()), busy.worker);
}

#[test]
fn a_transferred_request_fails_though_a_forked_process_of_its_worker_lives() {
    let mut busy = busy(site().expect_in_log("exited on signal 9"));
    let child = Gate::new(busy.nginx.path("child"));
    busy.second.send(get("/fork"));
    wait_for("the request to begin", || (begun(&busy.nginx).len() == 2).then_some(()));
    let arrival = child.arrival();
    kill(begun(&busy.nginx)[1], libc::SIGKILL);
    assert_eq!(busy.second.response().status, 500);
    drop(arrival);
    busy.end();
}

#[test]
fn a_request_stays_if_the_free_worker_is_stopped() {
    let mut busy = busy(site());
    let free = busy.nginx.workers().into_iter().find(|worker| *worker != busy.worker).expect("another worker");
    pause(free);
    busy.second.send(request("POST", "/body", "", b"body"));
    assert!(!busy.second.has_answer_within(Duration::from_millis(500)));
    busy.gate.pass();
    assert_eq!(worker_of(&busy.first.response().ok()), busy.worker);
    let answer = busy.second.response();
    assert_eq!(answer.header("X-Worker"), Some(&*busy.worker.to_string()));
    assert!(answer.ok().starts_with("4 "));
    kill(free, libc::SIGCONT);
    // It finds a stream without a request.
    super::wait_until_all_serve(&busy.nginx);
}

#[test]
fn a_worker_that_quits_answers_transferred_requests_first() {
    let mut busy = busy(site());
    let second = Gate::new(busy.nginx.path("second"));
    busy.second.send(get("/second"));
    wait_for("the request to begin", || (begun(&busy.nginx).len() == 2).then_some(()));
    let other = begun(&busy.nginx)[1];
    kill(other, libc::SIGQUIT);
    busy.nginx.logged("gracefully shutting down");
    assert!(!busy.second.has_answer_within(Duration::from_millis(300)));
    second.pass();
    assert_eq!(worker_of(&busy.second.response().ok()), other);
    busy.end();
}

#[test]
fn a_waiting_request_moves_when_another_worker_becomes_free() {
    let mut busy = busy(site());
    let second = Gate::new(busy.nginx.path("second"));
    // Occupies the other worker.
    let mut other = busy.nginx.connect();
    other.send(get("/second"));
    wait_for("the request to begin", || (begun(&busy.nginx).len() == 2).then_some(()));
    let free_later = begun(&busy.nginx)[1];
    busy.second.send(get("/"));
    assert!(!busy.second.has_answer_within(Duration::from_millis(300)));
    second.pass();
    assert_eq!(worker_of(&other.response().ok()), free_later);
    assert_eq!(worker_of(&busy.second.response().ok()), free_later);
    busy.end();
}

#[test]
fn each_of_several_requests_in_a_row_moves_soon() {
    let (nginx, _gate) = start_site(site());
    let mut kept = BTreeMap::<u32, Vec<Client>>::new();
    while kept.values().filter(|clients| clients.len() >= 10).count() < 2 {
        let mut client = nginx.connect();
        client.send(get("/"));
        kept.entry(worker_of(&client.response().ok())).or_default().push(client);
    }
    let mut busy = nginx.connect();
    busy.send(get("/wait"));
    let worker = wait_for("the request to begin", || begun(&nginx).first().copied());
    let mut times = Vec::new();
    for client in &mut kept.get_mut(&worker).expect("connections to each worker")[..10] {
        let began = Instant::now();
        client.send(get("/"));
        assert_ne!(worker_of(&client.response().ok()), worker);
        times.push(began.elapsed());
    }
    // Most of them after 5 ms, and not after the 20 ms that follow an attempt without a free worker.
    let soon = times[1..].iter().filter(|time| **time < Duration::from_millis(9)).count();
    assert!(soon >= 3, "{times:?}");
}
