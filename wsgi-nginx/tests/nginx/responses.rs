//! Response heads, and bodies that fit them or do not.

use crate::harness::{Mode, Nginx, Site, get, in_both_modes, request};

/// A site whose `/name` runs the function `name` of this script.
fn site(mode: Mode, source: &str) -> Nginx {
    let dispatch = "
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
";
    Site::new(mode)
        .file("app.py", source.to_owned() + dispatch)
        .http("default_type application/x-default;")
        .location("/", "wsgi_pass app.py;")
        .start()
}

#[test]
fn status_line_and_headers_arrive_as_the_application_gave_them() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def custom(environ, start_response):
    start_response("299 Quite Fine \xe9", [("X-Mixed-Case", "a\xe9b"), ("x-empty", "")])
    return [b"ok"]
"#,
        );
        let response = nginx.get("/custom");
        assert_eq!((response.status, response.reason.as_str()), (299, "Quite Fine \u{e9}"));
        assert!(response.headers.contains(&("X-Mixed-Case".to_owned(), "a\u{e9}b".to_owned())), "{response:?}");
        assert_eq!(response.header("x-empty"), Some(""));
        assert_eq!(response.header("Content-Type"), None, "none was given");
        assert_eq!(response.body, b"ok");
    });
}

#[test]
fn date_and_server_stand_in_the_head_once() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def own(environ, start_response):
    start_response("200 OK", [("date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("SERVER", "mine")])
    return [b"ok"]
def none(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"#,
        );
        let own = nginx.get("/own");
        assert_eq!(own.header("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(own.header("Server"), Some("mine"));
        let none = nginx.get("/none");
        assert!(none.header("Date").is_some_and(|date| date.ends_with(" GMT")));
        assert!(none.header("Server").is_some_and(|server| server.starts_with("nginx")));
    });
}

#[test]
fn etag_and_last_modified_let_nginx_answer_304() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def app(environ, start_response):
    start_response("200 OK", [("ETag", '"abc"'), ("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")])
    return [b"ok"]
"#,
        );
        let plain = nginx.get("/app");
        assert_eq!(plain.header("ETag"), Some("\"abc\""));
        assert_eq!(plain.header("Last-Modified"), Some("Thu, 01 Jan 2015 00:00:00 GMT"));
        let mut client = nginx.connect();
        for condition in ["If-None-Match: \"abc\"\r\n", "If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT\r\n"] {
            client.send(request("GET", "/app", condition, b""));
            assert_eq!(client.response().status, 304, "{condition}");
        }
        client.send(request("GET", "/app", "If-None-Match: \"other\"\r\n", b""));
        assert_eq!(client.response().ok(), "ok");
    });
}

#[test]
fn content_type_keeps_its_charset() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=iso-8859-1")])
    return [b"ok"]
"#,
        );
        assert_eq!(nginx.get("/app").header("Content-Type"), Some("text/html; charset=iso-8859-1"));
    });
}

#[test]
fn repeated_headers_stay_apart_and_in_order() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def app(environ, start_response):
    headers = [("Set-Cookie", f"c{i}=1") for i in range(40)]
    headers += [("Link", "<a>"), ("Vary", "X"), ("Link", "<b>"), ("WWW-Authenticate", "A"), ("WWW-Authenticate", "B")]
    start_response("200 OK", headers)
    return [b"ok"]
"#,
        );
        let response = nginx.get("/app");
        let cookies: Vec<_> = (0..40).map(|number| format!("c{number}=1")).collect();
        assert_eq!(response.all("Set-Cookie"), cookies);
        assert_eq!(response.all("Link"), ["<a>", "<b>"]);
        assert_eq!(response.all("WWW-Authenticate"), ["A", "B"]);
    });
}

#[test]
fn relative_location_is_left_alone() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def app(environ, start_response):
    start_response("302 Found", [("Location", "/elsewhere?a=b")])
    return [b""]
"#,
        );
        assert_eq!(nginx.get("/app").header("Location"), Some("/elsewhere?a=b"));
    });
}

#[test]
fn the_length_is_known_where_it_can_be_known() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def reply(result):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return result()
    return application
class One:
    def __len__(self): return 1
    def __iter__(self): return iter([b"one"])
class Legacy:
    def __getitem__(self, index): return [b"le", b"ga", b"cy"][index]
listed = reply(lambda: [b"a", b"", b"bc"])
tupled = reply(lambda: (b"abcd",))
empty = reply(lambda: [])
sized = reply(One)
generated = reply(lambda: iter([b"a", b"b"]))
legacy = reply(Legacy)
def written(environ, start_response):
    start_response("200 OK", [])(b"written ")
    return [b"and returned"]
"#,
        );
        let mut client = nginx.connect();
        for (path, length, body) in [
            ("/listed", Some("3"), "abc"),
            ("/tupled", Some("4"), "abcd"),
            ("/empty", Some("0"), ""),
            ("/sized", Some("3"), "one"),
            ("/generated", None, "ab"),
            ("/legacy", None, "legacy"),
            ("/written", None, "written and returned"),
        ] {
            client.send(get(path));
            let response = client.response();
            assert_eq!(response.header("Content-Length"), length, "{path}");
            assert_eq!(response.header("Transfer-Encoding").is_some(), length.is_none(), "{path}");
            assert_eq!(response.ok(), body, "{path}");
        }
        let old = nginx.send(b"GET /generated HTTP/1.0\r\n\r\n");
        assert_eq!(old.header("Transfer-Encoding"), None);
        assert_eq!(old.ok(), "ab");
    });
}

#[test]
fn answers_without_a_body_have_none_and_keep_the_connection() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def reply(status, headers=[]):
    def application(environ, start_response):
        start_response(status, [("Content-Type", "text/plain"), ("X-Here", "yes"), *headers])
        return iter([b"not ", b"wanted"])
    return application
no_content = reply("204 No Content", [("Content-Length", "10")])
not_modified = reply("304 Not Modified", [("ETag", '"abc"')])
reset = reply("205 Reset Content")
"#,
        );
        let mut client = nginx.connect();
        for (path, status) in [("/no_content", 204), ("/not_modified", 304), ("/reset", 205), ("/no_content", 204)] {
            client.send(get(path));
            let response = client.response();
            assert_eq!((response.status, response.body.len()), (status, 0), "{response:?}");
            assert_eq!(response.header("X-Here"), Some("yes"), "{path}");
            assert_eq!(response.header("Transfer-Encoding").filter(|_| status != 205), None, "{path}");
            if status == 204 {
                assert_eq!(response.header("Content-Length"), None);
            }
        }
    });
}

#[test]
fn head_gets_the_head_of_get() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def declared(environ, start_response):
    assert environ["REQUEST_METHOD"] in ("GET", "HEAD")
    start_response("200 OK", [("Content-Length", "4"), ("X-Method", environ["REQUEST_METHOD"])])
    return [b"body"]
def undeclared(environ, start_response):
    start_response("200 OK", [("X-Method", environ["REQUEST_METHOD"])])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"body"]
"#,
        );
        let mut client = nginx.connect();
        for (path, length) in [("/declared", Some("4")), ("/undeclared", None), ("/declared", Some("4"))] {
            client.send(request("HEAD", path, "", b""));
            let response = client.head();
            assert_eq!(response.status, 200);
            assert_eq!(response.header("Content-Length"), length, "{path}: a length must not be made up for HEAD");
            assert_eq!(response.header("X-Method"), Some("HEAD"));
        }
        client.send(get("/declared"));
        assert_eq!(client.response().ok(), "body");
    });
}

#[test]
fn what_exceeds_content_length_is_not_sent() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def long(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    yield b"four"
    yield b"four"
    print("asked for more")
    yield b"four"
"#,
        );
        let mut client = nginx.connect();
        for _ in 0..2 {
            client.send(get("/long"));
            assert_eq!(client.response().ok(), "fourfo");
        }
        let line = nginx.logged("Content-Length");
        assert!(line.contains("/app.py"), "{line}");
        assert!(!nginx.stop().contains("asked for more"));
    });
}

#[test]
fn a_body_shorter_than_content_length_ends_the_connection() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def short(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    yield b"four"
"#,
        );
        let mut client = nginx.connect();
        client.send(get("/short"));
        let response = client.response();
        assert!(!response.whole && b"four".starts_with(&response.body), "{response:?}");
        assert!(client.is_ended());
        let line = nginx.logged("Content-Length");
        assert!(line.contains("[error]") && line.contains("/app.py"), "{line}");
    });
}

#[test]
fn an_exception_before_the_head_leaves_no_trace_of_the_applications_headers() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def call(environ, start_response):
    start_response("200 OK", [("Content-Length", "99"), ("ETag", "x"), ("Set-Cookie", "a=b"), ("X-Own", "1")])
    raise ValueError("in the call")
def first(environ, start_response):
    start_response("200 OK", [("Content-Length", "99"), ("ETag", "x"), ("Set-Cookie", "a=b"), ("X-Own", "1")])
    yield b""
    raise ValueError("in the first step")
"#,
        );
        for (path, message) in [("/call", "in the call"), ("/first", "in the first step")] {
            let response = nginx.get(path);
            assert_eq!(response.status, 500);
            for name in ["ETag", "Set-Cookie", "X-Own"] {
                assert_eq!(response.header(name), None, "{path}");
            }
            assert_ne!(response.header("Content-Length"), Some("99"));
            let text = response.text();
            assert!(response.whole && !text.contains("ValueError") && !text.contains("app.py"), "{text}");
            nginx.logged(&format!("ValueError: {message}"));
        }
    });
}

#[test]
fn an_exception_after_the_head_cuts_the_response() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def app(environ, start_response):
    start_response("200 OK", [])
    yield b"begun"
    raise ValueError("too late")
"#,
        );
        let mut client = nginx.connect();
        client.send(get("/app"));
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(!response.whole, "the response looks complete");
        assert!(client.is_ended());
        nginx.logged("ValueError: too late");
        let old = nginx.send(b"GET /app HTTP/1.0\r\n\r\n");
        assert!(!old.whole, "a response that ends with the connection looks complete: it must be reset");
    });
}

#[test]
fn exc_info_replaces_a_head_that_is_not_out() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
import sys
def app(environ, start_response):
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError("shown")
    except ValueError:
        start_response("503 Later", [("X-Second", "2")], sys.exc_info())
    return [b"sorry"]
def late(environ, start_response):
    start_response("200 OK", [])
    yield b"begun"
    try:
        raise ValueError("raised again")
    except ValueError:
        start_response("503 Later", [], sys.exc_info())
    yield b"never"
"#,
        );
        let response = nginx.get("/app");
        assert_eq!((response.status, response.text().as_str()), (503, "sorry"));
        assert_eq!([response.header("X-First"), response.header("X-Second")], [None, Some("2")]);
        assert!(!nginx.get("/late").whole);
        nginx.logged("ValueError: raised again");
    });
}
