//! Applications that log faster than the event loop can write.

use std::time::Duration;

use wsgi_testkit::Process;

use crate::harness::{Mode, Nginx, Site, get, in_both_modes, wait_for};

const LINES: usize = 100_000;

const SOURCE: &str = r#"
import logging, sys, threading
def line(number):
    return "number %06d of many, each of which takes sixty bytes or so\n" % number
def flood(write):
    for number in range(100000):
        write(line(number))
def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
def logged():
    logger = logging.getLogger("flood")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    for number in range(100000):
        logger.error(line(number)[:-1])
def application(environ, start_response):
    path, errors = environ["PATH_INFO"], environ["wsgi.errors"]
    if path == "/errors": flood(errors.write)
    if path == "/print": flood(sys.stdout.write)
    if path == "/logging": logged()
    if path == "/lines": errors.writelines(map(line, range(100000)))
    if path == "/text": errors.write("".join(map(line, range(100000))))
    if path == "/error": raise ValueError("".join(map(line, range(100000))))
    if path == "/joined": in_thread(flood, errors.write).join()
    if path == "/background": in_thread(flood, sys.stderr.write)
    if path == "/endless":
        def endless():
            while True: print("endless")
        in_thread(endless)
    start_response("200 OK", [])
    return [b"ok"]
"#;

fn site(mode: Mode) -> Nginx {
    Site::new(mode)
        .file("app.py", SOURCE)
        .file("html/file", "file")
        .location("/", "wsgi_pass app.py;")
        .location("= /file", "root html;")
        .start()
}

/// Waits until the last line is in the log. Returns the numbers of all lines.
fn numbers(nginx: &Nginx) -> Vec<usize> {
    let number = |line: &str| Some(line.split_once("number ")?.1.get(..6)?.parse().expect("a number"));
    wait_for("all lines", || {
        let numbers: Vec<usize> = nginx.log().lines().filter_map(number).collect();
        (numbers.len() >= LINES).then_some(numbers)
    })
}

#[test]
fn a_flood_of_lines_takes_little_memory_and_loses_none() {
    for (mode, path) in [
        (Mode::Threads(1), "/errors"),
        (Mode::Threads(1), "/print"),
        (Mode::Threads(1), "/logging"),
        (Mode::Threads(1), "/lines"),
        (Mode::Threads(1), "/joined"),
        (Mode::Threads(1), "/background"),
        (Mode::Inline, "/errors"),
    ] {
        let nginx = site(mode);
        assert_eq!(nginx.get("/").ok(), "ok");
        let worker = Process::new(nginx.worker());
        let before = worker.memory();
        assert_eq!(nginx.get(path).ok(), "ok");
        assert!(numbers(&nginx).into_iter().eq(0..LINES), "{mode} {path}");
        // An allocator may keep memory that it has taken once.
        let growth = worker.memory().saturating_sub(before);
        assert!(growth < 3 << 20, "{mode} {path}: the worker grew by {growth} bytes");
    }
}

/// With inline execution the event loop waits for the application, which may wait for a thread. That thread must not
/// wait for the event loop, so it writes lines itself, before those that are queued.
#[test]
fn a_thread_beside_an_inline_application_writes_as_many_lines_as_it_likes() {
    for path in ["/joined", "/background"] {
        let nginx = site(Mode::Inline);
        assert_eq!(nginx.get("/").ok(), "ok");
        let worker = Process::new(nginx.worker());
        let before = worker.memory();
        assert_eq!(nginx.get(path).ok(), "ok");
        let mut numbers = numbers(&nginx);
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..LINES), "{path}");
        let growth = worker.memory().saturating_sub(before);
        assert!(growth < 3 << 20, "{path}: the worker grew by {growth} bytes");
    }
}

#[test]
fn lines_of_one_text_arrive_in_order_however_many_they_are() {
    in_both_modes(|mode| {
        for (path, status) in [("/text", 200), ("/error", 500)] {
            let nginx = site(mode);
            assert_eq!(nginx.get(path).status, status);
            assert!(numbers(&nginx).into_iter().eq(0..LINES), "{mode} {path}");
        }
    });
}

#[test]
fn a_flood_of_lines_does_not_hold_up_static_files() {
    let nginx = site(Mode::Threads(4));
    assert_eq!(nginx.get("/").ok(), "ok");
    let mut clients = ["/errors", "/print", "/lines"].map(|path| (path, nginx.connect()));
    for (path, client) in &mut clients {
        client.send(get(path));
    }
    let mut answered = 0;
    for (path, client) in &mut clients {
        while !client.has_answer_within(Duration::from_millis(1)) {
            assert_eq!(nginx.get("/file").ok(), "file");
            answered += 1;
        }
        assert_eq!(client.response().ok(), "ok", "{path}");
    }
    // Without a limit only a few would be answered: each time, the loop would write all lines that arrived while it
    // wrote.
    assert!(answered > 40, "{answered} requests were answered meanwhile");
}

#[test]
fn a_worker_ends_while_a_thread_floods_its_log() {
    in_both_modes(|mode| {
        let nginx = site(mode);
        assert_eq!(nginx.get("/endless").ok(), "ok");
        nginx.logged("endless");
        nginx.stop();
    });
}
