//! Clients that send numbered requests as fast as they are answered, and an application that keeps a ledger of them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{Nginx, WAIT_TIMEOUT};

/// Answers with the number in the path and the worker's process id, after it has written the number down. A path of its
/// own runs the query string.
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

/// The clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Record>>,
}

struct Shared {
    port: u16,
    /// Number of the next request.
    next: AtomicU32,
    /// No request has this number, nor a higher one.
    limit: AtomicU32,
    answered: AtomicUsize,
    /// When each worker had its first answer out.
    workers: Mutex<BTreeMap<u32, Instant>>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) answered: Vec<u32>,
    /// Not answered, or not to the end.
    pub(crate) lost: Vec<u32>,
    /// As above, where a connection that had served before was closed before a byte of the answer.
    pub(crate) lost_when_idle: Vec<u32>,
    /// Connections that could not be made.
    pub(crate) refused: usize,
}

impl Load {
    /// So many clients with a connection for each request, and so many that keep theirs. They send `total` requests.
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

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// When one of these workers had its first answer out.
    pub(crate) fn heard_of(&self, workers: &[u32]) -> Option<Instant> {
        let known = self.shared.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().filter_map(|worker| known.get(worker)).min().copied()
    }

    /// Whether all requests are on their way, or done.
    pub(crate) fn all_sent(&self) -> bool {
        self.shared.next.load(Ordering::Relaxed) >= self.shared.limit.load(Ordering::Relaxed)
    }

    /// Sends no more; waits for the rest.
    pub(crate) fn stop(self) -> Record {
        self.shared.limit.store(0, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all have been sent and answered.
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
    /// The server keeps the connection.
    stays: bool,
}

/// One request, and its answer; without one, how many bytes of it have come. An answer to something else is a failure of
/// the test.
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
    /// The requests that the application has written down, in order.
    pub(crate) fn ledger(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.path("ledger")).expect("a ledger");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
}
