//! Ways in which nginx ends a request before, after or in place of the application: no byte of the request body may be
//! parsed as a request. A clause of the conformance suite covers the ways that applications use.

use std::fmt::Write as _;

use wsgi_testkit::conformance::{After, Probe};
use wsgi_testkit::figure;

use crate::harness::{Gate, Mode, Nginx, Site, get, in_both_modes, request};

/// Reads as its path says, and reports every request that no client has sent.
const APP: &str = "
seen = []
def application(environ, start_response):
    answer = probe(environ, start_response)
    if answer is not None:
        return answer
    path, body = environ['PATH_INFO'], environ['wsgi.input']
    if path == '/smuggled':
        seen.append(path)
    if path == '/seen':
        start_response('200 OK', [])
        return [repr(seen).encode()]
    if 'some' in path:
        body.read(5)
    elif 'all' in path:
        body.read()
    if 'fails' in path:
        raise ValueError('fails')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'application']
";

/// The status of a request with a body.
#[derive(Clone, Copy)]
enum Status {
    Is(u16),
    /// One status for GET and HEAD, another for other methods.
    Reads(u16, u16),
}

/// The target of the request, its status, and whether nginx keeps the connection: after 413 and 500 it closes it,
/// whichever page is sent.
const WAYS: [(&str, Status, bool); 22] = [
    ("/all", Status::Is(200), true),
    ("/some", Status::Is(200), true),
    ("/none", Status::Is(200), true),
    ("/fails", Status::Is(500), false),
    ("/limited", Status::Is(413), false),
    ("/limited-to-app", Status::Is(200), false),
    ("/limited-to-file", Status::Is(413), false),
    ("/returned", Status::Is(404), true),
    ("/denied", Status::Is(403), true),
    ("/unknown.py", Status::Is(500), false),
    ("/broken", Status::Is(500), false),
    ("/broken-to-app", Status::Is(200), false),
    ("/broken-to-file", Status::Is(500), false),
    ("/except", Status::Reads(200, 403), true),
    ("/by-method", Status::Is(405), true),
    ("/unauthorized", Status::Is(403), true),
    ("/authorized", Status::Is(200), true),
    ("/rewritten", Status::Is(200), true),
    ("/tried", Status::Is(200), true),
    ("/named", Status::Is(200), true),
    ("/file", Status::Reads(200, 405), true),
    ("/mirrored", Status::Is(200), true),
];

fn site(mode: Mode) -> Site {
    Site::new(mode)
        .file("app.py", Probe::ANSWER.to_owned() + APP)
        .file("broken.py", "def application(environ, start_response):\n    return [\n")
        .file("html/file", "file")
        .file("html/page.html", "page")
        .http("wsgi_body_buffer_size 16k;\nlingering_timeout 1s;\nroot html;")
        .location("/", "wsgi_pass app.py;")
        .location("/limited", "client_max_body_size 9;\nwsgi_pass app.py;")
        .location("/limited-to-app", "client_max_body_size 9;\nerror_page 413 =200 @app;\nwsgi_pass app.py;")
        .location("/limited-to-file", "client_max_body_size 9;\nerror_page 413 /page.html;\nwsgi_pass app.py;")
        .location("= /page.html", "internal;")
        .location("@app", "wsgi_pass app.py;")
        .location("/returned", "return 404;\nwsgi_pass app.py;")
        .location("/denied", "deny all;\nwsgi_pass app.py;")
        .location("/unknown.py", "wsgi_pass unknown.py;")
        .location("/broken", "wsgi_pass broken.py;")
        .location("/broken-to-app", "error_page 500 =200 @app;\nwsgi_pass broken.py;")
        .location("/broken-to-file", "error_page 500 /page.html;\nwsgi_pass broken.py;")
        .location("/except", "limit_except GET {\ndeny all;\n}\nwsgi_pass app.py;")
        .location("/by-method", "if ($request_method ~ .) {\nreturn 405;\n}\nwsgi_pass app.py;")
        .location("/unauthorized", "auth_request /forbidden;\nwsgi_pass app.py;")
        .location("= /forbidden", "return 403;")
        .location("/authorized", "auth_request /all;\nwsgi_pass app.py;")
        .location("/rewritten", "rewrite ^ /some last;")
        .location("/tried", "try_files /nothing @app;")
        .location("/named", "error_page 418 =200 @app;\nreturn 418;")
        .location("/mirrored", "mirror /all;\nwsgi_pass app.py;")
        .location("= /file", "")
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Requests with a body that looks like a request: with a length, in chunks, after Expect, and in a temporary file.
fn bodies(method: &str, target: &str) -> Vec<(&'static str, Vec<u8>)> {
    let small = request("GET", "/smuggled", "", b"");
    let chunked = |body: &[u8]| {
        let head = request(method, target, "Transfer-Encoding: chunked\r\n", b"");
        [&head, format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
    };
    let mut bodies = vec![
        ("a length", request(method, target, "", &small)),
        ("chunks", chunked(&small)),
        ("a length after Expect", request(method, target, "Expect: 100-continue\r\n", &small)),
    ];
    if method == "POST" {
        let large = small.repeat(4_000);
        bodies.push(("a large length", request(method, target, "", &large)));
        bodies.push(("large chunks", chunked(&large)));
    }
    bodies
}

/// Counts the outcomes of the probes that were sent after requests.
#[derive(Default)]
struct Count {
    requests: usize,
    answered: usize,
    ended: usize,
    stray: usize,
    problems: String,
}

impl Count {
    /// Sends a request followed by a probe. If `keeps`, the probe must be answered.
    fn send(&mut self, nginx: &Nginx, what: &str, bytes: &[u8], method: &str, statuses: &[u16], keeps: bool) {
        self.requests += 1;
        let probe = Probe::new(self.requests);
        let mut client = nginx.connect();
        client.send([bytes, &probe.bytes()].concat());
        let response = client.final_response(method);
        let after = probe.after(&mut client);
        match after {
            After::Answer => self.answered += 1,
            After::End => self.ended += 1,
            After::Stray(count) => self.stray += count,
        }
        let right = match after {
            After::Answer => true,
            After::End => !keeps,
            After::Stray(_) => false,
        };
        if !(right && response.whole && statuses.contains(&response.status)) {
            let _ = writeln!(self.problems, "{what}: {} {:?}, then {after:?}", response.status, response.text());
        }
    }

    fn tell(self, nginx: &Nginx, what: &str) {
        let taken = nginx.get("/seen").ok();
        let Count { requests, answered, ended, stray, problems } = self;
        figure(
            "S1",
            &format!(
                "{requests} {what}: behind them {answered} probes answered exactly, {ended} connections ended, {stray} \
                 stray bytes; bodies taken for requests: {taken}"
            ),
        );
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(taken, "[]");
    }
}

#[test]
fn no_response_of_nginx_leaves_request_body_bytes_on_the_connection() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        let mut count = Count::default();
        for (target, status, keeps) in WAYS {
            for method in METHODS {
                let status = match status {
                    Status::Is(status) => status,
                    Status::Reads(status, _) if matches!(method, "GET" | "HEAD") => status,
                    Status::Reads(_, status) => status,
                };
                for (body, bytes) in bodies(method, target) {
                    count.send(&nginx, &format!("{method} {target}, {body}"), &bytes, method, &[status], keeps);
                }
            }
        }
        // nginx itself refuses TRACE, and closes the connection.
        for (body, bytes) in bodies("TRACE", "/all") {
            count.send(&nginx, &format!("TRACE, {body}"), &bytes, "TRACE", &[405], false);
        }
        count.tell(&nginx, &format!("ways out by nginx, {mode}"));
    });
}

/// Largest number of waiting requests; a page with as many includes fills the queue.
const QUEUE: usize = 1024;

#[test]
fn a_full_queue_leaves_no_byte_of_the_request_body() {
    const HOLDS: &str = "
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hold':
        with open(os.path.join(os.path.dirname(__file__), 'gate'), 'rb') as gate:
            gate.read(1)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x']
";
    let nginx = Site::new(Mode::Threads(1))
        .file("app.py", HOLDS)
        .file("html/full.html", "x".repeat(2048) + &"<!--#include virtual=\"/a\"-->".repeat(QUEUE))
        .file("html/file", "file")
        .http("root html;\nwsgi_body_buffer_size 16k;")
        .location("/", "wsgi_pass app.py;")
        .location("= /full.html", "ssi on;")
        .location("= /file", "")
        .start();
    let gate = Gate::new(nginx.path("gate"));
    let (mut holder, mut page) = (nginx.connect(), nginx.connect());
    holder.send(get("/hold"));
    let at_gate = gate.arrival();
    page.send(request("GET", "/full.html", "Connection: close\r\n", b""));
    assert_eq!(page.head().status, 200);
    let mut refused = 0;
    for method in METHODS {
        for (body, bytes) in bodies(method, "/") {
            let mut client = nginx.connect();
            client.send([bytes, request("GET", "/file", "Connection: close\r\n", b"")].concat());
            assert_eq!(client.final_response(method).status, 503, "{method}, {body}");
            assert_eq!(client.response().ok(), "file", "{method}, {body}");
            assert!(client.is_ended(), "{method}, {body}");
            refused += 1;
        }
    }
    figure(
        "S1",
        &format!("{refused} requests refused by a full queue of nginx: behind them {refused} answered exactly"),
    );
    drop(at_gate);
    assert_eq!(holder.response().ok(), "x");
    page.rest();
}

#[test]
fn a_worker_without_python_leaves_no_byte_of_the_request_body() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .file("home/empty", "")
            .http("wsgi_python_home home;")
            .location("= /seen", "return 200 [];")
            .location("= /probe", "return 200 \"probe $args\";")
            .expect_in_log("cannot start Python")
            .start();
        let mut count = Count::default();
        for method in METHODS {
            for (body, bytes) in bodies(method, "/all") {
                count.send(&nginx, &format!("{method}, {body}"), &bytes, method, &[500], false);
            }
        }
        count.tell(&nginx, &format!("requests without Python, {mode}"));
    });
}
