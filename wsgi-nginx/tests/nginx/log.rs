//! What applications say ends up in the error log: whole, one line a record, and never as a format.

use crate::harness::{HELLO, Mode, Nginx, Site, get, in_both_modes};

/// A site whose application runs `statements` at each request.
fn site(mode: Mode, statements: &str) -> Site {
    let source = format!(
        "
import sys
def application(environ, start_response):
    errors = environ['wsgi.errors']
    {}
    start_response('200 OK', [])
    return [b'ok']
",
        statements.replace('\n', "\n    ")
    );
    Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;")
}

fn after_one_request(site: Site) -> (Nginx, String) {
    let nginx = site.start();
    assert_eq!(nginx.get("/path?query").ok(), "ok");
    let log = nginx.log();
    (nginx, log)
}

/// The text of the record that contains `text`, without nginx's time, level and context.
fn record(log: &str, text: &str) -> String {
    let line = log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text:?} in\n{log}"));
    line.to_owned()
}

#[test]
fn a_traceback_names_script_and_callable_and_goes_one_line_a_record() {
    in_both_modes(|mode| {
        let source = "
def my_app(environ, start_response):
    inner()
def inner():
    raise ValueError('line one\\nline two')
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py my_app;").start();
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("line two");
        let log = nginx.log();
        let first = record(&log, "exception in");
        assert!(first.contains("[error]") && first.contains("/app.py"), "{first}");
        assert!(first.contains("request: \"GET / HTTP/1.1\""), "{first}");
        for text in ["Traceback (most recent call last)", "in inner", "raise ValueError", "ValueError: line one"] {
            assert!(record(&log, text).contains("[error]"), "{text}");
        }
        assert!(log.lines().all(|line| line.starts_with("20")), "a line without nginx's time:\n{log}");
        assert_eq!(log.matches("Traceback").count(), 1, "logged twice");
    });
}

#[test]
fn percent_sequences_stay_as_they_are() {
    in_both_modes(|mode| {
        let text = "%s %V %n %d %p %% %s%s%s%s %*s %P %Z %N";
        let (nginx, _) = after_one_request(site(mode, &format!("print({text:?}, file=errors)\nprint({text:?})")));
        let lines = nginx.log_lines(text);
        assert_eq!(lines.len(), 2, "{}", nginx.log());
    });
}

#[test]
fn wsgi_errors_has_level_error_and_the_context_of_the_request() {
    in_both_modes(|mode| {
        let (_nginx, log) = after_one_request(site(mode, "errors.write('to errors\\n')"));
        let line = record(&log, "to errors");
        assert!(line.contains("[error]") && line.contains("request: \"GET /path?query HTTP/1.1\""), "{line}");
    });
}

#[test]
fn standard_error_has_level_error_and_standard_output_notice() {
    in_both_modes(|mode| {
        let (_nginx, log) = after_one_request(site(mode, "print('to stderr', file=sys.stderr)\nprint('to stdout')"));
        assert!(record(&log, "to stderr").contains("[error]"));
        assert!(record(&log, "to stdout").contains("[notice]"));
    });
}

#[test]
fn wsgi_errors_goes_to_the_log_of_its_location() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    environ['wsgi.errors'].write('said here\\n')
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx =
            Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;\nerror_log own.log;").start();
        assert_eq!(nginx.get("/").ok(), "ok");
        let own = std::fs::read_to_string(nginx.path("own.log")).expect("the log of the location");
        assert!(own.contains("said here"), "{own}");
        assert!(!nginx.log().contains("said here"));
    });
}

#[test]
fn an_incomplete_line_waits_for_its_end_or_for_the_end_of_the_request() {
    in_both_modes(|mode| {
        let statements = "
errors.write('one ')
errors.writelines(['and ', 'two\\nthree', ' and four'])
errors.flush()
errors.write('five\\nsix')
print('seven ', end='')
print('eight')";
        let (nginx, _) = after_one_request(site(mode, statements));
        for text in ["one and two", "three and four", "five", "six", "seven eight"] {
            nginx.logged(text);
        }
        assert!(!nginx.log().contains("twothree") && !nginx.log().contains("fivesix"));
    });
}

#[test]
fn a_long_line_is_split_and_nothing_of_it_is_lost() {
    in_both_modes(|mode| {
        let statements = "print('<' + ''.join(f'{n:05d}.' for n in range(2000)) + '>', file=errors)";
        let (_nginx, log) = after_one_request(site(mode, statements));
        for number in 0..2000 {
            // At a cut a number may stand half in one record and half in the next, but most do not.
            let text = format!("{number:05}.");
            if !log.contains(&text) {
                let cut = (1..text.len()).any(|at| log.contains(&text[..at]) && log.contains(&text[at..]));
                assert!(cut, "{text} is lost");
            }
        }
        assert!(log.contains('>'), "the end is lost");
        assert!(log.lines().all(|line| line.len() <= 2048), "nginx cuts at 2048 bytes");
    });
}

#[test]
fn a_long_line_of_characters_above_ascii_is_split_between_characters() {
    in_both_modes(|mode| {
        let (nginx, _) = after_one_request(site(mode, "print('é' * 5000, file=errors)"));
        let log = std::fs::read(nginx.path("error.log")).expect("a log");
        let log = String::from_utf8(log).expect("the log is UTF-8");
        assert_eq!(log.matches('é').count(), 5000);
    });
}

#[test]
fn control_characters_cannot_forge_a_record() {
    in_both_modes(|mode| {
        let statements = "errors.write('a\\x1b[31mb\\0c\\rd\\x7fe\\x9bf\\tg\\n')";
        let (_nginx, log) = after_one_request(site(mode, statements));
        let line = record(&log, "[31mb");
        for character in ['\x1b', '\0', '\r', '\x7f', '\u{9b}'] {
            assert!(!line.contains(character), "{character:?} in {line:?}");
        }
        assert!(line.contains("\\x1b[31mb\\x00c"), "{line}");
    });
}

#[test]
fn any_text_can_be_logged() {
    in_both_modes(|mode| {
        let statements = "
errors.write('\\ud800 lone, \\u4e2d wide, \\xe9 accented\\n')
print('\\udcff on stdout')
try:
    errors.write(b'bytes')
except TypeError:
    errors.write('bytes are refused\\n')";
        let (nginx, _) = after_one_request(site(mode, statements));
        for text in ["\\ud800 lone, 中 wide, é accented", "\\udcff on stdout", "bytes are refused"] {
            nginx.logged(text);
        }
    });
}

#[test]
fn lines_of_background_threads_and_of_logging_arrive_whole() {
    in_both_modes(|mode| {
        let source = "
import logging, threading
logging.basicConfig(level=logging.INFO)
def work(number):
    for line in range(50):
        logging.info('worker %d line %d %s', number, line, 'x' * 500)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
def application(environ, start_response):
    for thread in threads: thread.join()
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").ok(), "ok");
        let filler = "x".repeat(500);
        for number in 0..4 {
            for line in 0..50 {
                nginx.logged(&format!("worker {number} line {line} {filler}"));
            }
        }
    });
}

#[test]
fn errors_that_outlive_their_request_raise_and_sys_stderr_does_not() {
    in_both_modes(|mode| {
        let source = "
import sys
kept = []
def application(environ, start_response):
    start_response('200 OK', [])
    if not kept:
        kept.append(environ['wsgi.errors'])
        return [b'kept']
    try:
        kept[0].write('too late\\n')
    except RuntimeError:
        print('in time', file=sys.stderr)
    return [b'ok']
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let mut client = nginx.connect();
        for expected in ["kept", "ok"] {
            client.send(get("/"));
            assert_eq!(client.response().ok(), expected);
        }
        nginx.logged("in time");
        assert!(!nginx.log().contains("too late"));
    });
}

#[test]
fn loading_an_application_is_worth_a_notice() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", HELLO).location("/", "wsgi_pass app.py;").start();
        nginx.get("/");
        nginx.get("/");
        let lines = nginx.log_lines("/app.py");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("[notice]") && lines[0].contains("loaded"), "{lines:?}");
    });
}

#[test]
fn a_client_that_leaves_is_worth_no_error() {
    in_both_modes(|mode| {
        let source = "
import threading
def application(environ, start_response):
    start_response('200 OK', [])
    try:
        while True: yield b'x' * 65536
    finally:
        print('stream closed')
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let mut client = nginx.connect();
        client.send(get("/"));
        client.head();
        drop(client);
        nginx.logged("stream closed");
        let log = nginx.stop();
        assert!(!["[error]", "[crit]", "[warn]"].iter().any(|level| log.contains(level)), "{log}");
    });
}
