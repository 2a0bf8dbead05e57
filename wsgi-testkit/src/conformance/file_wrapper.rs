//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling"). A host may send files in a faster way; the
//! response is the same.

use super::host::{HostUnderTest, Served, Site};

/// Kinds of files; `/seen` reports how they were used.
const FILES: &str = "
import gzip, io, os, tempfile

def on_disk(content):
    file = tempfile.TemporaryFile()
    file.write(content)
    file.seek(0)
    return file

def descriptor(content):
    file = on_disk(content)
    return os.dup(file.fileno())

class Log:
    seen = []

class Opened(io.BytesIO):
    '''Tells what is done to it.'''
    def read(self, *size):
        Log.seen.append(('read', *size))
        return super().read(*size)
    def close(self):
        Log.seen.append('close')
        super().close()

class Reader:
    '''Has nothing but read().'''
    def __init__(self, content):
        self.read = io.BytesIO(content).read

def seen(environ, start_response):
    start_response('200 OK', [])
    return [repr(Log.seen).encode()]
";

/// Serves functions that can use these files.
pub(super) fn serve(host: &dyn HostUnderTest, functions: &str) -> Box<dyn Served> {
    host.serve(Site::of_functions(&format!("{FILES}\n{functions}")))
}

pub(super) fn file_wrapper_sends_any_kind_of_file(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
import threading
CONTENT = b'0123456789abcdef\\n' * 20000

def pipe(content):
    reader, writer = os.pipe()
    def fill():
        with open(writer, 'wb') as file:
            file.write(content)
    threading.Thread(target=fill, daemon=True).start()
    return open(reader, 'rb')

def named(content):
    file = tempfile.NamedTemporaryFile()
    file.write(content)
    file.seek(0)
    return file

def written(content):
    '''Its position is behind data that is still in the buffer of the object.'''
    file = on_disk(b'head' + content)
    file.write(b'HEAD')
    return file

KINDS = {
    'memory': lambda: (io.BytesIO(CONTENT),),
    'regular': lambda: (on_disk(CONTENT),),
    'named': lambda: (named(CONTENT),),
    'written': lambda: (written(CONTENT),),
    'unbuffered': lambda: (open(descriptor(CONTENT), 'rb', buffering=0),),
    'reader': lambda: (Reader(CONTENT),),
    'small-blocks': lambda: (on_disk(CONTENT), 1000),
    'large-blocks': lambda: (on_disk(CONTENT), 2 ** 30),
    'pipe': lambda: (pipe(CONTENT),),
}
def file(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](*KINDS[environ['QUERY_STRING']]())
",
    );
    for kind in
        ["memory", "regular", "named", "written", "unbuffered", "reader", "small-blocks", "large-blocks", "pipe"]
    {
        let response = site.get(&format!("/file?{kind}"));
        assert!(response.ok() == "0123456789abcdef\n".repeat(20_000), "{kind}: {} bytes", response.body.len());
    }
}

/// The data of the descriptor may differ from the result of `read()`.
pub(super) fn file_wrapper_sends_what_read_gives(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def unzipped(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](gzip.GzipFile(mode='rb', fileobj=on_disk(gzip.compress(b'unzipped'))))

class Upper(io.FileIO):
    def read(self, size=-1):
        return super().read(size).upper()

def upper(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Upper(descriptor(b'in capitals')))

def proc(environ, start_response):
    '''Its length is 0 for the system.'''
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](open('/proc/sys/kernel/ostype', 'rb'))

class Replaced(io.FileIO):
    pass

def replaced(environ, start_response):
    file = Replaced(descriptor(b'line 1\\nline 2\\n'))
    file.read = io.BytesIO(b'of the instance').read
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file)

def empty(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](on_disk(b''))

def at_its_end(environ, start_response):
    file = on_disk(b'read')
    file.read()
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file)

def behind_its_end(environ, start_response):
    file = on_disk(b'read')
    file.seek(100)
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file)

def raw_of_a_class(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](io.BufferedReader(Capitals(descriptor(b'in capitals'))))

class Capitals(io.FileIO):
    def readinto(self, buffer):
        count = super().readinto(buffer)
        buffer[:count] = bytes(buffer[:count]).upper()
        return count

def lent(environ, start_response):
    file = Reader(b'its own content')
    file.fileno = on_disk(b'somebody else\\'s').fileno
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file)
",
    );
    for (path, body) in [
        ("/unzipped", "unzipped"),
        ("/upper", "IN CAPITALS"),
        ("/proc", "Linux\n"),
        ("/replaced", "of the instance"),
        ("/empty", ""),
        ("/at_its_end", ""),
        ("/behind_its_end", ""),
        ("/raw_of_a_class", "IN CAPITALS"),
        ("/lent", "its own content"),
    ] {
        assert_eq!(site.get(path).ok(), body);
    }
}

/// Its `read()` returns `str`, though its descriptor would give bytes.
pub(super) fn file_wrapper_of_a_text_file_is_an_error(host: &dyn HostUnderTest) {
    for file in ["io.StringIO('text')", "open(descriptor(b'text'), 'r')"] {
        let site = serve(
            host,
            &format!(
                "
def file(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper']({file})
"
            ),
        );
        let response = site.get("/file");
        assert_eq!(response.status, 500);
        assert!(!response.text().contains("text"), "{response:?}");
        let log = site.stop();
        assert_eq!(log.lines().filter(|line| line.contains("str instead of bytes (PEP 3333")).count(), 1, "{log}");
    }
}

pub(super) fn file_wrapper_begins_at_the_position_of_its_file(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def moved(file):
    file.seek(5)
    return file

def half_read(file):
    '''The descriptor is further than the file, which has a buffer.'''
    assert file.read(3) == b'012'
    assert file.readline() == b'34\\n'
    return file

def late(file):
    '''The position counts when it is sent, not when it is wrapped.'''
    return file

def file(environ, start_response):
    start_response('200 OK', [])
    move, make = environ['QUERY_STRING'].split('&')
    file = globals()[move](globals()[make](b'01234\\n' + b'56789\\n' * 20000))
    wrapper = environ['wsgi.file_wrapper'](file)
    if move == 'late':
        file.seek(-3, os.SEEK_END)
    return wrapper
",
    );
    for make in ["on_disk", "Opened"] {
        let rest = "56789\n".repeat(20_000);
        for (how, body) in [("moved", format!("\n{rest}")), ("half_read", rest.clone()), ("late", "89\n".to_owned())] {
            let response = site.get(&format!("/file?{how}&{make}"));
            assert!(response.ok() == body, "{how}, {make}: {} bytes", response.body.len());
        }
    }
}

/// An application may send a part of a file by a position and a length, so this logs no error.
pub(super) fn file_wrapper_ends_quietly_at_content_length(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def file(environ, start_response):
    make, *size = environ['QUERY_STRING'].split('&')
    file = globals()[make](b'0123456789' * 10000)
    file.seek(10000)
    start_response('206 Partial Content', [('Content-Length', '20000'), ('Content-Range', 'bytes 10000-29999/100000')])
    return environ['wsgi.file_wrapper'](file, *map(int, size))
",
    );
    for query in ["on_disk", "on_disk&20000", "on_disk&1000000", "Opened", "Reader_of"] {
        let query = query.replace("Reader_of", "Opened&7");
        let response = site.get(&format!("/file?{query}"));
        assert_eq!((response.status, response.header("Content-Length")), (206, Some("20000")), "{query}");
        assert!(response.whole && response.text() == "0123456789".repeat(2_000), "{query}: {response:?}");
    }
    let log = site.stop();
    assert!(!log.contains("Content-Length") && !log.contains("Traceback"), "{log}");
}

/// The client must be able to detect it.
pub(super) fn file_that_is_shorter_than_content_length_is_cut(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
def file(environ, start_response):
    start_response('200 OK', [('Content-Length', '1000')])
    return environ['wsgi.file_wrapper'](globals()[environ['QUERY_STRING']](b'short'))
",
    );
    for make in ["on_disk", "Opened"] {
        let response = site.get(&format!("/file?{make}"));
        assert_eq!((response.text().as_str(), response.whole), ("short", false), "{make}");
    }
    let log = site.stop();
    assert_eq!(log.lines().filter(|line| line.contains("PEP 3333") && line.contains("1000")).count(), 2, "{log}");
}

pub(super) fn error_of_a_file_in_a_wrapper_cuts_the_response(host: &dyn HostUnderTest) {
    let site = serve(
        host,
        "
class Broken(Reader):
    def __init__(self, content):
        super().__init__(content)
        self.good, self.read = self.read, self.broken
    def broken(self, size):
        block = self.good(size)
        if not block:
            raise OSError('the disk is broken')
        return block

def file(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](Broken(b'content'), 4)
",
    );
    let response = site.get("/file");
    assert_eq!((response.status, response.text().as_str(), response.whole), (200, "content", false));
    let log = site.stop();
    assert_eq!(log.matches("OSError: the disk is broken").count(), 1, "{log}");
}

pub(super) fn file_follows_what_was_written(host: &dyn HostUnderTest) {
    let functions = "
def file(environ, start_response):
    write = start_response('200 OK', [])
    write(b'written, ')
    return environ['wsgi.file_wrapper'](globals()[environ['QUERY_STRING']](b'wrapped'))
";
    for directive in ["wsgi_write_buffering off", "wsgi_write_buffering on"] {
        let site = host.serve(Site::of_functions(&format!("{FILES}\n{functions}")).with(directive));
        for make in ["on_disk", "Opened"] {
            assert_eq!(site.get(&format!("/file?{make}")).ok(), "written, wrapped", "{directive}, {make}");
        }
    }
}
