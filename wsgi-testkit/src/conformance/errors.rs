//! Exceptions of applications: the response, the log record, and that the worker continues (PEP 3333, "Error Handling").

use super::host::{HostUnderTest, Site};
use crate::wire::Response;

/// The query selects the exception, and the path the place where it is raised; `/worker` returns the process id, and how
/// often it was requested.
const RAISE: &str = "
import os

class Base(BaseException):
    pass

class Unprintable(Exception):
    def __str__(self):
        raise ValueError('no text')
    __repr__ = __str__

def recursion():
    recursion()

def throw(exception):
    raise exception

KINDS = [
    lambda: int('a secret'),
    lambda: throw(SystemExit('a secret')),
    lambda: throw(KeyboardInterrupt('a secret')),
    lambda: throw(GeneratorExit('a secret')),
    lambda: bytearray(2 ** 62),
    recursion,
    lambda: throw(Base('a secret')),
    lambda: throw(Unprintable('a secret')),
    lambda: next(iter(())),
]

def fail(environ):
    KINDS[int(environ['QUERY_STRING'])]()

HEADERS = [('Content-Type', 'text/x-mine'), ('Content-Length', '7'), ('ETag', '\"mine\"'), ('Set-Cookie', 'mine=1'),
           ('Last-Modified', 'Thu, 01 Jan 1970 00:00:00 GMT'), ('Location', '/mine'), ('X-Mine', 'mine'),
           ('WWW-Authenticate', 'Mine'), ('Cache-Control', 'mine'), ('Content-Encoding', 'mine')]

class Blocks:
    '''An iterator whose exceptions are not made into others, as those of generators are.'''
    def __init__(self, environ, *blocks):
        self.environ, self.blocks = environ, list(blocks)
    def __iter__(self):
        return self
    def __next__(self):
        if not self.blocks:
            fail(self.environ)
        return self.blocks.pop(0)

def at_once(environ, start_response):
    fail(environ)

def after_start(environ, start_response):
    start_response('404 Mine', HEADERS)
    fail(environ)

def first_block(environ, start_response):
    start_response('200 OK', HEADERS)
    return Blocks(environ)

def generator(environ, start_response):
    start_response('200 OK', HEADERS)
    fail(environ)
    yield b'content'

def after_empty_blocks(environ, start_response):
    start_response('200 OK', HEADERS)
    return Blocks(environ, b'', b'')

class in_iter:
    def __init__(self, environ, start_response):
        start_response('200 OK', HEADERS)
        self.environ = environ
    def __iter__(self):
        fail(self.environ)

def after_block(environ, start_response):
    start_response('200 OK', [('X-Mine', 'mine')])
    return Blocks(environ, b'one, ', b'two')

def within_length(environ, start_response):
    start_response('200 OK', [('Content-Length', '4000')])
    return Blocks(environ, b'one, ', b'two')

def after_write(environ, start_response):
    write = start_response('200 OK', [('X-Mine', 'mine')])
    write(b'one, two')
    fail(environ)

class in_close(Blocks):
    def __init__(self, environ, start_response):
        super().__init__(environ, b'one, ', b'two')
        start_response('200 OK', [('X-Mine', 'mine')])
    def __next__(self):
        if not self.blocks:
            raise StopIteration
        return super().__next__()
    def close(self):
        fail(self.environ)

count = 0
def worker(environ, start_response):
    global count
    count += 1
    start_response('200 OK', [])
    return [f'{os.getpid()} {count}'.encode()]

def script(environ, start_response):
    start_response('200 OK', [])
    return [__file__.encode()]
";

/// The last one ends an iterator, and is not an error in that place.
const KINDS: [&str; 9] = [
    "ValueError",
    "SystemExit",
    "KeyboardInterrupt",
    "GeneratorExit",
    "MemoryError",
    "RecursionError",
    "Base",
    "Unprintable",
    "StopIteration",
];

/// Sends one request for each kind of exception, raised at `place`, and checks the responses. In between, the same worker
/// must answer as usual; the log must have each exception once, with a traceback.
fn raise_each(host: &dyn HostUnderTest, place: &str, kinds: &[&str], check: impl Fn(Response)) {
    let site = host.serve(Site::of_functions(RAISE));
    let script = site.get("/script").ok();
    let first = site.get("/worker").ok();
    let process = first.strip_suffix(" 1").expect("the first request");
    for (number, kind) in kinds.iter().enumerate() {
        let response = site.get(&format!("/{place}?{number}"));
        assert_nothing_of_python(&response, &script);
        check(response);
        let count = number + 2;
        assert_eq!(site.get("/worker").ok(), format!("{process} {count}"), "{place}: {kind} has ended the worker");
    }
    let log = site.stop();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("Traceback (most recent call last)"), kinds.len(), "{place}:\n{log}");
    let frames = log.lines().filter(|line| line.contains(&format!("File \"{script}\"")) && line.contains("in fail"));
    assert_eq!(frames.count(), kinds.len(), "{place}:\n{log}");
    for kind in kinds {
        // In a quoted source line, a bracket follows the name.
        let named = |line: &&str| line.split(kind).skip(1).any(|rest| !rest.starts_with('('));
        assert_eq!(log.lines().filter(named).count(), 1, "{place}, {kind}:\n{log}");
    }
}

/// Checks that a response reveals nothing about the application's error: that is for the operator.
fn assert_nothing_of_python(response: &Response, script: &str) {
    let everything = format!("{} {:?} {}", response.reason, response.headers, response.text());
    let found = ["Traceback", "a secret", "Error:", "File \"", ".py", script].into_iter().chain(KINDS);
    let found: Vec<_> = found.filter(|text| everything.contains(text)).collect();
    assert!(found.is_empty(), "{found:?} in {response:?}");
}

/// Checks for the host's own error response, without anything that the application had prepared.
fn assert_plain_500(response: Response) {
    assert_eq!((response.status, response.whole), (500, true), "{response:?}");
    assert!(!response.reason.contains("Mine"), "{response:?}");
    let everything = format!("{:?} {}", response.headers, response.text()).to_lowercase();
    assert!(!everything.contains("mine") && !everything.contains("1970"), "{response:?}");
    assert!(response.header("Content-Length") != Some("7"), "{response:?}");
}

/// Checks for the blocks that were sent, and that the client can detect the missing rest.
fn assert_cut(response: Response) {
    assert_eq!((response.status, response.text().as_str(), response.whole), (200, "one, two", false), "{response:?}");
}

pub(super) fn exception_in_the_call_is_a_500(host: &dyn HostUnderTest) {
    raise_each(host, "at_once", &KINDS, assert_plain_500);
}

pub(super) fn exception_after_start_response_is_a_500_without_its_headers(host: &dyn HostUnderTest) {
    raise_each(host, "after_start", &KINDS, assert_plain_500);
}

pub(super) fn exception_before_the_first_block_is_a_500_without_its_headers(host: &dyn HostUnderTest) {
    let kinds = &KINDS[..KINDS.len() - 1];
    for place in ["first_block", "after_empty_blocks", "generator"] {
        raise_each(host, place, kinds, assert_plain_500);
    }
    raise_each(host, "in_iter", &KINDS, assert_plain_500);
}

/// A second head must not be sent; the client can only be shown that the response is incomplete.
pub(super) fn exception_after_a_block_cuts_the_response(host: &dyn HostUnderTest) {
    let kinds = &KINDS[..KINDS.len() - 1];
    for place in ["after_block", "within_length"] {
        raise_each(host, place, kinds, assert_cut);
    }
}

pub(super) fn exception_after_write_cuts_the_response(host: &dyn HostUnderTest) {
    raise_each(host, "after_write", &KINDS, assert_cut);
}

pub(super) fn exception_in_close_leaves_the_response_whole(host: &dyn HostUnderTest) {
    raise_each(host, "in_close", &KINDS, |response| assert_eq!(response.ok(), "one, two"));
}

pub(super) fn exception_in_close_after_another_one_is_logged_too(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
class Blocks:
    def __init__(self, environ, start_response):
        start_response('200 OK', [])
    def __iter__(self):
        raise ValueError('the first one')
    def close(self):
        raise SystemExit('the second one')

application = Blocks
",
    ));
    assert_eq!(site.get("/").status, 500);
    let log = site.stop();
    for text in ["ValueError: the first one", "SystemExit: the second one"] {
        assert_eq!(log.matches(text).count(), 1, "{log}");
    }
    assert_eq!(log.matches("Traceback").count(), 2, "{log}");
}

/// Of several exceptions, an operator often needs the first.
pub(super) fn exception_is_logged_with_its_causes(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    try:
        raise LookupError('the cause')
    except LookupError as error:
        raise ValueError('the effect') from error
",
    ));
    assert_eq!(site.get("/").status, 500);
    let log = site.stop();
    for text in ["LookupError: the cause", "ValueError: the effect", "application"] {
        assert!(log.contains(text), "{log}");
    }
}
