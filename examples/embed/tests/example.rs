//! Behaviour of the example that the conformance suite does not cover: refusals, and the shutdown.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::Host;
use wsgi_testkit::conformance::{HostUnderTest as _, Served, Site};
use wsgi_testkit::wire::get;

fn reading() -> Box<dyn Served> {
    Host.serve(Site::new(
        "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [environ['REQUEST_URI'].encode(), b' ', body]
",
    ))
}

#[test]
fn invalid_request_is_refused_and_closes_the_connection() {
    let site = reading();
    for bytes in [
        &b"nonsense\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[b"GET / HTTP/1.1\r\nHost: localhost\r\n", &b"X: y\r\n".repeat(101)[..], b"\r\n"].concat(),
        &[b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", &b"y".repeat(70_000)[..], b"\r\n\r\n"].concat(),
    ] {
        let mut client = site.connect();
        client.send(bytes);
        assert_eq!(client.response().status, 400, "{}", bytes[..bytes.len().min(200)].escape_ascii());
        assert!(client.is_ended());
    }
}

#[test]
fn a_path_outside_of_the_prefix_is_404() {
    let site = Host.serve(Site::new("").at("/app"));
    for target in ["/", "/application", "/app/../x"] {
        assert_eq!(site.get(target).status, 404, "{target}");
    }
}

#[test]
fn other_forms_of_requests_are_understood() {
    let site = reading();
    let by_hand = "POST /a HTTP/1.1\nHost: localhost\nContent-Length: 4\n\nbody";
    assert_eq!(site.exchange(by_hand.as_bytes()).ok(), "/a body");
    for (target, path) in [("http://localhost/a?b", "/a?b"), ("http://localhost", "/")] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(site.exchange(head.as_bytes()).ok(), format!("{path} "));
    }
}

#[test]
fn a_body_in_chunks_arrives_without_them() {
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let site = reading();
    let mut client = site.connect();
    for chunk in [head, "2\r\nbo", "\r\n2;x\r\ndy\r\n0\r\nX-T: 1\r\n\r\n"] {
        client.send(chunk);
    }
    assert_eq!(client.response().ok(), "/ body");
    client.send([head, "xyz\r\n"].concat());
    assert_eq!(client.response().status, 500);
    assert!(client.is_ended());
    site.logged("OSError: [Errno 5] request body is not in chunked coding (RFC 9112, 7.1)");
}

#[test]
fn invalid_arguments_are_reported_at_the_start() {
    for (arguments, message) in [
        (&["127.0.0.1:0"][..], "usage: embed-example"),
        (&["127.0.0.1:0", "app.py", "wsgi_trheads 1"], "unknown directive \"wsgi_trheads\""),
        (&["127.0.0.1:0", "app.py", "wsgi_threads 0"], "wsgi_threads must be 1 or more"),
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_embed-example")).args(arguments).output().expect("the example runs");
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && stderr.contains(message), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_recursion_ends_on_the_thread_of_a_request() {
    let site = Host.serve(Site::new(wsgi_harness::stacks::APPLICATION));
    for shape in ["plain_calls", "getattr", "max_key", "substitution"] {
        assert_eq!(site.get(&format!("/?{shape},10000")).ok(), "RecursionError", "{shape}");
    }
}

#[test]
fn exit_does_not_wait_for_c_code_that_keeps_the_gil() {
    let site = Host.serve(Site::new(
        "
import ctypes
def application(environ, start_response):
    environ['wsgi.errors'].write('holds\\n')
    ctypes.PyDLL(None).sleep(3600)
",
    ));
    let mut client = site.connect();
    client.send(get("/"));
    site.logged("holds");
    // Five seconds for threads, five for atexit, and a margin.
    let asked = Instant::now();
    let log = site.stop();
    assert!(log.contains("code that holds the GIL still running at exit is abandoned"), "{log}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn a_body_that_stops_within_a_line_keeps_no_permit() {
    // There are four permits, and each client would hold one.
    for begun in ["5", "5\r", "5;a=b", "5\r\nhello", "5\r\nhello\r", "0\r\n", "0\r\nX-A: 1"] {
        let site = reading();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let mut client = site.connect();
                client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{begun}"));
                client
            })
            .collect();
        let asked = Instant::now();
        for _ in 0..20 {
            assert_eq!(site.get("/").ok(), "/ ");
        }
        // A client may take 20 seconds for the next byte.
        assert!(asked.elapsed() < Duration::from_secs(10), "{begun:?}: {:?}", asked.elapsed());
        drop(clients);
    }
}
