//! Answers hello requests: `embedding bare|inline|threads bare|browser|changing COUNT`.
//!
//! `bare` is the loop over the C API that is the gateway's baseline, `inline` the gateway on this thread, `threads` the
//! gateway with one thread in its pool. The gateway starts Python for all three, so that it is in the same state. The first
//! two keep the GIL between requests; the third includes the cost of taking it.

use std::env;

use wsgi_benches::HELLO;
use wsgi_benches::bare::Bare;
use wsgi_benches::host::Host;
use wsgi_benches::request::{Request, SETS};
use wsgi_core::config::{Limits, Mode};

const USAGE: &str = "usage: embedding bare|inline|threads bare|browser|changing COUNT";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way, set, count] = arguments.as_slice() else { panic!("{USAGE}") };
    let (_, requests) = SETS.iter().find(|(name, _)| name == set).expect(USAGE);
    let count = count.parse().expect(USAGE);
    let (head, body) = match way.as_str() {
        "bare" => bare(requests, count),
        "inline" => inline(requests, count),
        "threads" => threads(requests, count),
        _ => panic!("{USAGE}"),
    };
    println!("{count} requests, {head} bytes of heads, {body} bytes of bodies");
}

fn bare(requests: &[Request], count: usize) -> (u64, u64) {
    let host = Host::start(Mode::Inline);
    let _attached = host.attach(&host.serve(HELLO));
    // SAFETY: attached for as long as `_attached` lives.
    let prepared: Vec<Bare> = requests.iter().map(|request| unsafe { Bare::new(HELLO, *request) }).collect();
    let (mut head, mut body) = (0, 0);
    for bare in prepared.iter().cycle().take(count) {
        // SAFETY: attached for as long as `_attached` lives.
        let sent = unsafe { bare.answer() };
        head += sent.head;
        body += sent.body;
    }
    (head, body)
}

fn inline(requests: &[Request], count: usize) -> (u64, u64) {
    let host = Host::start(Mode::Inline);
    let location = host.serve(HELLO);
    let _attached = host.attach(&location);
    for request in requests.iter().cycle().take(count) {
        host.answer(&location, request);
    }
    host.bytes()
}

fn threads(requests: &[Request], count: usize) -> (u64, u64) {
    let host = Host::start(Mode::Threads(Limits::new(1).max_threads(1).queue(16)));
    let location = host.serve(HELLO);
    for request in requests.iter().cycle().take(count) {
        host.answer_on_thread(&location, request);
    }
    host.bytes()
}
