//! Applications combined with nginx's features: error pages, subrequests, redirects and filters.

use crate::harness::{ENVIRON, Environ, Gate, HELLO, Nginx, Site, get, in_both_modes, request, wait_for};

#[test]
fn error_page_takes_over_an_exception() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", "def application(environ, start_response):\n    raise ValueError('expected')\n")
            .file("html/500.html", "own page")
            .location("/", "wsgi_pass app.py;\nerror_page 500 /500.html;")
            .location("= /500.html", "root html;")
            .start();
        let response = nginx.get("/");
        assert_eq!((response.status, response.text().as_str()), (500, "own page"));
    });
}

#[test]
fn an_application_can_be_an_error_page() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("page.py", ENVIRON.replace("200 OK", "404 Not Found"))
            .location("/", "root html;\nerror_page 404 /errors/404;")
            .location("/errors", "internal;\nwsgi_pass page.py;")
            .start();
        let response = nginx.get("/missing");
        assert_eq!(response.status, 404);
        assert!(response.text().contains("REQUEST_URI='/missing'"), "{}", response.text());
        assert!(response.text().contains("PATH_INFO='/404'"), "{}", response.text());
        assert_eq!(nginx.get("/errors/404").status, 404, "an internal location was served");
    });
}

#[test]
fn a_failing_application_as_the_error_page_of_another_ends() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", "def application(environ, start_response):\n    raise ValueError('expected')\n")
            .location("/", "wsgi_pass app.py;\nerror_page 500 /again;\nrecursive_error_pages on;")
            .start();
        assert_eq!(nginx.get("/").status, 500);
        assert_eq!(nginx.get("/").status, 500);
    });
}

#[test]
fn a_named_location_gets_the_request_and_its_body() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['REQUEST_METHOD'].encode(), b' ', environ['wsgi.input'].read()]
";
        let nginx = Site::new(mode)
            .file("app.py", source)
            .location("/", "root html;\ntry_files $uri @app;")
            .location("@app", "wsgi_pass app.py;")
            .file("html/file", "file")
            .start();
        assert_eq!(nginx.get("/file").ok(), "file");
        assert_eq!(nginx.post("/missing", b"body").ok(), "POST body");
    });
}

#[test]
fn server_side_includes_fetch_from_applications() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Inner', '1')])
    if environ['QUERY_STRING'] == 'fail':
        raise ValueError('expected')
    return iter([b'<', environ['QUERY_STRING'].encode(), b'>'])
";
        let page = "a<!--#include virtual=\"/part?one\" -->b<!--#include virtual=\"/part?two\" -->c";
        let nginx = Site::new(mode)
            .file("app.py", source)
            .file("html/page.html", page)
            .file("html/failing.html", "a<!--#include virtual=\"/part?fail\" -->b")
            .location("/", "root html;\nssi on;")
            .location("/part", "wsgi_pass app.py;")
            .start();
        let mut client = nginx.connect();
        for _ in 0..3 {
            client.send(get("/page.html"));
            let response = client.response();
            assert_eq!(response.ok(), "a<one>b<two>c");
            assert_eq!(response.header("X-Inner"), None);
        }
        // nginx sends the body of the error response in place of a part that fails.
        let failing = nginx.get("/failing.html").ok();
        assert!(failing.starts_with('a') && failing.ends_with('b'), "{failing}");
        nginx.logged("ValueError: expected");
    });
}

#[test]
fn an_application_can_use_server_side_includes() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/html')])
    yield b'a<!--#include virtual=\"/part\"'
    yield b' -->b'
";
        let nginx = Site::new(mode)
            .file("app.py", source)
            .file("hello.py", HELLO)
            .location("/", "wsgi_pass app.py;\nssi on;")
            .location("/part", "wsgi_pass hello.py;")
            .start();
        assert_eq!(nginx.get("/").ok(), "ahello world\nb");
    });
}

#[test]
fn auth_request_in_front_of_an_application_keeps_the_body() {
    in_both_modes(|mode| {
        let auth = "
def application(environ, start_response):
    start_response('204 No Content' if environ['HTTP_X_USER'] == 'me' else '401 Unauthorized', [])
    return []
";
        let app = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['wsgi.input'].read()]
";
        let nginx = Site::new(mode)
            .file("auth.py", auth)
            .file("app.py", app)
            .location("/", "auth_request /auth;\nwsgi_pass app.py;")
            .location("/auth", "wsgi_pass auth.py;")
            .start();
        let body = "x".repeat(100_000);
        let mut client = nginx.connect();
        for (user, status) in [("me", 200), ("you", 401), ("me", 200)] {
            client.send(request("POST", "/", &format!("X-User: {user}\r\n"), body.as_bytes()));
            let response = client.response();
            assert_eq!(response.status, status);
            assert!(status != 200 || response.text() == body);
        }
    });
}

#[test]
fn gzip_compresses_a_stream_block_by_block() {
    in_both_modes(|mode| {
        let source = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'first ' * 1000
    open(os.path.join(os.path.dirname(__file__), 'gate')).read()
    yield b'second'
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;\ngzip on;\ngzip_types *;");
        let nginx = nginx.start();
        let gate = Gate::new(nginx.path("gate"));
        let mut client = nginx.connect();
        client.send(request("GET", "/", "Accept-Encoding: gzip\r\n", b""));
        let mut response = client.head();
        assert_eq!(response.header("Content-Encoding"), Some("gzip"));
        // The filter flushes the first block while the application waits.
        response.body = client.chunk().expect("a block");
        gate.pass();
        while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
            response.body.extend(chunk);
        }
        assert_eq!(unzipped(&response.body, &nginx), "first ".repeat(1000) + "second");
    });
}

fn unzipped(bytes: &[u8], nginx: &Nginx) -> String {
    let path = nginx.path("body.gz");
    std::fs::write(&path, bytes).expect("write a file");
    let output = std::process::Command::new("gzip").arg("-dc").arg(path).output().expect("gzip can be run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn add_header_and_expires_apply() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", HELLO)
            .location("/", "wsgi_pass app.py;\nadd_header X-Added yes;\nexpires 1h;")
            .start();
        let response = nginx.get("/");
        assert_eq!(response.header("X-Added"), Some("yes"));
        assert_eq!(response.header("Cache-Control"), Some("max-age=3600"));
    });
}

#[test]
fn mirrored_requests_reach_both_applications() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", HELLO)
            .file("copy.py", "print('mirrored')\n".to_owned() + HELLO)
            .location("/", "mirror /copy;\nwsgi_pass app.py;")
            .location("= /copy", "internal;\nwsgi_pass copy.py;")
            .start();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
        nginx.logged("mirrored");
    });
}

#[test]
fn a_proxy_in_front_sees_what_a_client_sees() {
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", ENVIRON);
        let socket = site.path("app.sock");
        let nginx = site
            .another_server(&format!("listen unix:{};\nlocation / {{\nwsgi_pass app.py;\n}}", socket.display()))
            .location("/", &format!("proxy_pass http://unix:{}:;\nproxy_http_version 1.1;", socket.display()))
            .start();
        let environ = Environ::of(&nginx.get("/path?query"));
        assert_eq!(environ.get("PATH_INFO"), Some("'/path'"));
    });
}

#[test]
fn the_access_log_has_status_and_size() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", HELLO)
            .http("log_format short '$status $body_bytes_sent $request';")
            .location("/", "wsgi_pass app.py;\naccess_log access.log short;")
            .start();
        nginx.get("/x");
        let line = wait_for("the access log", || {
            std::fs::read_to_string(nginx.path("access.log")).ok().filter(|text| text.ends_with('\n'))
        });
        assert_eq!(line, "200 12 GET /x HTTP/1.1\n");
    });
}
