//! `wsgi.errors`, and the output of print in applications (PEP 3333, "Input and Error Streams").

use super::host::{HostUnderTest, Served, Site, get};
use crate::Gate;

/// Serves one request with an application that runs these statements, where `errors` is the stream, and returns the complete
/// log.
pub(super) fn log_of(host: &dyn HostUnderTest, statements: &str) -> String {
    let site = host.serve(Site::new(format!(
        "
import sys
def application(environ, start_response):
    errors = environ['wsgi.errors']
    {}
    start_response('200 OK', [])
    return [b'ok']
",
        statements.trim().replace('\n', "\n    ")
    )));
    assert_eq!(site.get("/").ok(), "ok");
    site.stop()
}

/// Returns how many records contain this text. A host may add text around it, e.g. the time.
fn records(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[track_caller]
pub(super) fn assert_logged(log: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(records(log, text), 1, "{text:?} in:\n{log}");
    }
}

pub(super) fn errors_stream_has_write_writelines_and_flush(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
results = [errors.write('by write\\n'), errors.write(''), errors.flush()]
results += [errors.writelines(['in ', 'a list\\n']), errors.writelines(f'line {n}\\n' for n in range(3))]
results += [errors.flush()]
errors.write(f'{results}\\n')",
    );
    // As with any text stream, write() returns the number of characters written.
    assert_logged(&log, &["by write", "in a list", "line 0", "line 1", "line 2", "[9, 0, None, None, None, None]"]);
}

pub(super) fn errors_stream_serves_print_logging_and_traceback(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
import logging, traceback
print('by', 'print', file=errors, flush=True)
logger = logging.Logger('mine')
logger.addHandler(logging.StreamHandler(errors))
logger.warning('by %s', 'logging')
try:
    raise LookupError('by traceback')
except LookupError:
    traceback.print_exc(file=errors)",
    );
    assert_logged(&log, &["by print", "by logging", "LookupError: by traceback"]);
}

pub(super) fn errors_stream_takes_any_text(host: &dyn HostUnderTest) {
    let log = log_of(host, r"errors.write('\ud800 lone, \u4e2d wide, \U0001d11e high, \xe9 accented, \\ itself\n')");
    assert_logged(&log, &["\\ud800 lone, 中 wide, 𝄞 high, é accented, \\ itself"]);
}

pub(super) fn errors_stream_is_for_text_alone(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
for number, write in enumerate([
    lambda: errors.write(b'octets'), lambda: errors.write(None), lambda: errors.write(1), lambda: errors.write(),
    lambda: errors.write('two', 'texts'), lambda: errors.writelines([b'octets']), lambda: errors.writelines(None),
]):
    try:
        write()
    except TypeError as error:
        errors.write(f'{number} is refused: {error}\\n')",
    );
    for number in 0..7 {
        assert_logged(&log, &[&format!("{number} is refused: ")]);
    }
    for number in [0, 1, 2, 5] {
        let refusal = log.lines().find(|line| line.contains(&format!("{number} is refused: "))).unwrap_or_default();
        assert!(refusal.contains("str") && refusal.contains("PEP 3333"), "{refusal}");
    }
    assert!(!log.contains("octets") && !log.contains("two"), "{log}");
}

pub(super) fn newline_ends_a_record_and_nothing_else_does(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
errors.write('<one>\\n<two>\\n<thr')
errors.write('ee>')
errors.writelines([' and', ' <four>', '\\n<five>\\n'])
errors.write('<six>\\r\\n<seven>\\n')",
    );
    assert_logged(&log, &["<one>", "<two>", "<three> and <four>", "<five>", "<six>", "<seven>"]);
    for joined in ["><", "<one>\\", "<six>\\", "\r"] {
        assert!(!log.contains(joined), "{joined:?} in:\n{log}");
    }
}

pub(super) fn line_without_its_end_is_logged_by_flush(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
errors.write('<before>')
errors.flush()
errors.flush()
errors.write('<after>\\n')
print('<printed>', end='', flush=True)
print('<apart>')",
    );
    assert_logged(&log, &["<before>", "<after>", "<printed>", "<apart>"]);
    assert!(!log.contains("><"), "{log}");
}

pub(super) fn line_without_its_end_is_logged_at_the_end_of_the_request(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import sys
def application(environ, start_response):
    name = environ['PATH_INFO'][1:]
    environ['wsgi.errors'].write(f'errors of {name}')
    print(f'output of {name}', end='')
    print(f'stderr of {name}', end='', file=sys.stderr)
    start_response('200 OK', [])
    return [b'ok']
",
    ));
    for path in ["/first", "/second"] {
        assert_eq!(site.get(path).ok(), "ok");
    }
    let log = site.stop();
    for stream in ["errors", "output", "stderr"] {
        let lines = [format!("{stream} of first"), format!("{stream} of second")];
        assert_logged(&log, &[&lines[0], &lines[1]]);
        assert!(!log.contains(&lines.concat()), "two requests share a line:\n{log}");
    }
}

/// The text is in the log before the request ends.
pub(super) fn flushed_lines_are_logged_at_once(host: &dyn HostUnderTest) {
    let path =
        std::env::temp_dir().join(format!("wsgi-flush-{}-{:?}", std::process::id(), std::thread::current().id()));
    let gate = Gate::new(&path);
    let site = host.serve(Site::new(format!(
        "
import sys
def application(environ, start_response):
    start_response('200 OK', [])
    environ['wsgi.errors'].write('<by errors>')
    environ['wsgi.errors'].flush()
    print('<by stdout>', end='', flush=True)
    open({path:?}).read()
    yield b'ok'
"
    )));
    let mut client = site.connect();
    client.send(get("/").to_bytes());
    let standing = gate.arrival();
    site.logged("<by errors>");
    site.logged("<by stdout>");
    drop(standing);
    assert_eq!(client.response().ok(), "ok");
    std::fs::remove_file(path).expect("the gate can be removed");
}

/// The host must not use the text as a format string.
pub(super) fn percent_sequences_are_logged_as_they_are(host: &dyn HostUnderTest) {
    let text = "%s %d %n %V %p %% %s%s%s%s %*s %P %Z %N {} {0} $request";
    let log = log_of(
        host,
        &format!(
            "for name, file in [('errors', errors), ('stderr', sys.stderr), ('stdout', None)]: print(name, {text:?}, file=file)"
        ),
    );
    for stream in ["errors", "stderr", "stdout"] {
        assert_logged(&log, &[&format!("{stream} {text}")]);
    }
}

pub(super) fn percent_sequences_of_an_exception_are_logged_as_they_are(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    raise ValueError('%s %d %n %V %p %% %s%s%s%s {} $request')
",
    ));
    assert_eq!(site.get("/").status, 500);
    assert_logged(&site.stop(), &["ValueError: %s %d %n %V %p %% %s%s%s%s {} $request"]);
}

/// Text must not look like a record of the host, or control the terminal that shows the log.
pub(super) fn control_characters_are_escaped_in_the_log(host: &dyn HostUnderTest) {
    let text = r"'a\x1b[31mb\0c\rd\x7fe\x9bf\tg\n'";
    let log =
        log_of(host, &format!("errors.write('errors ' + {text})\nprint('stdout', {text})\nsys.stderr.write({text})"));
    assert_eq!(records(&log, "a\\x1b[31mb\\x00c\\x0dd\\x7fe\\x9bf\tg"), 3, "{log}");
    assert!(log.chars().all(|character| !character.is_control() || "\n\t".contains(character)), "{log:?}");
}

/// Hosts split records at different lengths, between characters.
pub(super) fn long_line_is_logged_without_a_loss(host: &dyn HostUnderTest) {
    let log = log_of(host, "errors.write('<begin>' + 'é' * 100000 + '<end>\\n')");
    assert_logged(&log, &["<begin>é", "é<end>"]);
    assert_eq!(log.matches('é').count(), 100_000);
}

pub(super) fn printed_lines_are_logged(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        r"
print('to stdout')
print('to stderr', file=sys.stderr)
print('to the first stdout', file=sys.__stdout__)
sys.stderr.writelines(['in ', 'three ', 'parts\n'])
print('any \udcff text é中')
answers = [sys.stdout.write('counted\n'), sys.stdout.writable(), sys.stdout.isatty(), sys.stderr.encoding]
print('streams say', answers)",
    );
    assert_logged(
        &log,
        &["to stdout", "to stderr", "to the first stdout", "in three parts", "any \\udcff text é中", "counted"],
    );
    assert_logged(&log, &["streams say [8, True, False, 'utf-8']"]);
}

pub(super) fn errors_stream_is_open_until_close_has_returned(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
class Blocks:
    def __init__(self, errors):
        self.errors = errors
    def __iter__(self):
        self.errors.write('while iterating\\n')
        yield b'ok'
        self.errors.write('after the last block\\n')
    def close(self):
        self.errors.write('in close')

def application(environ, start_response):
    start_response('200 OK', [])
    return Blocks(environ['wsgi.errors'])
",
    ));
    assert_eq!(site.get("/").ok(), "ok");
    assert_logged(&site.stop(), &["while iterating", "after the last block", "in close"]);
}

pub(super) fn errors_stream_takes_lines_from_any_thread(host: &dyn HostUnderTest) {
    let log = log_of(
        host,
        "
import threading
def work(number):
    for line in range(20):
        errors.write(f'<{number}, {line}>\\n')
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()",
    );
    for number in 0..4 {
        for line in 0..20 {
            assert_logged(&log, &[&format!("<{number}, {line}>")]);
        }
    }
}

pub(super) fn errors_stream_expires_with_its_request(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
kept = []
def refused(use):
    try:
        use()
    except (RuntimeError, ValueError) as error:
        return 'request is over' in str(error)

def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/keep':
        kept.append(environ['wsgi.errors'])
        return [b'kept']
    late = kept[0]
    return [repr([refused(use) for use in (late.flush, lambda: late.write(''), lambda: late.writelines([]))]).encode()]
",
    ));
    assert_eq!(site.get("/keep").ok(), "kept");
    site.eventually("/late", "[True, True, True]");
}

/// A logger that is set up when a module is loaded keeps these streams.
pub(super) fn standard_streams_outlive_every_request(host: &dyn HostUnderTest) {
    let site: Box<dyn Served> = host.serve(Site::new(
        "
import logging, sys
logger = logging.Logger('mine')
logger.addHandler(logging.StreamHandler(sys.stderr))
logger.warning('while loading')
stdout = sys.stdout
def application(environ, start_response):
    logger.warning('by request %s', environ['PATH_INFO'])
    print('printed by', environ['PATH_INFO'], file=stdout)
    start_response('200 OK', [])
    return [b'ok']
",
    ));
    for path in ["/one", "/two", "/three"] {
        assert_eq!(site.get(path).ok(), "ok");
    }
    let log = site.stop();
    // A host may repeat the request's path in its part of the record.
    assert_logged(&log, &["while loading"]);
    for path in ["/one", "/two", "/three"] {
        assert_logged(&log, &[&format!("by request {path}"), &format!("printed by {path}")]);
    }
}
