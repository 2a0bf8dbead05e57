//! Valid calls of `start_response` (PEP 3333, "The start_response() Callable").

use super::host::{HostUnderTest, Site};

pub(super) fn start_response_takes_exc_info_or_not_and_returns_write(host: &dyn HostUnderTest) {
    for arguments in ["'200 OK', []", "'200 OK', [], None"] {
        let site = host.serve(Site::new(format!(
            "
def application(environ, start_response):
    write = start_response({arguments})
    write(b'written, ')
    return [b'returned']
"
        )));
        assert_eq!(site.get("/").ok(), "written, returned");
    }
}

pub(super) fn a_refused_call_raises_at_once(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import sys

def attempt(start_response, *arguments):
    try:
        start_response(*arguments)
    except (TypeError, ValueError) as error:
        start_response('200 OK', [], sys.exc_info())
        return [b'raised by the call: ', type(error).__name__.encode()]
    return [b'not raised by the call']

def status(environ, start_response):
    return attempt(start_response, 'OK', [])

def headers(environ, start_response):
    return attempt(start_response, '200 OK', None)

def name(environ, start_response):
    return attempt(start_response, '200 OK', [('X Y', '1')])

def length(environ, start_response):
    return attempt(start_response, '200 OK', [('Content-Length', '-1')])

def iterated(environ, start_response):
    yield from attempt(start_response, '200 OK', [('X-A', '1\\r\\n')])
",
    ));
    for (path, kind) in [
        ("/status", "ValueError"),
        ("/headers", "TypeError"),
        ("/name", "ValueError"),
        ("/length", "ValueError"),
        ("/iterated", "ValueError"),
    ] {
        assert_eq!(site.get(path).ok(), format!("raised by the call: {kind}"), "{path}");
    }
}

pub(super) fn a_refused_second_call_leaves_the_head_as_it_is(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 First', [('X-Head', 'first')])
    for arguments in ['404 Not Found', [('X-Head', 'second')]], ['no status', []]:
        try:
            start_response(*arguments)
        except (RuntimeError, ValueError):
            continue
        return [b'not refused']
    return [b'body']
",
    ));
    let response = site.get("/");
    assert_eq!(response.ok(), "body");
    assert_eq!((response.reason.as_str(), response.header("X-Head")), ("First", Some("first")));
}

pub(super) fn a_second_call_without_exc_info_is_refused_when_the_head_is_out(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'block, '
    for arguments in ['200 OK', []], ['200 OK', [], None]:
        try:
            start_response(*arguments)
        except RuntimeError as error:
            yield ('PEP 3333' in str(error) and 'refused, ' or str(error)).encode()
    yield b'end'
",
    ));
    assert_eq!(site.get("/").ok(), "block, refused, refused, end");
}

/// An empty block sends nothing, so the application may still replace the head.
pub(super) fn the_head_waits_for_a_block_that_is_not_empty(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def application(environ, start_response):
    start_response('404 Not Found', [('X-Head', 'first')])
    yield b''
    yield b''
    try:
        raise KeyError
    except KeyError:
        start_response('200 OK', [('X-Head', 'second')], sys.exc_info())
    yield b''
    yield b'body'
",
    ));
    let response = site.get("/");
    assert_eq!(response.ok(), "body");
    assert_eq!(response.all("X-Head"), ["second"]);
}

/// Observed by the next call of `start_response`, which raises `exc_info`.
pub(super) fn a_block_or_a_write_commits_the_head(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import sys

def replaced(start_response):
    try:
        raise KeyError
    except KeyError:
        try:
            start_response('404 Not Found', [], sys.exc_info())
        except KeyError:
            return b'not replaced'
    return b'replaced'

def block(environ, start_response):
    start_response('200 OK', [])
    yield b'block, '
    yield replaced(start_response)

def write(environ, start_response):
    start_response('200 OK', [])(b'block, ')
    return [replaced(start_response)]

def first_of_two(environ, start_response):
    start_response('200 OK', [])
    yield b''
    yield b'block, '
    yield b''
    yield replaced(start_response)
",
    ));
    for path in ["/block", "/write", "/first_of_two"] {
        assert_eq!(site.get(path).ok(), "block, not replaced", "{path}");
    }
}

pub(super) fn the_end_sends_the_head_of_a_body_without_bytes(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def list_(environ, start_response):
    start_response('404 Not Found', [('X-Head', '1')])
    return []

def list_of_empty(environ, start_response):
    start_response('404 Not Found', [('X-Head', '1')])
    return [b'', b'']

def iterator(environ, start_response):
    start_response('404 Not Found', [('X-Head', '1')])
    return iter(())

def generator(environ, start_response):
    start_response('404 Not Found', [('X-Head', '1')])
    yield b''

def promised(environ, start_response):
    start_response('404 Not Found', [('X-Head', '1'), ('Content-Length', '0')])
    return iter(())
",
    ));
    for path in ["/list_", "/list_of_empty", "/iterator", "/generator", "/promised"] {
        let response = site.get(path);
        assert_eq!((response.status, response.header("X-Head")), (404, Some("1")), "{path}");
        assert_eq!((response.text().as_str(), response.whole), ("", true), "{path}");
    }
    assert_eq!(site.get("/promised").header("Content-Length"), Some("0"));
}

/// The head has the headers of the call, regardless of later changes of the list.
pub(super) fn changes_of_the_header_list_after_start_response_have_no_effect(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    headers = [('X-Kept', '1')]
    start_response('200 OK', headers)
    headers[0] = ('X-Kept', '2')
    headers.append(('X-Late', '1'))
    yield b'body'
    headers.clear()
    headers.append(('no token', None))
    yield b', end'
",
    ));
    let response = site.get("/");
    assert_eq!(response.ok(), "body, end");
    assert_eq!([response.header("X-Kept"), response.header("X-Late")], [Some("1"), None]);
}

pub(super) fn start_response_may_be_called_from_the_iterable(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def generator(environ, start_response):
    start_response('200 OK', [('X-Head', '1')])
    yield b'body'

class iterator:
    def __init__(self, environ, start_response):
        self.start_response, self.rest = start_response, [b'dy', b'bo']
    def __iter__(self):
        return self
    def __next__(self):
        if not self.rest:
            raise StopIteration
        if len(self.rest) == 2:
            self.start_response('200 OK', [('X-Head', '1')])
        return self.rest.pop()

class iterable:
    def __init__(self, environ, start_response):
        self.start_response = start_response
    def __iter__(self):
        self.start_response('200 OK', [('X-Head', '1')])
        return iter([b'body'])

class sized(iterable):
    def __len__(self):
        return 1

def without_blocks(environ, start_response):
    start_response('200 OK', [('X-Head', '1')])
    return
    yield
",
    ));
    for (path, body) in [
        ("/generator", "body"),
        ("/iterator", "body"),
        ("/iterable", "body"),
        ("/sized", "body"),
        ("/without_blocks", ""),
    ] {
        let response = site.get(path);
        assert_eq!((response.ok().as_str(), response.header("X-Head")), (body, Some("1")), "{path}");
    }
}

pub(super) fn a_body_before_start_response_is_an_error(host: &dyn HostUnderTest) {
    const SOURCE: &str = "
def list_(environ, start_response):
    return [b'never']

def nothing(environ, start_response):
    return []

def empty_block(environ, start_response):
    return [b'']

def generator(environ, start_response):
    yield b'never'
    start_response('200 OK', [])

def empty_generator(environ, start_response):
    return
    yield
";
    for path in ["/list_", "/nothing", "/empty_block", "/generator", "/empty_generator"] {
        let site = host.serve(Site::of_functions(SOURCE));
        let response = site.get(path);
        assert_eq!((response.status, response.text().contains("never")), (500, false), "{path}");
        let log = site.stop();
        assert_eq!(log.matches("start_response() was not called").count(), 1, "{path}\n{log}");
        assert!(log.contains("PEP 3333"), "{log}");
    }
}

pub(super) fn start_response_of_a_request_that_is_over_raises(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
kept = []

def keep(environ, start_response):
    kept.append(start_response)
    start_response('200 OK', [])
    return [b'kept']

def late(environ, start_response):
    try:
        kept[0]('404 Not Found', [('X-Late', '1')], None)
        answer = 'not refused'
    except RuntimeError as error:
        answer = 'over' if 'request is over' in str(error) else str(error)
    start_response('200 OK', [])
    return [answer.encode()]
",
    ));
    assert_eq!(site.get("/keep").ok(), "kept");
    site.eventually("/late", "over");
}
