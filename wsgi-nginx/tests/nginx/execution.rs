//! The execution model (BLK-*): which requests block others.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Gate, HELLO, Mode, Nginx, Site, get, in_both_modes, wait_for};

/// `/wait` waits at the gate; every other path answers at once.
const WAITS: &str = "
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/wait':
        open(os.path.join(os.path.dirname(__file__), 'gate')).read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'passed']
";

fn waiting_site(mode: Mode) -> (Nginx, Gate) {
    let nginx = Site::new(mode)
        .file("app.py", WAITS)
        .file("html/file", "file")
        .location("/", "wsgi_pass app.py;")
        .location("= /file", "root html;")
        .location("= /return", "return 200 returned;")
        .start();
    let gate = Gate::new(nginx.path("gate"));
    (nginx, gate)
}

#[test]
fn blk_1_threads_static_files_do_not_wait_for_an_application() {
    let (nginx, gate) = waiting_site(Mode::Threads(1));
    let mut waiting = nginx.connect();
    waiting.send(get("/wait"));
    let at_gate = gate.arrival();
    for _ in 0..20 {
        assert_eq!(nginx.get("/file").ok(), "file");
        assert_eq!(nginx.get("/return").ok(), "returned");
    }
    drop(at_gate);
    assert_eq!(waiting.response().ok(), "passed");
}

#[test]
fn blk_1_inline_static_files_wait_for_the_application() {
    let (nginx, gate) = waiting_site(Mode::Inline);
    let mut waiting = nginx.connect();
    waiting.send(get("/wait"));
    let at_gate = gate.arrival();
    let mut other = nginx.connect();
    other.send(get("/file"));
    assert!(!other.has_answer_within(Duration::from_millis(300)), "the event loop was not stopped");
    drop(at_gate);
    assert_eq!(waiting.response().ok(), "passed");
    assert_eq!(other.response().ok(), "file");
}

#[test]
fn one_thread_runs_one_request_at_a_time() {
    let (nginx, gate) = waiting_site(Mode::Threads(1));
    let mut first = nginx.connect();
    first.send(get("/wait"));
    let at_gate = gate.arrival();
    let mut second = nginx.connect();
    second.send(get("/"));
    assert!(!second.has_answer_within(Duration::from_millis(300)), "a second request ran beside the first");
    drop(at_gate);
    assert_eq!(first.response().ok(), "passed");
    assert_eq!(second.response().ok(), "passed");
}

#[test]
fn four_threads_run_four_requests_at_a_time() {
    let source = "
import threading
barrier = threading.Barrier(4, timeout=30)
def application(environ, start_response):
    barrier.wait()
    start_response('200 OK', [])
    return [str(environ['wsgi.multithread']).encode()]
";
    let nginx = Site::new(Mode::Threads(4)).file("app.py", source).location("/", "wsgi_pass app.py;").start();
    let mut clients: Vec<_> = (0..4).map(|_| nginx.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(get("/")));
    for mut client in clients {
        assert_eq!(client.response().ok(), "True");
    }
}

#[test]
fn multithread_and_multiprocess_match_the_configuration() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    keys = ['wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once']
    return [repr([environ[key] for key in keys]).encode()]
";
    let site = |mode| Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;");
    assert_eq!(site(Mode::Inline).start().get("/").ok(), "[False, True, False]");
    assert_eq!(site(Mode::Threads(1)).start().get("/").ok(), "[False, True, False]");
    assert_eq!(site(Mode::Threads(2)).start().get("/").ok(), "[True, True, False]");
    assert_eq!(site(Mode::Threads(1)).without_master().start().get("/").ok(), "[False, False, False]");
}

#[test]
fn the_default_is_one_thread() {
    let source = "
import threading
def application(environ, start_response):
    start_response('200 OK', [])
    main = threading.current_thread() is threading.main_thread()
    return [f\"{environ['wsgi.multithread']} {main}\".encode()]
";
    let nginx = Site::with_defaults().file("app.py", source).location("/", "wsgi_pass app.py;").start();
    assert_eq!(nginx.get("/").ok(), "False False");
}

#[test]
fn blk_3_threads_of_the_application_make_progress_while_nginx_is_idle() {
    in_both_modes(|mode| {
        let source = "
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(ticks).encode()]
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let ticks = || nginx.get("/").ok().parse::<u64>().expect("a number");
        let before = ticks();
        // Longer than needed if the thread runs while nginx is idle, and far too short if it runs only during requests.
        thread::sleep(Duration::from_millis(300));
        let after = ticks();
        assert!(after > before + 20, "{before} ticks, then {after}");
    });
}

#[test]
fn blk_4_threads_that_burn_cpu_do_not_slow_down_static_files() {
    let source = "
import threading
stop = threading.Event()
def burn():
    while not stop.is_set():
        sum(range(1000))
def application(environ, start_response):
    if environ['PATH_INFO'] == '/start':
        for _ in range(4):
            threading.Thread(target=burn, daemon=True).start()
    else:
        stop.set()
    start_response('200 OK', [])
    return []
";
    let nginx = Site::new(Mode::Threads(1))
        .file("app.py", source)
        .file("html/file", "file")
        .location("/", "wsgi_pass app.py;")
        .location("= /file", "root html;")
        .start();
    // If static files needed the GIL, each request would wait for at least one switch interval of 5 ms.
    let median = |nginx: &Nginx| {
        let mut client = nginx.connect();
        let mut times: Vec<_> = (0..1000)
            .map(|_| {
                let start = Instant::now();
                client.send(get("/file"));
                assert_eq!(client.response().ok(), "file");
                start.elapsed()
            })
            .collect();
        times.sort();
        times[500]
    };
    median(&nginx);
    assert_eq!(nginx.get("/start").status, 200);
    let burning = median(&nginx);
    assert_eq!(nginx.get("/stop").status, 200);
    assert!(burning < Duration::from_millis(4), "half of the requests took {burning:?} and more");
}

#[test]
fn stalled_stream_delays_no_other_request_with_one_thread() {
    in_both_modes(|mode| {
        let source = "
import threading
produced = 0
threads = set()
def stream():
    global produced
    while True:
        threads.add(threading.get_ident())
        produced += 1
        yield b'x' * 65536
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/stream':
        return stream()
    return [f'{produced} {len(threads)}'.encode()]
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let mut stalled = nginx.connect();
        stalled.send(get("/stream"));
        assert_eq!(stalled.head().status, 200);
        let wait_until_stalled = || {
            wait_for("the stream to stall", || {
                let first = nginx.get("/count").ok();
                thread::sleep(Duration::from_millis(100));
                (nginx.get("/count").ok() == first && !first.starts_with("0 ")).then_some(first)
            })
        };
        let before = wait_until_stalled();
        stalled.take(32 << 20);
        assert_ne!(wait_until_stalled(), before, "the stream did not continue");
        assert!(wait_until_stalled().ends_with(" 1"), "the stream continued on another thread");
    });
}

#[test]
fn max_bounds_the_streams_that_are_under_way() {
    let source = "
def stream():
    while True:
        yield b'x' * 65536
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return stream() if environ['PATH_INFO'] == '/stream' else [b'served']
";
    let nginx = Site::with_defaults()
        .http("wsgi_threads 1 max=2;")
        .file("app.py", source)
        .location("/", "wsgi_pass app.py;")
        .start();
    let mut streams: Vec<_> = (0..2).map(|_| nginx.connect()).collect();
    let mut other = nginx.connect();
    streams[0].send(get("/stream"));
    assert_eq!(streams[0].head().status, 200);
    // A second thread serves other requests.
    assert_eq!(nginx.get("/").ok(), "served");
    streams[1].send(get("/stream"));
    assert_eq!(streams[1].head().status, 200);
    other.send(get("/"));
    assert!(!other.has_answer_within(Duration::from_millis(300)), "there were more than two threads");
    streams.pop();
    assert_eq!(other.response().ok(), "served");
}

#[test]
fn applications_share_one_interpreter() {
    in_both_modes(|mode| {
        let source = "
import shared
def application(environ, start_response):
    shared.n += 1
    start_response('200 OK', [])
    return [str(shared.n).encode()]
";
        let nginx = Site::new(mode)
            .file("code/shared.py", "n = 0")
            .file("a.py", source)
            .file("b.py", source)
            .http("wsgi_python_path code;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;")
            .start();
        assert_eq!([nginx.get("/a").ok(), nginx.get("/b").ok()], ["1", "2"]);
    });
}

#[test]
fn one_script_is_loaded_once_when_two_requests_come_at_once() {
    let source = "print('loading', flush=True)\nimport time; time.sleep(0.2)\n".to_owned() + HELLO;
    let nginx = Site::new(Mode::Threads(2)).file("app.py", source).location("/", "wsgi_pass app.py;").start();
    let mut clients = [nginx.connect(), nginx.connect()];
    clients.iter_mut().for_each(|client| client.send(get("/")));
    for client in &mut clients {
        assert_eq!(client.response().ok(), "hello world\n");
    }
    assert_eq!(nginx.stop().matches("loading").count(), 1);
}
