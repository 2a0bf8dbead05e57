//! The standard streams are text streams of Python, and `wsgi.errors` has the same methods.

use super::errors_stream::{assert_logged, log_of};
use super::host::{HostUnderTest, Site};

pub(super) fn standard_streams_are_text_streams_of_python(host: &dyn HostUnderTest) {
    log_of(
        host,
        "
import io, pickle
assert sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__ and sys.stdin is sys.__stdin__
for stream, name in [(sys.stdout, '<stdout>'), (sys.stderr, '<stderr>')]:
    assert type(stream) is io.TextIOWrapper, type(stream)
    assert (stream.name, stream.mode, stream.encoding, stream.errors) == (name, 'w', 'utf-8', 'backslashreplace'), stream
    assert stream.write_through and not stream.line_buffering and not stream.closed
    assert (stream.fileno(), stream.isatty(), stream.buffer.fileno(), stream.buffer.isatty()) == (2, False, 2, False)
    assert (stream.readable(), stream.writable(), stream.seekable()) == (False, True, False)
    assert isinstance(stream.buffer, io.BufferedIOBase) and stream.buffer.name == name and stream.buffer.writable()
    for way in [stream.read, stream.buffer.read, stream.tell, lambda: stream.seek(1), stream.truncate]:
        try:
            way()
        except io.UnsupportedOperation:
            continue
        assert False, way
    for unpicklable in [stream, stream.buffer]:
        try:
            pickle.dumps(unpicklable)
        except TypeError as error:
            assert 'cannot pickle' in str(error), error
        else:
            assert False, unpicklable",
    );
}

pub(super) fn standard_input_is_an_empty_text_stream(host: &dyn HostUnderTest) {
    log_of(
        host,
        "
import io, os, subprocess
assert type(sys.stdin) is io.TextIOWrapper and isinstance(sys.stdin.buffer, io.BufferedReader)
assert (sys.stdin.name, sys.stdin.mode, sys.stdin.encoding) == ('<stdin>', 'r', 'utf-8')
assert (sys.stdin.read(), sys.stdin.readline(), list(sys.stdin)) == ('', '', [])
assert (sys.stdin.buffer.read(), sys.stdin.buffer.read1(5), sys.stdin.buffer.raw.read()) == (b'', b'', b'')
assert not sys.stdin.isatty() and not sys.stdin.writable() and sys.stdin.readable()
try:
    input()
except EOFError:
    pass
else:
    assert False
assert os.read(sys.stdin.fileno(), 9) == b'' and not os.get_inheritable(sys.stdin.fileno())
subprocess.run(['cat'], stdin=sys.stdin, check=True)",
    );
}

pub(super) fn bytes_written_to_a_standard_stream_are_logged(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        r"
import array
out = sys.stdout.buffer
counts = [out.write(b'<bytes>\n'), out.write(bytearray(b'<array>\n')), out.write(memoryview(b'..<view>\n')[2:])]
counts += [out.write(array.array('H', [0x4141, 0x0a41])), out.write(b''), out.writelines([b'<two ', bytearray(b'blocks>\n')])]
assert counts == [8, 8, 7, 4, 0, None], counts
sys.stderr.buffer.write('<é中𝄞>\n'.encode())
for byte in '<é中𝄞 by bytes>\n'.encode(): sys.stderr.buffer.write(bytes([byte]))
sys.stdout.buffer.write(b'<\xff\xc3(\xe4\xb8 no text>\n')
sys.stdout.buffer.write(b'<cut \xe4\xb8')
print('by text>')
for wrong in ['text', None, 1, memoryview(b'abcd')[::2]]:
    try:
        out.write(wrong)
    except (TypeError, BufferError):
        continue
    assert False, wrong
sys.stdout.buffer.raw.write(b'<raw>\n')",
    );
    assert_logged(&log, &["<bytes>", "<array>", "<view>", "AAA", "<two blocks>", "<é中𝄞>", "<é中𝄞 by bytes>", "<raw>"]);
    assert_logged(&log, &["<\\xff\\xc3(\\xe4\\xb8 no text>", "<cut \\xe4\\xb8by text>"]);
}

/// Each of these wrappers closes the wrapped stream when it is closed or collected.
pub(super) fn streams_around_the_bytes_of_a_standard_stream_leave_it_open(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        r"
import codecs, gc, io
stream = io.TextIOWrapper(sys.stderr.buffer, encoding='utf-8')
print('<collected>', file=stream)
del stream
gc.collect()
print('<after the first>', file=sys.stderr)
with io.TextIOWrapper(sys.stderr.buffer, encoding='latin-1', errors='replace', line_buffering=True) as stream:
    print('<é of latin-1>', file=stream)
with io.BufferedWriter(sys.stderr.buffer.raw) as stream:
    stream.write(b'<buffered>\n')
with codecs.getwriter('utf-8')(sys.stdout.buffer) as stream:
    stream.write('<codec é>\n')
# As a second script does that finds what the first one has put into sys.stdout.
codecs.getwriter('utf-8')(codecs.getwriter('utf-8')(sys.stdout.buffer).buffer).write('<second codec>\n')
codecs.getwriter('utf-8')(codecs.getwriter('utf-8')(sys.stdout.buffer).detach()).write('<detached codec>\n')
with sys.stdout.buffer as stream:
    stream.write(b'<with>\n')
sys.stdout.buffer.close()
print('<after closing its bytes>')
sys.stdout.close()
print('<after closing>')
assert not sys.stdout.closed and not sys.stdout.buffer.closed",
    );
    assert_logged(&log, &["<collected>", "<after the first>", "<\\xe9 of latin-1>", "<buffered>", "<codec é>"]);
    assert_logged(
        &log,
        &["<second codec>", "<detached codec>", "<with>", "<after closing its bytes>", "<after closing>"],
    );
}

pub(super) fn standard_streams_serve_subprocess_and_redirection(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
import contextlib, io, os, subprocess
subprocess.run(['true'], stdin=sys.stdin, stdout=sys.stdout, stderr=sys.stderr, check=True)
duplicate = os.dup(sys.stdout.fileno())
os.close(duplicate)
with contextlib.redirect_stdout(io.StringIO()) as text:
    print('<redirected>')
assert text.getvalue() == '<redirected>\\n'
with contextlib.redirect_stdout(sys.stderr):
    print('<to the other>')",
    );
    assert_logged(&log, &["<to the other>"]);
    assert!(!log.contains("<redirected>"), "{log}");
}

pub(super) fn errors_stream_has_the_attributes_of_a_text_stream(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        r"
import gc, io
assert (errors.encoding, errors.errors, errors.mode, errors.name) == ('utf-8', 'backslashreplace', 'w', '<wsgi.errors>')
assert (errors.isatty(), errors.fileno(), errors.readable(), errors.writable(), errors.seekable()) == (False, 2, False, True, False)
assert isinstance(errors.buffer, io.BufferedIOBase) and errors.buffer is errors.buffer
assert (errors.buffer.fileno(), errors.buffer.isatty(), errors.buffer.writable()) == (2, False, True)
counts = [errors.buffer.write('<é>\n'.encode()), errors.buffer.writelines([b'<bl', bytearray(b'oc'), memoryview(b'ks>\n')])]
assert counts == [5, None], counts
errors.buffer.write(b'<cut \xc3')
errors.buffer.write(b'\xa9>\n')
errors.buffer.write(b'<\xff>\n<flushed>')
errors.buffer.flush()
errors.buffer.write(b'<bytes ')
errors.write('and text>\n')
stream = io.TextIOWrapper(errors.buffer, encoding='utf-8')
stream.write('<around>\n')
del stream
gc.collect()
errors.close()
errors.buffer.close()
print('<after closing>', file=errors)
errors.buffer.write(b'<without an end>')
for wrong in ['text', None]:
    try:
        errors.buffer.write(wrong)
    except TypeError:
        continue
    assert False, wrong",
    );
    assert_logged(&log, &["<é>", "<blocks>", "<cut é>", "<\\xff>", "<flushed>", "<bytes and text>", "<around>"]);
    assert_logged(&log, &["<after closing>", "<without an end>"]);
}

pub(super) fn bytes_of_the_errors_stream_expire_with_its_request(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import gc, io
kept = []
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/keep':
        kept.append(io.TextIOWrapper(environ['wsgi.errors'].buffer, write_through=True))
        print('<in time>', file=kept[0])
        return [b'kept']
    late = kept[0]
    try:
        late.write('<late>')
    except (RuntimeError, ValueError) as error:
        refused = 'request is over' in str(error)
    late.flush()
    del late, kept[0]
    gc.collect()
    kept.append(io.TextIOWrapper(environ['wsgi.errors'].buffer, write_through=True))
    return [repr(refused).encode()]
",
    ));
    assert_eq!(site.get("/keep").ok(), "kept");
    site.eventually("/late", "True");
    let log = site.stop();
    assert_logged(&log, &["<in time>"]);
    assert!(!log.contains("<late>") && !log.contains("Exception ignored"), "{log}");
}

pub(super) fn an_application_cannot_disable_reports_of_crashes(host: &dyn HostUnderTest) {
    log_of(
        host,
        "
import faulthandler
assert faulthandler.is_enabled()
for enable in [faulthandler.enable, lambda: faulthandler.enable(sys.stdout), lambda: faulthandler.enable(file=sys.__stderr__)]:
    enable()
    assert faulthandler.disable() is True
    assert faulthandler.is_enabled()",
    );
}
