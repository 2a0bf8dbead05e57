//! The write callable (PEP 3333, "The write() Callable").

use super::host::{HostUnderTest, Site};

pub(super) fn start_response_returns_a_write_callable(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    write = start_response('200 OK', [])
    result = write(b'written')
    return [repr((callable(write), result)).encode()]
",
    ));
    assert_eq!(site.get("/").ok(), "written(True, None)");
}

pub(super) fn write_takes_one_bytes_object_and_nothing_else(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    write = start_response('200 OK', [])
    told = []
    for arguments, keywords in [(('text',), {}), ((bytearray(b'x'),), {}), ((memoryview(b'x'),), {}), ((None,), {}),
                                ((7,), {}), (([b'x'],), {}), ((), {}), ((b'x', b'y'), {}), ((), {'data': b'x'})]:
        try:
            write(*arguments, **keywords)
            told.append('accepted %r %r' % (arguments, keywords))
        except TypeError as error:
            told.append('TypeError' if 'PEP 3333' in str(error) else str(error))
    return [' '.join(told).encode()]
",
    ));
    assert_eq!(site.get("/").ok(), ["TypeError"; 9].join(" "));
}

pub(super) fn written_data_is_sent_before_the_iterable(host: &dyn HostUnderTest) {
    for directive in ["wsgi_write_buffering off", "wsgi_write_buffering on"] {
        let site = host.serve(
            Site::new(
                "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'a')
    write(b'b' * 20000)
    def blocks():
        yield b'd'
        yield b'e'
    write(b'c')
    return blocks()
",
            )
            .with(directive),
        );
        assert_eq!(site.get("/").ok(), format!("a{}cde", "b".repeat(20_000)));
    }
}

/// A write sends the head even if the block is empty: the head can no longer be replaced.
pub(super) fn first_write_sends_the_head(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
import sys
def written(environ, start_response, data=b'data '):
    write = start_response('200 OK', [])
    write(data)
    try:
        raise KeyError('mine')
    except KeyError as error:
        try:
            start_response('500 Oops', [], sys.exc_info())
            answer = 'the head was replaced'
        except KeyError as raised:
            answer = repr(raised is error)
    return [answer.encode()]
def empty(environ, start_response):
    return written(environ, start_response, b'')
",
    ));
    assert_eq!(site.get("/written").ok(), "data True");
    assert_eq!(site.get("/empty").ok(), "True");
}

pub(super) fn empty_write_adds_nothing_to_the_body(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
def around(environ, start_response):
    write = start_response('200 OK', [])
    write(b'')
    write(b'a')
    write(b'')
    return [b'', b'b']
def alone(environ, start_response):
    write = start_response('200 OK', [])
    write(b'')
    return []
",
    ));
    assert_eq!(site.get("/around").ok(), "ab");
    assert_eq!(site.get("/alone").ok(), "");
}

pub(super) fn write_after_the_end_of_the_request_raises(host: &dyn HostUnderTest) {
    let site = host.serve(Site::of_functions(
        "
kept = None
def first(environ, start_response):
    global kept
    kept = start_response('200 OK', [])
    return [b'first']
def later(environ, start_response):
    start_response('200 OK', [])
    try:
        kept(b'late')
        return [b'taken']
    except RuntimeError as error:
        return [b'RuntimeError ', str(error).encode()]
",
    ));
    assert_eq!(site.get("/first").ok(), "first");
    let answer = site.get("/later").ok();
    assert!(answer.starts_with("RuntimeError") && answer.contains("over"), "{answer}");
}

pub(super) fn write_beyond_content_length_raises_and_sends_no_byte_beyond_it(host: &dyn HostUnderTest) {
    for directive in ["wsgi_write_buffering off", "wsgi_write_buffering on"] {
        let site = host.serve(
            Site::of_functions(
                "
caught = 'nothing'
def answer(environ, start_response):
    global caught
    write = start_response('200 OK', [('Content-Length', '3')])
    write(b'ab')
    try:
        write(b'cd')
        caught = 'nothing'
    except Exception as error:
        caught = type(error).__name__ + ' ' + str(error)
    return []
def seen(environ, start_response):
    start_response('200 OK', [])
    return [caught.encode()]
",
            )
            .with(directive),
        );
        let response = site.get("/answer");
        // If nothing has been sent, the error (the body is too short now) can be reported with a status.
        assert!(response.status == 500 || !response.whole && response.text() == "ab", "{directive}: {response:?}");
        let caught = site.get("/seen").ok();
        assert!(caught.contains("PEP 3333") && caught.contains("Content-Length"), "{caught}");
    }
}

pub(super) fn an_application_that_writes_returns_an_iterable_all_the_same(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'written')
",
    ));
    let response = site.get("/");
    assert_eq!(response.status, 200, "the head was out: {response:?}");
    assert!(!response.whole, "what is not complete must not look so: {response:?}");
    let log = site.stop();
    assert_eq!(log.matches("instead of an iterable of bytes (PEP 3333").count(), 1, "{log}");
}
