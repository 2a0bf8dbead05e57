//! Middleware, the validator of the standard library, and extensions of hosts (PEP 3333, "Middleware: Components that Play
//! Both Sides", "Server Extension APIs", "Thread Support").

use super::host::{HostUnderTest, Site, get, post};

/// Extensions must not bypass middleware.
pub(super) fn a_middleware_sees_every_block_and_every_header(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import io
def inner(environ, start_response):
    path = environ['PATH_INFO']
    write = start_response('200 OK', [('X-Inner', '1')])
    if path == '/wrapper':
        return environ['wsgi.file_wrapper'](io.BytesIO(b'from a file'))
    if path == '/write':
        write(b'writ')
        return [b'ten']
    return [b'li', b'st']
class Upper:
    def __init__(self, blocks): self.blocks = blocks
    def __iter__(self): return (block.upper() for block in self.blocks)
    def close(self):
        if hasattr(self.blocks, 'close'): self.blocks.close()
def application(environ, start_response):
    def start(status, headers, exc_info=None):
        write = start_response(status, headers + [('X-Outer', '1')], exc_info)
        return lambda data: write(data.upper())
    return Upper(inner(environ, start))
",
    ));
    for (path, body) in [("/list", "LIST"), ("/wrapper", "FROM A FILE"), ("/write", "WRITTEN")] {
        let response = site.get(path);
        assert_eq!(response.ok(), body);
        assert_eq!((response.header("X-Inner"), response.header("X-Outer")), (Some("1"), Some("1")));
    }
}

/// `wsgiref.validate` checks environ, streams, the iteration and `close()`. Some complaints go only to stderr.
pub(super) fn the_validator_of_the_standard_library_has_no_complaint(host: &dyn HostUnderTest) {
    for prefix in ["/", "/mnt/app"] {
        let site = host.serve(
            Site::new(
                "
import io, warnings
from wsgiref.validate import WSGIWarning, validator
warnings.simplefilter('error', WSGIWarning)
def plain(environ, start_response):
    stream = environ['wsgi.input']
    body = stream.read(3) + stream.readline() + b''.join(stream.readlines()) + b''.join(stream)
    environ['wsgi.errors'].write('logged\\n')
    environ['wsgi.errors'].flush()
    path = environ['PATH_INFO']
    if path == '/code':
        start_response(environ['QUERY_STRING'] + ' X', [])
        return []
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    if path == '/write':
        write(b'written ')
    if path == '/wrapper':
        return environ['wsgi.file_wrapper'](io.BytesIO(body), 2)
    if path == '/generator':
        return (bytes([byte]) for byte in body)
    return [body]
application = validator(plain)
",
            )
            .at(prefix),
        );
        let under = |path: &str| format!("{}{path}", prefix.trim_end_matches('/'));
        for path in ["/list", "/generator", "/write", "/wrapper"] {
            for body in [&b""[..], b"one line\ntwo", &b"many lines\n".repeat(5000)] {
                for request in [post(&under(path), body), post(&under(path), body).unknown_length()] {
                    let response = site.send(request);
                    assert_eq!(response.status, 200, "{path}\n{}", site.log());
                    assert!(response.whole && response.body.ends_with(body), "{path} lost a part of {}", body.len());
                }
            }
            assert_eq!(site.send(get(&under(path)).method("HEAD")).status, 200, "{path}\n{}", site.log());
            assert_eq!(site.send(get(&under(path)).http_1_0()).status, 200, "{path}\n{}", site.log());
        }
        assert_eq!(site.get(&format!("{prefix}?a=b")).status, 200, "{}", site.log());
        for code in ["204", "304"] {
            assert_eq!(site.get(&under(&format!("/code?{code}"))).status.to_string(), code, "{}", site.log());
        }
        let log = site.stop();
        for complaint in ["AssertionError", "WSGIWarning", "garbage collected without being closed", "Traceback"] {
            assert!(!log.contains(complaint), "{complaint} in\n{log}");
        }
    }
}

/// Whether the host answers ranges (`wsgi_allow_ranges`) is the operator's choice.
pub(super) fn ranges_are_left_to_the_application(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [('X-Range', environ.get('HTTP_RANGE', ''))])
    return [b'0123456789']
",
    ));
    let response = site.send(get("/").header("range", "bytes=2-4"));
    assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
    assert_eq!(response.header("X-Range"), Some("bytes=2-4"));
    assert_eq!(response.header("Accept-Ranges"), None);
}

/// A 206 response of the application is sent unchanged.
pub(super) fn a_range_that_the_application_answers_passes_as_it_is(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('206 Partial Content', [('Content-Range', 'bytes 2-4/10'), ('Content-Length', '3')])
    return [b'234']
",
    ));
    let response = site.send(get("/").header("range", "bytes=2-4"));
    assert_eq!((response.status, response.text().as_str()), (206, "234"));
    assert_eq!(response.header("Content-Range"), Some("bytes 2-4/10"));
}
