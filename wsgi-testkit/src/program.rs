//! A server in a separate process, for the conformance suite.

use std::any::Any;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::conformance::Served;
use crate::wire::{Client, Response};
use crate::{Request, wait_for};

/// A running server with a private folder. Its first line on stdout contains its address, as in `http://127.0.0.1:8000/`; its
/// stderr is the error log.
///
/// It is ended in the way of [`End`], and killed if it is dropped before [`stop`](Served::stop).
pub struct Program {
    child: Child,
    end: End,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    /// See [`start`](Self::start).
    _files: Box<dyn Any + Send + Sync>,
}

/// How a program is asked to end in an orderly way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    Signal,
    /// The end of its standard input.
    Input,
}

impl Program {
    /// Starts the program, and blocks until it listens. `files` is dropped when it has ended, such as the temporary folder
    /// of its files.
    pub fn start(mut command: Command, files: impl Any + Send + Sync, end: End) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let log = Arc::<Mutex<String>>::default();
        let errors = collect(child.stderr.take().expect("a pipe"), Arc::clone(&log));
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        output.read_line(&mut first).expect("its output can be read");
        let address = first.split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        let Some(address) = address else {
            let _ = child.wait();
            let _ = errors.join();
            panic!("no address in {first:?}\n{}", log.lock().unwrap_or_else(PoisonError::into_inner));
        };
        // A full pipe would block the program.
        let output = collect(output, Arc::default());
        Self { child, end, address, log, readers: vec![errors, output], _files: Box::new(files) }
    }

    /// Returns its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Served for Program {
    fn send(&self, request: Request) -> Response {
        Client::new(TcpStream::connect(self.address).expect("the server listens")).ask(&request)
    }

    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(mut self: Box<Self>) -> String {
        match self.end {
            End::Input => drop(self.child.stdin.take()),
            End::Signal => {
                let process = rustix::process::Pid::from_child(&self.child);
                rustix::process::kill_process(process, rustix::process::Signal::TERM)
                    .expect("it has not been waited for");
            }
        }
        let status = wait_for("the server to end", || self.child.try_wait().expect("it can be waited for"));
        assert!(status.success(), "the server ended with {status}\n{}", Served::log(&*self));
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        Served::log(&*self)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("error log of the server:\n{}", Served::log(self));
        }
    }
}

fn collect(stream: impl Read + Send + 'static, to: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line) + "\n";
            to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
        }
    })
}
