//! `wsgi_optimize_send_headers`: when the head is sent, and how much work the application is spared if nginx answers
//! (OSH-*).

use std::time::Duration;

use crate::harness::{Gate, Mode, Nginx, Site, get, in_both_modes, request, wait_for};

const SOURCE: &str = r#"
import os
worked = closed = 0
class Result:
    def __init__(self, environ, start_response): self.blocks = self.run(environ, start_response)
    def __iter__(self): return self.blocks
    def close(self):
        global closed
        closed += 1
    def run(self, environ, start_response):
        global worked
        path = environ["PATH_INFO"]
        start_response("200 OK", [("ETag", '"v1"'), ("Last-Modified", "Mon, 05 Oct 2026 10:00:00 GMT")])
        yield b""
        if path == "/gate":
            open(os.path.join(os.path.dirname(__file__), "gate")).read()
        if path == "/fail":
            raise ValueError("expected")
        worked += 1
        yield b"body"
def application(environ, start_response):
    if environ["PATH_INFO"] == "/state":
        start_response("200 OK", [])
        return [f"{worked} {closed}".encode()]
    return Result(environ, start_response)
"#;

fn nginx(mode: Mode, switch: &str) -> Nginx {
    let directives = format!("wsgi_pass app.py;\nwsgi_optimize_send_headers {switch};");
    Site::new(mode).file("app.py", SOURCE).location("/", &directives).start()
}

/// Waits until `closed` responses are closed. Returns how often the application has worked.
fn worked(nginx: &Nginx, closed: u64) -> u64 {
    wait_for(&format!("{closed} calls of close()"), || {
        let text = nginx.get("/state").ok();
        let (worked, calls) = text.split_once(' ').expect("two numbers");
        (calls == closed.to_string()).then(|| worked.parse().expect("a number"))
    })
}

#[test]
fn osh_1_head_stops_at_an_empty_item() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        let mut client = nginx.connect();
        client.send(request("HEAD", "/", "", b""));
        assert_eq!(client.head().status, 200);
        assert_eq!(worked(&nginx, 1), 0);
        client.send(get("/"));
        assert_eq!(client.response().ok(), "body");
    });
}

#[test]
fn osh_2_without_it_head_stops_at_the_first_block() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "off");
        let mut client = nginx.connect();
        client.send(request("HEAD", "/", "", b""));
        assert_eq!(client.head().status, 200);
        assert_eq!(worked(&nginx, 1), 1);
    });
}

const NOT_MODIFIED_SINCE: &str = "If-Modified-Since: Mon, 05 Oct 2026 10:00:00 GMT\r\n";

#[test]
fn osh_3_a_304_of_nginx_stops_at_an_empty_item() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        assert_eq!(nginx.send(&request("GET", "/", NOT_MODIFIED_SINCE, b"")).status, 304);
        assert_eq!(worked(&nginx, 1), 0);
    });
}

#[test]
fn osh_4_without_it_a_304_of_nginx_stops_at_the_first_block() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "off");
        assert_eq!(nginx.send(&request("GET", "/", NOT_MODIFIED_SINCE, b"")).status, 304);
        assert_eq!(worked(&nginx, 1), 1);
    });
}

#[test]
fn osh_5_the_head_leaves_with_an_empty_item() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        let gate = Gate::new(nginx.path("gate"));
        let mut client = nginx.connect();
        client.send(get("/gate"));
        assert_eq!(client.head().status, 200);
        gate.pass();
        assert_eq!(client.chunk().as_deref(), Some(&b"body"[..]));
        assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
    });
}

#[test]
fn osh_6_without_it_the_head_waits_for_the_first_block() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "off");
        let gate = Gate::new(nginx.path("gate"));
        let mut client = nginx.connect();
        client.send(get("/gate"));
        let standing = gate.arrival();
        assert!(!client.has_answer_within(Duration::from_millis(200)));
        drop(standing);
        assert_eq!(client.response().ok(), "body");
    });
}

#[test]
fn osh_7_an_exception_after_an_empty_item_cuts_the_response() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        let response = nginx.get("/fail");
        assert_eq!((response.status, response.whole), (200, false));
        nginx.logged("ValueError: expected");
    });
}

#[test]
fn osh_8_without_it_an_exception_after_an_empty_item_is_500() {
    in_both_modes(|mode| assert_eq!(nginx(mode, "off").get("/fail").status, 500));
}

#[test]
fn osh_9_a_matching_etag_is_304_without_length_and_body() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, "on");
        let response = nginx.send(&request("GET", "/", "If-None-Match: \"v1\"\r\n", b""));
        assert_eq!((response.status, response.header("Content-Length")), (304, None));
        assert_eq!(response.header("ETag"), Some("\"v1\""));
        assert_eq!(worked(&nginx, 1), 0);
    });
}
