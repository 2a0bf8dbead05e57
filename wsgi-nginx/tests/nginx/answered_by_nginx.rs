//! Filters of nginx that answer in place of an application while it sends its response: 304, 412, 416, and any status
//! with third-party filters. If the status has an `error_page`, nginx redirects the request, or ends it, inside the
//! call that sends the head or a block.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{Gate, Mode, Nginx, Site, in_both_modes, request, wait_for};

/// Each application counts the results it has returned, and those that were closed.
const SOURCE: &str = r#"
import os, threading, time
lock = threading.Lock()
counts = {"begun": 0, "closed": 0, "again": 0}
ETAG = ("ETag", '"mine"')
TYPE = ("Content-Type", "text/html")
DATE = ("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT")
def count(what):
    with lock:
        counts[what] += 1
class Blocks:
    def __init__(self, blocks):
        self.blocks, self.is_closed = iter(blocks), False
        count("begun")
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks)
    def close(self):
        count("again" if self.is_closed else "closed")
        self.is_closed = True
def listed(environ, start_response):
    start_response("200 OK", [ETAG, DATE, TYPE, ("Content-Length", "7")])
    return [b"a", b"b" * 6]
def blocks(environ, start_response):
    start_response("200 OK", [ETAG, DATE, TYPE])
    return Blocks([b"x" * 9000] * 40)
def measured(environ, start_response):
    start_response("200 OK", [ETAG, DATE, TYPE, ("Content-Length", "360000")])
    return Blocks([b"x" * 9000] * 40)
def writing(environ, start_response):
    write = start_response("200 OK", [ETAG, DATE, TYPE])
    try:
        for _ in range(20):
            write(b"y" * 9000)
    except OSError:
        # The request is over: another answer has been sent in place of this one.
        pass
    return Blocks([b"z" * 9000] * 20)
def noting(environ, start_response):
    start_response("200 OK", [ETAG, DATE, TYPE])(b"first")
    return Blocks([b"last"])
def talking(environ, start_response):
    write = start_response("200 OK", [ETAG, DATE, TYPE])
    write(b"first")
    for number in range(20):
        environ["wsgi.errors"].write("line %d\n" % number)
        time.sleep(0.001)
    return Blocks([b"last"])
def failing(environ, start_response):
    start_response("200 OK", [ETAG, DATE, TYPE])
    def late():
        yield b"x" * 9000
        raise ValueError("expected")
    return Blocks(late())
def standing(environ, start_response):
    start_response("200 OK", [ETAG, DATE, TYPE])
    def late():
        yield b"x" * 9000
        open(os.path.join(os.path.dirname(__file__), "gate")).read()
        yield b"y" * 9000
    return Blocks(late())
def page(environ, start_response):
    # Whatever its status: nginx has that of the error.
    start_response("200 OK", [("Content-Type", "text/html")])
    return Blocks([b"the page of ", b"an application"])
def state(environ, start_response):
    start_response("200 OK", [])
    return [" ".join(str(counts[what]) for what in ("begun", "closed", "again")).encode()]
"#;

const APPLICATIONS: [&str; 7] = ["listed", "blocks", "measured", "writing", "noting", "talking", "failing"];

/// Kinds of error page, with the page's address and the beginning of its text.
const PAGES: [(&str, &str, &str); 6] = [
    ("none", "", ""),
    ("file", "/page.html", "the page in a file"),
    ("long", "/long.html", "a long page"),
    ("named", "@page", "the page of an application"),
    ("application", "/page", "the page of an application"),
    ("proxied", "@proxied", "the page of an application"),
];

/// Request headers on which a filter acts, and the resulting status.
const CONDITIONS: [(&str, u16); 6] = [
    ("If-Match: \"other\"\r\n", 412),
    ("If-Unmodified-Since: Mon, 02 Jan 2006 03:04:05 GMT\r\n", 412),
    ("If-None-Match: \"mine\"\r\n", 304),
    ("If-Modified-Since: Mon, 02 Jan 2023 03:04:05 GMT\r\n", 304),
    ("Range: bytes=400000-\r\n", 416),
    ("", 200),
];

fn start(mode: Mode) -> Nginx {
    site(mode, "304 412 416").start()
}

/// Every application with every error page, for these statuses.
fn site(mode: Mode, statuses: &str) -> Site {
    let mut site = Site::new(mode)
        .file("app.py", SOURCE)
        .file("html/page.html", "the page in a file")
        .file("html/long.html", "a long page ".repeat(100_000))
        .http("default_type text/html;\nwsgi_allow_ranges on;\netag off;")
        .location("= /state", "wsgi_pass app.py state;")
        .location("= /page", "internal;\nwsgi_pass app.py page;")
        .location("= /page.html", "internal;\nroot html;")
        .location("= /long.html", "internal;\nroot html;")
        .location("@page", "wsgi_pass app.py page;");
    let socket = site.path("other.sock").display().to_string();
    // The condition is meant for the first response only.
    let proxied = format!(
        "proxy_pass http://unix:{socket}:;\nproxy_set_header If-Match \"\";\n\
         proxy_set_header If-Unmodified-Since \"\";\nproxy_set_header Range \"\";\n\
         proxy_set_header X-Head-Status \"\";\nproxy_set_header X-Body-Status \"\";"
    );
    site = site.location("@proxied", &proxied);
    for application in APPLICATIONS.iter().chain(["standing"].iter()) {
        for (name, page, _) in PAGES {
            let error_page = if page.is_empty() { String::new() } else { format!("\nerror_page {statuses} {page};") };
            let directives = format!("wsgi_pass app.py {application};{error_page}");
            site = site.location(&format!("= /{application}-{name}"), &directives);
        }
    }
    site.another_server(&format!("listen unix:{socket};\nlocation / {{\nwsgi_pass app.py page;\n}}"))
}

/// Returns the filter in `filters/answering.c`, built for the nginx that cargo has built this module for.
fn answering_filter() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let (source, objects) = (Path::new(option_env!("NGINX_SOURCE_DIR")?), option_env!("NGINX_BUILD_DIR")?);
        let filter = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answering.so");
        let folders =
            ["core", "event", "event/modules", "event/quic", "os/unix", "http", "http/modules", "http/v2", "http/v3"];
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&filter).arg(format!("-I{objects}"));
        compiler.args(folders.map(|folder| format!("-I{}", source.join("src").join(folder).display())));
        compiler.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nginx/filters/answering.c"));
        let output = compiler.output().expect("run a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(filter)
    };
    BUILT.get_or_init(build).as_deref()
}

#[test]
fn a_filter_of_third_parties_may_answer_with_any_status() {
    let Some(filter) = answering_filter() else {
        return println!("left out: these tests were built without nginx's sources");
    };
    for mode in [Mode::Inline, Mode::Threads(1), Mode::Threads(4)] {
        let site = site(mode, "403 404 418 500 503").main(&format!("load_module {};", filter.display()));
        let check = site.check();
        if check.output.contains("is not binary compatible") || check.output.contains(" instead of ") {
            return println!("left out: the filter is built for another nginx: {}", check.output);
        }
        let nginx = site.start();
        let worker = nginx.worker();
        for application in APPLICATIONS {
            for (name, _, text) in PAGES {
                for (header, status) in [403, 404, 418, 500, 503]
                    .into_iter()
                    .flat_map(|status| [("X-Head-Status", status), ("X-Body-Status", status)])
                {
                    let path = format!("/{application}-{name}");
                    let headers = format!("{header}: {status}\r\nConnection: close\r\n");
                    let response = nginx.send(&request("GET", &path, &headers, b""));
                    assert_eq!(response.status, status, "{mode} {path} {headers}");
                    assert!(
                        response.whole && response.text().starts_with(text),
                        "{mode} {path} {headers} {response:?}"
                    );
                }
            }
        }
        assert_all_closed(&nginx);
        assert_eq!(nginx.worker(), worker, "{mode}: another worker");
    }
}

/// Asserts that every result that was begun is closed exactly once.
#[track_caller]
fn assert_all_closed(nginx: &Nginx) {
    let state = || nginx.get("/state").ok().split(' ').map(|number| number.parse().expect("a number")).collect();
    wait_for("results to be closed", || {
        let numbers: Vec<u64> = state();
        assert_eq!(numbers[2], 0, "closed again");
        (numbers[0] == numbers[1]).then_some(())
    });
}

fn threads(nginx: &Nginx) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", nginx.worker())).expect("a worker").count()
}

#[test]
fn an_answer_of_a_filter_gets_its_error_page() {
    for mode in [Mode::Inline, Mode::Threads(1), Mode::Threads(4)] {
        let nginx = start(mode);
        let worker = nginx.worker();
        for application in APPLICATIONS {
            for (name, _, text) in PAGES {
                for (condition, status) in CONDITIONS {
                    let path = format!("/{application}-{name}");
                    // nginx serves ranges only of a response with a known length. The body of a failed response is
                    // truncated.
                    let status =
                        if status == 416 && !matches!(application, "listed" | "measured") { 200 } else { status };
                    let response =
                        nginx.send(&request("GET", &path, &format!("{condition}Connection: close\r\n"), b""));
                    assert_eq!(response.status, status, "{mode} {path} {condition}");
                    let failed = application == "failing" && status == 200;
                    assert_eq!(response.whole, !failed, "{mode} {path} {condition}");
                    if matches!(status, 412 | 416) {
                        let body = response.text();
                        assert!(body.starts_with(text), "{mode} {path} {condition}: {body:.60}");
                    }
                }
            }
        }
        assert_all_closed(&nginx);
        assert_eq!(nginx.worker(), worker, "{mode}: another worker");
        // The harness fails if there was an alert, or if nginx does not exit.
    }
}

/// The filter acts on the body when it sees the head; for HEAD no block follows it.
#[test]
fn a_head_request_with_a_condition_is_answered_and_its_thread_returns() {
    for mode in [Mode::Inline, Mode::Threads(1), Mode::Threads(4)] {
        let nginx = start(mode);
        for application in APPLICATIONS {
            for (name, ..) in PAGES {
                for (condition, status) in CONDITIONS.into_iter().filter(|(condition, _)| !condition.contains("Range"))
                {
                    let path = format!("/{application}-{name}");
                    let mut client = nginx.connect();
                    client.send(request("HEAD", &path, &format!("{condition}Connection: close\r\n"), b""));
                    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{mode} {path} {condition}: {answer}");
                    assert!(answer.ends_with("\r\n\r\n"), "{mode} {path} {condition}: {answer}");
                }
            }
        }
        assert_all_closed(&nginx);
        assert!(threads(&nginx) < 20, "{mode}: {} threads", threads(&nginx));
    }
}

#[test]
fn threads_return_when_a_filter_answers_instead() {
    let nginx = start(Mode::Threads(2));
    for (name, ..) in PAGES {
        for _ in 0..20 {
            for application in APPLICATIONS {
                let path = format!("/{application}-{name}");
                nginx.send(&request("GET", &path, "If-Match: \"other\"\r\nConnection: close\r\n", b""));
            }
        }
    }
    assert_all_closed(&nginx);
    // Two permits, and a few threads that briefly waited for the event loop.
    assert!(threads(&nginx) < 20, "{} threads", threads(&nginx));
}

#[test]
fn a_worker_exits_after_a_filter_has_answered_for_a_running_application() {
    in_both_modes(|mode| {
        for (name, ..) in PAGES {
            let mut nginx = start(mode);
            nginx.get("/state");
            let gate = Gate::new(nginx.path("gate"));
            let condition = "If-Match: \"other\"\r\n";
            let mut client = nginx.connect();
            client.send(request("GET", &format!("/standing-{name}"), condition, b""));
            if mode == Mode::Inline {
                // The result is closed before the application reaches the gate.
                assert_eq!(client.head().status, 412, "{name}");
            } else if name != "none" {
                // The error page does not wait for the application.
                assert_eq!(client.head().status, 412, "{name}");
            }
            drop(client);
            drop(gate);
            nginx.signal(libc::SIGQUIT);
            assert!(nginx.wait().success(), "{name}");
        }
    });
}

#[test]
fn error_pages_of_error_pages_end() {
    for mode in [Mode::Inline, Mode::Threads(2)] {
        let nginx = Site::new(mode)
            .file("app.py", SOURCE)
            // The filter checks each page again if its status is not 412.
            .server("error_page 412 =200 /listed;\nrecursive_error_pages on;")
            .location("= /state", "wsgi_pass app.py state;")
            .location("= /listed", "wsgi_pass app.py listed;")
            .location("= /blocks", "wsgi_pass app.py blocks;\nerror_page 412 =200 /writing;")
            .location("= /writing", "wsgi_pass app.py writing;\nerror_page 412 =200 @listed;")
            .location("@listed", "wsgi_pass app.py measured;")
            .start();
        for path in ["/listed", "/blocks", "/writing"] {
            let mut client = nginx.connect();
            client.send(request("GET", path, "If-Match: \"other\"\r\nConnection: close\r\n", b""));
            client.rest();
            assert_eq!(nginx.get("/listed").ok(), "abbbbbb", "{mode} {path}");
        }
        assert_all_closed(&nginx);
    }
}
