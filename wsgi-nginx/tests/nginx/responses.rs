//! nginx's own additions to responses, its changes to them, and its handling of failed responses.

use wsgi_harness::NginxVersion;

use crate::harness::{Mode, Nginx, Site, in_both_modes, nginx_version, request};

/// A site where `/name` calls the function `name` of this script.
fn site(mode: Mode, source: &str) -> Nginx {
    let dispatch = "
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
";
    Site::new(mode).file("app.py", source.to_owned() + dispatch).location("/", "wsgi_pass app.py;").start()
}

#[test]
fn names_of_headers_keep_their_spelling() {
    in_both_modes(|mode| {
        let nginx = site(
            mode,
            r#"
def app(environ, start_response):
    start_response("200 OK", [("X-Mixed-Case", "1"), ("x-lower-case", "2")])
    return [b"ok"]
"#,
        );
        let headers = nginx.get("/app").headers;
        for (name, value) in [("X-Mixed-Case", "1"), ("x-lower-case", "2")] {
            assert!(headers.contains(&(name.to_owned(), value.to_owned())), "{headers:?}");
        }
    });
}

#[test]
fn nginx_names_itself_and_no_type_where_the_application_does_not() {
    in_both_modes(|mode| {
        let source = r#"
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"#;
        let nginx = Site::new(mode)
            .file("app.py", source)
            .http("default_type application/x-default;")
            .location("/", "wsgi_pass app.py;")
            .start();
        let response = nginx.get("/");
        assert!(response.header("Server").is_some_and(|server| server.starts_with("nginx")), "{response:?}");
        assert_eq!(response.header("Content-Type"), None, "default_type is for files");
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

/// In HTTP/1.0 a body without a length ends with the connection, so that only a reset marks it as incomplete.
#[test]
fn a_response_of_http_1_0_that_fails_half_way_is_reset() {
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
        let response = nginx.send(b"GET /app HTTP/1.0\r\n\r\n");
        assert!(!response.whole, "a response that ends with the connection looks complete: it must be reset");
    });
}

/// Like the headers of a proxied server, from nginx 1.23 on.
#[test]
fn each_challenge_of_an_application_that_guards_a_location_reaches_the_client() {
    in_both_modes(|mode| {
        let source = r#"
def application(environ, start_response):
    challenges = [("WWW-Authenticate", 'Basic realm="a"'), ("WWW-Authenticate", 'Bearer realm="b"')]
    start_response("401 Unauthorized", challenges)
    return [b"who are you?"]
"#;
        let nginx = Site::new(mode)
            .file("app.py", source)
            .file("html/page.html", "the page")
            .location("/guard", "internal;\nwsgi_pass app.py;")
            .location("/page.html", "root html;\nauth_request /guard;")
            .start();
        let response = nginx.get("/page.html");
        assert_eq!(response.status, 401);
        let expected = ["Basic realm=\"a\"", "Bearer realm=\"b\""];
        let expected = if nginx_version() >= NginxVersion(1, 23, 0) { &expected[..] } else { &expected[..1] };
        assert_eq!(response.all("WWW-Authenticate"), expected);
    });
}
