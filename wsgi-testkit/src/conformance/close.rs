//! `close()` of the iterable that an application returns (PEP 3333, "Specification Details").

use super::host::{HostUnderTest, Served, Site};

/// `/NAME` runs an application whose iterable records its steps; `/seen` returns the steps, and clears them.
const RESULT: &str = "
steps = []

class Result:
    def __init__(self, blocks):
        self.blocks = iter(blocks)
    def __iter__(self):
        steps.append('iter')
        return Iterator(self.blocks)
    def close(self):
        steps.append('close')

class Iterator:
    '''Not the result itself, and with a close() of its own that is nobody's business.'''
    def __init__(self, blocks): self.blocks = blocks
    def __iter__(self): return self
    def __next__(self):
        try:
            block = next(self.blocks)
        except StopIteration:
            steps.append('end')
            raise
        if isinstance(block, BaseException):
            steps.append('raise')
            raise block
        steps.append(block.decode())
        return block
    def close(self):
        steps.append('wrong close')

def seen(environ, start_response):
    start_response('200 OK', [])
    told = ' '.join(steps)
    steps.clear()
    return [told.encode()]
";

fn serve(host: &dyn HostUnderTest, functions: &str) -> Box<dyn Served> {
    host.serve(Site::of_functions(&(RESULT.to_owned() + functions)))
}

/// `close()` of the returned object, not of its iterator.
pub(super) fn close_is_called_once_after_the_last_block(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def answer(environ, start_response):
    start_response('200 OK', [])
    return Result([b'a', b'b'])
def no_block(environ, start_response):
    start_response('200 OK', [])
    return Result([])
",
    );
    assert_eq!(site.get("/answer").ok(), "ab");
    site.eventually("/seen", "iter a b end close");
    assert_eq!(site.get("/no_block").ok(), "");
    site.eventually("/seen", "iter end close");
    site.eventually("/seen", "");
}

pub(super) fn close_is_called_after_an_exception_in_the_iteration(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def first(environ, start_response):
    start_response('200 OK', [])
    return Result([ValueError()])
def later(environ, start_response):
    start_response('200 OK', [])
    return Result([b'a', ValueError()])
def not_bytes(environ, start_response):
    start_response('200 OK', [])
    class Text(Result):
        def __iter__(self): return iter(['text'])
    return Text([])
def no_iterator(environ, start_response):
    start_response('200 OK', [])
    class Broken(Result):
        def __iter__(self): raise ValueError()
    return Broken([])
",
    );
    for (path, steps) in [
        ("/first", "iter raise close"),
        ("/later", "iter a raise close"),
        ("/not_bytes", "close"),
        ("/no_iterator", "close"),
    ] {
        let response = site.get(path);
        assert!(response.status == 500 || !response.whole, "{path}: {response:?}");
        site.eventually("/seen", steps);
    }
}

pub(super) fn close_is_called_where_start_response_was_not_or_wrongly_called(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def never(environ, start_response):
    return Result([b'a'])
def wrongly(environ, start_response):
    class Late(Result):
        def __iter__(self):
            start_response('bad', [])
    return Late([])
",
    );
    for (path, steps) in [("/never", "iter a close"), ("/wrongly", "close")] {
        assert_eq!(site.get(path).status, 500, "{path}");
        site.eventually("/seen", steps);
    }
}

pub(super) fn close_is_called_where_no_body_is_wanted(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def ok(environ, start_response):
    start_response('200 OK', [])
    return Result([b'a', b'b'])
def no_content(environ, start_response):
    start_response('204 No Content', [])
    return Result([b'a', b'b'])
def not_modified(environ, start_response):
    start_response('304 Not Modified', [])
    return Result([b'a', b'b'])
",
    );
    for (method, path) in [("HEAD", "/ok"), ("GET", "/no_content"), ("GET", "/not_modified")] {
        let response = site.send(super::get(path).method(method));
        assert_eq!(response.body, b"", "{path}");
        site.eventually("/seen", "iter a close");
    }
}

pub(super) fn close_is_called_where_content_length_is_reached(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def answer(environ, start_response):
    start_response('200 OK', [('Content-Length', '1')])
    return Result([b'a', b'b', b'c'])
",
    );
    assert_eq!(site.get("/answer").ok(), "a");
    site.eventually("/seen", "iter a b close");
}

pub(super) fn close_is_called_where_content_length_is_missed(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def answer(environ, start_response):
    start_response('200 OK', [('Content-Length', '9')])
    return Result([b'a', b'b'])
",
    );
    assert!(!site.get("/answer").whole);
    site.eventually("/seen", "iter a b end close");
}

pub(super) fn a_result_without_close_is_not_missed(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def answer(environ, start_response):
    start_response('200 OK', [])
    return iter([b'a', b'b'])
",
    );
    assert_eq!(site.get("/answer").ok(), "ab");
    assert!(!site.stop().contains("AttributeError"));
}

pub(super) fn an_exception_in_close_is_logged_and_changes_no_response(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def answer(environ, start_response):
    start_response('200 OK', [])
    class Broken(Result):
        def close(self): raise ValueError('in close')
    return Broken([b'a'])
",
    );
    let mut kept = 0;
    for _ in 0..2 {
        assert_eq!(site.get("/answer").ok(), "a");
        kept += 1;
    }
    let log = site.stop();
    assert_eq!(log.matches("ValueError: in close").count(), kept, "{log}");
}

/// An application may release objects of the environ in `close()`, so it runs before the request ends.
pub(super) fn streams_of_the_request_are_alive_in_close(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
import time
def answer(environ, start_response):
    start_response('200 OK', [])
    class Logs(Result):
        def close(self):
            # Until the client has the response, and the host is done with it.
            time.sleep(0.05)
            environ['wsgi.errors'].write('rest of the input: %r\\n' % environ['wsgi.input'].read())
    return Logs([b'a'])
",
    );
    assert_eq!(site.post("/answer", b"unread").ok(), "a");
    site.logged("rest of the input: b'unread'");
}
