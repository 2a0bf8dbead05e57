//! `wsgi_allow_ranges`: nginx's range filter on responses of applications (RNG-*).

use crate::harness::{Mode, Nginx, Response, Site, in_both_modes, request, wait_for};

/// Ten bytes, produced as the path says.
const SOURCE: &str = r#"
closed = 0
class Closing:
    def __init__(self, blocks): self.blocks = iter(blocks)
    def __iter__(self): return self
    def __next__(self): return next(self.blocks)
    def close(self):
        global closed
        closed += 1
def application(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain"), ("ETag", '"v1"')]
    body = b"0123456789"
    digits = [body[i:i + 1] for i in range(10)]
    if path == "/closed":
        start_response("200 OK", [])
        return [str(closed).encode()]
    if path == "/own":
        start_response("206 Partial Content", headers + [("Content-Range", "bytes 2-4/10"), ("Content-Length", "3")])
        return [b"234"]
    if path == "/says-none":
        start_response("200 OK", headers + [("Accept-Ranges", "none")])
        return [body]
    if path == "/written":
        start_response("200 OK", headers)(body)
        return []
    if path == "/spilled":
        write = start_response("200 OK", headers)
        write(b"a" * 5000)
        write(b"0123456789")
        return []
    if path in ("/generator", "/list-with-length"):
        headers.append(("Content-Length", "10"))
    start_response("200 OK", headers)
    return {
        "/generator": lambda: Closing(digits), "/unknown": lambda: (digit for digit in digits),
        "/list": lambda: digits, "/closing": lambda: Closing([body]),
    }.get(path, lambda: [body])()
"#;

fn nginx(mode: Mode, directives: &str) -> Nginx {
    let site = Site::new(mode).file("app.py", SOURCE);
    site.location("/", &format!("wsgi_pass app.py;\n{directives}")).start()
}

fn ranged(nginx: &Nginx, path: &str, range: &str) -> Response {
    nginx.send(&request("GET", path, &format!("Range: {range}\r\n"), b""))
}

#[track_caller]
fn assert_part(response: &Response, range: &str, body: &str) {
    assert_eq!((response.status, response.text().as_str()), (206, body), "{response:?}");
    assert_eq!(response.header("Content-Range"), Some(range));
    assert!(response.whole);
}

const ON: &str = "wsgi_allow_ranges on;";

#[test]
fn rng_1_a_single_range_of_one_block() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, ON);
        for path in ["/", "/list-with-length", "/list"] {
            assert_part(&ranged(&nginx, path, "bytes=2-4"), "bytes 2-4/10", "234");
            assert_part(&ranged(&nginx, path, "bytes=-3"), "bytes 7-9/10", "789");
        }
        let whole = nginx.get("/");
        assert_eq!((whole.ok().as_str(), whole.header("Accept-Ranges")), ("0123456789", Some("bytes")));
    });
}

#[test]
fn rng_2_without_it_a_range_is_ignored() {
    in_both_modes(|mode| {
        let response = ranged(&nginx(mode, ""), "/", "bytes=2-4");
        assert_eq!((response.ok().as_str(), response.header("Accept-Ranges")), ("0123456789", None));
    });
}

#[test]
fn rng_3_a_single_range_of_many_blocks() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, ON);
        assert_part(&ranged(&nginx, "/generator", "bytes=2-4"), "bytes 2-4/10", "234");
        assert_part(&ranged(&nginx, "/generator", "bytes=9-"), "bytes 9-9/10", "9");
        wait_for("close()", || (nginx.get("/closed").ok() == "2").then_some(()));
    });
}

#[test]
fn rng_4_several_ranges_of_many_blocks_get_everything() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, ON);
        for path in ["/generator", "/list"] {
            assert_eq!(ranged(&nginx, path, "bytes=0-1,4-5").ok(), "0123456789");
        }
    });
}

#[test]
fn rng_5_several_ranges_of_one_block() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, &format!("{ON}\nwsgi_write_buffering on;"));
        for path in ["/", "/written"] {
            let response = ranged(&nginx, path, "bytes=0-1,4-5");
            assert_eq!(response.status, 206);
            let kind = response.header("Content-Type").expect("a type");
            assert!(kind.starts_with("multipart/byteranges"), "{kind}");
            let text = response.text();
            assert!(
                text.contains("bytes 0-1/10\r\n\r\n01\r\n") && text.contains("bytes 4-5/10\r\n\r\n45\r\n"),
                "{text}"
            );
            assert!(response.whole);
        }
    });
}

#[test]
fn rng_4_body_partly_in_a_file_is_not_one_block() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, &format!("{ON}\nwsgi_write_buffering on;\nwsgi_write_buffer_size 1k;"));
        assert_eq!(ranged(&nginx, "/spilled", "bytes=0-1,5004-5005").ok().len(), 5010);
        assert_part(&ranged(&nginx, "/spilled", "bytes=4998-5001"), "bytes 4998-5001/5010", "aa01");
    });
}

#[test]
fn rng_6_a_range_beyond_the_end_is_416_and_the_iterable_is_closed() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, ON);
        for path in ["/", "/generator"] {
            let response = ranged(&nginx, path, "bytes=50-60");
            assert_eq!((response.status, response.header("Content-Range")), (416, Some("bytes */10")), "{response:?}");
        }
        wait_for("close()", || (nginx.get("/closed").ok() == "1").then_some(()));
    });
}

#[test]
fn rng_7_without_a_length_a_range_is_ignored() {
    in_both_modes(|mode| {
        let response = ranged(&nginx(mode, ON), "/unknown", "bytes=0-1");
        assert_eq!((response.ok().as_str(), response.header("Transfer-Encoding")), ("0123456789", Some("chunked")));
        assert_eq!(response.header("Accept-Ranges"), None);
    });
}

#[test]
fn rng_8_if_range_with_another_tag_gets_everything() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, ON);
        let ask =
            |tag: &str| nginx.send(&request("GET", "/", &format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"), b""));
        assert_eq!(ask("\"v0\"").ok(), "0123456789");
        assert_part(&ask("\"v1\""), "bytes 2-4/10", "234");
    });
}

#[test]
fn rng_9_range_answered_by_the_application_is_unchanged() {
    in_both_modes(|mode| {
        let nginx = nginx(mode, ON);
        assert_part(&ranged(&nginx, "/own", "bytes=0-0"), "bytes 2-4/10", "234");
        let response = ranged(&nginx, "/says-none", "bytes=0-0");
        assert_eq!((response.ok().as_str(), response.header("Accept-Ranges")), ("0123456789", Some("none")));
    });
}
