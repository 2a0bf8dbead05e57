//! When blocks are sent, and clients that do not read them (PEP 3333, "Buffering and Streaming").

use super::host::{HostUnderTest, Served, Site};
use crate::Gate;
use crate::wire::get;

/// Serves an application that waits at a gate, and returns both. `GATE` in the source stands for the path of the gate.
fn gated(host: &dyn HostUnderTest, source: &str) -> (Box<dyn Served>, Gate, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gate");
    let gate = Gate::new(&path);
    let source = source.replace("GATE", &format!("{:?}", path.to_str().expect("a path of text")));
    (host.serve(Site::of_functions(&source)), gate, folder)
}

pub(super) fn each_block_has_left_before_the_next_is_asked_for(host: &dyn HostUnderTest) {
    let (site, gate, _folder) = gated(
        host,
        "
def answer(environ, start_response):
    start_response('200 OK', [])
    for number in range(3):
        yield b'%d' % number
        open(GATE).read()
",
    );
    let mut client = site.connect();
    client.send(get("/answer"));
    assert_eq!(client.head().status, 200);
    for number in 0..3 {
        // The block has arrived, while the application waits at the gate after it.
        assert_eq!(client.chunk(), Some(number.to_string().into_bytes()));
        gate.pass();
    }
    assert_eq!(client.chunk(), Some(Vec::new()));
}

pub(super) fn written_data_is_sent_while_the_application_runs(host: &dyn HostUnderTest) {
    let (site, gate, _folder) = gated(
        host,
        "
def answer(environ, start_response):
    write = start_response('200 OK', [])
    for number in range(3):
        write(b'%d' % number)
        open(GATE).read()
    return []
",
    );
    let mut client = site.connect();
    client.send(get("/answer"));
    assert_eq!(client.head().status, 200);
    for number in 0..3 {
        assert_eq!(client.chunk(), Some(number.to_string().into_bytes()));
        gate.pass();
    }
    assert_eq!(client.chunk(), Some(Vec::new()));
}

/// Empty blocks do not send the head.
pub(super) fn head_waits_for_the_first_block(host: &dyn HostUnderTest) {
    let (site, gate, _folder) = gated(
        host,
        "
import sys
def answer(environ, start_response):
    start_response('200 OK', [('X-First', '1')])
    yield b''
    open(GATE).read()
    try:
        raise ValueError()
    except ValueError:
        start_response('418 Teapot', [('X-Second', '1')], sys.exc_info())
    yield b'body'
",
    );
    let mut client = site.connect();
    client.send(get("/answer"));
    gate.pass();
    let response = client.response();
    assert_eq!((response.status, response.header("X-First"), response.header("X-Second")), (418, None, Some("1")));
    assert_eq!(response.body, b"body");
}

/// The client reads nothing, so the application is not asked for further blocks.
pub(super) fn application_is_not_iterated_while_the_client_does_not_read(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
asked = 0
closed = False
def endless(environ, start_response):
    global asked, closed
    start_response('200 OK', [])
    try:
        while True:
            asked += 1
            yield bytes(65536)
    finally:
        closed = True
def seen(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %r' % (asked, closed)]
",
    ));
    let mut client = site.connect();
    client.send(get("/endless"));
    assert_eq!(client.head().status, 200);
    // Once two answers in a row are the same, the application waits, long before its response could fill the memory.
    let mut before = String::new();
    crate::wait_for("the application to wait", || {
        let now = site.get("/seen").ok();
        let same = now == before && now != "0 False";
        before = now;
        same.then_some(())
    });
    let asked: usize = before.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(asked < 1000, "{asked} blocks of 64 KiB were made for a client that reads none");
    // The application continues when the client reads, and ends when the client leaves.
    assert!(client.take(1 << 20).len() == 1 << 20);
    drop(client);
    crate::wait_for("the result to be closed", || site.get("/seen").ok().ends_with("True").then_some(()));
}

pub(super) fn close_is_called_when_the_client_leaves(host: &dyn HostUnderTest) {
    let (site, gate, _folder) = gated(
        host,
        "
steps = []
class Result:
    def __iter__(self): return self
    def __next__(self):
        steps.append('next')
        if len(steps) == 2:
            open(GATE).read()
        return bytes(1 << 20)
    def close(self):
        steps.append('close')
def answer(environ, start_response):
    start_response('200 OK', [])
    return Result()
def seen(environ, start_response):
    start_response('200 OK', [])
    return [repr((steps.count('close'), steps[-1:])).encode()]
",
    );
    let mut client = site.connect();
    client.send(get("/answer"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.take(1 << 20).len(), 1 << 20);
    // The client leaves while the application makes the second block.
    let standing = gate.arrival();
    drop(client);
    drop(standing);
    site.eventually("/seen", "(1, ['close'])");
}
