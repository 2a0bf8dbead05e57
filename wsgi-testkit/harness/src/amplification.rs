//! Compares the cost of requests for a server with the cost for their client: if a cheap request is expensive to serve, a few
//! clients can bring a server down (CWE-405, CWE-770).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use wsgi_testkit::conformance::Served;
use wsgi_testkit::wire::{Client, request};
use wsgi_testkit::{Process, figure};

use crate::malformed;

/// Connections that send the same request concurrently, so that the cost of each can be measured.
const TOGETHER: usize = 20;

/// Limit of a request's memory as a multiple of the configured memory, and of the server's CPU time as a multiple of its
/// client's.
const FACTOR: u64 = 10;

/// Limit of the memory for a body that is announced and never sent, in bytes.
const ANNOUNCED: u64 = 1 << 20;

/// Sends the requests of the table of malformed ones, and some large ones, to a server that serves [`malformed::APPLICATION`]
/// at `/`. `process` is the server's process id, `limit` the memory in bytes that its configuration allows for the head and
/// the buffers of one request, and `name` the server's name in the printed figure. Panics if a request costs too much.
pub fn check(site: &dyn Served, process: u32, limit: u64, name: &str) {
    let process = Process::new(process);
    let requests: Vec<_> = malformed::requests().chain(large()).map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    // A first round, in which pools grow to their size and the application is loaded.
    for (_, bytes) in &requests {
        together(site, bytes, || ());
    }
    let mut problems = String::new();
    let (mut memory, mut time) = (Worst::default(), Worst::default());
    let (mut server_time, mut client_time) = (0, 0);
    for (request, bytes) in &requests {
        let before = (process.memory(), process.cpu_time(), cpu_time_of_this_thread());
        let mut held = 0;
        together(site, bytes, || held = process.memory());
        let grown = held.max(process.memory()).saturating_sub(before.0) / TOGETHER as u64;
        let server = process.cpu_time().saturating_sub(before.1).as_nanos() as u64;
        let client = (cpu_time_of_this_thread() - before.2).as_nanos() as u64;
        memory.note(grown, request);
        server_time += server;
        client_time += client;
        time.note(100 * server / client.max(1), request);
        if grown > FACTOR * limit {
            let _ = writeln!(problems, "{request} takes {grown} bytes of memory");
        }
    }
    let mut announced = Worst::default();
    for (request, fields) in announcements() {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nx");
        let before = process.memory();
        let mut client = site.connect();
        client.send(bytes);
        nudge(site);
        let grown = process.memory().saturating_sub(before);
        announced.note(grown, &request);
        if grown >= ANNOUNCED {
            let _ = writeln!(problems, "{request} with one byte takes {grown} bytes of memory");
        }
    }
    figure(
        "S6",
        &format!(
            "{} requests on {name}: at most {memory} bytes of memory each, {limit} configured; {}.{:02} times the CPU time \
             of the client in all, at most {time} hundredths; {announced} bytes where a body is only announced",
            requests.len(),
            server_time / client_time.max(1),
            100 * server_time / client_time.max(1) % 100,
        ),
    );
    assert!(problems.is_empty(), "{problems}");
    assert!(server_time < FACTOR * client_time, "{server_time} ns of CPU time, and {client_time} for the client");
}

/// Returns the CPU time of the calling thread, from the same counter as [`Process::cpu_time`].
fn cpu_time_of_this_thread() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("this thread lives");
    Duration::from_nanos(text.split(' ').next().and_then(|time| time.parse().ok()).expect("a number"))
}

/// The largest of several numbers, and the name of its request.
#[derive(Default)]
struct Worst(u64, String);

impl Worst {
    fn note(&mut self, number: u64, whose: &str) {
        if number > self.0 {
            *self = Self(number, whose.to_owned());
        }
    }
}

impl std::fmt::Display for Worst {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.0, self.1)
    }
}

/// Sends the same bytes on several connections. Calls `held` while all of them are open, after the server has received the
/// bytes.
fn together(site: &dyn Served, bytes: &[u8], held: impl FnOnce()) {
    let mut clients: Vec<Client> = (0..TOGETHER).map(|_| site.connect()).collect();
    for client in &mut clients {
        client.send(bytes);
    }
    nudge(site);
    held();
    // End all of them first: if an application reads a body as it arrives, the others wait for its thread.
    clients.iter_mut().for_each(Client::end);
    for client in &mut clients {
        client.rest();
    }
}

/// Waits until the server has handled the bytes sent before: it refuses this later request without an application, whose
/// threads may all wait for a body.
fn nudge(site: &dyn Served) {
    let mut client = site.connect();
    client.send(request("GET", "/%zz", "", b""));
    client.rest();
}

/// Returns valid requests that are as large as limits allow, or made of many small parts.
fn large() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let fields: BTreeMap<_, _> = (0..90).map(|number| (format!("X-{number:03}"), "v".repeat(300))).collect();
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let cookies: String = (0..80).map(|number| format!("Cookie: name{number}={}\r\n", "c".repeat(300))).collect();
    let chunks = |chunk: &str, count: usize| {
        let head = request("POST", "/a", "Transfer-Encoding: chunked\r\n", b"");
        [&head, chunk.repeat(count).as_bytes(), b"0\r\n\r\n"].concat()
    };
    [
        ("90 fields", request("GET", "/a", &fields, b"")),
        ("80 cookies", request("GET", "/a", &cookies, b"")),
        ("a path of escapes", request("GET", &format!("/{}", "%41".repeat(2_500)), "", b"")),
        ("a path of dots", request("GET", &format!("{}/", "/a/..".repeat(1_500)), "", b"")),
        ("a query of 8,000 bytes", request("GET", &format!("/?{}", "q".repeat(8_000)), "", b"")),
        ("a body of 100,000 bytes", request("POST", "/a", "", &[b'x'; 100_000])),
        ("2,000 chunks of a byte", chunks("1\r\nx\r\n", 2_000)),
        ("200 chunks with long extensions", chunks(&format!("1;{}\r\nx\r\n", "e".repeat(1_000)), 200)),
    ]
    .into_iter()
}

/// Returns headers that announce a body: of the largest number, of invalid numbers, and of a negative one.
fn announcements() -> Vec<(String, String)> {
    let lengths = ["9223372036854775807", "9223372036854775808", "18446744073709551616", "-1", "1048576"];
    let chunks = ["7fffffffffffffff", "ffffffffffffffff", "10000000000000000"];
    let lengths = lengths.map(|length| (format!("Content-Length {length}"), format!("Content-Length: {length}")));
    let chunks = chunks.map(|size| (format!("a chunk of {size}"), format!("Transfer-Encoding: chunked\r\n\r\n{size}")));
    lengths.into_iter().chain(chunks).collect()
}
