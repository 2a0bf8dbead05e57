//! Workers are killed, and nginx is reloaded, at random moments under load: no worker stops accepting for good.
//!
//! `WSGI_KILLS_SECONDS` makes the test longer (`make soak`); the default is a few seconds.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wsgi_testkit::figure;

use super::{begun, occupy, site, wait_until_all_serve};
use crate::harness::{Gate, Mode, Nginx, WAIT_TIMEOUT, in_both_modes, kill, request, wait_for};

const WORKERS: usize = 4;

/// Number of clients that send one request after the other, each on a new connection.
const CLIENTS: usize = 8;

#[test]
fn no_worker_stops_accepting_for_good_under_kills_and_reloads() {
    let seconds = std::env::var("WSGI_KILLS_SECONDS").map_or(3, |text| text.parse().expect("a number of seconds"));
    in_both_modes(|mode| kills(mode, Duration::from_secs(seconds)));
}

fn kills(mode: Mode, time: Duration) {
    let site = site(mode, WORKERS).expect_in_log("exited on signal 9");
    let mut nginx = site.file("app.py", format!("{}\nimport time\ntime.sleep(0.02)\n", super::PLACES)).start();
    let gate = Gate::new(nginx.path("gate"));
    let (stop, answers, failures) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (mut killed, mut reloads) = (0, 0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let count = if answers_at(&nginx, "/") { &answers } else { &failures };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let end = Instant::now() + time;
        let mut random = Random(std::process::id());
        let mut last = (0, Instant::now());
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(u64::from(random.below(80))));
            if random.below(10) == 0 {
                nginx.signal(libc::SIGHUP);
                reloads += 1;
            } else if let Some(worker) = nginx.workers().get(random.below(WORKERS as u32) as usize) {
                kill(*worker, libc::SIGKILL);
                killed += 1;
            }
            let now = answers.load(Ordering::Relaxed);
            if now > last.0 {
                last = (now, Instant::now());
            }
            if last.1.elapsed() > WAIT_TIMEOUT {
                stop.store(true, Ordering::Relaxed);
                panic!("{mode}: nothing is answered any more after {killed} kills and {reloads} reloads");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    nginx.reload();
    wait_for("all workers", || (nginx.workers().len() == WORKERS).then_some(()));
    wait_until_all_serve(&nginx);
    // As many requests at once as there are workers run in different ones.
    for _ in 0..3 {
        let before = begun(&nginx).len();
        let mut clients = occupy(&nginx, WORKERS);
        let workers: BTreeSet<_> = begun(&nginx)[before..].iter().copied().collect();
        assert_eq!(workers.len(), WORKERS, "{mode}: {:?}", &begun(&nginx)[before..]);
        gate.pass();
        clients.iter_mut().for_each(|client| _ = client.response().ok());
    }
    let (answers, failures) = (answers.into_inner(), failures.into_inner());
    figure(
        "kills",
        &format!("{mode}: {killed} kills, {reloads} reloads, {answers} answers, {failures} connections without one"),
    );
    // A killed worker loses the requests that it has accepted, one in each of its permits and a few behind them.
    assert!(answers > failures, "{answers} answers, {failures} failures");
}

/// Whether a request on a new connection is answered with 200.
fn answers_at(nginx: &Nginx, path: &str) -> bool {
    answer(nginx, path).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn answer(nginx: &Nginx, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", nginx.port()))?;
    stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
    stream.write_all(&request("GET", path, "Connection: close\r\n", b""))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Numbers that look random: a linear congruential generator.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % limit
    }
}
