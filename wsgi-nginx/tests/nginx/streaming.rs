//! Responses sent block by block: to slow, stalled and disconnected clients, and to several at a time.

use std::time::Duration;

use wsgi_testkit::Process;

use crate::harness::{Gate, Mode, Nginx, Site, get, in_both_modes, request, wait_for};

/// Counts produced blocks and calls of `close()`, and reports both at `/state`. The test adds a `stream`.
const COUNTS: &str = r#"
class Counted:
    produced = closed = 0
    def __init__(self, blocks): self.blocks = iter(blocks)
    def __iter__(self): return self
    def __next__(self):
        block = next(self.blocks)
        Counted.produced += 1
        return block
    def close(self):
        Counted.closed += 1
def application(environ, start_response):
    if environ["PATH_INFO"] == "/state":
        start_response("200 OK", [])
        return [f"{Counted.produced} {Counted.closed}".encode()]
    return stream(environ, start_response)
def endless():
    while True: yield b"x" * 65536
"#;

fn site(mode: Mode, stream: &str) -> Site {
    Site::new(mode).file("app.py", COUNTS.to_owned() + stream).location("/", "wsgi_pass app.py;")
}

/// Returns the number of blocks produced and of calls of `close()` so far.
fn state(nginx: &Nginx) -> (u64, u64) {
    let text = nginx.get("/state").ok();
    let (produced, closed) = text.split_once(' ').expect("two numbers");
    (produced.parse().expect("a number"), closed.parse().expect("a number"))
}

/// Waits until `close()` was called `times` times, and asserts that it is not called again.
fn assert_closed(nginx: &Nginx, times: u64) {
    wait_for(&format!("{times} calls of close()"), || (state(nginx).1 >= times).then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(state(nginx).1, times, "close() was called too often");
}

/// Waits until the stream produces nothing more. Returns the number of blocks.
fn wait_until_stalled(nginx: &Nginx) -> u64 {
    wait_for("the stream to stall", || {
        let (before, _) = state(nginx);
        std::thread::sleep(std::time::Duration::from_millis(100));
        (state(nginx).0 == before && before > 0).then_some(before)
    })
}

#[test]
fn close_is_called_when_the_client_leaves_a_stalled_stream() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [])
    return Counted(endless())
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        let mut client = nginx.connect();
        client.send(get("/"));
        client.head();
        wait_until_stalled(&nginx);
        drop(client);
        assert_closed(&nginx, 1);
    });
}

#[test]
fn aborted_responses_take_no_memory_while_the_worker_is_idle() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [])
    return [b"x" * (32 << 20)]
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        state(&nginx);
        let worker = Process::new(nginx.worker());
        let before = worker.memory();
        let mut clients = [nginx.connect(), nginx.connect(), nginx.connect()];
        for client in &mut clients {
            client.send(get("/"));
            client.head();
        }
        assert!(worker.memory() - before > 90 << 20, "the responses are not there");
        drop(clients);
        wait_for("the memory to be given back", || (worker.memory() < before + (8 << 20)).then_some(()));
    });
}

#[test]
fn a_list_of_a_million_small_blocks_takes_little_more_than_its_bytes() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [])
    return [b"0123456789"] * int(environ["QUERY_STRING"])
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        nginx.get("/?1").ok();
        let worker = Process::new(nginx.worker());
        let before = worker.memory();
        let mut client = nginx.connect();
        client.send(get("/?1000000"));
        client.head();
        // The client reads nothing, and the whole response is in memory: 10 MB of bytes, and perhaps still the 8 MB of
        // the list itself.
        assert_eq!(nginx.get("/?1").ok(), "0123456789");
        let growth = worker.memory().saturating_sub(before);
        assert!(growth < 24_000_000, "the worker grew by {growth} bytes");
        let taken: Vec<u8> = client.take(10_000_000);
        assert!(taken.chunks(10).all(|block| block == b"0123456789"), "not as it was sent");
    });
}

#[test]
fn stream_of_empty_items_delays_no_other_request_and_ends_with_its_client() {
    let source = r#"
wanted = True
def empty():
    while wanted: yield b""
    yield b"end"
def stream(environ, start_response):
    global wanted
    wanted = environ["PATH_INFO"] != "/end"
    start_response("200 OK", [])
    return Counted(empty()) if wanted else [b"told"]
"#;
    for mode in [Mode::Threads(2), Mode::Inline] {
        let nginx = site(mode, source).start();
        let ask = || {
            let mut client = nginx.connect();
            let before = state(&nginx).0;
            client.send(get("/"));
            wait_for("the stream to begin", || (state(&nginx).0 > before).then_some(()));
            client
        };
        drop(ask());
        assert_closed(&nginx, 1);
        let mut client = ask();
        assert_eq!(nginx.get("/end").ok(), "told");
        assert_eq!(client.response().ok(), "end");
    }
}

/// With inline execution the event loop waits for code of a generator after its last block, so that this must be
/// limited.
#[test]
fn endless_empty_items_after_content_length_delay_no_other_request_inline() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    yield b"ok"
    while True: yield b""
"#;
    let nginx = site(Mode::Inline, source).start();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").ok(), "ok");
    }
}

#[test]
fn send_timeout_ends_a_stream_to_a_client_that_takes_nothing() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [])
    return Counted(endless())
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).http("send_timeout 1s;").start();
        let mut client = nginx.connect();
        client.send(get("/"));
        client.head();
        assert_closed(&nginx, 1);
    });
}

#[test]
fn a_stalled_client_costs_its_buffers_and_no_more() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [])
    return Counted(b"y" * (1 << 20) for _ in range(4096))
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        state(&nginx);
        let before = Process::new(nginx.worker()).memory();
        let mut client = nginx.connect();
        client.send(get("/"));
        client.head();
        // The kernel's socket buffers take a few MiB.
        let produced = wait_until_stalled(&nginx);
        assert!(produced < 64, "{produced} MiB were produced for a client that reads nothing");
        let growth = Process::new(nginx.worker()).memory().saturating_sub(before);
        assert!(growth < 16 << 20, "the worker grew by {growth} bytes");
    });
}

#[test]
fn a_slow_client_gets_every_byte_in_order() {
    let source = r#"
def stream(environ, start_response):
    sizes = [1, 100, 8192, 8193, 70000, 1 << 20] * 4
    start_response("200 OK", [])
    return Counted(bytes([65 + number]) * size for number, size in enumerate(sizes))
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).listen_options("sndbuf=16k").start();
        let mut client = nginx.connect();
        client.send(get("/"));
        client.head();
        let mut body = Vec::new();
        loop {
            let chunk = client.chunk().expect("the stream goes on");
            if chunk.is_empty() {
                break;
            }
            body.extend(chunk);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let sizes = [1, 100, 8192, 8193, 70_000, 1 << 20].repeat(4);
        let expected: Vec<u8> = (b'A'..).zip(sizes).flat_map(|(byte, size)| vec![byte; size]).collect();
        assert!(body == expected, "{} bytes instead of {}", body.len(), expected.len());
        assert_closed(&nginx, 1);
    });
}

#[test]
fn large_blocks_of_a_list_arrive_whole() {
    let source = r#"
def stream(environ, start_response):
    start_response("200 OK", [])
    return [bytes([65 + number]) * (300000 * number) for number in range(8)]
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).listen_options("sndbuf=16k").start();
        let mut client = nginx.connect();
        for _ in 0..2 {
            client.send(get("/"));
            let expected: Vec<u8> =
                (0..8).flat_map(|number| vec![b'A' + number; 300_000 * usize::from(number)]).collect();
            assert!(client.response().body == expected);
        }
    });
}

#[test]
fn context_variables_of_interleaved_requests_stay_apart() {
    let source = r#"
import contextvars
name = contextvars.ContextVar("name", default="unset")
def stream(environ, start_response):
    start_response("200 OK", [])
    def blocks():
        name.set(environ["PATH_INFO"])
        while True:
            yield name.get().encode() + b"." * 65536
    return blocks() if environ["PATH_INFO"] != "/other" else [name.get().encode()]
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        let mut streams = ["/one", "/two"].map(|path| (path, nginx.connect()));
        for (path, client) in &mut streams {
            client.send(get(path));
            client.head();
        }
        for _ in 0..200 {
            for (path, client) in &mut streams {
                assert!(client.chunk().expect("a block").starts_with(path.as_bytes()));
            }
        }
        assert_eq!(nginx.get("/other").ok(), "unset");
    });
}

/// nginx walks over all buffers that wait for a client whenever it gets another one.
#[test]
fn tiny_blocks_for_a_client_that_takes_nothing_do_not_hold_up_the_event_loop() {
    const BLOCKS: &str = "
def yielded(environ, start_response):
    start_response('200 OK', [])
    return (b'x' for _ in range(1_000_000))
def written(environ, start_response):
    write = start_response('200 OK', [])
    for _ in range(1_000_000):
        write(b'x')
    return []
";
    let site = Site::new(Mode::Threads(4)).file("app.py", BLOCKS).file("html/static.txt", "static");
    let site = site.location("/yielded", "wsgi_pass app.py yielded;").location("/written", "wsgi_pass app.py written;");
    let nginx = site.location("/", "root html;").start();
    for target in ["/yielded", "/written"] {
        let mut client = nginx.connect();
        client.send(get(target));
        client.head();
        // nginx has begun to serve the client, whose socket fills up.
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_secs(3) {
            let asked = std::time::Instant::now();
            assert_eq!(nginx.get("/static.txt").ok(), "static");
            let waited = asked.elapsed();
            assert!(waited < std::time::Duration::from_secs(2), "{target}: {waited:?} for a static file");
        }
    }
}

#[test]
fn all_blocks_of_a_quick_sequence_arrive_while_the_application_goes_on() {
    let source = r#"
import os
def stream(environ, start_response):
    start_response("200 OK", [])
    def blocks():
        for number in range(100):
            yield b"%03d" % number
        open(os.path.join(os.path.dirname(__file__), "gate")).read()
        yield b"end"
    return blocks()
"#;
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        let gate = Gate::new(nginx.path("gate"));
        let expected: String = (0..100).map(|number| format!("{number:03}")).collect();
        let mut client = nginx.connect();
        // nginx sets TCP_NODELAY for connections with several requests.
        for _ in 0..3 {
            client.send(get("/"));
            client.head();
            let standing = gate.arrival();
            let mut body = Vec::new();
            while body.len() < expected.len() {
                body.extend(client.chunk().expect("a block"));
            }
            assert_eq!(String::from_utf8_lossy(&body), expected);
            drop(standing);
            assert_eq!(client.chunk().as_deref(), Some(&b"end"[..]));
            assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
        }
    });
}

/// A password hash that occupies the event loop for about a second.
const SLOW_HASH: &str = "user:$6$rounds=900000$salt$x\n";

#[test]
fn blocks_that_wait_for_the_event_loop_leave_together_and_before_a_failure() {
    let source = r#"
import os
def application(environ, start_response):
    start_response("200 OK", [])
    yield b"first"
    open(os.path.join(os.path.dirname(__file__), "gate")).read()
    for number in range(20):
        yield b"%02d" % number * 500
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("a failure")
"#;
    let nginx = Site::new(Mode::Threads(1))
        .file("app.py", source)
        .file("passwords", SLOW_HASH)
        .location("/", "wsgi_pass app.py;\nsend_timeout 1s;")
        .location("/slow", "auth_basic slow;\nauth_basic_user_file passwords;\nwsgi_pass app.py;")
        .listen_options("sndbuf=4k")
        .log_level("info")
        .expect_in_log("password mismatch")
        .start();
    let gate = Gate::new(nginx.path("gate"));
    let expected: Vec<u8> = (0..20).flat_map(|number| format!("{number:02}").repeat(500).into_bytes()).collect();
    for (path, reads) in [("/", true), ("/fails", true), ("/fails", false)] {
        // nginx cannot send all of the blocks at once.
        let mut client = nginx.connect_with_receive_buffer(4 << 10);
        client.send(get(path));
        assert_eq!(client.head().status, 200);
        assert_eq!(client.chunk().as_deref(), Some(&b"first"[..]), "the first block has waited");
        let standing = gate.arrival();
        let process = Process::new(nginx.worker());
        let before = process.cpu_time();
        let mut slow = nginx.connect();
        slow.send(request("GET", "/slow", "Authorization: Basic dXNlcjp4\r\n", b""));
        wait_for("the event loop to be occupied", || {
            (process.cpu_time() - before > Duration::from_millis(50)).then_some(())
        });
        drop(standing);
        assert_eq!(slow.response().status, 401);
        if reads {
            assert_eq!(client.chunk().as_deref(), Some(&expected[..]), "{path}");
            assert_eq!(client.chunk().is_some(), path == "/", "{path}");
        } else {
            nginx.logged("client timed out");
            assert!(client.rest().len() < expected.len());
        }
    }
}
