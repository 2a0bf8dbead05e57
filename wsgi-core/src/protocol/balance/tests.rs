//! Runs workers against a model of a listening socket: for any order of events no connection is left in the socket, and
//! connections are spread evenly.

mod asking;

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::pool::Limits;

fn threads(permits: usize) -> Mode {
    Mode::Threads(Limits::new(permits))
}

/// A process of the model, and its view of the socket.
#[derive(Default)]
struct Process {
    is_alive: bool,
    /// Whether its event loop waits for connections.
    is_registered: bool,
    /// Whether its event loop will find the socket when it looks next.
    is_reported: bool,
    is_woken: bool,
    requests: usize,
}

struct Model {
    slots: Vec<Slot>,
    permits: usize,
    processes: Vec<Process>,
    /// Connections that wait in the socket.
    backlog: usize,
    now: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    /// The event loop of a worker handles its events.
    Turn(usize),
    /// A request ends.
    Finish(usize),
    Tick(usize),
    Kill(usize),
    Start(usize),
    Retire(usize),
    Wait(u64),
}

impl Model {
    fn new(workers: usize, permits: usize) -> Self {
        let mut model = Self {
            slots: (0..workers).map(|_| Slot::default()).collect(),
            permits,
            processes: (0..workers).map(|_| Process::default()).collect(),
            backlog: 0,
            now: 1000,
        };
        (0..workers).for_each(|worker| model.start(worker));
        model
    }

    fn view(&self, worker: usize) -> Workers<'_> {
        Workers::new(&self.slots, worker, threads(self.permits))
    }

    fn start(&mut self, worker: usize) {
        if self.processes[worker].is_alive {
            return;
        }
        self.view(worker).enter(worker as u32 + 1);
        self.view(worker).set_state(State::Serving);
        self.processes[worker] = Process { is_alive: true, ..Process::default() };
        self.register(worker);
    }

    fn register(&mut self, worker: usize) {
        let is_reported = self.backlog > 0;
        let process = &mut self.processes[worker];
        (process.is_registered, process.is_reported) = (true, is_reported);
    }

    /// `ep_poll_callback` in Linux with EPOLLEXCLUSIVE: the first process that sleeps is woken, and those behind it see nothing.
    fn connect(&mut self) {
        self.backlog += 1;
        for process in self.processes.iter_mut().filter(|process| process.is_registered) {
            let is_asleep = !process.is_reported && !process.is_woken;
            process.is_reported = true;
            if is_asleep {
                break;
            }
        }
    }

    fn act(&mut self, worker: usize, decision: Placement) {
        match decision {
            Placement::Accept => self.register(worker),
            Placement::PassOn { to, wake } => {
                let process = &mut self.processes[worker];
                (process.is_registered, process.is_reported) = (false, false);
                self.processes[to].is_woken |= wake;
            }
        }
    }

    fn turn(&mut self, worker: usize) {
        if !self.processes[worker].is_alive {
            return;
        }
        if std::mem::take(&mut self.processes[worker].is_woken) {
            let decision = self.view(worker).offered(self.now);
            self.act(worker, decision);
        }
        if self.processes[worker].is_reported {
            match self.view(worker).offered(self.now) {
                Placement::Accept if self.backlog > 0 => {
                    self.backlog -= 1;
                    self.change(worker, 1);
                }
                Placement::Accept => self.processes[worker].is_reported = false,
                decision => self.act(worker, decision),
            }
        }
    }

    fn change(&mut self, worker: usize, by: isize) {
        let before = self.processes[worker].requests;
        let now = before.saturating_add_signed(by);
        self.processes[worker].requests = now;
        if self.view(worker).requests_changed(before, now, || self.now) {
            self.processes[worker].is_woken = true;
        }
    }

    fn tick(&mut self, worker: usize) {
        if !self.processes[worker].is_alive || !self.view(worker).is_paused() {
            return;
        }
        let alive: HashSet<u32> =
            (0..self.slots.len()).filter(|at| self.processes[*at].is_alive).map(|at| at as u32 + 1).collect();
        let asked = self.view(worker).should_resume(self.now, |process| alive.contains(&process));
        if asked || self.backlog > 0 {
            let decision = self.view(worker).offered(self.now);
            self.act(worker, decision);
        }
    }

    /// Lets all workers handle their events until they have none.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let busy = |process: &Process| process.is_alive && (process.is_woken || process.is_reported);
            let Some(worker) = self.processes.iter().position(busy) else { return };
            self.turn(worker);
        }
        panic!("the workers call each other for ever");
    }

    fn step(&mut self, step: &Step) {
        let at = |worker: &usize| worker % self.slots.len();
        match step {
            Step::Connect => self.connect(),
            Step::Turn(worker) => self.turn(at(worker)),
            Step::Tick(worker) => self.tick(at(worker)),
            Step::Start(worker) => self.start(at(worker)),
            Step::Wait(milliseconds) => self.now += milliseconds,
            Step::Finish(worker) => {
                let worker = at(worker);
                if self.processes[worker].is_alive && self.processes[worker].requests > 0 {
                    self.change(worker, -1);
                }
            }
            Step::Retire(worker) => {
                let worker = at(worker);
                if self.processes[worker].is_alive {
                    self.view(worker).set_state(State::Retiring);
                    let decision = self.view(worker).offered(self.now);
                    self.act(worker, decision);
                }
            }
            Step::Kill(worker) => {
                let worker = at(worker);
                let killed = std::mem::take(&mut self.processes[worker]);
                // The kernel does not wake another process for the connections that it has woken this one for. A new process
                // sees them.
                if killed.is_reported {
                    self.start(worker);
                }
            }
        }
    }
}

fn steps(kinds: BoxedStrategy<Step>) -> impl Strategy<Value = Vec<Step>> {
    vec(kinds, 0..80)
}

fn of_living() -> BoxedStrategy<Step> {
    prop_oneof![
        6 => Just(Step::Connect),
        8 => (0..4usize).prop_map(Step::Turn),
        4 => (0..4usize).prop_map(Step::Finish),
        1 => (0..4usize).prop_map(Step::Tick),
        2 => (1..60u64).prop_map(Step::Wait),
    ]
    .boxed()
}

fn of_all() -> BoxedStrategy<Step> {
    prop_oneof![
        20 => of_living(),
        1 => (0..4usize).prop_map(Step::Kill),
        1 => (0..4usize).prop_map(Step::Start),
        1 => (0..4usize).prop_map(Step::Retire),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn no_connection_is_left_in_the_socket(workers in 1..5usize, permits in 1..3usize, steps in steps(of_living())) {
        let mut model = Model::new(workers, permits);
        for step in &steps {
            model.step(step);
        }
        model.settle();
        prop_assert_eq!(model.backlog, 0);
    }

    #[test]
    fn no_worker_stops_for_good_if_others_are_killed(workers in 1..5usize, permits in 1..3usize, steps in steps(of_all())) {
        let mut model = Model::new(workers, permits);
        for step in &steps {
            model.step(step);
        }
        for further in [0, 1] {
            (0..further).for_each(|_| model.connect());
            model.settle();
            // A call that a killed worker has not answered does not count after this time.
            for _ in 0..3 {
                model.now += BLOCKED_AFTER + 1;
                (0..workers).for_each(|worker| model.tick(worker));
                model.settle();
            }
            let is_alive = model.processes.iter().any(|process| process.is_alive);
            prop_assert!(model.backlog == 0 || !is_alive, "{} connections wait", model.backlog);
        }
    }

    #[test]
    fn connections_are_spread_evenly(workers in 1..5usize, permits in 1..3usize, connections in 0..40usize) {
        let mut model = Model::new(workers, permits);
        for _ in 0..connections {
            model.connect();
            model.settle();
        }
        let levels: Vec<_> = model.processes.iter().map(|process| process.requests / permits).collect();
        let (least, most) = (levels.iter().min().unwrap(), levels.iter().max().unwrap());
        prop_assert!(*most <= least + least / 2 + 1, "{:?}", levels);
        if connections <= workers * permits {
            prop_assert!(model.processes.iter().all(|process| process.requests <= permits), "a permit is free elsewhere");
        }
    }

    #[test]
    fn a_worker_with_a_free_permit_waits_for_connections(workers in 1..5usize, permits in 1..3usize, steps in steps(of_living())) {
        let mut model = Model::new(workers, permits);
        for step in &steps {
            model.step(step);
        }
        model.settle();
        for (worker, process) in model.processes.iter().enumerate() {
            prop_assert!(process.is_registered || !model.view(worker).is_free(model.now), "worker {}", worker);
        }
    }
}

#[test]
fn memory_of_zeros_is_a_table_without_workers() {
    let slots = [Slot::default(), Slot::default()];
    assert_eq!(size_of_val(&slots) % 128, 0, "each slot is on a cache line of its own");
    let workers = Workers::new(&slots, 0, threads(1));
    workers.enter(7);
    workers.set_state(State::Serving);
    assert_eq!((workers.level(0, 0), workers.level(1, 0)), (0, UNAVAILABLE));
    assert!(!workers.requests_changed(0, 5, || 0));
    assert_eq!(workers.offered(0), Placement::Accept);
}

/// Returns the views of two workers that serve, with the process ids 7 and 8.
fn serving(slots: &[Slot; 2], mode: Mode) -> [Workers<'_>; 2] {
    [0, 1].map(|own| {
        let workers = Workers::new(slots, own, mode);
        workers.enter(7 + own as u32);
        workers.set_state(State::Serving);
        workers
    })
}

#[test]
fn an_accepted_connection_counts_as_a_request_for_a_limited_time() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    first.set_arrivals(1, 120);
    assert_eq!(first.offered(119), Placement::PassOn { to: 1, wake: true });
    assert_eq!(first.offered(119), Placement::PassOn { to: 1, wake: false }, "called already");
    assert_eq!(second.offered(119), Placement::Accept);
    assert!(first.should_resume(120, |_| true), "the connection has not sent a request");
    assert_eq!(first.offered(120), Placement::Accept);
}

#[test]
fn an_inline_worker_with_a_new_connection_leaves_the_next_one_to_a_worker_that_is_running() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, Mode::Inline);
    assert!(!second.requests_changed(0, 1, || 0));
    first.set_arrivals(1, 120);
    assert_eq!(first.offered(100), Placement::PassOn { to: 1, wake: true });
    second.set_arrivals(1, 120);
    assert!(!second.requests_changed(1, 0, || 0));
    assert_eq!(second.offered(100), Placement::Accept, "both have a new connection");
}

#[test]
fn a_worker_that_begins_to_run_an_application_while_it_is_called_is_not_waited_for() {
    let slots: [Slot; 3] = Default::default();
    let workers = [0, 1, 2].map(|own| Workers::new(&slots, own, Mode::Inline));
    for worker in &workers {
        worker.enter(std::process::id());
        worker.set_state(State::Serving);
    }
    let [first, second, third] = workers;
    first.set_arrivals(1, 20);
    assert_eq!(first.better(10), Some(1));
    // The second worker looks for calls, and runs an application.
    second.requests_changed(0, 1, || 10);
    assert_eq!(second.called_before_running(10), None);
    first.slots[1].call(10);
    assert_eq!(first.look_again(1, 10), Some(Placement::PassOn { to: 2, wake: true }));
    assert_eq!(first.look_again(2, 10), None, "the third worker will look");
    // If it begins after the call, it looks before.
    third.requests_changed(0, 1, || 10);
    assert_ne!(third.called_before_running(10), None);
}

#[test]
fn a_worker_with_a_long_request_leaves_connections_to_one_whose_request_has_just_begun() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    assert!(!first.requests_changed(0, 1, || 1000));
    assert!(!second.requests_changed(0, 1, || 1000 + LONG));
    assert_eq!(first.offered(2000), Placement::Accept, "both may end at any time");
    assert!(!second.requests_changed(1, 2, || panic!("the second request waits")));
    assert!(!second.requests_changed(2, 1, || 1001 + LONG));
    assert_eq!(first.offered(2000), Placement::PassOn { to: 1, wake: true });
    assert_eq!(second.offered(2000), Placement::Accept);
}

#[test]
fn a_worker_that_does_not_answer_calls_counts_as_busy() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    assert!(!first.requests_changed(0, 1, || 0));
    assert_eq!(first.offered(1000), Placement::PassOn { to: 1, wake: true });
    assert_eq!(first.offered(1000 + BLOCKED_AFTER), Placement::PassOn { to: 1, wake: false });
    assert_eq!(first.offered(1001 + BLOCKED_AFTER), Placement::Accept);
    assert_eq!(second.offered(1001 + BLOCKED_AFTER), Placement::Accept);
    assert_eq!(first.offered(1001 + BLOCKED_AFTER), Placement::PassOn { to: 1, wake: true });
}

#[test]
fn a_call_whose_caller_was_killed_does_not_count_for_good() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    assert!(!first.requests_changed(0, 1, || 0));
    // The first worker is killed before it wakes the second one.
    assert_eq!(first.offered(1000), Placement::PassOn { to: 1, wake: true });
    assert_eq!(first.level(1, 2000), UNAVAILABLE);
    assert_eq!(second.offered(2000), Placement::Accept, "the kernel reports a connection");
    assert_eq!(first.offered(2000), Placement::PassOn { to: 1, wake: true });
}

#[test]
fn a_worker_that_cannot_accept_counts_as_busy() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    assert!(!first.requests_changed(0, 1, || 0));
    assert!(second.set_exhausted(true) && !second.set_exhausted(true));
    assert_eq!(first.offered(1000), Placement::Accept);
    assert_eq!(second.offered(1000), Placement::PassOn { to: 0, wake: true });
    assert!(second.set_exhausted(false));
    assert_eq!(first.offered(1000), Placement::PassOn { to: 1, wake: true });
}

#[test]
fn a_dead_worker_loses_its_slot_unless_a_new_process_has_it() {
    let slots = [Slot::default(), Slot::default()];
    let [first, second] = serving(&slots, threads(1));
    assert!(!first.requests_changed(0, 1, || 0));
    assert_eq!(first.offered(0), Placement::PassOn { to: 1, wake: true });
    assert!(first.should_resume(0, |process| process != 8));
    assert_eq!(first.level(1, 0), UNAVAILABLE);
    assert_eq!(first.offered(0), Placement::Accept);
    second.enter(9);
    second.set_state(State::Serving);
    assert!(!first.should_resume(0, |process| process != 8));
    assert_eq!(first.level(1, 0), 0);
}
