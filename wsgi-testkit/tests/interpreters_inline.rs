//! Several interpreters on one thread, also nested: a host that ends a request while it sends the block of another one.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wsgi_core::config::{Flag, LevelSettings, Mode, Target};
use wsgi_core::error::HostError;
use wsgi_core::host::{BodyInterest, Chunk, Flush, HostParts, ResponseHead, ResponseSink};
use wsgi_core::python::{Exchange, Gateway, GatewaySettings, Location};
use wsgi_testkit::{CapturingLog, CapturingSink, Client, Faults, get};

/// Sends the steps that its interpreter has seen, and records its end as one.
const STEPS: &str = "
import sys, types
steps = sys.modules.setdefault('steps', types.ModuleType('steps'))
steps.taken = getattr(steps, 'taken', [])
def application(environ, start_response):
    # Looked up in the interpreter that runs.
    def step(what):
        import steps
        steps.taken.append(what)
        return repr(steps.taken).encode()
    start_response('200 OK', [])
    try:
        yield step('begun')
        yield step('gone on')
    finally:
        step('closed')
";

thread_local! {
    /// The exchange that the host ends while it sends the next block.
    static ENDED: RefCell<Option<Exchange>> = const { RefCell::new(None) };
}

/// Ends another exchange before it takes a block.
struct Ending(CapturingSink);

impl ResponseSink for Ending {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.0.send_head(head)
    }
    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        drop(ENDED.take());
        self.0.send(chunk, flush)
    }
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.0.poll_ready(cx)
    }
    fn flush(&mut self) -> Result<(), HostError> {
        self.0.flush()
    }
    fn drain(&mut self) -> Result<(), HostError> {
        self.0.drain()
    }
    fn finish(&mut self) -> Result<(), HostError> {
        self.0.finish()
    }
}

fn location(folder: &std::path::Path, name: &str, own: bool) -> Arc<Location> {
    let path = folder.join(name);
    std::fs::write(&path, STEPS).expect("a script");
    let mut settings = LevelSettings::default();
    settings.set(Flag::Subinterpreters, own);
    Location::builder(Target::Script { path, callable: "application".to_owned() }).settings(settings).build()
}

/// Begins a request whose client stalls before its second block, and runs it until then.
fn begin(gateway: &Gateway, at: &Arc<Location>) -> (Exchange, Client) {
    let (sink, client) = CapturingSink::new(Faults { stalls_before: vec![1], ..Faults::default() });
    let parts = HostParts::new(Ending(sink), Arc::new(CapturingLog::default()));
    let _attached = gateway.attach(at);
    let mut exchange = gateway.begin(at, &get("/"), parts);
    assert!(advance(&mut exchange).is_pending());
    (exchange, client)
}

fn advance(exchange: &mut Exchange) -> Poll<bool> {
    exchange.advance(&mut Context::from_waker(Waker::noop())).map(|result| result.is_ok())
}

fn go_on(mut exchange: Exchange, client: &Client) -> String {
    client.go_on();
    let _attached = exchange.attach();
    assert_eq!(advance(&mut exchange), Poll::Ready(true));
    let mut blocks = client.take().into_iter().filter_map(|event| match event {
        wsgi_testkit::Event::Block(block, _) => Some(String::from_utf8_lossy(&block).into_owned()),
        _ => None,
    });
    blocks.next_back().unwrap_or_default()
}

#[test]
fn a_request_that_ends_within_another_one_closes_in_its_own_interpreter() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(&GatewaySettings::new(Mode::Inline), Arc::new(CapturingLog::default()))
        .unwrap_or_else(|error| panic!("{error}"));
    let [a, b, main] =
        [("a.py", true), ("b.py", true), ("c.py", false)].map(|(name, own)| location(folder.path(), name, own));
    for (outer, inner) in [(&a, &b), (&b, &a), (&main, &a), (&a, &main)] {
        let (ended, _client) = begin(&gateway, inner);
        let (exchange, client) = begin(&gateway, outer);
        ENDED.set(Some(ended));
        let taken = go_on(exchange, &client);
        assert!(taken.ends_with("'begun', 'gone on']"), "{taken}");
        assert!(ENDED.take().is_none(), "the host has ended the other request");
    }
    // Each exchange was closed in the interpreter in which it had begun.
    for (at, begun) in [(&a, 5), (&b, 3), (&main, 3)] {
        let (exchange, client) = begin(&gateway, at);
        let taken = go_on(exchange, &client);
        assert_eq!((taken.matches("begun").count(), taken.matches("closed").count()), (begun, begun - 1), "{taken}");
    }
}
