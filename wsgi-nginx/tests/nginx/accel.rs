//! `X-Accel-Redirect`, the other `X-Accel-*` headers, and `wsgi_ignore_headers`: the same behaviour as with
//! `proxy_pass`.

use crate::harness::{Mode, Nginx, Response, Site, get, in_both_modes, request, wait_for};

/// The query contains the headers, as `name=value` separated by `&`. The path selects how the body is made.
const SOURCE: &str = r#"
from urllib.parse import unquote
closed = 0
def headers_of(environ):
    pairs = environ["QUERY_STRING"].split("&") if environ["QUERY_STRING"] else []
    return [tuple(unquote(part) for part in pair.split("=", 1)) for pair in pairs]
class Body:
    def __init__(self, blocks):
        self.blocks = iter(blocks)
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks)
    def close(self):
        global closed
        closed += 1
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/closed":
        start_response("200 OK", [])
        return [str(closed).encode()]
    write = start_response("201 Made", headers_of(environ))
    if path == "/list":
        return [b"the body of ", b"the application"]
    if path == "/empty":
        return []
    if path == "/nothing":
        return Body([])
    if path == "/blocks":
        return Body([b"", b"the body of ", b"the application"])
    if path == "/endless":
        def blocks():
            while True:
                yield b"x" * 100000
        return Body(blocks())
    write(b"the body of ")
    write(b"the application")
    return Body([b" and more"])
def report(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("202 Seen", [("X-Report", "1")])
    text = "%s %s %s %s" % (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], len(body))
    return [text.encode()]
def circle(environ, start_response):
    start_response("200 OK", [("X-Accel-Redirect", "/circle")])
    return []
def small(environ, start_response):
    start_response("200 OK", headers_of(environ))
    for number in range(10000):
        yield b"%d" % (number % 10)
"#;

const FILE: &str = "the file";

fn site(mode: Mode, directives: &str) -> Nginx {
    Site::new(mode)
        .file("app.py", SOURCE)
        .file("files/file.txt", FILE)
        .file("files/a b?c.txt", "an odd name")
        .file("files/large.bin", "x".repeat(300_000))
        .http("default_type application/octet-stream;\netag off;")
        .server(directives)
        .location("/", "wsgi_pass app.py;")
        .location("/closed", "wsgi_pass app.py;\nwsgi_var SCRIPT_NAME \"\";")
        .location("/files/", "internal;\nroot .;")
        .location("/circle", "wsgi_pass app.py circle;")
        .location("/small", "wsgi_pass app.py small;")
        .location("/known-charset", "charset utf-8;")
        .location("/report/", "internal;\nwsgi_pass app.py report;")
        .location("@report", "wsgi_pass app.py report;")
        .start()
}

fn ask(nginx: &Nginx, method: &str, target: &str, body: &[u8]) -> Response {
    nginx.send(&request(method, target, "Connection: close\r\n", body))
}

const WAYS: [&str; 6] = ["/list", "/empty", "/nothing", "/blocks", "/endless", "/write"];

#[test]
fn a_redirection_is_answered_with_the_file_however_the_application_makes_its_body() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        for way in WAYS {
            for more in ["", "&Content-Length=1234", "&Content-Length=0"] {
                let target = format!("{way}?X-Accel-Redirect=/files/file.txt{more}");
                let response = ask(&nginx, "GET", &target, b"");
                assert_eq!((response.status, response.text().as_str()), (200, FILE), "{target}");
                assert_eq!(response.header("Content-Length"), Some("8"), "{target}");
                assert!(response.headers.iter().all(|(name, _)| !name.starts_with("X-Accel")), "{response:?}");
            }
        }
        // The four paths whose body has a `close`, three requests each.
        wait_for("bodies to be closed", || (nginx.get("/closed").text() == "12").then_some(()));
        assert_eq!(
            ask(&nginx, "HEAD", "/list?X-Accel-Redirect=/files/file.txt", b"").header("Content-Length"),
            Some("8")
        );
    });
}

#[test]
fn a_connection_stays_after_a_redirection() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        let mut client = nginx.connect();
        for way in WAYS {
            for (target, status) in [("/files/file.txt", 200), ("/files/missing", 404), ("/../x", 404), ("", 404)] {
                client.send(request("GET", &format!("{way}?X-Accel-Redirect={target}"), "", b""));
                assert_eq!(client.response().status, status, "{way} {target}");
            }
        }
    });
}

#[test]
fn headers_kept_with_x_accel_redirect_are_those_kept_from_a_proxied_server() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        let headers = "Content-Type=text/x;%20charset=utf-8&Set-Cookie=a=1&Set-Cookie=b=2&Content-Disposition=attachment\
                       &Cache-Control=private&Expires=Thu,%2001%20Jan%202032%2000:00:00%20GMT&X-Own=1&Content-Encoding=br\
                       &Location=/there&ETag=\"x\"";
        let response = ask(&nginx, "GET", &format!("/list?X-Accel-Redirect=/files/file.txt&{headers}"), b"");
        assert_eq!(response.ok(), FILE);
        assert_eq!(response.header("Content-Type"), Some("text/x; charset=utf-8"));
        assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2"]);
        assert_eq!(response.header("Content-Disposition"), Some("attachment"));
        assert_eq!(response.header("Cache-Control"), Some("private"));
        assert_eq!(response.header("Expires"), Some("Thu, 01 Jan 2032 00:00:00 GMT"));
        for other in ["X-Own", "Content-Encoding", "Location", "ETag"] {
            assert_eq!(response.header(other), None, "{other}");
        }
    });
}

#[test]
fn the_method_becomes_get_unless_it_is_head_or_the_location_is_named() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        let to = |method: &str, location: &str, body: &[u8]| {
            ask(&nginx, method, &format!("/list?X-Accel-Redirect={location}"), body)
        };
        for method in ["GET", "POST", "DELETE", "PROPFIND"] {
            let response = to(method, "/report/a%2520b?c=d", b"four");
            assert_eq!((response.status, response.text().as_str()), (202, "GET /a b c=d 4"), "{method}");
        }
        let response = to("HEAD", "/report/", b"");
        assert_eq!((response.status, response.header("X-Report"), response.body.len()), (202, Some("1"), 0));
        let named = |method: &str| to(method, "@report", b"four");
        assert_eq!(named("POST").text(), "POST /list X-Accel-Redirect=@report 4");
        assert_eq!(named("GET").header("X-Report"), Some("1"));
        assert_eq!(to("GET", "@missing", b"").status, 500);
        nginx.logged("could not find named location \"@missing\"");
    });
}

#[test]
fn a_name_is_escaped_as_in_a_link() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        assert_eq!(ask(&nginx, "GET", "/list?X-Accel-Redirect=/files/a%2520b%253Fc.txt", b"").text(), "an odd name");
        for unsafe_one in ["/files/../../etc/passwd", "..%2f", "/files/%2500"] {
            let response = ask(&nginx, "GET", &format!("/list?X-Accel-Redirect={unsafe_one}"), b"");
            assert_eq!(response.status, 404, "{unsafe_one}");
        }
        nginx.logged("unsafe URI \"/files/../../etc/passwd\" was detected");
    });
}

#[test]
fn redirections_in_a_circle_end() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        let chain = ask(&nginx, "GET", "/list?X-Accel-Redirect=/list%3FX-Accel-Redirect=/list", b"");
        assert_eq!((chain.status, chain.text().as_str()), (201, "the body of the application"));
        for _ in 0..2 {
            assert_eq!(ask(&nginx, "GET", "/circle", b"").status, 500);
        }
        nginx.logged("rewrite or internal redirection cycle");
    });
}

#[test]
fn headers_that_are_ignored_change_nothing_and_are_not_passed_on() {
    in_both_modes(|mode| {
        let nginx = site(mode, "wsgi_ignore_headers X-Accel-Redirect x-accel-charset;");
        for way in ["/list", "/blocks"] {
            let target =
                format!("{way}?X-Accel-Redirect=/files/file.txt&X-Accel-Charset=koi8-r&Content-Type=text/plain");
            let response = ask(&nginx, "GET", &target, b"");
            assert_eq!((response.status, response.text().as_str()), (201, "the body of the application"), "{way}");
            assert_eq!(response.header("Content-Type"), Some("text/plain"));
            assert!(response.headers.iter().all(|(name, _)| !name.starts_with("X-Accel")), "{response:?}");
        }
    });
}

#[test]
fn no_x_accel_header_reaches_the_client() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        let headers =
            "X-Accel-Expires=0&X-Accel-Limit-Rate=0&X-ACCEL-CHARSET=utf-8&x-accel-buffering=no&X-Accel-Other=1";
        let response = ask(&nginx, "GET", &format!("/list?{headers}&Content-Type=text/plain"), b"");
        assert_eq!(response.text(), "the body of the application");
        let passed: Vec<_> =
            response.headers.iter().filter(|(name, _)| name.to_lowercase().starts_with("x-accel")).collect();
        assert_eq!(passed, [&("X-Accel-Other".to_owned(), "1".to_owned())]);
        assert_eq!(response.header("Content-Type"), Some("text/plain; charset=utf-8"));
    });
}

#[test]
fn a_limit_rate_counts_for_the_file_and_one_that_is_no_number_does_nothing() {
    in_both_modes(|mode| {
        let nginx = site(mode, "");
        let began = std::time::Instant::now();
        let target = "/list?X-Accel-Redirect=/files/large.bin&X-Accel-Limit-Rate=150000";
        assert_eq!(ask(&nginx, "GET", target, b"").body.len(), 300_000);
        // Two seconds at that rate; nginx sends the first second's bytes immediately.
        let seconds = began.elapsed().as_secs_f64();
        assert!(seconds > 0.9, "{seconds} s");
        for odd in ["x", "-1", "1.5", ""] {
            let response = ask(&nginx, "GET", &format!("/list?X-Accel-Limit-Rate={odd}"), b"");
            assert_eq!(response.text(), "the body of the application", "{odd}");
        }
    });
}

#[test]
fn buffering_is_switched_by_the_response() {
    in_both_modes(|mode| {
        let expected: Vec<u8> = (0..10_000).map(|number| b'0' + (number % 10) as u8).collect();
        for (directive, header, joined) in [
            ("wsgi_output_buffering on;", "X-Accel-Buffering=no", false),
            ("wsgi_output_buffering on;", "X-Accel-Buffering=No", false),
            ("wsgi_output_buffering on;", "X-Accel-Buffering=maybe", true),
            ("wsgi_output_buffering on;\nwsgi_ignore_headers X-Accel-Buffering;", "X-Accel-Buffering=no", true),
            ("wsgi_output_buffering off;", "X-Accel-Buffering=yes", true),
            ("wsgi_output_buffering off;", "", false),
        ] {
            let nginx = site(mode, directive);
            let mut client = nginx.connect();
            client.send(get(&format!("/small?{header}")));
            client.head();
            let chunks: Vec<_> = std::iter::from_fn(|| client.chunk().filter(|chunk| !chunk.is_empty())).collect();
            assert_eq!(chunks.concat(), expected, "{directive} {header}");
            // The number of joined blocks depends on the machine, but not whether any are joined. With threads blocks that
            // wait for the event loop are joined in any case.
            let (count, number) = (chunks.len(), expected.len());
            let is_right = (count < number) == joined || mode != Mode::Inline && count < number;
            assert!(is_right, "{directive} {header}: {count} chunks of {number} blocks");
        }
    });
}
