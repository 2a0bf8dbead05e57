//! Preconditions of a request (RFC 9110, 13): nginx evaluates those of GET and HEAD, the application all others.

use crate::harness::{Mode, Nginx, Site, in_both_modes, request};

const SOURCE: &str = r#"
DATE = "Thu, 01 Jan 2015 00:00:00 GMT"
def application(environ, start_response):
    status = environ["QUERY_STRING"] or "200"
    start_response(status + " X", [("ETag", '"new"'), ("Last-Modified", DATE), ("Content-Type", "text/plain")])
    return [b"the answer of the application"]
def bare(environ, start_response):
    start_response("200 OK", [])
    return [b"the answer of the application"]
def failing_to_close(environ, start_response):
    class Body:
        def __iter__(self):
            return iter([b"the answer of the application"])
        def close(self):
            raise ValueError("expected")
    start_response("200 OK", [("ETag", '"new"')])
    return Body()
"#;

const ANSWER: &str = "the answer of the application";

const CONDITIONS: [&str; 5] = [
    "If-Match: \"old\"\r\n",
    "If-Unmodified-Since: Wed, 01 Jan 2014 00:00:00 GMT\r\n",
    "If-None-Match: \"new\"\r\n",
    "If-None-Match: *\r\n",
    "If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT\r\n",
];

/// nginx's status for a GET or HEAD of each path under each condition. Without a date in the response,
/// `If-Modified-Since` and `If-Unmodified-Since` count as modified.
const JUDGED: [(&str, [u16; 5]); 3] =
    [("/", [412, 412, 304, 304, 304]), ("/bare", [412, 412, 200, 304, 200]), ("/closing", [412, 412, 304, 304, 200])];

fn site(mode: Mode) -> Nginx {
    Site::new(mode)
        .file("app.py", SOURCE)
        .http("wsgi_allow_ranges on;")
        .location("/", "wsgi_pass app.py;")
        .location("/bare", "wsgi_pass app.py bare;")
        .location("/closing", "wsgi_pass app.py failing_to_close;")
        .start()
}

#[test]
fn redirected_put_post_patch_and_delete_ignore_conditions() {
    const SOURCE: &str = r#"
version = [1]
def application(environ, start_response):
    if environ["PATH_INFO"] == "/view":
        start_response("200 OK", [("ETag", '"v%d"' % version[0]), ("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")])
        return [b"version %d" % version[0]]
    version[0] += 1
    if environ["PATH_INFO"] == "/fails":
        raise ValueError("expected")
    start_response("200 OK", [("X-Accel-Redirect", "/view")])
    return []
"#;
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", SOURCE).http("wsgi_allow_ranges on;");
        let site = site.location("/", "wsgi_pass app.py;");
        let nginx = site.location("/fails", "wsgi_pass app.py;\nerror_page 500 = /view;").start();
        let mut client = nginx.connect();
        let mut version = 1;
        for method in ["PUT", "POST", "PATCH", "DELETE"] {
            for condition in CONDITIONS.into_iter().chain(["If-None-Match: \"v2\"\r\n", "Range: bytes=0-1\r\n"]) {
                for target in ["/", "/fails"] {
                    client.send(request(method, target, condition, b"x"));
                    let response = client.response();
                    version += 1;
                    let expected = (200, format!("version {version}"));
                    assert_eq!((response.status, response.text()), expected, "{method} {target} {condition}");
                }
            }
        }
        // A GET that is redirected is still a GET.
        client.send(request("GET", "/", "If-None-Match: *\r\n", b""));
        assert_eq!(client.response().status, 304);
    });
}

#[test]
fn conditions_of_other_methods_than_get_and_head_are_the_application_s_business() {
    in_both_modes(|mode| {
        let nginx = site(mode);
        let mut client = nginx.connect();
        for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "OPTIONS", "MKCALENDAR"] {
            for condition in CONDITIONS.into_iter().chain(["Range: bytes=0-1\r\n"]) {
                for path in ["/", "/bare", "/?201", "/?204"] {
                    client.send(request(method, path, condition, b"x"));
                    let response = client.response();
                    let expected = path.split_once('?').map_or(200, |(_, status)| status.parse().expect("a status"));
                    assert_eq!(response.status, expected, "{method} {path} {condition}");
                    let body = if expected == 204 { "" } else { ANSWER };
                    assert_eq!(response.text(), body, "{method} {path} {condition}");
                }
            }
        }
    });
}

#[test]
fn a_412_or_304_of_nginx_keeps_its_connection() {
    in_both_modes(|mode| {
        let nginx = site(mode);
        for (path, statuses) in JUDGED {
            let mut client = nginx.connect();
            for (condition, status) in CONDITIONS.into_iter().zip(statuses) {
                client.send(request("GET", path, condition, b""));
                let response = client.response();
                assert_eq!(response.status, status, "{path} {condition}");
                assert_eq!(response.header("Connection"), Some("keep-alive"), "{path} {condition}");
                client.send(request("HEAD", path, condition, b""));
                assert_eq!(client.head().status, status, "HEAD {path} {condition}");
            }
        }
    });
}

#[test]
fn conditions_that_are_met_change_nothing() {
    in_both_modes(|mode| {
        let nginx = site(mode);
        let mut client = nginx.connect();
        for condition in [
            "If-Match: \"new\"\r\n",
            "If-Match: \"old\", \"new\"\r\n",
            "If-Match: *\r\n",
            "If-Unmodified-Since: Thu, 01 Jan 2015 00:00:00 GMT\r\n",
            "If-None-Match: \"old\"\r\n",
            "If-Modified-Since: Wed, 01 Jan 2014 00:00:00 GMT\r\n",
        ] {
            client.send(request("GET", "/", condition, b""));
            assert_eq!(client.response().ok(), ANSWER, "{condition}");
        }
        for status in ["201", "404", "500"] {
            client.send(request("GET", &format!("/?{status}"), "If-Match: \"old\"\r\n", b""));
            assert_eq!(client.response().status.to_string(), status);
        }
    });
}
