//! `wsgi.input` if other requests follow the body on the connection (PEP 3333, "Input and Error Streams").

use super::host::{HostUnderTest, Site, Traits, get, post};
use crate::wait_for;

/// A server should not read past the client's Content-Length, and should simulate the end of a file there.
pub(super) fn input_does_not_reach_into_the_next_request(host: &dyn HostUnderTest) {
    let source = "
WAYS = {
    '/read': lambda body: body.read(),
    '/size': lambda body: body.read(1000),
    '/readline': lambda body: body.readline() + body.readline(),
    '/limit': lambda body: body.readline(1000) + body.readline(1000),
    '/readlines': lambda body: b''.join(body.readlines()),
    '/hint': lambda body: b''.join(body.readlines(1000)),
    '/iteration': lambda body: b''.join(body),
}
def application(environ, start_response):
    body = environ['wsgi.input']
    found = WAYS[environ['PATH_INFO']](body)
    for read in WAYS.values():
        found += read(body)
    start_response('200 OK', [])
    return [found]
";
    let site = host.serve(Site::new(source));
    let ways = ["/read", "/size", "/readline", "/limit", "/readlines", "/hint", "/iteration"];
    // Each is followed by the next one on a connection; after the last one no bytes follow, so no read may wait for them.
    for chunked in [false, true] {
        let mut client = site.connect();
        let requests = ways.map(|way| {
            let request = post(way, b"a line\nno newline");
            if chunked { request.unknown_length().to_bytes() } else { request.to_bytes() }
        });
        client.send(requests.concat());
        for way in ways {
            assert_eq!(client.response().ok(), "a line\nno newline", "{way}, chunked: {chunked}");
        }
    }
}

pub(super) fn chunked_body_of_no_bytes_is_at_its_end_at_once(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    body = environ['wsgi.input']
    parts = [body.read(1), body.read(), body.readline(), body.readlines(), list(body), environ.get('CONTENT_LENGTH')]
    start_response('200 OK', [])
    return [repr(parts).encode()]
";
    let site = host.serve(Site::new(source));
    let length = if host.traits().collects_chunks { "'0'" } else { "None" };
    let mut client = site.connect();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert_eq!(client.response().ok(), format!("[b'', b'', b'', [], [], {length}]"));
    }
}

/// Chunk extensions and trailers are not part of the body (RFC 9112, 7.1).
pub(super) fn chunked_body_is_decoded_wherever_it_is_cut(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['wsgi.input'].read()]
";
    let site = host.serve(Site::new(source));
    let body = "5;name=value\r\nab\r\nc\r\n00A\r\n0123456789\r\n1\r\n\n\r\n0\r\nX-Trailer: value\r\n\r\n";
    let bytes = format!("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for at in (1..bytes.len()).rev().step_by(7) {
        let mut client = site.connect();
        client.send(&bytes[..at]);
        client.send(&bytes[at..]);
        assert_eq!(client.response().ok(), "ab\r\nc0123456789\n", "cut at {at}");
    }
}

pub(super) fn disconnect_within_the_body_is_not_the_end_of_the_body(host: &dyn HostUnderTest) {
    let source = "
import sys
def application(environ, start_response):
    if environ['REQUEST_METHOD'] == 'POST':
        print('called', file=sys.stderr)
        try:
            body = environ['wsgi.input'].read()
        except OSError:
            print('an OSError', file=sys.stderr)
            raise
        print('taken for whole:', body, file=sys.stderr)
    start_response('200 OK', [])
    return [b'ok']
";
    let Traits { collects_body, collects_chunks, .. } = host.traits();
    let site = host.serve(Site::new(source));
    let mut calls = 0;
    for (head, is_collected) in
        [("Content-Length: 10\r\n\r\n", collects_body), ("Transfer-Encoding: chunked\r\n\r\n5\r\n", collects_chunks)]
    {
        let mut client = site.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{head}half"));
        drop(client);
        if is_collected {
            // A later request has been answered, so the event loop has handled the disconnect.
            assert_eq!(site.send(get("/")).ok(), "ok");
        } else {
            calls += 1;
            wait_for("an OSError in the application", || {
                (site.log().matches("an OSError").count() == calls).then_some(())
            });
        }
    }
    let log = site.stop();
    assert!(!log.contains("taken for whole"), "{log}");
    assert_eq!((log.matches("called").count(), log.matches("an OSError").count()), (calls, calls), "{log}");
}

pub(super) fn slow_uploads_hold_up_no_other_request(host: &dyn HostUnderTest) {
    let source = "
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [body or b'nothing']
";
    let site = host.serve(Site::new(source));
    let sized = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n";
    let expecting = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    // More of each kind than the number of requests that any tested host runs at a time.
    let mut uploads = Vec::new();
    for number in 0..30 {
        let (begin, end) = match number % 3 {
            0 => (sized.to_owned(), "whole"),
            1 => (format!("{sized}wh"), "ole"),
            _ => (format!("{chunked}wh"), "ole\r\n0\r\n\r\n"),
        };
        let mut client = site.connect();
        client.send(begin);
        uploads.push((client, end));
    }
    let mut waiting: Vec<_> = (0..10).map(|_| site.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(expecting));
    for _ in 0..3 {
        assert_eq!(site.get("/").ok(), "nothing");
        assert_eq!(site.post("/", b"another").ok(), "another");
    }
    for (client, end) in &mut uploads {
        client.send(end);
        assert_eq!(client.response().ok(), "whole");
    }
    for client in &mut waiting {
        client.send("whole");
        assert_eq!(client.final_response("POST").ok(), "whole");
    }
}
