//! Versions of an application with destructors, replaced under load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use wsgi_core::python::{Callable, Middleware, MiddlewareError};
use wsgi_testkit::{Host, Stamps, WAIT_TIMEOUT, get};

/// The classes are in a separate module, so that the script's objects are destroyed as soon as their last reference is gone,
/// and not by a later run of the garbage collector.
const SCRIPT: &str = "
import sys, types
if 'destroyed' not in sys.modules:
    module = sys.modules['destroyed'] = types.ModuleType('destroyed')
    exec('''
import threading, time
lock = threading.Lock()
class Application:
    def __init__(self, inner):
        self.inner = inner
    def __call__(self, environ, start_response):
        if callable(self.inner):
            return self.inner(environ, start_response)
        with lock:
            pass
        start_response(\"200 OK\", [])
        return [self.inner.encode()]
    def __del__(self):
        # Other threads go on, wait for the lock, and it for them.
        with lock:
            time.sleep(0.01)
        print(\"destroyed\")
''', module.__dict__)
from destroyed import Application
application = Application(Application('WORD'))
";

/// A middleware in Rust: another object with a destructor, which no other location shares.
struct Layer;

impl Middleware for Layer {
    fn name(&self) -> String {
        "a layer".to_owned()
    }

    fn wrap<'py>(&self, application: Callable<'py>) -> Result<Callable<'py>, MiddlewareError> {
        application.import("destroyed", "Application")?.call(&application)
    }
}

fn write(path: &Path, version: usize) {
    // Replaced by a rename, so that a partly written version is never loaded.
    let beside = path.with_extension("new");
    std::fs::write(&beside, SCRIPT.replace("WORD", &format!("version {version}"))).expect("write the script");
    std::fs::rename(beside, path).expect("put it in place");
}

/// Edits an application, in each way to run one, while clients request it; fails if a request does not end.
pub(crate) fn versions_are_replaced_under_load(host: &'static Host) {
    for (own, layer) in [(false, false), (false, true), (true, false), (true, true)] {
        let (done, ended) = channel();
        let editing = thread::spawn(move || {
            edit(host, own, layer);
            let _ = done.send(());
        });
        match ended.recv_timeout(2 * WAIT_TIMEOUT) {
            Err(RecvTimeoutError::Timeout) => {
                panic!("own interpreter {own}, layer {layer}: nothing is answered any more")
            }
            _ => editing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        }
    }
}

fn edit(host: &'static Host, own: bool, layer: bool) {
    const VERSIONS: usize = 12;
    let stamps = Arc::new(Stamps::default());
    let mut app = host.app("").with("wsgi_script_reloading on");
    if own {
        app = app.with("wsgi_enable_subinterpreters on");
    }
    let path = app.path().expect("a file").to_owned();
    let app = app.built_with(|builder| {
        let builder = builder.stamps(Arc::clone(&stamps) as _);
        if layer { builder.middleware(Arc::new(Layer)) } else { builder }
    });
    write(&path, 0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let response = host.send(&app, get("/"));
                    assert!(response.status() == 200 && response.text().starts_with("version "), "{response:?}");
                }
            });
        }
        for version in 1..VERSIONS {
            write(&path, version);
            stamps.change();
            assert_eq!(host.send(&app, get("/")).text(), format!("version {version}"));
        }
        over.store(true, Ordering::Relaxed);
    });
}
