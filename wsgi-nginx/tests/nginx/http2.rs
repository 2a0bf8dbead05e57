//! HTTP/2, where one connection carries many requests. Compiled only for an nginx that supports it.

use wsgi_testkit::{Process, wait_for};

use crate::harness::{Http2, Nginx, Site};

const SOURCE: &str = r#"
counts = {"begun": 0, "closed": 0}
class Blocks:
    def __init__(self):
        counts["begun"] += 1
    def __iter__(self):
        return iter([b"x" * 100000] * 10)
    def close(self):
        counts["closed"] += 1
def application(environ, start_response):
    path = environ["PATH_INFO"]
    write = start_response("200 OK", [])
    if path == "/blocks":
        return Blocks()
    if path == "/write":
        for number in range(64):
            write(b"%x" % (number % 16) * (1 << 20))
        return [b"end"]
    if path == "/counts":
        return [b"%(begun)d %(closed)d" % {key.encode(): value for key, value in counts.items()}]
    return [b"ok"]
"#;

/// A site that serves HTTP/2 for `connect`, and HTTP/1 at its port.
fn start(threads: &str) -> Nginx {
    let site = Site::with_defaults().file("app.py", SOURCE).location("/", "wsgi_pass app.py;").http(threads);
    let listen = Http2::listen(&site.path("http2.sock"));
    site.another_server(&format!("{listen}\nlocation / {{\nwsgi_pass app.py;\n}}")).start()
}

/// Opens a connection whose streams have a window of `window` bytes.
fn connect(nginx: &Nginx, window: u32) -> Http2 {
    Http2::connect(&nginx.path("http2.sock"), window)
}

/// Returns how many streams have begun and how many have been closed.
fn counts(nginx: &Nginx) -> (u64, u64) {
    let text = nginx.get("/counts").ok();
    let (begun, closed) = text.split_once(' ').expect("two numbers");
    (begun.parse().expect("a number"), closed.parse().expect("a number"))
}

fn wait_for_counts(nginx: &Nginx, expected: (u64, u64)) {
    let mut last = (0, 0);
    wait_for(&format!("{expected:?} begun and closed"), || {
        last = counts(nginx);
        (last == expected).then_some(())
    });
}

#[test]
fn requests_of_one_connection_are_answered_one_after_the_other_and_at_a_time() {
    for threads in ["wsgi_threads 2;", "wsgi_threads 0;"] {
        let nginx = start(threads);
        let mut client = connect(&nginx, 1 << 30);
        client.open_window(0, 1 << 30);
        for path in ["/", "/blocks", "/"] {
            let stream = client.get(path);
            assert_eq!(client.body(stream).len(), if path == "/" { 2 } else { 1_000_000 }, "{path}");
        }
        let streams: Vec<u32> = (0..100).map(|_| client.get("/")).collect();
        client.bodies(&streams).iter().for_each(|body| assert_eq!(body, b"ok"));
    }
}

/// A quarter of the threads.
const SHARE: u64 = 2;

#[test]
fn a_connection_whose_windows_are_closed_does_not_take_all_threads() {
    let nginx = start("wsgi_threads 1 max=8;");
    let mut stalled = connect(&nginx, 0);
    let streams: Vec<u32> = (0..20).map(|_| stalled.get("/blocks")).collect();
    wait_for_counts(&nginx, (SHARE, 0));
    let mut another = connect(&nginx, 0);
    let _streams: Vec<u32> = (0..20).map(|_| another.get("/blocks")).collect();
    wait_for_counts(&nginx, (2 * SHARE, 0));
    for _ in 0..20 {
        assert_eq!(nginx.get("/").ok(), "ok");
    }
    // Waiting requests begin as others end.
    stalled.open_window(0, 1 << 30);
    for stream in &streams {
        stalled.open_window(*stream, 1 << 30);
    }
    stalled.bodies(&streams).iter().for_each(|body| assert_eq!(body.len(), 1_000_000));
    drop(another);
    wait_for_counts(&nginx, (20 + SHARE, 20 + SHARE));
}

#[test]
fn requests_that_wait_for_others_of_their_connection_end_with_it() {
    let nginx = start("wsgi_threads 1 max=8;");
    for round in 1..=3 {
        let mut client = connect(&nginx, 0);
        for _ in 0..20 {
            client.get("/blocks");
        }
        wait_for_counts(&nginx, (round * SHARE, (round - 1) * SHARE));
        drop(client);
        wait_for_counts(&nginx, (round * SHARE, round * SHARE));
    }
}

#[test]
fn reset_of_waiting_requests_lets_other_requests_of_the_connection_run() {
    let nginx = start("wsgi_threads 1 max=8;");
    let mut client = connect(&nginx, 0);
    let streams: Vec<u32> = (0..20).map(|_| client.get("/blocks")).collect();
    wait_for_counts(&nginx, (SHARE, 0));
    // Some of the reset streams have a thread, others wait for one.
    client.reset(streams[0]);
    streams[5..].iter().for_each(|stream| client.reset(*stream));
    wait_for_counts(&nginx, (SHARE + 1, 1));
    client.open_window(0, 1 << 30);
    streams[1..5].iter().for_each(|stream| client.open_window(*stream, 1 << 30));
    client.bodies(&streams[1..5]).iter().for_each(|body| assert_eq!(body.len(), 1_000_000));
    wait_for_counts(&nginx, (5, 5));
    let stream = client.get("/");
    client.open_window(stream, 100);
    assert_eq!(client.body(stream), b"ok");
}

#[test]
fn inline_writes_to_a_closed_window_are_spooled_to_a_file() {
    let nginx = start("wsgi_threads 0;");
    assert_eq!(nginx.get("/").ok(), "ok");
    let worker = Process::new(nginx.worker());
    let before = worker.memory();
    let mut client = connect(&nginx, 0);
    let stream = client.get("/write");
    assert_eq!(client.frame().stream, stream, "its head");
    // The application has returned, since this request is answered.
    assert_eq!(nginx.get("/").ok(), "ok");
    let growth = worker.memory().saturating_sub(before);
    assert!(growth < 8 << 20, "the worker grew by {growth} bytes");
    client.open_window(0, 1 << 30);
    client.open_window(stream, 1 << 30);
    let body = client.body(stream);
    let (blocks, end) = body.split_at(64 << 20);
    assert_eq!(end, b"end");
    for (number, block) in blocks.chunks(1 << 20).enumerate() {
        let digit = b"0123456789abcdef"[number % 16];
        assert!(block.iter().all(|byte| *byte == digit), "block {number}");
    }
}
