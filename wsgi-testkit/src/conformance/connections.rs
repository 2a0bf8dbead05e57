//! Several requests on one connection, and requests whose body is not read (PEP 3333, "Input and Error Streams", "HTTP
//! 1.1 Expect/Continue").

use super::host::{HostUnderTest, Site};
use crate::wire::{get, request};

const READERS: &str = "
def all(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'[', body, b']']
def greedy(environ, start_response):
    parts = [environ['wsgi.input'].read(1000000) for _ in range(3)]
    start_response('200 OK', [])
    return [b'|'.join(parts)]
def some(environ, start_response):
    start_response('200 OK', [])
    return [environ['wsgi.input'].read(1)]
def none(environ, start_response):
    start_response('200 OK', [])
    return [b'none']
def fails(environ, start_response):
    raise ValueError('without reading')
";

pub(super) fn input_ends_where_the_next_request_begins(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(READERS));
    let mut client = site.connect();
    client.send([request("POST", "/greedy", "", b"body"), get("/none"), get("/all")].concat());
    assert_eq!(client.response().ok(), "body||");
    assert_eq!(client.response().ok(), "none");
    assert_eq!(client.response().ok(), "[]", "a request without a body has an empty one, at once");
}

pub(super) fn pipelined_requests_are_answered_in_order(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    if len(environ['QUERY_STRING']) % 2:
        return [environ['QUERY_STRING'].encode()]
    return iter([environ['QUERY_STRING'].encode()])
",
    ));
    let mut client = site.connect();
    client.send((0..20).flat_map(|number| get(&format!("/?{}", "x".repeat(number + 1)))).collect::<Vec<u8>>());
    for number in 0..20 {
        assert_eq!(client.response().ok(), "x".repeat(number + 1));
    }
}

/// The host reads the body that the application leaves unread, or closes the connection; it takes no byte of the body for a
/// request.
pub(super) fn an_unread_body_is_never_taken_for_a_request(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(READERS));
    let smuggled = get("/smuggled");
    for (path, status) in [("/none", 200), ("/some", 200), ("/fails", 500)] {
        for body in [smuggled.clone(), smuggled.repeat(10_000)] {
            for chunked in [false, true] {
                let mut client = site.connect();
                if chunked {
                    let size = format!("{:x}\r\n", body.len());
                    client.send(request("POST", path, "Transfer-Encoding: chunked\r\n", b""));
                    client.send([size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat());
                } else {
                    client.send(request("POST", path, "", &body));
                }
                client.send(get("/all"));
                assert_eq!(client.response().status, status, "{path}");
                if !client.is_ended() {
                    assert_eq!(client.response().ok(), "[]", "{path}: the next request is the one that was sent");
                }
            }
        }
    }
    assert!(!site.stop().contains("smuggled"));
}

pub(super) fn a_small_unread_body_leaves_the_connection_usable(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(READERS));
    let mut client = site.connect();
    for path in ["/none", "/some"] {
        client.send(request("POST", path, "", b"12345"));
        assert_eq!(client.response().status, 200);
        client.send(get("/all"));
        assert_eq!(client.response().ok(), "[]");
    }
    // A HEAD request rarely has a body, but it may.
    client.send([request("HEAD", "/none", "", &get("/smuggled")), get("/all")].concat());
    assert_eq!(client.head().status, 200);
    assert_eq!(client.response().ok(), "[]");
}

/// The application cannot observe whether it or the host caused 100 Continue.
pub(super) fn expect_100_continue_is_answered_for_the_application(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(READERS));
    let mut client = site.connect();
    client.send(request("POST", "/all", "Expect: 100-continue\r\nContent-Length: 4\r\n", b""));
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.response().ok(), "[body]");
}

pub(super) fn an_application_that_reads_nothing_answers_in_spite_of_expect(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(READERS));
    let mut client = site.connect();
    client.send(request("POST", "/none", "Expect: 100-continue\r\nContent-Length: 4\r\n", b""));
    let mut head = client.head();
    if head.status == 100 {
        // The host requested the body itself.
        client.send("body");
        head = client.head();
    }
    assert_eq!(head.status, 200);
}

/// A client of HTTP/1.0 does not know the status (RFC 9110, 10.1.1).
pub(super) fn http_1_0_gets_no_100_continue(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(READERS));
    let response = site.exchange(b"POST /all HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(response.ok(), "[body]");
}

pub(super) fn date_and_server_stand_in_the_head_once(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def own(environ, start_response):
    start_response('200 OK', [('date', 'Thu, 01 Jan 1970 00:00:00 GMT'), ('SERVER', 'mine')])
    return [b'ok']
def none(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
",
    ));
    let own = site.exchange(&get("/own"));
    assert_eq!(own.header("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(own.header("Server"), Some("mine"));
    let none = site.exchange(&get("/none"));
    assert!(none.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{none:?}");
    assert!(none.header("Server").is_some_and(|server| !server.is_empty()), "{none:?}");
}
