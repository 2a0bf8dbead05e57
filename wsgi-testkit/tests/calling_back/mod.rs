//! A host that re-enters Python while the gateway calls it: its sink, its body or its log answers a second request in the
//! same call, as nginx does with an internal redirect, and the second application uses objects of the first request.

use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};

use wsgi_core::config::{Mode, Target};
use wsgi_core::error::{Fault, HostError};
use wsgi_core::host::{
    BodyInterest, BodySource, Chunk, ErrorLog, Flush, HostParts, Leaf, Level, ResponseHead, ResponseSink, Summary,
};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_testkit::{CapturingLog, CapturingSink, Client, Event, Faults, Request, WAIT_TIMEOUT, get, post};

/// Stores the objects of its request, and makes the call that the path names.
const OUTER: &str = "
import builtins, sys
class Kept: pass
def application(environ, start_response):
    kept = builtins.kept = Kept()
    kept.start_response, kept.input, kept.errors = start_response, environ['wsgi.input'], environ['wsgi.errors']
    how = environ['PATH_INFO']
    kept.write = write = start_response('200 OK', [])
    if how == '/write':
        write(b'written')
    elif how == '/read':
        kept.input.read()
    elif how == '/readline':
        kept.input.readline()
    elif how == '/errors':
        kept.errors.write('to wsgi.errors\\n')
    elif how == '/print':
        print('printed')
    elif how == '/stderr':
        print('printed', file=sys.stderr)
    elif how == '/unfinished':
        kept.errors.write('pending'); kept.errors.flush()
    return iter([b'whole'])
";

/// Makes all calls with the stored objects of the first request, and answers with the outcome of each.
const INNER: &str = "
import builtins, sys
def attempt(name, call):
    try:
        call()
    except Exception as error:
        builtins.tried.append(f'{name}: {type(error).__name__}: {error}')
    else:
        builtins.tried.append(f'{name}: done')
def application(environ, start_response):
    kept = builtins.kept
    builtins.tried = []
    attempt('write', lambda: kept.write(b'nested'))
    attempt('start_response', lambda: kept.start_response('200 OK', []))
    attempt('read', lambda: kept.input.read(1))
    attempt('readline', lambda: kept.input.readline())
    attempt('readlines', lambda: kept.input.readlines())
    attempt('next', lambda: next(kept.input, None))
    attempt('errors', lambda: kept.errors.write('nested\\n'))
    attempt('writelines', lambda: kept.errors.writelines(['nested\\n']))
    attempt('flush', lambda: kept.errors.flush())
    attempt('print', lambda: print('nested'))
    start_response('200 OK', [])
    return ['\\n'.join(builtins.tried).encode()]
";

const REPLY: &[&str] = &["write", "start_response"];
const INPUT: &[&str] = &["read", "readline", "readlines", "next"];
const ERRORS: &[&str] = &["errors", "writelines", "flush"];
const PRINT: &[&str] = &["print"];

/// The action of the host, which runs once.
type Act = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A gateway and its applications. Their host acts in one chosen call at a time.
pub(crate) struct Stage {
    gateway: Arc<Gateway>,
    inline: bool,
    folder: tempfile::TempDir,
}

/// The outcome of one request.
struct Played {
    result: Result<Summary, Fault>,
    events: Vec<Event>,
    /// The body of the second request's response, if the host has answered it.
    tried: Option<String>,
}

impl Stage {
    fn location(&self, name: &str, source: &str) -> Arc<Location> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, source).expect("a script");
        Location::new(Target::Script { path, callable: "application".to_owned() })
    }

    /// Sends a request to the first application; the host answers a second one in the call `call`.
    fn play(&self, how: &str, call: Call) -> Played {
        let (outer, inner) = (self.location("outer.py", OUTER), self.location("inner.py", INNER));
        let act = Act::default();
        let tried = Arc::new(Mutex::new(None));
        let (gateway, answer) = (Arc::clone(&self.gateway), Arc::clone(&tried));
        *act.lock().unwrap() = Some(Box::new(move || *answer.lock().unwrap() = Some(nested(&gateway, &inner))));
        let (result, events) = self.send(&outer, how, call, act);
        let tried = tried.lock().unwrap().take();
        Played { result, events, tried }
    }

    fn send(&self, at: &Arc<Location>, how: &str, call: Call, act: Act) -> (Result<Summary, Fault>, Vec<Event>) {
        let (sink, client) = CapturingSink::new(Faults::default());
        let body: Box<dyn BodySource> = Box::new(Body { left: 6, call, act: Arc::clone(&act) });
        let sink = Sink { sink, call, act: Arc::clone(&act) };
        let parts = HostParts::new(sink, Arc::new(Log { log: client.log(), call, act })).body(body);
        (self.run(at, &post(how, "a\nb\nc\n"), parts), client.take())
    }

    fn run(&self, at: &Arc<Location>, request: &Request, parts: HostParts) -> Result<Summary, Fault> {
        if self.inline {
            let mut exchange = self.gateway.begin(at, request, parts);
            let Poll::Ready(result) = exchange.advance(&mut Context::from_waker(Waker::noop())) else {
                panic!("nobody is waited for")
            };
            return result;
        }
        let (done, ended) = mpsc::channel();
        let parts = parts.done(move |result| drop(done.send(result)));
        self.gateway.dispatch(at, request, parts).expect("there is room");
        ended.recv_timeout(WAIT_TIMEOUT).expect("the exchange ends")
    }
}

/// Answers a request at once, and returns the body of its response.
fn nested(gateway: &Gateway, at: &Arc<Location>) -> String {
    let (sink, client) = CapturingSink::new(Faults::default());
    let parts = HostParts::new(sink, Arc::new(CapturingLog::default()));
    let mut exchange = gateway.begin(at, &get("/"), parts);
    let polled = exchange.advance(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(_))), "{polled:?}");
    body(&client.take())
}

fn body(events: &[Event]) -> String {
    let blocks = events.iter().filter_map(|event| match event {
        Event::Block(block, _) => Some(String::from_utf8_lossy(block).into_owned()),
        _ => None,
    });
    blocks.collect()
}

/// The call in which the host acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Head,
    Send,
    Ready,
    Flush,
    Drain,
    Finish,
    Drop,
    Remaining,
    Read,
    BodyReady,
    Log,
}

fn act_at(here: Call, call: Call, act: &Act) {
    if here == call {
        let act = act.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

struct Sink {
    sink: CapturingSink,
    call: Call,
    act: Act,
}

impl Sink {
    fn at(&self, here: Call) {
        act_at(here, self.call, &self.act);
    }
}

impl ResponseSink for Sink {
    fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.at(Call::Head);
        self.sink.send_head(head)
    }
    fn send(&mut self, chunk: Chunk<'_>, flush: Flush) -> Result<(), HostError> {
        self.at(Call::Send);
        self.sink.send(chunk, flush)
    }
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyInterest, HostError>> {
        self.at(Call::Ready);
        self.sink.poll_ready(cx)
    }
    fn flush(&mut self) -> Result<(), HostError> {
        self.at(Call::Flush);
        self.sink.flush()
    }
    fn drain(&mut self) -> Result<(), HostError> {
        self.at(Call::Drain);
        self.sink.drain()
    }
    fn finish(&mut self) -> Result<(), HostError> {
        self.at(Call::Finish);
        self.sink.finish()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.at(Call::Drop);
    }
}

struct Body {
    left: usize,
    call: Call,
    act: Act,
}

impl BodySource for Body {
    fn remaining(&self) -> Option<u64> {
        act_at(Call::Remaining, self.call, &self.act);
        Some(self.left as u64)
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        act_at(Call::Read, self.call, &self.act);
        let count = buf.len().min(self.left);
        buf[..count].copy_from_slice(&b"a\nb\nc\n"[6 - self.left..][..count]);
        self.left -= count;
        Ok(count)
    }
    fn is_ready(&self) -> bool {
        act_at(Call::BodyReady, self.call, &self.act);
        false
    }
    fn streams(&self) -> bool {
        // Called before the application is.
        false
    }
}

struct Log {
    log: Arc<dyn ErrorLog>,
    call: Call,
    act: Act,
}

impl ErrorLog for Log {
    fn log(&self, level: Level, text: &str) {
        // Other lines (e.g. that an application was loaded) are logged while no object of the request is in use.
        if ["to wsgi.errors", "pending", "printed"].contains(&text) {
            act_at(Call::Log, self.call, &self.act);
        }
        self.log.log(level, text);
    }
}

/// Runs `play` with a gateway in this mode. Fails after a timeout, which a deadlock would reach.
pub(crate) fn on_stage(mode: Mode, play: impl FnOnce(&Stage) + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let player = std::thread::spawn(move || {
        let gateway = Gateway::start(&GatewaySettings::new(mode), Arc::new(CapturingLog::default()));
        let gateway = Arc::new(gateway.unwrap_or_else(|error| panic!("{error}")));
        let folder = tempfile::tempdir().expect("a folder");
        play(&Stage { gateway, inline: mode == Mode::Inline, folder });
        let _ = done.send(());
    });
    match ended.recv_timeout(4 * WAIT_TIMEOUT) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the host waits for itself"),
        _ => player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// A call of an object that is in use on the same thread raises RuntimeError; all other calls work, and the first request
/// ends normally.
pub(crate) fn calls_within_calls_are_refused(stage: &Stage) {
    let acts = [
        ("/write", Call::Head, REPLY),
        ("/write", Call::Send, REPLY),
        ("/write", Call::Drain, REPLY),
        ("/plain", Call::Head, REPLY),
        ("/plain", Call::Ready, REPLY),
        ("/plain", Call::Send, REPLY),
        ("/plain", Call::Finish, REPLY),
        ("/read", Call::Remaining, INPUT),
        ("/read", Call::Read, INPUT),
        ("/read", Call::BodyReady, INPUT),
        ("/readline", Call::Read, INPUT),
        ("/readline", Call::BodyReady, INPUT),
        ("/errors", Call::Log, ERRORS),
        ("/unfinished", Call::Log, ERRORS),
        ("/print", Call::Log, PRINT),
        ("/stderr", Call::Log, PRINT),
    ];
    for (how, call, refused) in acts {
        let Played { result, events, tried } = stage.play(how, call);
        let tried = tried.unwrap_or_else(|| panic!("{how}: the host is not called at {call:?}"));
        for line in tried.lines() {
            let (name, outcome) = line.split_once(": ").expect("two parts");
            let is_refused =
                outcome.starts_with("RuntimeError: ") && outcome.ends_with("already under way on this thread");
            assert_eq!(is_refused, refused.contains(&name), "{how}, {call:?}: {line}");
        }
        assert_eq!(result.as_ref().map(|summary| summary.status).ok(), Some(200), "{how}, {call:?}: {result:?}");
        assert!(body(&events).ends_with("whole"), "{how}, {call:?}: {events:?}");
        let alerts = events.iter().any(|event| matches!(event, Event::Log(line) if line.level == Level::Alert));
        assert!(!alerts, "{how}, {call:?}: {events:?}");
    }
    // After the request has ended, none of its objects can be used.
    let Played { result, tried, .. } = stage.play("/plain", Call::Drop);
    assert!(result.is_ok() && tried.is_some_and(|tried| tried.matches("the request is over").count() >= 9));
}

/// A violation of the rules of leaf locks is reported, in builds that check them.
pub(crate) fn broken_rules_are_found(stage: &Stage) {
    if !cfg!(debug_assertions) {
        return;
    }
    static LEAF: Leaf<Vec<bytes::Bytes>> = Leaf::new(Vec::new());
    let large = stage.location(
        "large.py",
        "
def application(environ, start_response):
    start_response('200 OK', [])
    yield bytes(100_000)
    yield bytes(100_000)
",
    );
    /// Stores blocks, and drops them under its lock.
    struct Careless(CapturingSink);
    impl ResponseSink for Careless {
        fn send_head(&mut self, head: ResponseHead) -> Result<(), HostError> {
            self.0.send_head(head)
        }
        fn send(&mut self, chunk: Chunk<'_>, _flush: Flush) -> Result<(), HostError> {
            let block = chunk.into_bytes()?;
            LEAF.with(|kept| *kept = vec![block]);
            Ok(())
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
    let (sink, client) = CapturingSink::new(Faults::default());
    let parts = HostParts::new(Careless(sink), client.log());
    let result = stage.run(&large, &get("/"), parts);
    assert!(matches!(result, Err(Fault::Application)), "{result:?}");
    assert_alert(&client, "a block of Python is dropped while a leaf lock is held");
    drop(LEAF.replace(Vec::new()));

    // Answers a second request while a leaf lock is held.
    let inner = stage.location("inner.py", INNER);
    let gateway = Arc::clone(&stage.gateway);
    let outer = stage.location("outer.py", OUTER);
    let act = Act::default();
    *act.lock().unwrap() = Some(Box::new(move || LEAF.with(|_| drop(nested(&gateway, &inner)))));
    let (result, events) = stage.send(&outer, "/plain", Call::Send, act);
    assert!(matches!(result, Err(Fault::Application)), "{result:?}");
    let text = format!("{events:?}");
    assert!(text.contains("a thread attaches to Python while a leaf lock is held"), "{text}");
}

fn assert_alert(client: &Client, text: &str) {
    let events = client.take();
    let found = events
        .iter()
        .any(|event| matches!(event, Event::Log(line) if line.level == Level::Alert && line.text.contains(text)));
    assert!(found, "{events:?}");
}
