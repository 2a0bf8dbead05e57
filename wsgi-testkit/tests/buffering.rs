//! The directives about output, observed by the host: `wsgi_optimize_send_headers`, `wsgi_output_buffering`,
//! `wsgi_write_buffering`, `wsgi_write_buffer_size`.

use wsgi_core::host::{Flush, Level};
use wsgi_testkit::{App, Captured, Event, Faults, Host, get};

fn app(source: &str, directives: &[&str]) -> App {
    directives.iter().fold(Host::shared().app(source), |app, directive| app.with(directive))
}

fn run(source: &str, directives: &[&str]) -> Captured {
    Host::shared().send(&app(source, directives), get("/"))
}

/// Returns the names of the events; for blocks, their text and flush mark.
fn story(response: &Captured) -> Vec<String> {
    let text = |block: &[u8]| String::from_utf8_lossy(block).into_owned();
    response
        .events()
        .iter()
        .map(|event| match event {
            Event::Head(_) => "head".to_owned(),
            Event::Block(block, flush) => format!("{} {flush:?}", text(block)),
            Event::File(block, flush) => format!("file of {} {flush:?}", block.len()),
            Event::Flush => "flush".to_owned(),
            Event::Drain => "drain".to_owned(),
            Event::Finish => "finish".to_owned(),
            Event::Dropped => "dropped".to_owned(),
            Event::Log(_) => String::new(),
        })
        .filter(|event| !event.is_empty())
        .collect()
}

/// Yields an empty item before it does its work, and logs its steps.
const EXPENSIVE: &str = "
class Result:
    def __init__(self, environ, start_response):
        self.errors, self.blocks = environ['wsgi.errors'], self.run(start_response)
    def run(self, start_response):
        start_response('200 OK', [])
        yield b''
        self.errors.write('worked\\n')
        yield b'body'
        self.errors.write('worked on\\n')
    def __iter__(self): return self.blocks
    def close(self): self.errors.write('closed\\n')
application = Result
";

#[test]
fn osh_1_with_it_head_stops_at_an_empty_item() {
    let app = app(EXPENSIVE, &["wsgi_optimize_send_headers on"]);
    let response = Host::shared().send(&app, get("/").method("HEAD"));
    assert_eq!(story(&response), ["head", "finish", "dropped"]);
    assert_eq!(response.log_text(Level::Error), "closed\n");
}

#[test]
fn osh_2_without_it_head_stops_at_the_first_block() {
    let response = Host::shared().send(&app(EXPENSIVE, &[]), get("/").method("HEAD"));
    assert_eq!(story(&response), ["head", "finish", "dropped"]);
    assert_eq!(response.log_text(Level::Error), "worked\nclosed\n");
}

#[test]
fn osh_3_with_it_a_304_of_the_host_stops_at_an_empty_item() {
    let app = app(EXPENSIVE, &["wsgi_optimize_send_headers on"]);
    let script = Faults { body_unwanted: true, ..Faults::default() };
    let response = Host::shared().send_to(&app, get("/"), script).finish();
    assert_eq!(story(&response), ["head", "flush", "finish", "dropped"]);
    assert_eq!(response.log_text(Level::Error), "closed\n");
}

#[test]
fn osh_4_without_it_a_304_of_the_host_stops_after_the_first_block() {
    let script = Faults { body_unwanted: true, ..Faults::default() };
    let response = Host::shared().send_to(&app(EXPENSIVE, &[]), get("/"), script).finish();
    assert_eq!(response.log_text(Level::Error), "worked\nclosed\n");
}

#[test]
fn osh_5_with_it_the_head_leaves_with_an_empty_item() {
    let response = run(EXPENSIVE, &["wsgi_optimize_send_headers on"]);
    assert_eq!(story(&response), ["head", "flush", "body Now", "finish", "dropped"]);
}

#[test]
fn osh_6_without_it_the_head_waits_for_the_first_block() {
    assert_eq!(story(&run(EXPENSIVE, &[])), ["head", "body Now", "finish", "dropped"]);
}

const FAILS: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b''
    raise ValueError('too late?')
";

#[test]
fn osh_7_with_it_an_exception_after_an_empty_item_cuts_the_response() {
    let response = run(FAILS, &["wsgi_optimize_send_headers on"]);
    assert_eq!((response.status(), response.is_complete()), (200, false));
    assert!(response.log_text(Level::Error).contains("ValueError: too late?"));
}

#[test]
fn osh_8_without_it_an_exception_after_an_empty_item_is_500() {
    let response = run(FAILS, &[]);
    assert!(response.head().is_none());
    assert_eq!(response.status(), 500);
}

#[test]
fn an_empty_item_before_start_response_sends_nothing() {
    let source = "
def application(environ, start_response):
    yield b''
    start_response('200 OK', [])
    yield b'x'
";
    assert_eq!(story(&run(source, &["wsgi_optimize_send_headers on"])), ["head", "x Now", "finish", "dropped"]);
}

const LETTERS: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    for letter in 'abc':
        yield letter.encode() * 600
";

#[test]
fn ob_2_items_may_wait_for_what_follows_up_to_the_size_of_the_buffer() {
    let flushes = |directives: &[&str]| {
        let response = run(LETTERS, directives);
        assert_eq!(response.body().len(), 1800);
        let flush = |event: &Event| if let Event::Block(_, flush) = event { Some(*flush) } else { None };
        response.events().iter().filter_map(flush).collect::<Vec<_>>()
    };
    assert_eq!(flushes(&[]), [Flush::Now; 3]);
    assert_eq!(flushes(&["wsgi_output_buffering on"]), [Flush::Soon; 3]);
    assert_eq!(
        flushes(&["wsgi_output_buffering on", "wsgi_write_buffer_size 1k"]),
        [Flush::Soon, Flush::Now, Flush::Soon]
    );
}

#[test]
fn ob_6_a_declared_length_stays() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    yield b'ab'
    yield b'cd'
";
    let response = run(source, &["wsgi_output_buffering on"]);
    assert_eq!((response.content_length(), response.text().as_str()), (Some(4), "abcd"));
    assert!(response.is_complete());
}

const WRITES: &str = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'A')
    environ['wsgi.errors'].write('between\\n')
    write(b'B')
    return []
";

#[test]
fn wb_1_without_it_each_write_leaves_at_once() {
    assert_eq!(story(&run(WRITES, &[])), ["head", "A Now", "drain", "B Now", "drain", "finish", "dropped"]);
}

#[test]
fn wb_2_with_it_nothing_leaves_before_the_application_returns() {
    let response = run(WRITES, &["wsgi_write_buffering on"]);
    assert_eq!(story(&response), ["head", "AB Later", "finish", "dropped"]);
    assert_eq!(response.content_length(), Some(2));
    assert!(response.head().is_some_and(|head| head.single_block));
}

#[test]
fn wb_3_written_data_is_sent_before_the_items() {
    let source = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'x')
    return RESULT
";
    let run = |result: &str| run(&source.replace("RESULT", result), &["wsgi_write_buffering on"]);
    let list = run("[b'y', b'z']");
    assert_eq!(story(&list), ["head", "x Later", "y Later", "z Later", "finish", "dropped"]);
    assert_eq!(list.content_length(), Some(3));
    let generator = run("(block for block in [b'y', b'z'])");
    assert_eq!(story(&generator), ["head", "x Now", "y Now", "z Now", "finish", "dropped"]);
    assert_eq!(generator.content_length(), None);
}

#[test]
fn wb_4_overflow_is_sent_from_a_file() {
    let source = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    for number in range(10000):
        write(b'%03d,' % (number % 1000) * 250)
    return []
";
    let response = run(source, &["wsgi_write_buffering on"]);
    let expected: String = (0..10_000).map(|number| format!("{:03},", number % 1000).repeat(250)).collect();
    assert!(response.text() == expected, "{} bytes", response.body().len());
    assert_eq!(response.content_length(), Some(10_000_000));
    let kinds = |event: &Event| matches!(event, Event::File(..)).then_some("file");
    assert_eq!(response.events().iter().filter_map(kinds).count(), 1);
}

#[test]
fn wb_5_with_it_exc_info_replaces_what_was_written() {
    let source = "
import sys
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'x' * 10000)
    try:
        raise ValueError
    except ValueError:
        start_response('500 Sorry', [], sys.exc_info())
    return [b'sorry']
";
    let response = run(source, &["wsgi_write_buffering on"]);
    assert_eq!((response.status(), response.text().as_str()), (500, "sorry"));
    assert_eq!(response.content_length(), Some(5));
}

#[test]
fn wb_6_without_it_exc_info_comes_too_late() {
    let source = "
import sys
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'x')
    try:
        raise ValueError('the first')
    except ValueError:
        start_response('500 Sorry', [], sys.exc_info())
    return [b'sorry']
";
    let response = run(source, &[]);
    assert_eq!((response.status(), response.text().as_str(), response.is_complete()), (200, "x", false));
    assert!(response.log_text(Level::Error).contains("ValueError: the first"));
}

#[test]
fn wb_8_writing_beyond_content_length_raises() {
    let source = "
def application(environ, start_response):
    write = start_response('200 OK', [('Content-Length', '3')])
    try:
        write(b'abcd')
    except ValueError as error:
        environ['wsgi.errors'].write(f'{error}\\n')
        write(b'abc')
    return []
";
    for directives in [&[][..], &["wsgi_write_buffering on"]] {
        let response = run(source, directives);
        assert_eq!((response.text().as_str(), response.content_length()), ("abc", Some(3)));
        assert!(response.log_text(Level::Error).contains("1 bytes written beyond the declared Content-Length of 3"));
    }
}

#[test]
fn wb_9_an_empty_write_is_an_empty_body() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])(b'')
    return []
";
    let response = run(source, &["wsgi_write_buffering on"]);
    assert_eq!((response.status(), response.content_length()), (200, Some(0)));
    assert_eq!(story(&response), ["head", "finish", "dropped"]);
}

#[test]
fn wbs_1_output_within_the_size_stays_in_memory_and_wbs_2_larger_output_goes_to_a_file() {
    let source = |bytes: usize| {
        format!(
            "
def application(environ, start_response):
    write = start_response('200 OK', [])
    for number in range({bytes} // 512):
        write(b'x' * 512)
    return []
"
        )
    };
    let files = |bytes, size: &str| {
        let response = run(&source(bytes), &["wsgi_write_buffering on", &format!("wsgi_write_buffer_size {size}")]);
        assert_eq!(response.body().len(), bytes);
        response.events().iter().filter(|event| matches!(event, Event::File(..))).count()
    };
    assert_eq!(files(900 << 10, "1m"), 0);
    assert_eq!(files(2 << 10, "1k"), 1);
}

#[test]
fn writing_in_the_course_of_the_iteration_keeps_its_place() {
    let source = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    def blocks():
        write(b'1')
        yield b'2'
        write(b'3')
        yield b'4'
        write(b'5')
    return blocks()
";
    for directives in [&[][..], &["wsgi_write_buffering on"]] {
        assert_eq!(run(source, directives).text(), "12345");
    }
}

#[test]
fn a_folder_that_is_gone_is_an_oserror_and_500() {
    let source = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'x' * 5000)
    return []
";
    let response = run(source, &["wsgi_write_buffering on", "wsgi_temp_path /nonexistent/wsgi 1 2"]);
    assert!(response.head().is_none());
    assert_eq!(response.status(), 500);
    assert!(response.log_text(Level::Crit).contains("No such file or directory"));
    assert!(response.log_text(Level::Error).contains("FileNotFoundError"), "{}", response.log_text(Level::Error));
}

#[test]
fn writes_after_a_failed_write_raise_each_time_and_are_logged_once() {
    let source = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    for number in range(5):
        try:
            write(b'x' * 5000)
        except OSError:
            environ['wsgi.errors'].write('refused\\n')
    return []
";
    let response = run(source, &["wsgi_write_buffering on", "wsgi_temp_path /nonexistent/wsgi"]);
    assert_eq!(response.status(), 500);
    assert_eq!(response.log_text(Level::Error).matches("refused").count(), 5);
    assert_eq!(response.log_text(Level::Crit).lines().count(), 1);
}

#[test]
fn failed_write_never_leads_to_a_partial_response() {
    let source = "
import sys
def application(environ, start_response):
    write = start_response('200 OK', [])
    try:
        write(b'x' * 5000)
    except OSError:
        HANDLE
    return [b'the rest']
";
    let run = |handle: &str| {
        let directives = ["wsgi_write_buffering on", "wsgi_temp_path /nonexistent/wsgi"];
        run(&source.replace("HANDLE", handle), &directives)
    };
    let swallowed = run("pass");
    assert!(swallowed.head().is_none());
    assert_eq!(swallowed.status(), 500);
    let replaced = run("start_response('507 Full', [], sys.exc_info())");
    assert_eq!((replaced.status(), replaced.text().as_str()), (507, "the rest"));
    assert!(replaced.is_complete());
}
