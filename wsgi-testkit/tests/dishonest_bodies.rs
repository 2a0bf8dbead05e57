//! Request bodies of a host that is safe code but wrong: they read their buffer, claim more bytes than they have written, or
//! more than fit into the buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use wsgi_core::config::{Mode, Target};
use wsgi_core::error::HostError;
use wsgi_core::host::{BodySource, HostParts};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_testkit::{CapturingLog, CapturingSink, Event, Faults, post};

/// Reads the body by the method in the path, after filling the memory that Python will allocate next.
const APPLICATION: &str = "
SIZES = (1, 50, 70, 3_000, 5_000, 70_000, 200_000, 300_000)
METHODS = {
    '/read': lambda body: [body.read()],
    '/read_a_part': lambda body: [body.read(70), body.read(200_000), body.read()],
    '/readline': lambda body: list(iter(body.readline, b'')),
    '/readline_a_part': lambda body: list(iter(lambda: body.readline(3000), b'')),
    '/readlines': lambda body: body.readlines(),
    '/next': lambda body: list(body),
}
def application(environ, start_response):
    for size in SIZES:
        secrets = [b'\\xa5' * (size + extra) for extra in (-32, -16, 0, 16) for _ in range(4)]
        del secrets
    start_response('200 OK', [])
    try:
        blocks = METHODS[environ['PATH_INFO']](environ['wsgi.input'])
    except OSError as error:
        return [type(error).__name__.encode()]
    body = b''.join(blocks)
    return [f'{len(body)} bytes, {len(body) - body.count(0)} of them not zero'.encode()]
";

struct Dishonest {
    left: usize,
    known: bool,
    ready: bool,
    /// Number of bytes claimed beyond the size of the buffer.
    beyond: usize,
    /// Whether the buffer contained bytes other than zeros.
    seen: Arc<AtomicBool>,
}

impl BodySource for Dishonest {
    fn remaining(&self) -> Option<u64> {
        self.known.then_some(self.left as u64)
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        static ZEROS: [u8; 1 << 21] = [0; 1 << 21];
        if *buf != ZEROS[..buf.len()] {
            self.seen.store(true, Ordering::Relaxed);
        }
        if self.beyond > 0 {
            return Ok(buf.len() + self.beyond);
        }
        let count = buf.len().min(self.left);
        self.left -= count;
        Ok(count)
    }
    fn is_ready(&self) -> bool {
        self.ready
    }
}

const METHODS: [&str; 6] = ["/read", "/read_a_part", "/readline", "/readline_a_part", "/readlines", "/next"];

#[test]
fn body_source_with_wrong_counts_exposes_no_memory_of_python() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.py");
    std::fs::write(&path, APPLICATION).expect("a script");
    let gateway = Gateway::start(&GatewaySettings::new(Mode::Inline), Arc::new(CapturingLog::default()));
    let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
    let at = Location::new(Target::Script { path, callable: "application".to_owned() });
    for method in METHODS {
        for (size, known, ready) in [
            (1, true, false),
            (50, true, true),
            (5_000, true, false),
            (70_000, true, true),
            (300_000, true, false),
            (5_000, false, false),
            (300_000, false, true),
        ] {
            for beyond in [0, 1, 100_000] {
                let seen = Arc::new(AtomicBool::new(false));
                let body = Dishonest { left: size, known, ready, beyond, seen: Arc::clone(&seen) };
                let (sink, client) = CapturingSink::new(Faults::default());
                let parts = HostParts::new(sink, client.log()).body(Box::new(body) as Box<dyn BodySource>);
                let mut exchange = gateway.begin(&at, &post(method, ""), parts);
                let polled = exchange.advance(&mut Context::from_waker(Waker::noop()));
                let events = client.take();
                assert!(matches!(polled, Poll::Ready(Ok(_))), "{method}, {size}, {beyond}: {events:?}");
                let answer: String = events
                    .iter()
                    .filter_map(|event| match event {
                        Event::Block(block, _) => Some(String::from_utf8_lossy(block)),
                        _ => None,
                    })
                    .collect();
                let expected = match beyond {
                    0 => format!("{size} bytes, 0 of them not zero"),
                    _ => "OSError".to_owned(),
                };
                assert_eq!(answer, expected, "{method}, {size}, {beyond}");
                assert!(!seen.load(Ordering::Relaxed), "{method}, {size}, {beyond}: the buffer is not zeroed");
            }
        }
    }
}
