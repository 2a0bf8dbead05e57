//! Reference cycles of requests while further applications are loaded (which freezes existing objects, `gc.freeze`).

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};

use wsgi_core::config::{Flag, LevelSettings, Mode, Target};
use wsgi_core::host::HostParts;
use wsgi_core::python::{Exchange, Gateway, GatewaySettings, Location};
use wsgi_testkit::{CapturingLog, CapturingSink, Client, Event, Faults, WAIT_TIMEOUT, get, wait_for};

/// Makes a cycle with its environ before its first block; `/count` returns how many were made, how many still exist, and
/// whether objects are frozen.
const MAKES_CYCLES: &str = "
import builtins, gc, weakref
if not hasattr(builtins, 'cycles'):
    builtins.cycles = []
class Node: pass
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/count':
        gc.collect()
        alive = sum(one() is not None for one in builtins.cycles)
        yield f'{len(builtins.cycles)} made, {alive} left, frozen: {gc.get_freeze_count() > 1000}'.encode()
        return
    node = Node()
    node.itself = node
    node.environ = environ
    environ['a cycle'] = node
    builtins.cycles.append(weakref.ref(node))
    yield b'begun'
    yield b'gone on'
";

const ANOTHER: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'another']
";

struct Played {
    gateway: Arc<Gateway>,
    inline: bool,
    own: bool,
}

/// A request in progress.
enum UnderWay {
    Inline(Exchange, Client),
    Thread(mpsc::Receiver<bool>, Client),
}

impl Played {
    fn location(&self, path: &Path) -> Arc<Location> {
        let mut settings = LevelSettings::default();
        settings.set(Flag::Subinterpreters, self.own);
        settings.set(Flag::ScriptReloading, true);
        let target = Target::Script { path: path.to_owned(), callable: "application".to_owned() };
        Location::builder(target).settings(settings).build()
    }

    /// Sends a request, whose client stalls before its second block if there is one.
    fn begin(&self, at: &Arc<Location>, path: &str) -> UnderWay {
        let (sink, client) = CapturingSink::new(Faults { stalls_before: vec![1], ..Faults::default() });
        let parts = HostParts::new(sink, Arc::new(CapturingLog::default()));
        if self.inline {
            let mut exchange = self.gateway.begin(at, &get(path), parts);
            let _ = exchange.advance(&mut Context::from_waker(Waker::noop()));
            return UnderWay::Inline(exchange, client);
        }
        let (done, ended) = mpsc::channel();
        let parts = parts.done(move |result| {
            let _ = done.send(result.is_ok());
        });
        self.gateway.dispatch(at, &get(path), parts).expect("there is room");
        wait_for("the client to be waited for", || (client.is_stalled() || client.is_over()).then_some(()));
        UnderWay::Thread(ended, client)
    }

    fn end(&self, request: UnderWay) -> String {
        let client = match request {
            UnderWay::Inline(mut exchange, client) => {
                client.go_on();
                let _ = exchange.advance(&mut Context::from_waker(Waker::noop()));
                client
            }
            UnderWay::Thread(ended, client) => {
                client.go_on();
                assert!(ended.recv_timeout(WAIT_TIMEOUT).expect("the exchange ends"));
                client
            }
        };
        let blocks = client.take().into_iter().filter_map(|event| match event {
            Event::Block(block, _) => Some(String::from_utf8_lossy(&block).into_owned()),
            _ => None,
        });
        blocks.collect()
    }

    fn send(&self, at: &Arc<Location>, path: &str) -> String {
        let request = self.begin(at, path);
        self.end(request)
    }
}

/// Cycles of requests are collected even if applications were loaded during the request.
pub(crate) fn cycles_of_requests_are_collected(mode: Mode) {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(&GatewaySettings::new(mode), Arc::new(CapturingLog::default()));
    let gateway = Arc::new(gateway.unwrap_or_else(|error| panic!("{error}")));
    // A dedicated interpreter has one script: only another callable, or a reload, loads an application into it.
    for own in [false, true] {
        let played = Played { gateway: Arc::clone(&gateway), inline: mode == Mode::Inline, own };
        let (first, second) =
            (folder.path().join(format!("first{own}.py")), folder.path().join(format!("second{own}.py")));
        std::fs::write(&first, MAKES_CYCLES).expect("a script");
        std::fs::write(&second, ANOTHER).expect("a script");
        let (one, two) = (played.location(&first), played.location(&second));

        // Objects are frozen while the request that loads the application is in progress.
        assert_eq!(played.send(&one, "/"), "begungone on");
        assert_eq!(played.send(&one, "/count"), "1 made, 0 left, frozen: True");

        // Two other requests are in progress while another application is loaded.
        let (a, b) = (played.begin(&one, "/"), played.begin(&one, "/"));
        assert_eq!(played.send(&two, "/"), "another");
        assert_eq!(played.end(a), "begungone on");
        assert_eq!(played.end(b), "begungone on");
        assert_eq!(played.send(&one, "/count"), "3 made, 0 left, frozen: True");

        // A request is in progress while its application is reloaded.
        let request = played.begin(&one, "/");
        std::fs::write(&first, format!("{MAKES_CYCLES}# edited\n")).expect("a script");
        assert_eq!(played.send(&one, "/"), "begungone on");
        assert_eq!(played.end(request), "begungone on");
        assert_eq!(played.send(&one, "/count"), "5 made, 0 left, frozen: True");
    }
}
