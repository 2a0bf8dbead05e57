//! Output of applications is in the error log that nginx has for the location, at a fitting level.

use crate::harness::{HELLO, Mode, Nginx, Site, get, in_both_modes, wait_for};

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

/// Returns the line of the log that contains `text`.
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
fn wsgi_errors_has_level_error_and_the_context_of_the_request() {
    in_both_modes(|mode| {
        let (_nginx, log) = after_one_request(site(mode, "errors.write('to errors\\n')"));
        let line = record(&log, "to errors");
        assert!(line.contains("[error]") && line.contains("request: \"GET /path?query HTTP/1.1\""), "{line}");
    });
}

#[test]
fn lines_before_the_end_of_a_response_have_the_context_of_the_request() {
    let write = "for number in range(5): errors.write('to errors\\n')";
    let nginx = site(Mode::Threads(4), write).start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = nginx.connect();
                for _ in 0..500 {
                    client.send(get("/path"));
                    client.response().ok();
                }
            });
        }
    });
    wait_for("all lines", || (nginx.log().matches("to errors").count() == 10_000).then_some(()));
    let without = nginx.log().lines().filter(|line| line.contains("to errors") && !line.contains("/path")).count();
    assert_eq!(without, 0, "of 10,000 lines");
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
fn a_long_line_is_split_and_nothing_of_it_is_lost() {
    in_both_modes(|mode| {
        let statements = "print('<' + ''.join(f'{n:05d}.' for n in range(2000)) + '>', file=errors)";
        let (_nginx, log) = after_one_request(site(mode, statements));
        for number in 0..2000 {
            // A cut may split a number into two records, but it splits few numbers.
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

#[test]
fn a_line_names_the_part_of_a_page_that_has_written_it() {
    const SOURCE: &str = "
def application(environ, start_response):
    part = environ['PATH_INFO'][-1]
    environ['wsgi.errors'].write('line of ' + part + '\\n')
    start_response('200 OK', [('Content-Type', 'text/html')])
    return [part.encode()]
";
    in_both_modes(|mode| {
        let page: String = (1..=3).map(|part| format!("<!--#include virtual=\"/part/{part}\" -->")).collect();
        let site = Site::new(mode).file("app.py", SOURCE).file("html/page.html", &page);
        let nginx = site.location("/", "root html;\nssi on;").location("/part/", "wsgi_pass app.py;").start();
        for _ in 0..5 {
            assert_eq!(nginx.get("/page.html").ok(), "123");
        }
        let log = nginx.stop();
        for part in 1..=3 {
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&format!("line of {part}"))).collect();
            let named = format!("subrequest: \"/part/{part}\"");
            assert!(lines.len() == 5 && lines.iter().all(|line| line.contains(&named)), "{lines:?}");
        }
    });
}
