//! Applications in this process, and the lines that they log.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use wsgi_core::config::{Limits, Mode, Target};
use wsgi_core::host::{ErrorLog, Level};
use wsgi_core::python::{Gateway, GatewaySettings, Location};
use wsgi_hyper::{ServiceBuilder, StderrLog, WsgiService};

/// Timeout of every wait in the tests.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Returns the gateway of this process; `limits` apply to the first call.
pub(crate) fn gateway(limits: Limits) -> &'static Arc<Gateway> {
    static GATEWAY: OnceLock<Arc<Gateway>> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let settings = GatewaySettings::new(Mode::Threads(limits));
        Arc::new(Gateway::start(&settings, Arc::new(StderrLog::default())).unwrap_or_else(|error| panic!("{error}")))
    })
}

/// Creates an application from source text.
pub(crate) fn location(source: &str) -> Arc<Location> {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder for applications"));
    let path: PathBuf = folder.path().join(format!("app{}.py", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, source).expect("room for the application");
    Location::new(Target::Script { path, callable: "application".to_owned() })
}

/// Returns a builder of a service for an application, and the lines that the application writes to `wsgi.errors`.
pub(crate) fn logged(gateway: &Arc<Gateway>, source: &str) -> (ServiceBuilder, Lines) {
    let (sender, receiver) = channel();
    let log = Arc::new(Log(Mutex::new(sender)));
    (WsgiService::builder(gateway, &location(source)).collect_chunked_bodies(None).log(log), Lines(receiver))
}

struct Log(Mutex<Sender<String>>);

impl ErrorLog for Log {
    fn log(&self, _level: Level, text: &str) {
        // An error means that the test has dropped the receiver.
        let _ = self.0.lock().unwrap().send(text.to_owned());
    }
}

/// Log lines in order.
pub(crate) struct Lines(pub(crate) Receiver<String>);

impl Lines {
    /// Waits for the next line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(text)) {
            match self.0.recv_timeout(LONG) {
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} comes after {seen:?}"),
            }
        }
    }
}
