//! The third argument of `start_response` (PEP 3333, "The start_response() Callable" and "Error Handling").

use super::host::{HostUnderTest, Site};

pub(super) fn exc_info_replaces_a_head_that_is_not_out(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/x'), ('Content-Length', '1'), ('ETag', '\"x\"'),
                              ('Set-Cookie', 'a=1'), ('X-Both', 'first')])
    try:
        raise KeyError
    except KeyError:
        start_response('503 Out of Order', [('X-Both', 'second'), ('Retry-After', '9')], sys.exc_info())
    return [b'the whole body']
",
    ));
    let response = site.get("/");
    assert_eq!((response.status, response.reason.as_str()), (503, "Out of Order"));
    assert_eq!((response.text().as_str(), response.whole), ("the whole body", true));
    assert_eq!((response.all("X-Both"), response.header("Retry-After")), (vec!["second"], Some("9")));
    for name in ["Content-Type", "ETag", "Set-Cookie"] {
        assert_eq!(response.header(name), None, "{name} is the first head's");
    }
}

/// PEP 3333 shows the argument without a name, but other servers accept code that names it.
pub(super) fn exc_info_may_be_given_by_name(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import sys
def replaced(environ, start_response):
    start_response('200 OK', [], exc_info=None)
    try:
        raise ValueError('by name')
    except ValueError:
        start_response('503 Out of Order', [], exc_info=sys.exc_info())
    return [b'sorry']
def with_keywords(environ, start_response):
    keywords = {'exc_info': None}
    start_response('200 OK', [], **keywords)
    return [b'ok']
",
    ));
    let response = site.get("/replaced");
    assert_eq!((response.status, response.text().as_str()), (503, "sorry"));
    assert_eq!(site.get("/with_keywords").ok(), "ok");
    assert!(!site.stop().contains("ValueError"));
}

pub(super) fn exc_info_replaces_the_head_again_and_again(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def application(environ, start_response):
    start_response('500 Zero', [])
    for number in range(1, 4):
        try:
            raise KeyError
        except KeyError:
            start_response(f'{499 + number} Number {number}', [('X-Number', str(number))], sys.exc_info())
    yield b''
    try:
        raise KeyError
    except KeyError:
        start_response('200 OK', [('X-Number', '4')], sys.exc_info())
    yield b'body'
",
    ));
    let response = site.get("/");
    assert_eq!((response.ok().as_str(), response.all("X-Number")), ("body", vec!["4"]));
}

pub(super) fn exc_info_is_allowed_with_the_first_call(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def application(environ, start_response):
    try:
        raise KeyError
    except KeyError:
        start_response('404 Not Found', [('X-Head', '1')], sys.exc_info())
    return [b'body']
",
    ));
    let response = site.get("/");
    assert_eq!((response.status, response.text().as_str(), response.header("X-Head")), (404, "body", Some("1")));
}

/// An exception that the application handles is not logged: that would be noise.
pub(super) fn exc_info_that_was_used_is_not_logged(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def application(environ, start_response):
    try:
        raise KeyError('a failure that was dealt with')
    except KeyError:
        start_response('200 OK', [], sys.exc_info())
    return [b'body']
",
    ));
    assert_eq!(site.get("/").ok(), "body");
    let log = site.stop();
    assert!(!log.contains("a failure that was dealt with"), "{log}");
}

/// The exception raised is the same object, and its traceback begins at its origin.
pub(super) fn exc_info_is_raised_again_once_the_head_is_out(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import sys, traceback

class Failure(Exception):
    pass

def origin():
    raise Failure('first')

def raised_again(start_response):
    try:
        origin()
    except Failure:
        given = sys.exc_info()
    try:
        start_response('500 Internal Server Error', [('X-Never', '1')], given)
    except BaseException as error:
        functions = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return repr((error is given[1], 'origin' in functions)).encode()
    return b'nothing was raised'

def block(environ, start_response):
    start_response('200 OK', [])
    yield b'block, '
    yield raised_again(start_response)

def write(environ, start_response):
    start_response('200 OK', [])(b'block, ')
    return [raised_again(start_response)]
",
    ));
    for path in ["/block", "/write"] {
        let response = site.get(path);
        assert_eq!((response.ok().as_str(), response.header("X-Never")), ("block, (True, True)", None), "{path}");
    }
}

pub(super) fn exception_raised_again_by_exc_info_cuts_the_response_and_is_logged_once(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def origin():
    raise KeyError('a failure after the head')
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'block'
    try:
        origin()
    except KeyError:
        start_response('500 Internal Server Error', [], sys.exc_info())
    yield b'never'
",
    ));
    let response = site.get("/");
    assert_eq!((response.status, response.text().as_str(), response.whole), (200, "block", false));
    let log = site.stop();
    assert_eq!(log.matches("KeyError: 'a failure after the head'").count(), 1, "{log}");
    assert!(log.contains("in origin"), "no traceback from where it began:\n{log}");
    assert!(!log.contains("During handling of"), "another exception was raised in its place:\n{log}");
}

/// PEP 3333 warns of this cycle: the traceback holds the frame, which may hold the traceback.
pub(super) fn exc_info_is_not_kept(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import gc, sys, weakref

class Local:
    pass

def fail(references):
    local = Local()
    references.append(weakref.ref(local))
    raise KeyError

def alive_after(start_response):
    references = []
    gc.disable()
    try:
        try:
            fail(references)
        except KeyError:
            try:
                start_response('200 OK', [], sys.exc_info())
            except KeyError:
                pass
        return repr(references[0]() is not None).encode()
    finally:
        gc.enable()

def first(environ, start_response):
    return [alive_after(start_response)]

def replaced(environ, start_response):
    start_response('404 Not Found', [])
    return [alive_after(start_response)]

def raised_again(environ, start_response):
    start_response('200 OK', [])
    yield b''
    yield b' '
    yield alive_after(start_response)
",
    ));
    for path in ["/first", "/replaced", "/raised_again"] {
        assert_eq!(site.get(path).ok().trim(), "False", "{path}");
    }
}

/// Headers of the failed response would be wrong for the error page: its length, its version, its cookies.
pub(super) fn nothing_of_a_head_that_was_not_sent_is_in_an_error_page(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
HEADERS = [('Content-Length', '1'), ('ETag', '\"x\"'), ('Set-Cookie', 'a=1'), ('X-Never', '1'),
           ('Content-Encoding', 'gzip'), ('Cache-Control', 'max-age=9'), ('Last-Modified', 'Thu, 01 Jan 1970 00:00:00 GMT')]

def application_failed(environ, start_response):
    start_response('201 Created', HEADERS)
    raise KeyError

def iteration_failed(environ, start_response):
    start_response('201 Created', HEADERS)
    yield b''
    raise KeyError

def wrong_block(environ, start_response):
    start_response('201 Created', HEADERS)
    return ['no bytes']

def no_iterable(environ, start_response):
    start_response('201 Created', HEADERS)
",
    ));
    for path in ["/application_failed", "/iteration_failed", "/wrong_block", "/no_iterable"] {
        let response = site.get(path);
        assert_eq!((response.status, response.whole), (500, true), "{path}");
        assert_ne!(response.header("Content-Length"), Some("1"), "{path}");
        for name in ["ETag", "Set-Cookie", "X-Never", "Content-Encoding", "Cache-Control", "Last-Modified"] {
            assert_eq!(response.header(name), None, "{path}: {name}");
        }
    }
}
