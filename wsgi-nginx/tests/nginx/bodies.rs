//! Request bodies: the application reads the same bytes whether nginx keeps them in memory or in a file.

use wsgi_testkit::wait_for;

use crate::harness::{Gate, HELLO, Mode, Site, get, in_both_modes, request};

/// Answers with the data that was read: by `read()`, in pieces, by lines, or not at all, depending on the path.
const READS: &str = r#"
import hashlib
def application(environ, start_response):
    body, way = environ["wsgi.input"], environ["PATH_INFO"]
    if way == "/pieces":
        data = b"".join(iter(lambda: body.read(1000), b""))
    elif way == "/lines":
        data = b"".join(body)
    elif way == "/some":
        data = body.read(3)
    elif way == "/nothing":
        data = b""
    else:
        data = body.read()
        assert body.read() == body.read(1) == body.readline() == b"" and list(body) == [], "there is more"
    start_response("200 OK", [("Content-Type", "text/plain")])
    length = environ.get("CONTENT_LENGTH")
    return [f"{length} {len(data)} {hashlib.md5(data).hexdigest()}".encode()]
"#;

fn reading_site(mode: Mode) -> Site {
    Site::new(mode)
        .file("app.py", READS)
        .http("client_max_body_size 32m;")
        .location("/", "wsgi_body_buffer_size 16k;\nwsgi_pass app.py;")
}

/// Bytes without a pattern, including newlines.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

/// The answer of [`READS`] for a body that it read to the end.
fn all_of(body: &[u8]) -> String {
    let hash = md5(body);
    format!("{0} {0} {hash}", body.len())
}

fn md5(bytes: &[u8]) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("md5sum");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("md5sum reads");
    let output = child.wait_with_output().expect("md5sum ends");
    String::from_utf8_lossy(&output.stdout[..32]).into_owned()
}

/// A request whose body is in chunks of growing size.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut bytes = request("POST", "/", "Transfer-Encoding: chunked\r\n", b"");
    let (mut rest, mut size) = (body, 1);
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(size.min(rest.len()));
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        (rest, size) = (tail, size * 2);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn a_body_arrives_whole_from_memory_and_from_the_temporary_file() {
    in_both_modes(|mode| {
        let nginx = reading_site(mode).start();
        for length in [1, 1000, 16 << 10, (16 << 10) + 1, 100_000, 8 << 20] {
            let body = noise(length);
            for way in ["/", "/pieces", "/lines"] {
                assert_eq!(nginx.post(way, &body).ok(), all_of(&body), "{length} bytes by {way}");
            }
        }
        assert_eq!(std::fs::read_dir(nginx.path("client_body_temp")).expect("a folder").count(), 0, "files are left");
    });
}

#[test]
fn a_body_that_fits_into_wsgi_body_buffer_size_never_touches_the_disk() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", READS)
            .location("/", "wsgi_pass app.py;")
            .location("/small", "wsgi_pass app.py;\nwsgi_body_buffer_size 1k;\nclient_body_buffer_size 1k;")
            .location("/of-nginx", "wsgi_pass app.py;\nwsgi_body_buffer_size 1k;\nclient_body_buffer_size 64k;")
            .location("/if", "wsgi_pass app.py;\nif ($request_method = POST) {\nset $is_post 1;\n}")
            .start();
        // A body that nginx would store is answered with 500.
        std::fs::remove_dir_all(nginx.path("client_body_temp")).expect("nginx has made the folder");
        for (path, size) in [("/", 128 << 10), ("/small", 1 << 10), ("/of-nginx", 64 << 10), ("/if", 128 << 10)] {
            let body = noise(size);
            assert_eq!(nginx.post(path, &body).ok(), all_of(&body), "{path}");
            assert_eq!(nginx.post(path, &noise(4 * size)).status, 500, "{path}: {size} bytes are not the limit");
        }
        let body = noise(120 << 10);
        assert_eq!(nginx.send(&chunked(&body)).ok(), all_of(&body), "chunked");
    });
}

#[test]
fn nginx_reads_the_body_again_after_the_application() {
    const SOURCE: &str = r#"
def application(environ, start_response):
    data = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Accel-Redirect", "/again/1")])
    return [data]
"#;
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", SOURCE)
            .file("reads.py", READS)
            .http("log_format body $request_body;")
            .server("access_log body.log body;")
            .location("/", "mirror /copy;\nwsgi_pass app.py;")
            .location("/copy", "internal;\nwsgi_pass reads.py;")
            .location(
                "/again/",
                "internal;\nproxy_set_header Host $host;\nproxy_pass http://127.0.0.1:$server_port/last/;",
            )
            .location("/last/", "wsgi_pass reads.py;")
            .start();
        for size in [500, 5_000, 100_000] {
            let body = vec![b'x'; size];
            assert_eq!(nginx.post("/", &body).ok(), all_of(&body));
            let line = String::from_utf8(body).expect("text") + "\n";
            let log = || std::fs::read_to_string(nginx.path("body.log")).unwrap_or_default();
            wait_for("the log line of nginx", || log().ends_with(&line).then_some(()));
        }
    });
}

#[test]
fn an_application_reads_the_body_of_a_client_that_has_left() {
    const SOURCE: &str = r#"
import hashlib, os
def application(environ, start_response):
    with open(os.path.join(os.path.dirname(__file__), "gate"), "rb") as gate:
        gate.read(1)
    print("read", hashlib.md5(environ["wsgi.input"].read()).hexdigest())
    start_response("200 OK", [])
    return []
"#;
    let nginx =
        Site::new(Mode::Threads(1)).file("app.py", SOURCE).location("/", "wsgi_pass app.py;").log_level("info").start();
    let gate = Gate::new(nginx.path("gate"));
    for size in [500, 100_000] {
        let body = noise(size);
        let mut client = nginx.connect();
        client.send(request("POST", "/", "", &body));
        let at_gate = gate.arrival();
        let closed = nginx.log_lines("client prematurely closed connection").len();
        drop(client);
        wait_for("nginx to notice", || {
            (nginx.log_lines("client prematurely closed connection").len() > closed).then_some(())
        });
        drop(at_gate);
        nginx.logged(&format!("read {}", md5(&body)));
    }
}

#[test]
fn a_body_that_is_too_large_gets_413_without_python() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", format!("print('loaded')\n{HELLO}"))
            .location("/", "client_max_body_size 1k;\nwsgi_pass app.py;")
            .start();
        assert_eq!(nginx.post("/", &noise(1025)).status, 413);
        assert_eq!(nginx.send(&chunked(&noise(5000))).status, 413);
        assert!(!nginx.stop().contains("loaded"), "the application was loaded");
    });
}

#[test]
fn an_unread_body_in_the_temporary_file_leaves_the_connection_usable() {
    in_both_modes(|mode| {
        let nginx = reading_site(mode).start();
        let mut client = nginx.connect();
        // The unread rest must not be parsed as the next request.
        let mut body = get("/smuggled");
        body.resize(100_000, b'x');
        for way in ["/nothing", "/some"] {
            client.send(request("POST", way, "", &body));
            let answer = client.response().ok();
            assert!(answer.starts_with("100000 "), "{way}: {answer}");
            client.send(get("/"));
            assert!(client.response().ok().starts_with("None 0 "), "{way}");
        }
    });
}

#[test]
fn slow_upload_delays_no_other_request() {
    in_both_modes(|mode| {
        let nginx = reading_site(mode).start();
        let body = noise(100_000);
        let mut slow = nginx.connect();
        slow.send(request("POST", "/", &format!("Content-Length: {}\r\n", body.len()), b""));
        for piece in body.chunks(20_000) {
            slow.send(piece);
            assert_eq!(nginx.post("/", b"quick").ok(), all_of(b"quick"));
        }
        assert_eq!(slow.response().ok(), all_of(&body));
    });
}

#[test]
fn an_upload_that_is_broken_off_does_not_even_load_the_application() {
    in_both_modes(|mode| {
        let source = "print('loaded')\n".to_owned() + HELLO;
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").log_level("info").start();
        let mut client = nginx.connect();
        client.send(request("POST", "/", "Content-Length: 10\r\n", b""));
        client.send("half");
        drop(client);
        nginx.logged("client prematurely closed connection");
        assert!(!nginx.stop().contains("loaded"));
    });
}

#[test]
fn malformed_requests_never_reach_the_application() {
    in_both_modes(|mode| {
        let source = "print('called')\n".to_owned() + HELLO;
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        for lines in [
            "GET / HTTP/1.1",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
            "GET /\0 HTTP/1.1\r\nHost: a",
        ] {
            let response = nginx.send(format!("{lines}\r\n\r\n").as_bytes());
            assert_eq!(response.status, 400, "{lines:?}");
        }
        assert!(!nginx.stop().contains("called"));
    });
}
