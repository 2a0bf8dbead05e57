//! A reload under load loses no request: compares the ledger of request numbers with the answers that the clients
//! received.
//!
//! `WSGI_HUPS` and `WSGI_HUP_REQUESTS` make the test longer (`make soak`); the defaults take a few seconds.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use wsgi_testkit::figure;

use crate::harness::{KEEPALIVE_MIN_TIMEOUT, LEDGER, Load, Mode, Record, Site, WAIT_TIMEOUT, nginx_version, wait_for};

const WORKERS: usize = 2;

/// Number of clients of each kind.
const CLIENTS: usize = 4;

#[test]
fn hup_under_load_loses_no_request_inline() {
    hup_under_load(Mode::Inline);
}

#[test]
fn hup_under_load_loses_no_request_with_threads() {
    hup_under_load(Mode::Threads(2));
}

fn hup_under_load(mode: Mode) {
    let hups = number("WSGI_HUPS", 5);
    let total = number("WSGI_HUP_REQUESTS", 20_000);
    let keeps_open = nginx_version() >= KEEPALIVE_MIN_TIMEOUT;
    let site = Site::new(mode).workers(WORKERS).file("app.py", LEDGER).location("/", "wsgi_pass app.py;");
    let site = site.http("keepalive_requests 1000000000;");
    let nginx = if keeps_open { site.http("keepalive_min_timeout 10s;") } else { site }.start();
    let began = Instant::now();
    let load = Load::start(&nginx, CLIENTS, CLIENTS, total);
    for hup in 1..=hups {
        let due = total as usize / (hups as usize + 1) * hup as usize;
        wait_for_answers(&load, due);
        progress(&format!("{mode}: {hup} of {hups} HUPs, {} of {total} requests answered", load.answered()));
        nginx.signal(libc::SIGHUP);
        // Two signals in quick succession would cause one reload.
        wait_for("the reload", || (nginx.log_lines(": reconfiguring").len() >= hup as usize).then_some(()));
    }
    wait_for_answers(&load, usize::MAX);
    let record = load.finish();
    let seconds = began.elapsed().as_secs_f64();
    wait_for("the workers of old configurations to be told to go", || {
        (nginx.log_lines("gracefully shutting down").len() >= WORKERS * hups as usize).then_some(())
    });

    let ledger = nginx.ledger();
    let ran: BTreeSet<u32> = ledger.iter().copied().collect();
    assert_eq!(ran.len(), ledger.len(), "a request has run twice");
    let answered: BTreeSet<u32> = record.answered.iter().copied().collect();
    let Record { lost, lost_when_idle, refused, .. } = &record;
    let unanswered: Vec<_> = ran.difference(&answered).collect();
    figure(
        "R2",
        &format!(
            "{mode}: {} of {total} requests answered over {hups} HUPs in {seconds:.0} s ({CLIENTS} clients with fresh \
             connections, {CLIENTS} that keep theirs): {} lost, {refused} refused, {} closed while idle, {} that ran \
             without an answer; keepalive_min_timeout: {}",
            answered.len(),
            lost.len(),
            lost_when_idle.len(),
            unanswered.len(),
            if keeps_open { "10s" } else { "not known to this nginx" },
        ),
    );
    assert_eq!((lost.len(), *refused), (0, 0), "{lost:?}");
    assert!(unanswered.is_empty(), "ran without an answer: {unanswered:?}");
    assert!(answered.iter().all(|number| ran.contains(number)), "an answer from nowhere");
    if keeps_open {
        assert_eq!((lost_when_idle.len(), answered.len()), (0, total as usize), "{lost_when_idle:?}");
    } else {
        // nginx may close every kept connection while it waits for its next request.
        assert!(lost_when_idle.len() <= CLIENTS * hups as usize, "{lost_when_idle:?}");
    }
}

/// Blocks until `due` requests are answered, or all are sent. May take longer than the timeout of a single event.
fn wait_for_answers(load: &Load, due: usize) {
    let mut last = (load.answered(), Instant::now());
    while load.answered() < due && !load.all_sent() {
        if load.answered() > last.0 {
            last = (load.answered(), Instant::now());
        }
        assert!(last.1.elapsed() < WAIT_TIMEOUT, "nothing is answered any more");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Reports progress of a long run; libtest captures output of `print!`.
fn progress(text: &str) {
    if std::env::var_os("WSGI_HUPS").is_some() {
        let _ = writeln!(std::io::stderr(), "    {text}");
    }
}
