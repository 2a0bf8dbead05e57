//! `wsgi.file_wrapper` as a Python object: its arguments, its `close()`, middleware around it (PEP 3333, "Optional
//! Platform-Specific File Handling").

use super::file_wrapper::serve;
use super::host::{HostUnderTest, get, post};
use crate::Request;

pub(super) fn file_wrapper_takes_a_file_and_perhaps_a_block_size(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def refused(wrap, *arguments):
    try:
        wrap(*arguments)
    except TypeError:
        return True

def file(environ, start_response):
    wrap = environ['wsgi.file_wrapper']
    start_response('200 OK', [])
    answers = [b''.join(wrap(io.BytesIO(b'one'))), b''.join(wrap(io.BytesIO(b'two'), 2))]
    answers += [list(wrap(Reader(b'three'), 2))]
    answers += [refused(wrap), refused(wrap, io.BytesIO(), 1, 2)]
    return [repr(answers).encode()]
",
    );
    assert_eq!(site.get("/file").ok(), "[b'one', b'two', [b'th', b're', b'e'], True, True]");
}

pub(super) fn file_wrapper_has_close_if_its_file_has(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def file(environ, start_response):
    wrap = environ['wsgi.file_wrapper']
    with_close, without = wrap(Opened(b'content')), wrap(Reader(b'content'))
    answers = [hasattr(with_close, 'close'), hasattr(without, 'close'), list(Log.seen)]
    with_close.close()
    start_response('200 OK', [])
    return [repr(answers + Log.seen).encode()]
",
    );
    assert_eq!(site.get("/file").ok(), "[True, False, [], 'close']");
}

pub(super) fn file_is_closed_once_however_the_response_ends(host: &dyn HostUnderTest) {
    let functions = "
class Broken(Opened):
    def read(self, size):
        if self.tell():
            raise OSError('the disk is broken')
        return super().read(size)

def empty(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Opened())

def sent(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Opened(b'content' * 10000))

def part(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    return environ['wsgi.file_wrapper'](Opened(b'content'))

def unwanted(environ, start_response):
    start_response('304 Not Modified', [])
    return environ['wsgi.file_wrapper'](Opened(b'content'))

def unstarted(environ, start_response):
    return environ['wsgi.file_wrapper'](Opened(b'content'))

def broken(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Broken(b'content'), 4)

def closes(environ, start_response):
    start_response('200 OK', [])
    return [str(Log.seen.count('close')).encode()]
";
    let cases: [(Request, u16); 7] = [
        (get("/empty"), 200),
        (get("/sent"), 200),
        (get("/part"), 200),
        (get("/unwanted"), 304),
        (get("/unstarted"), 500),
        (get("/broken"), 200),
        (post("/sent", b"body"), 200),
    ];
    for (request, status) in cases {
        let site = serve(host, functions);
        assert_eq!(site.send(request.clone()).status, status, "{request:?}");
        site.eventually("/closes", "1");
        assert_eq!(site.get("/closes").ok(), "1", "{request:?}");
    }
}

pub(super) fn file_wrapper_that_is_not_returned_does_nothing(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
import weakref
kept = []
def file(environ, start_response):
    start_response('200 OK', [])
    file = Opened(b'content')
    wrapper = environ['wsgi.file_wrapper'](file)
    kept.append((file, weakref.ref(wrapper)))
    if environ['QUERY_STRING'] == 'raise':
        raise ValueError('after wrapping')
    return [b'something else']

def later(environ, start_response):
    start_response('200 OK', [])
    return [repr([(file.closed, file.tell(), wrapper()) for file, wrapper in kept] + Log.seen).encode()]
",
    );
    assert_eq!(site.get("/file").ok(), "something else");
    let failed = site.get("/file?raise");
    assert!(failed.status == 500 && !failed.text().contains("content"), "{failed:?}");
    // The wrapper is in no reference cycle, which only the garbage collector could free.
    site.eventually("/later", "[(False, 0, None), (False, 0, None)]");
}

pub(super) fn file_wrapper_is_an_iterable_for_middleware(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
class Upper:
    '''Middleware as PEP 3333 has it: it hands on blocks and close().'''
    def __init__(self, blocks):
        self.blocks = iter(blocks)
        if hasattr(blocks, 'close'):
            self.close = blocks.close
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks).upper()

def through(blocks):
    yield from blocks

MIDDLEWARE = {
    'class': Upper,
    'map': lambda blocks: map(bytes.upper, blocks),
    'generator': lambda blocks: (block.upper() for block in blocks),
    'list': lambda blocks: [block.upper() for block in blocks],
    'through': through,
}
def file(environ, start_response):
    start_response('200 OK', [])
    kind, make = environ['QUERY_STRING'].split('&')
    wrapper = environ['wsgi.file_wrapper'](globals()[make](b'content ' * 5000))
    return MIDDLEWARE[kind](wrapper)
",
    );
    for kind in ["class", "map", "generator", "list", "through"] {
        for make in ["on_disk", "Opened"] {
            let content = if kind == "through" { "content " } else { "CONTENT " };
            let response = site.get(&format!("/file?{kind}&{make}"));
            assert!(response.ok() == content.repeat(5_000), "{kind}, {make}: {} bytes", response.body.len());
        }
    }
}

/// Such a wrapper is used like any other iterable.
pub(super) fn file_wrapper_of_an_earlier_request_can_be_returned(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
kept = []
def make(environ, start_response):
    start_response('200 OK', [])
    kept.append(environ['wsgi.file_wrapper'](on_disk(b'kept')))
    return [b'made']

def use(environ, start_response):
    start_response('200 OK', [])
    return kept[0]
",
    );
    assert_eq!(site.get("/make").ok(), "made");
    assert_eq!(site.get("/use").ok(), "kept");
}
