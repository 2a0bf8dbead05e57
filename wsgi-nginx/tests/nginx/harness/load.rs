//! Clients that send numbered requests as fast as they are answered, and an application that records the numbers in a
//! ledger.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{Nginx, WAIT_TIMEOUT};

/// Writes the number in the path to the ledger, and answers with it and the worker's process id. The path `/run`
/// executes the query string.
pub(crate) const LEDGER: &str = "
import ctypes, os, sys
from urllib.parse import unquote
ledger = os.open(os.path.join(os.path.dirname(__file__), 'ledger'), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def application(environ, start_response):
    number = environ['PATH_INFO'][1:]
    if number == 'run':
        exec(unquote(environ['QUERY_STRING']))
    else:
        os.write(ledger, b'%s\\n' % number.encode())
    start_response('200 OK', [])
    return [b'%s %d' % (number.encode(), os.getpid())]
";

/// Running clients.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Record>>,
}

struct Shared {
    port: u16,
    /// Number of the next request.
    next: AtomicU32,
    /// The numbers of requests are less than this.
    limit: AtomicU32,
    answered: AtomicUsize,
    /// Time of the first answer of each worker.
    workers: Mutex<BTreeMap<u32, Instant>>,
}

/// The outcomes of the requests.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) answered: Vec<u32>,
    /// Requests without a complete answer.
    pub(crate) lost: Vec<u32>,
    /// Requests without a byte of an answer, on a connection that had served before and was closed.
    pub(crate) lost_when_idle: Vec<u32>,
    /// Number of failed connection attempts.
    pub(crate) refused: usize,
}

impl Load {
    /// Starts `fresh` clients that open a connection for each request, and `kept` clients with persistent connections.
    /// They send `total` requests.
    pub(crate) fn start(nginx: &Nginx, fresh: usize, kept: usize, total: u32) -> Self {
        let shared = Arc::new(Shared {
            port: nginx.port(),
            next: AtomicU32::new(0),
            limit: AtomicU32::new(total),
            answered: AtomicUsize::new(0),
            workers: Mutex::default(),
        });
        let client = |keeps: bool| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Client { shared, keeps, connection: None, record: Record::default() }.run())
        };
        let clients = (0..fresh).map(|_| client(false)).chain((0..kept).map(|_| client(true))).collect();
        Self { shared, clients }
    }

    /// Returns the number of answered requests.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Returns the time of the first answer of any of these workers.
    pub(crate) fn heard_of(&self, workers: &[u32]) -> Option<Instant> {
        let known = self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().filter_map(|worker| known.get(worker)).min().copied()
    }

    /// Whether all requests have been sent.
    pub(crate) fn all_sent(&self) -> bool {
        self.shared.next.load(Ordering::Relaxed) >= self.shared.limit.load(Ordering::Relaxed)
    }

    /// Stops sending, and waits for the remaining answers.
    pub(crate) fn stop(self) -> Record {
        self.shared.limit.store(0, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all requests are sent and answered.
    pub(crate) fn finish(self) -> Record {
        let mut all = Record::default();
        for client in self.clients {
            let record = client.join().expect("a client does not panic");
            all.answered.extend(record.answered);
            all.lost.extend(record.lost);
            all.lost_when_idle.extend(record.lost_when_idle);
            all.refused += record.refused;
        }
        all
    }
}

struct Client {
    shared: Arc<Shared>,
    keeps: bool,
    connection: Option<TcpStream>,
    record: Record,
}

impl Client {
    fn run(mut self) -> Record {
        loop {
            let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.shared.limit.load(Ordering::Relaxed) {
                return self.record;
            }
            let reused = self.connection.is_some();
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => match connect(self.shared.port) {
                    Ok(connection) => connection,
                    Err(_) => {
                        self.record.refused += 1;
                        continue;
                    }
                },
            };
            match ask(&mut connection, number, self.keeps) {
                Ok(Answer { worker, stays }) => {
                    self.record.answered.push(number);
                    self.shared.answered.fetch_add(1, Ordering::Relaxed);
                    let mut workers = self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner);
                    workers.entry(worker).or_insert_with(Instant::now);
                    drop(workers);
                    self.connection = (self.keeps && stays).then_some(connection);
                }
                Err(received) if reused && received == 0 => self.record.lost_when_idle.push(number),
                Err(_) => self.record.lost.push(number),
            }
        }
    }
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(WAIT_TIMEOUT))?;
    Ok(connection)
}

struct Answer {
    worker: u32,
    /// Whether the server keeps the connection open.
    stays: bool,
}

/// Sends one request and reads its answer. Without an answer, returns the number of bytes received. Panics if the
/// answer belongs to another request.
fn ask(connection: &mut TcpStream, number: u32, keep: bool) -> Result<Answer, usize> {
    let close = if keep { "" } else { "Connection: close\r\n" };
    connection.write_all(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n{close}\r\n").as_bytes()).map_err(|_| 0usize)?;
    let mut received = Vec::with_capacity(512);
    let mut block = [0; 1024];
    loop {
        match connection.read(&mut block) {
            Ok(0) => return Err(received.len()),
            Ok(count) => received.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(received.len()),
        }
        let text = String::from_utf8_lossy(&received);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length: usize = field("Content-Length").and_then(|length| length.parse().ok()).expect("a length");
        if body.len() < length {
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
        let (echo, worker) = body.split_once(' ').expect("two numbers");
        assert_eq!(echo.parse(), Ok(number), "the answer to another request: {text}");
        let stays = field("Connection") != Some("close");
        return Ok(Answer { worker: worker.parse().expect("a process id"), stays });
    }
}

impl Nginx {
    /// Returns the request numbers in the ledger, in order.
    pub(crate) fn ledger(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.path("ledger")).expect("a ledger");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
}
