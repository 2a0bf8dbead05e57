//! After any failure at any time, the application's iterable is closed once, an incomplete response does not look complete,
//! and the next request works as usual.

use wsgi_core::host::Level;
use wsgi_testkit::{App, Body, Captured, Event, Faults, FullDisk, Request, get, post};

use crate::host;

/// Applications that together use all methods of a sink, each with the directives that this needs.
const APPLICATIONS: [(&str, &[&str]); 7] = [
    ("return Result([b'a', b'b' * 20000, b'c'])", &[]),
    ("return Result([b'a', b'b' * 20000, b'c'])", &["wsgi_output_buffering on"]),
    ("return Result([b'', b'a', b'b'])", &["wsgi_optimize_send_headers on"]),
    ("write(b'a'); write(b'b' * 20000); return Result([b'c'])", &[]),
    ("write(b'a'); write(b'b' * 20000); return Result([b'c'])", &["wsgi_write_buffering on"]),
    ("return Result([])", &[]),
    ("return Result(environ['wsgi.file_wrapper'](__import__('io').BytesIO(bytes(50000))))", &[]),
];

/// Creates an application with `body` as its last line. It logs when an iterable is made, and when it is closed.
fn app(body: &str, directives: &[&str]) -> App {
    let source = format!(
        "
import sys
class Result:
    def __init__(self, blocks):
        self.blocks = blocks
        print('made', file=sys.stderr)
    def __iter__(self): return iter(self.blocks)
    def close(self): print('closed', file=sys.stderr)
def application(environ, start_response):
    write = start_response('200 OK', [])
    {body}
"
    );
    directives.iter().fold(host().app(&source), |app, directive| app.with(directive))
}

fn send(app: &App, request: Request, faults: Faults) -> (Captured, usize) {
    let pending = host().send_to(app, request, faults);
    let client = pending.client().clone();
    let captured = pending.finish();
    captured.check();
    (captured, client.calls())
}

fn count(captured: &Captured, text: &str) -> usize {
    captured.log().filter(|line| line.text == text).count()
}

/// Returns how often the iterable was closed: once if it was made.
fn closed(captured: &Captured) -> usize {
    assert_eq!(count(captured, "closed"), count(captured, "made"), "{}", captured.log_text(Level::Debug));
    count(captured, "closed")
}

#[test]
fn a_call_of_the_sink_that_fails_ends_the_exchange_in_order() {
    for (body, directives) in APPLICATIONS {
        let app = app(body, directives);
        for method in ["GET", "HEAD"] {
            let request = || get("/").method(method);
            let (whole, calls) = send(&app, request(), Faults::default());
            assert_eq!((whole.is_complete(), closed(&whole)), (true, 1), "{body}");
            for failing in 0..calls {
                let faults = Faults { call_fails: Some(failing), ..Faults::default() };
                let (captured, made) = send(&app, request(), faults);
                if made <= failing {
                    // The host has joined more blocks this time.
                    continue;
                }
                assert!(captured.fault().is_some(), "{body}: call {failing} of {calls} failed and nobody noticed");
                assert!(closed(&captured) <= 1, "{body}: call {failing}");
                assert!(captured.log_text(Level::Info).contains("this call is to fail"), "{body}: call {failing}");
            }
            assert!(send(&app, request(), Faults::default()).0.is_complete(), "{body}: the next request");
        }
    }
}

#[test]
fn a_client_that_leaves_after_any_byte_ends_the_exchange_in_order() {
    for (body, directives) in APPLICATIONS {
        let app = app(body, directives);
        for bytes in [0, 1, 2, 20_000, 20_001] {
            let (captured, _) = send(&app, get("/"), Faults { leaves_after: Some(bytes), ..Faults::default() });
            assert!(closed(&captured) <= 1, "{body}: gone after {bytes}");
            if !captured.is_complete() {
                assert_eq!(captured.status(), captured.head().map_or(0, |_| 200), "nobody is there to read a 500");
            }
        }
    }
}

#[test]
fn a_slow_client_gets_the_same_body() {
    for (body, directives) in APPLICATIONS {
        let app = app(body, directives);
        let whole = send(&app, get("/"), Faults::default()).0;
        let faults = Faults { stalls_before: (0..whole.blocks().len()).collect(), ..Faults::default() };
        let pending = host().send_to(&app, get("/"), faults);
        let client = pending.client().clone();
        let reader = std::thread::spawn(move || {
            let captured = pending.finish();
            captured.check();
            captured
        });
        while !reader.is_finished() {
            if client.is_stalled() {
                client.go_on();
            }
            std::thread::yield_now();
        }
        let slow = reader.join().expect("the exchange ends");
        assert_eq!((slow.body(), closed(&slow)), (whole.body(), 1), "{body}");
    }
}

#[test]
fn a_full_disk_is_an_os_error_where_the_application_writes() {
    for disk in [FullDisk::NoFile, FullDisk::NoRoom] {
        let app = app("write(b'x' * 20000); return Result([])", &["wsgi_write_buffering on"])
            .built_with(|location| location.store(disk));
        let (captured, _) = send(&app, get("/"), Faults::default());
        assert_eq!((captured.status(), captured.head().is_some()), (500, false), "{disk:?}");
        assert!(captured.log_text(Level::Error).contains("OSError"), "{}", captured.log_text(Level::Debug));
    }
}

#[test]
fn a_body_that_stops_half_way_is_an_os_error_where_the_application_reads() {
    let app = app("return Result([environ['wsgi.input'].read()])", &[]);
    for bytes in [0, 1, 9] {
        let request = post("/", "0123456789").body_arrives(Body::CutAfter(bytes));
        let (captured, _) = send(&app, request, Faults::default());
        assert!(captured.fault().is_some());
        // The OSError for a client that has left (EPIPE).
        assert!(captured.log_text(Level::Error).contains("BrokenPipeError"), "{}", captured.log_text(Level::Debug));
    }
}

#[test]
fn log_lines_stand_where_they_were_written() {
    let app = app("print('before', file=sys.stderr); write(b'a'); print('after', file=sys.stderr); return []", &[]);
    let (captured, _) = send(&app, get("/"), Faults::default());
    let position = |wanted: &str| {
        captured.events().iter().position(|event| match event {
            Event::Log(line) => line.text == wanted,
            Event::Block(block, _) => block == wanted.as_bytes(),
            _ => false,
        })
    };
    let positions = ["before", "a", "after"].map(position);
    assert!(positions.iter().all(Option::is_some) && positions.is_sorted(), "{positions:?}");
}

/// A host may discard the request at the end of its response, and the log line would then lack its request.
#[test]
fn excess_over_content_length_is_logged_before_the_end() {
    for result in ["[b'four', b'four']", "iter([b'four', b'four'])"] {
        let source = format!(
            "def application(environ, start_response):\n    start_response('200 OK', [('Content-Length', '6')])\n    return {result}\n"
        );
        let (captured, _) = send(&host().app(&source), get("/"), Faults::default());
        let told = |event: &Event| matches!(event, Event::Log(line) if line.text.contains("beyond its Content-Length"));
        let told = captured.events().iter().position(told).expect("it is told");
        let end = captured.events().iter().position(|event| matches!(event, Event::Finish)).expect("it ends");
        assert!(told < end, "{:?}", captured.events());
    }
}

#[test]
fn nothing_is_sent_behind_a_block_that_was_lost() {
    for result in ["    return [b'list']\n", "    return (block for block in [b'generated'])\n", "    return late()\n"]
    {
        let source = format!(
            "def application(environ, start_response):
    write = start_response('200 OK', [])
    def attempt():
        try: write(b'written')
        except OSError: pass
    def late():
        attempt()
        yield b'late'
    for _ in range(3): attempt()
{result}"
        );
        let app = host().app(&source);
        let (_, calls) = send(&app, get("/"), Faults::default());
        for failing in 0..calls {
            let (captured, made) = send(&app, get("/"), Faults { call_fails: Some(failing), ..Faults::default() });
            if made <= failing {
                // The host has joined more blocks this time.
                continue;
            }
            assert!(captured.fault().is_some(), "{result}: call {failing}");
            let after = captured.events().iter().skip_while(|event| !matches!(event, Event::Log(_)));
            let sent = after.filter(|event| !matches!(event, Event::Log(_) | Event::Dropped)).count();
            assert_eq!(sent, 0, "{result}: call {failing}: {:?}", captured.events());
        }
    }
}
