//! The program in a temporary directory, and clients that write and read single bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Timeout of every wait in the tests.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Program {
    folder: TempDir,
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) out: Lines,
    pub(crate) errors: Lines,
}

/// Returns a command for the program with this current directory.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-hyper"));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    /// Serves an application from source text.
    pub(crate) fn serve(source: &str) -> Self {
        Self::with(source, &["app.py"])
    }

    /// Starts the program in a directory with a file `app.py`, on a free port.
    pub(crate) fn with(source: &str, arguments: &[&str]) -> Self {
        Self::prepared_with(source, arguments, |_| {})
    }

    /// Like [`serve`](Self::serve), with a change of the command before.
    pub(crate) fn prepared(source: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::prepared_with(source, &["app.py"], prepare)
    }

    fn prepared_with(source: &str, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.py"), source).unwrap();
        let mut command = command(folder.path());
        command.args(["--bind", "127.0.0.1:0"]).args(arguments);
        prepare(&mut command);
        let mut child = command.spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let errors = Lines::of(child.stderr.take().unwrap());
        let first = out.next();
        let address = first.split("http://").nth(1).and_then(|rest| rest.split('/').next()).map(str::parse);
        let Some(Ok(address)) = address else { panic!("no address in {first:?}") };
        Self { folder, child, address, out, errors }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).expect("the server listens"))
    }

    /// Returns the answer to a `GET` with `Connection: close` on a new connection.
    pub(crate) fn get(&self, target: &str) -> String {
        let mut client = self.client();
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.rest()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the server accepts no more connections.
    pub(crate) fn wait_until_closed(&self) {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_ok() {
            assert!(begin.elapsed() < LONG, "it still accepts connections");
            thread::yield_now();
        }
    }

    /// Waits until the program has ended.
    pub(crate) fn end(mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < LONG, "it does not end");
            thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of an output stream, as they arrive.
pub(crate) struct Lines(Receiver<String>, Arc<Held>);

/// Whether reading is paused.
#[derive(Default)]
struct Held(Mutex<bool>, Condvar);

impl Held {
    fn set(&self, held: bool) {
        *self.0.lock().unwrap() = held;
        self.1.notify_all();
    }

    fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |held| *held));
    }
}

/// Pauses reading until it is dropped.
pub(crate) struct Hold(Arc<Held>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        let held = Arc::<Held>::default();
        let free = Arc::clone(&held);
        thread::spawn(move || {
            let mut lines = BufReader::new(stream).lines();
            while let Some(Ok(line)) = {
                free.wait();
                lines.next()
            } {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(receiver, held)
    }

    /// Pauses reading until the result is dropped; lines that are already read remain available.
    pub(crate) fn hold(&self) -> Hold {
        self.1.set(true);
        Hold(Arc::clone(&self.1))
    }

    /// Returns all remaining lines, until the program ends.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.0.iter().collect()
    }

    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(LONG).expect("a further line")
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.0.recv_timeout(LONG) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} comes after {seen:?}"),
            }
        }
    }
}

/// A connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Reads up to an empty line, which is not returned.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "the connection ends after {head:?}");
        }
        head.truncate(head.len() - 2);
        head
    }

    pub(crate) fn read(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Closes the sending half of the connection.
    pub(crate) fn end(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// Reads everything until the server closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        self.try_rest().unwrap()
    }

    /// Like [`rest`](Self::rest). Returns an error if the connection is reset.
    pub(crate) fn try_rest(&mut self) -> std::io::Result<String> {
        let mut text = String::new();
        self.0.read_to_string(&mut text)?;
        Ok(text)
    }
}
