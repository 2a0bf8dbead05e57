//! The example as a host under test.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use wsgi_testkit::Request;
use wsgi_testkit::conformance::{HostUnderTest, Served, Site, Traits};
use wsgi_testkit::wire::Response;

/// A process of its own for each application.
pub(crate) struct Host;

impl HostUnderTest for Host {
    fn traits(&self) -> Traits {
        Traits { multithread: true, multiprocess: false, inline: false, collects_body: false }
    }

    fn serve(&self, site: Site) -> Box<dyn Served> {
        let folder = tempfile::tempdir().expect("a folder for the application");
        let script = folder.path().join("app.py");
        std::fs::write(&script, &site.source).expect("room for the application");
        let mut process = Command::new(env!("CARGO_BIN_EXE_embed-example"))
            .arg(format!("127.0.0.1:0{}", site.prefix))
            .arg(&script)
            .arg("wsgi_threads 4")
            .args(&site.directives)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example runs");
        let log = Arc::<Mutex<String>>::default();
        let (stderr, lines) = (process.stderr.take().expect("a pipe"), Arc::clone(&log));
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.expect("the log is text") + "\n";
                lines.lock().expect("no test panics here").push_str(&line);
            }
        });
        let mut served = Process { process, address: None, log, reader: Some(reader), _folder: folder };
        let mut first = String::new();
        let stdout = served.process.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut first).expect("the output is text");
        let address = first.split_once("http://").and_then(|(_, url)| url.split('/').next()?.parse().ok());
        served.address = Some(address.unwrap_or_else(|| panic!("no address in {first:?}: {}", served.log())));
        Box::new(served)
    }
}

struct Process {
    process: Child,
    address: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Process {
    /// Lets it end by itself, which it does at the end of its standard input.
    fn end(&mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("a child of this process");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is text");
            assert!(status.success() || thread::panicking(), "{status}: {}", self.log());
        }
    }
}

impl Served for Process {
    fn send(&self, request: Request) -> Response {
        (self as &dyn Served).connect().ask(&request)
    }

    fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    fn log(&self) -> String {
        self.log.lock().expect("no test panics here").clone()
    }

    fn stop(mut self: Box<Self>) -> String {
        self.end();
        self.log()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
