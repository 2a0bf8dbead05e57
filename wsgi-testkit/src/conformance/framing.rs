//! The framing of bodies (RFC 9112, 6.3; PEP 3333, "Handling the Content-Length Header", "Other HTTP Features").

use super::host::{HostUnderTest, Site};
use crate::wire::{get, request};

/// Bodies of known and of unknown length.
const BODIES: &str = "
def known(environ, start_response):
    start_response('200 OK', [])
    return [b'known']
def unknown(environ, start_response):
    start_response('200 OK', [])
    yield b'un'
    yield b'known'
def declared(environ, start_response):
    start_response('200 OK', [('Content-Length', '8')])
    yield b'de'
    yield b'clared'
def exceeded(environ, start_response):
    start_response('200 OK', [('Content-Length', '8')])
    yield b'exce'
    yield b'eded, and more'
def short(environ, start_response):
    start_response('200 OK', [('Content-Length', '100')])
    yield b'short'
def fails(environ, start_response):
    start_response('200 OK', [])
    yield b'so far'
    raise ValueError('half way')
def code(environ, start_response):
    start_response(environ['QUERY_STRING'] + ' X', [('X-Code', environ['QUERY_STRING'])])
    yield b'body'
def code_list(environ, start_response):
    start_response(environ['QUERY_STRING'] + ' X', [('X-Code', environ['QUERY_STRING']), ('Content-Length', '4')])
    return [b'body']
";

pub(super) fn unknown_length_is_chunked_in_http_1_1(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    let response = site.exchange(&get("/unknown"));
    assert_eq!(response.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(response.header("Content-Length"), None, "one or the other (RFC 9112, 6.2)");
    assert_eq!(response.ok(), "unknown");
}

pub(super) fn unknown_length_ends_with_the_connection_in_http_1_0(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let response = site.exchange(format!("GET /unknown HTTP/1.0\r\n{keep_alive}\r\n").as_bytes());
        assert_eq!(response.header("Transfer-Encoding"), None, "HTTP/1.0 does not know it");
        assert_eq!(response.ok(), "unknown");
    }
}

pub(super) fn known_length_keeps_the_connection(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    let mut client = site.connect();
    for _ in 0..2 {
        for path in ["/known", "/unknown", "/declared", "/exceeded"] {
            client.send(get(path));
            assert_eq!(client.response().ok(), path[1..]);
        }
    }
}

pub(super) fn known_length_keeps_a_connection_of_http_1_0_that_asks_for_it(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    let mut client = site.connect();
    for path in ["/known", "/declared"] {
        client.send(format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        let response = client.response();
        assert!(response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")));
        assert_eq!(response.ok(), path[1..]);
    }
    client.send("GET /known HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().ok(), "known");
    assert!(client.is_ended(), "a client of HTTP/1.0 that does not ask waits for the end of the connection");
}

pub(super) fn a_client_that_asks_for_the_end_of_the_connection_gets_it(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    for path in ["/known", "/unknown", "/declared"] {
        let mut client = site.connect();
        client.send(request("GET", path, "Connection: close\r\n", b""));
        assert_eq!(client.response().ok(), path[1..]);
        assert!(client.is_ended());
    }
}

/// The length is not reached or the last chunk is missing, and the connection ends.
pub(super) fn a_response_that_fails_half_way_does_not_look_complete(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    for path in ["/short", "/fails"] {
        for version in ["1.1", "1.0"] {
            let mut client = site.connect();
            client.send(format!(
                "GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\nGET /known HTTP/1.1\r\nHost: x\r\n\r\n"
            ));
            let response = client.response();
            assert_eq!(response.status, 200);
            // In HTTP/1.0 a body without a length ends with the connection, so the failure cannot be signalled.
            let undelimited = version == "1.0" && path == "/fails";
            assert!(!response.whole || undelimited, "{path} {version}: {response:?}");
            assert!(client.is_ended(), "nothing follows on this connection");
        }
    }
}

pub(super) fn head_204_and_304_carry_no_byte_of_a_body(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    for (method, target) in [
        ("HEAD", "/known"),
        ("HEAD", "/unknown"),
        ("HEAD", "/declared"),
        ("HEAD", "/code?404"),
        ("GET", "/code?204"),
        ("GET", "/code?304"),
        ("GET", "/code_list?204"),
        ("GET", "/code_list?304"),
    ] {
        let mut client = site.connect();
        client.send([request(method, target, "", b""), get("/known")].concat());
        let head = client.head();
        if let Some((_, code)) = target.split_once('?') {
            assert_eq!((head.status.to_string().as_str(), head.header("X-Code")), (code, Some(code)));
        }
        if target.ends_with("204") {
            assert_eq!(head.header("Content-Length"), None, "RFC 9110, 8.6");
        }
        if method == "GET" {
            assert_eq!(head.header("Transfer-Encoding"), None, "{target}: RFC 9112, 6.1");
        }
        assert_eq!(client.response().ok(), "known", "the next response begins right behind the head of {target}");
    }
}

pub(super) fn a_205_has_an_empty_body(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(BODIES));
    for path in ["/code?205", "/code_list?205"] {
        let mut client = site.connect();
        client.send([get(path), get("/known")].concat());
        let response = client.response();
        assert_eq!((response.status, response.whole, response.body.as_slice()), (205, true, &b""[..]));
        assert_eq!(response.header("X-Code"), Some("205"));
        assert_eq!(client.response().ok(), "known");
    }
}

/// Data that looks like chunked coding is sent as data.
pub(super) fn blocks_that_look_like_chunks_are_data(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'5\\r\\nhello\\r\\n'
    yield b'0\\r\\n\\r\\n'
",
    ));
    let mut client = site.connect();
    client.send([get("/"), get("/")].concat());
    for _ in 0..2 {
        assert_eq!(client.response().ok(), "5\r\nhello\r\n0\r\n\r\n");
    }
}

pub(super) fn empty_blocks_do_not_end_a_chunked_body(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'a'
    yield b''
    yield b'b'
",
    ));
    let mut client = site.connect();
    client.send(get("/"));
    assert_eq!(client.head().header("Transfer-Encoding"), Some("chunked"));
    let mut body = Vec::new();
    while let Some(chunk) = client.chunk() {
        if chunk.is_empty() {
            break;
        }
        body.extend(chunk);
    }
    assert_eq!(body, b"ab");
}
