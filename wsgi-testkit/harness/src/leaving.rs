//! Clients that leave, at any byte and at any time, and the resources that a server must release then.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use wsgi_testkit::{Process, WAIT_TIMEOUT, wait_for, wire};

use crate::Chance;

/// An application for [`withstand`]. It counts the iterables it returns, and those that are closed.
pub const APPLICATION: &str = "
import threading
lock = threading.Lock()
counts = {'made': 0, 'closed': 0}
def count(what):
    with lock:
        counts[what] += 1
class Result:
    def __init__(self, blocks):
        self.blocks = iter(blocks)
        count('made')
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks)
    def close(self):
        count('closed')
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/counts':
        start_response('200 OK', [])
        return [b'%(made)d %(closed)d' % {key.encode(): value for key, value in counts.items()}]
    environ['wsgi.input'].read()
    write = start_response('200 OK', [])
    if path == '/write':
        write(bytes(30000))
        write(b'written')
    if path == '/blocks':
        return Result(bytes(1000) for _ in range(20))
    if path == '/large':
        return Result(bytes(50000) for _ in range(40))
    return Result([b'small'])
";

const PATHS: [&str; 4] = ["/small", "/write", "/blocks", "/large"];

/// Number of concurrent clients.
const CLIENTS: u64 = 4;

/// Limit of the growth of a process meanwhile, in bytes: the memory that allocators keep differs from run to run.
const GROWTH: u64 = 4 << 20;

/// Makes `number` clients leave a server that runs [`APPLICATION`], each at a byte and a time that follow from `seed`.
/// `process` is the server's process id. Panics unless all iterables are closed, and the descriptors, CPU time and memory of
/// the idle process are as before. Returns the counts in one line.
pub fn withstand(address: SocketAddr, process: u32, number: u64, seed: u64) -> String {
    println!("seed {seed}");
    let process = Process::new(process);
    // A first round, after which one-time resources exist: threads, buffers, the application.
    leave(address, number / 5, seed ^ u64::MAX);
    let (descriptors, memory) = (at_rest(address, &process), process.memory());
    let (made_before, _) = counts(address);
    let began = Instant::now();
    leave(address, number, seed);
    let seconds = began.elapsed().as_secs_f64();
    let left = wait_for("descriptors to be where they were", || {
        let now = at_rest(address, &process);
        (now <= descriptors).then_some(now)
    });
    let (made, closed) = counts(address);
    assert_eq!(made, closed, "made and closed");
    let idle = Instant::now();
    let before = process.cpu_time();
    // Only a wait can show that nothing happens.
    thread::sleep(Duration::from_secs(1));
    let busy = process.cpu_time().saturating_sub(before).as_secs_f64() / idle.elapsed().as_secs_f64() * 100.0;
    assert!(busy < 1.0, "an idle process takes {busy:.1} % of a processor");
    let grown = process.memory().saturating_sub(memory);
    assert!(grown <= GROWTH, "{grown} bytes more memory than before");
    format!(
        "{number} clients left within {seconds:.0} s (seed {seed}): {} results made, all closed once, {descriptors} \
         descriptors before and {left} after, {busy:.1} % CPU when idle, {grown} bytes grown",
        made - made_before
    )
}

/// Returns the number of descriptors of the process when it is idle.
fn at_rest(address: SocketAddr, process: &Process) -> usize {
    wait_for("all that was made to be closed", || {
        let (made, closed) = counts(address);
        (made == closed).then_some(())
    });
    // The connection of the last request is closed soon after its response. From here on no client connects.
    let (mut last, mut same) = (usize::MAX, 0);
    wait_for("descriptors to stay the same", || {
        let now = process.descriptors();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same >= 10).then_some(now)
    })
}

/// Returns how many iterables have been made and closed so far.
fn counts(address: SocketAddr) -> (u64, u64) {
    let mut client = wire::Client::new(TcpStream::connect(address).expect("the server listens"));
    client.send(wire::request("GET", "/counts", "Connection: close\r\n", b""));
    let text = client.response().ok();
    let (made, closed) = text.split_once(' ').expect("two numbers");
    (made.parse().expect("a number"), closed.parse().expect("a number"))
}

fn leave(address: SocketAddr, number: u64, seed: u64) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut chance = Chance::new(seed.wrapping_add(client));
                (0..number / CLIENTS).for_each(|_| leave_once(address, &mut chance));
            });
        }
    });
}

fn leave_once(address: SocketAddr, chance: &mut Chance) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
    let path = PATHS[chance.below(PATHS.len())];
    let request = match chance.below(3) {
        0 => wire::request("POST", path, "", &vec![b'x'; 1 + chance.below(40_000)]),
        1 => [wire::get(path), wire::get(path)].concat(),
        _ => wire::get(path),
    };
    let sent = if chance.below(3) == 0 { chance.below(request.len()) } else { request.len() };
    let first = chance.below(sent + 1);
    // The server may start to handle the request before it is complete.
    let mut alive = stream.write_all(&request[..first]).is_ok();
    wait(chance);
    alive = alive && stream.write_all(&request[first..sent]).is_ok();
    if alive && sent == request.len() {
        let mut wanted = [0, 1, chance.below(400), chance.below(200_000)][chance.below(4)];
        let mut block = [0; 16 * 1024];
        while wanted > 0 {
            let limit = wanted.min(block.len());
            match stream.read(&mut block[..limit]) {
                // The other responses may be complete, and the connection waits for the next request.
                Ok(count) if count > 0 && path == "/large" => wanted -= count,
                _ => break,
            }
        }
    }
    wait(chance);
    match chance.below(3) {
        // Makes the connection end with RST.
        0 => rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("an open socket"),
        1 => {
            // The connection may be closed already.
            let _ = stream.shutdown(Shutdown::Write);
            wait(chance);
        }
        _ => {}
    }
}

/// Sometimes sleeps, so that the server reaches different states.
fn wait(chance: &mut Chance) {
    if chance.below(6) == 0 {
        thread::sleep(Duration::from_micros(chance.below(2000) as u64));
    }
}
