//! A worker that dies under load loses its requests in flight, and nothing else: the other worker serves meanwhile, and
//! a new worker starts at once.

use std::time::{Duration, Instant};

use wsgi_testkit::figure;

use crate::harness::{LEDGER, Load, Mode, Nginx, Site, connections, get, kill, pause, wait_for};

/// Clients with a connection for each request.
const CLIENTS: usize = 4;

/// Execution mode and number of workers.
const SITES: [(Mode, usize); 4] = [(Mode::Threads(1), 1), (Mode::Threads(1), 2), (Mode::Inline, 1), (Mode::Inline, 2)];

/// How often a worker is killed in each site.
const KILLS: usize = 4;

/// Statements that end a worker from inside, with the resulting line in the log.
const ENDS: [(&str, &str); 7] = [
    ("os.abort()", "exited on signal 6"),
    ("ctypes.string_at(0)", "exited on signal 11"),
    ("os.kill(os.getpid(), 9)", "exited on signal 9"),
    ("os._exit(0)", "with os._exit(0)"),
    ("os._exit(1)", "with os._exit(1)"),
    ("os._exit(2)", "with os._exit(2)"),
    ("os._exit(255)", "with os._exit(255)"),
];

/// The cost of workers that ended.
#[derive(Default)]
struct Cost {
    ends: usize,
    answered: usize,
    lost: usize,
    in_flight: usize,
    /// Time from each end to the first answer of the new worker, in sites with one worker.
    gaps: Vec<Duration>,
}

impl Cost {
    /// Ends a worker under load. `end` returns how many requests it had in flight, and when it was ended.
    fn of_an_end(&mut self, nginx: &Nginx, end: impl FnOnce() -> (usize, Instant)) {
        let before = nginx.workers();
        let load = Load::start(nginx, CLIENTS, 0, u32::MAX);
        wait_for("some load", || (load.answered() > 100).then_some(()));
        let (in_flight, ended) = end();
        let successors = wait_for("a successor", || {
            let now = nginx.workers();
            let new: Vec<u32> = now.into_iter().filter(|worker| !before.contains(worker)).collect();
            (!new.is_empty()).then_some(new)
        });
        if before.len() == 1 {
            self.gaps.push(wait_for("an answer of the successor", || load.heard_of(&successors)) - ended);
        }
        let answered = load.answered();
        wait_for("more answers", || (load.answered() > answered + 100).then_some(()));
        let record = load.stop();
        assert!(record.lost.len() <= in_flight, "{} lost, {in_flight} in flight", record.lost.len());
        assert_eq!(record.refused, 0, "connections were refused");
        self.ends += 1;
        self.answered += record.answered.len();
        self.lost += record.lost.len();
        self.in_flight += in_flight;
    }

    fn print(&mut self, what: &str, in_flight: &str) {
        self.gaps.sort();
        let Self { ends, answered, lost, gaps, .. } = self;
        let text = format!(
            "{ends} workers {what} under load: {answered} requests answered, {lost} lost of {in_flight}, 0 refused; where \
             there was no other worker the next answer came after {} ms (median), {} ms at most",
            gaps[gaps.len() / 2].as_millis(),
            gaps[gaps.len() - 1].as_millis(),
        );
        figure("R4", &text);
    }
}

fn start(mode: Mode, workers: usize) -> Nginx {
    let site = Site::new(mode).workers(workers).expect_in_log("exited on signal");
    site.file("app.py", LEDGER).location("/", "wsgi_pass app.py;").start()
}

fn all_workers(nginx: &Nginx, number: usize) -> Vec<u32> {
    wait_for("all workers", || Some(nginx.workers()).filter(|workers| workers.len() == number))
}

#[test]
fn a_worker_that_is_killed_under_load_loses_only_what_it_had_in_flight() {
    let mut cost = Cost::default();
    for (mode, workers) in SITES {
        let nginx = start(mode, workers);
        for _ in 0..KILLS {
            let worker = all_workers(&nginx, workers)[0];
            cost.of_an_end(&nginx, || {
                // A stopped worker accepts nothing while its connections are counted.
                pause(worker);
                let in_flight = connections(worker, nginx.port());
                kill(worker, libc::SIGKILL);
                (in_flight, Instant::now())
            });
        }
    }
    let in_flight = cost.in_flight;
    cost.print("killed", &format!("{in_flight} in flight"));
}

#[test]
fn a_worker_that_crashes_under_load_loses_only_what_it_had_in_flight() {
    let mut cost = Cost::default();
    for (mode, workers) in SITES {
        let nginx = start(mode, workers);
        for (statement, line) in ENDS {
            all_workers(&nginx, workers);
            cost.of_an_end(&nginx, || {
                let mut client = nginx.connect();
                client.send(get(&format!("/run?{}", statement.replace(' ', "%20"))));
                let answer = client.rest();
                // The worker with the connection lives if another one runs the application.
                assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 500"), "{statement} was answered");
                // Each client has one request in flight at a time.
                (CLIENTS, Instant::now())
            });
            nginx.logged(line);
        }
    }
    cost.print("crashed (abort, segmentation fault, os._exit)", &format!("at most {CLIENTS} in flight each"));
}
