//! `wsgi.file_wrapper` over a regular file: nginx sends the file, while the application is free.

use std::fs;

use wsgi_testkit::Process;

use crate::harness::{Client, Mode, Nginx, Response, Site, get, in_both_modes, request, wait_for};

const SOURCE: &str = r#"
import os
PATH = os.path.join(os.path.dirname(__file__), "content")
class File:
    """Its read() is that of a file on the disk, and it reports close()."""
    def __init__(self, file):
        self.file, self.read = file, file.read
    def close(self):
        print("closed the file")
        self.file.close()
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/small":
        start_response("200 OK", [])
        return [b"small"]
    file = open(PATH, "rb")
    if path == "/removed":
        os.unlink(PATH)
    if path == "/grown":
        with open(PATH, "ab") as other:
            other.write(b"x" * 1000)
    headers = [("Content-Type", "text/html"), ("ETag", '"v1"')]
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](File(file))
"#;

/// More than all buffers on the way to a client that reads nothing.
const LARGE: usize = 24 << 20;

fn content(size: usize) -> Vec<u8> {
    (0..size / 8).flat_map(|number| format!("{number:07} ").into_bytes()).collect()
}

fn site(mode: Mode, size: usize, directives: &str) -> Site {
    Site::new(mode)
        .file("app.py", SOURCE)
        .file("content", content(size))
        .location("/", &format!("wsgi_pass app.py;\n{directives}"))
}

/// Requests the file, and reads nothing but the head.
fn stalled(nginx: &Nginx) -> Client {
    let mut client = nginx.connect();
    client.send(get("/file"));
    assert_eq!(client.head().header("Content-Length"), Some(LARGE.to_string().as_str()));
    client
}

fn closes(nginx: &Nginx) -> usize {
    nginx.log_lines("closed the file").len()
}

#[test]
fn the_application_is_free_and_its_file_closed_while_nginx_sends_the_file() {
    in_both_modes(|mode| {
        let nginx = site(mode, LARGE, "").start();
        let mut clients: Vec<_> = (1..=3)
            .map(|number| {
                let client = stalled(&nginx);
                wait_for("close() of the file", || (closes(&nginx) == number).then_some(()));
                assert_eq!(nginx.get("/small").ok(), "small");
                client
            })
            .collect();
        for client in &mut clients {
            assert!(client.take(LARGE) == content(LARGE), "other bytes than those of the file");
        }
        assert_eq!(closes(&nginx), 3);
    });
}

#[test]
fn a_file_arrives_whole_however_nginx_reads_it() {
    in_both_modes(|mode| {
        for directives in [
            "sendfile on;",
            "sendfile on;\nsendfile_max_chunk 64k;",
            "sendfile off;\noutput_buffers 2 8k;",
            "sendfile on;\naio threads;",
            "sendfile off;\naio threads;",
            "directio 512;",
            "sendfile on;\naio threads;\ndirectio 1m;",
            "limit_rate 100m;",
            "ssi on;",
            "wsgi_output_buffering on;",
        ] {
            let size = 2 << 20;
            let nginx = site(mode, size, directives).start();
            let response = nginx.get("/file");
            assert!(response.whole && response.body == content(size), "{directives}: {} bytes", response.body.len());
            let head = nginx.send(&request("HEAD", "/file", "Connection: close\r\n", b""));
            assert_eq!((head.status, head.body.len()), (200, 0), "{directives}");
            assert_eq!(nginx.get("/small").ok(), "small", "{directives}");
        }
    });
}

#[test]
fn a_file_that_is_removed_or_that_grows_is_sent_as_it_was_when_it_was_returned() {
    in_both_modes(|mode| {
        for way in ["/grown", "/removed"] {
            let nginx = site(mode, 100_000, "").start();
            let sent = nginx.get(way).ok().len();
            assert_eq!(sent, if way == "/grown" { 101_000 } else { 100_000 }, "{way}");
        }
        let nginx = site(mode, LARGE, "").start();
        let mut client = stalled(&nginx);
        wait_for("close() of the file", || (closes(&nginx) == 1).then_some(()));
        let mut file = fs::OpenOptions::new().append(true).open(nginx.path("content")).expect("the file");
        std::io::Write::write_all(&mut file, b"more").expect("room on the disk");
        assert!(client.take(LARGE) == content(LARGE));
        client.send(get("/small"));
        assert_eq!(client.response().ok(), "small", "the connection goes on behind the file");
    });
}

#[test]
fn a_file_that_shrinks_cuts_its_response_and_nothing_else() {
    in_both_modes(|mode| {
        for sendfile in ["on", "off"] {
            let nginx = site(mode, LARGE, &format!("sendfile {sendfile};"))
                .expect_in_log("sendfile() reported that \"file of the application\" was truncated")
                .expect_in_log("from \"file of the application\"")
                .start();
            let worker = nginx.worker();
            let mut client = stalled(&nginx);
            wait_for("close() of the file", || (closes(&nginx) == 1).then_some(()));
            let file = fs::OpenOptions::new().write(true).open(nginx.path("content")).expect("the file");
            file.set_len(1000).expect("the file is cut");
            let received = client.take(LARGE).len();
            assert!(received < LARGE, "the client takes the response for complete");
            assert_eq!(nginx.get("/small").ok(), "small");
            assert_eq!(nginx.worker(), worker);
        }
    });
}

#[test]
fn ranges_of_a_file_are_sent_if_the_operator_allows_them() {
    let ranged = |nginx: &Nginx, range: &str| -> Response {
        nginx.send(&request("GET", "/file", &format!("Range: bytes={range}\r\n"), b""))
    };
    in_both_modes(|mode| {
        let size = 1 << 20;
        let nginx = site(mode, size, "wsgi_allow_ranges on;").start();
        let whole = content(size);
        for (range, expected) in [("8-15", 8..16), ("1000000-", 1_000_000..size), ("-5", size - 5..size)] {
            let response = ranged(&nginx, range);
            assert_eq!((response.status, response.body.len()), (206, expected.len()), "{range}");
            assert!(response.body == whole[expected], "{range}");
        }
        let several = ranged(&nginx, "0-6,16-22").text();
        assert!(several.contains("0000000") && several.contains("0000002"), "{several}");
        assert_eq!(ranged(&nginx, "9999999-").status, 416);
    });
}

#[test]
fn a_file_leaves_no_descriptor_whether_it_is_sent_or_broken_off() {
    in_both_modes(|mode| {
        let nginx = site(mode, LARGE, "").start();
        assert_eq!(nginx.get("/small").ok(), "small");
        let worker = Process::new(nginx.worker());
        let before = worker.descriptors();
        for round in 0..20 {
            let mut client = stalled(&nginx);
            client.take(if round % 2 == 0 { LARGE } else { 1 << 20 });
        }
        let _ = nginx.send(&request("HEAD", "/file", "Connection: close\r\n", b""));
        wait_for("the descriptors to be closed", || (worker.descriptors() <= before).then_some(()));
    });
}
