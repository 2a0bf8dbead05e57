//! A model of an exchange whose client leaves, for both ways of running applications.
//!
//! The states: queued; in the application before `start_response`; reading input; head sent; in `write()`; between blocks;
//! waiting for the client; in `close()`. A plan lists the application's steps, and the place where the client leaves.

use std::cell::RefCell;
use std::fs::File;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;
use wsgi_core::error::Fault;
use wsgi_testkit::{App, Body, Captured, Event, Faults, Gate, Host, Pending, figure, get, post};

/// Runs the steps of the variable `plan`, and logs each before it is taken. Keeps its objects; `/late` tries to use them.
const APPLICATION: &str = "
import ast, sys
kept = []
def say(line):
    print(line, file=sys.stderr)
class Result:
    def __init__(self, sizes):
        self.sizes = sizes
        say('made')
    def __iter__(self):
        for number, size in enumerate(self.sizes):
            say(f'block {number}')
            yield bytes(size)
    def close(self):
        say('close')
def tried(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return 'nothing'
def application(environ, start_response):
    if environ['PATH_INFO'] == '/late':
        start_response('200 OK', [])
        return [' '.join(map(tried, kept)).encode()]
    steps, sizes = ast.literal_eval(environ['plan'])
    body, errors = environ['wsgi.input'], environ['wsgi.errors']
    kept[:] = [lambda: start_response('200 OK', []), body.read, lambda: errors.write('late')]
    for number, (step, size) in enumerate(steps):
        say(f'step {number}')
        if step == 'read':
            body.read(size)
        elif step == 'start':
            write = start_response('200 OK', [])
            kept.append(lambda: write(b'late'))
        else:
            write(bytes(size))
    say('return')
    return Result(sizes)
";

const DIRECTIVES: [&[&str]; 4] =
    [&[], &["wsgi_output_buffering on"], &["wsgi_optimize_send_headers on"], &["wsgi_write_buffering on"]];

const BODY: usize = 1000;

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Start,
    Write(usize),
}

/// The place where the client leaves.
#[derive(Clone, Debug)]
enum Place {
    Nowhere,
    /// Before the application has a thread.
    Queued,
    /// Just before the application takes this step.
    Line(Index),
    /// While the exchange waits for the client before this block.
    Waiting(Index),
    /// After this many bytes of the response.
    Bytes(usize),
    /// After this many bytes of the request body.
    Body(usize),
}

#[derive(Clone, Debug)]
struct Plan {
    directives: usize,
    steps: Vec<Step>,
    blocks: Vec<usize>,
    place: Place,
}

impl Plan {
    /// Returns the lines that the application logs if the client does not leave.
    fn lines(&self) -> Vec<String> {
        let steps = (0..self.steps.len()).map(|number| format!("step {number}"));
        let blocks = (0..self.blocks.len()).map(|number| format!("block {number}"));
        let between = ["return", "made"].map(str::to_owned);
        steps.chain(between).chain(blocks).chain(["close".to_owned()]).collect()
    }

    /// Returns the plan for the application, as a Python literal.
    fn to_python(&self) -> String {
        let step = |step: &Step| match step {
            Step::Read(size) => format!("('read', {size}),"),
            Step::Start => "('start', 0),".to_owned(),
            Step::Write(size) => format!("('write', {size}),"),
        };
        format!("([{}], {:?})", self.steps.iter().map(step).collect::<String>(), self.blocks)
    }

    fn bytes(&self) -> usize {
        let written = |step: &Step| if let Step::Write(size) = step { *size } else { 0 };
        self.steps.iter().map(written).chain(self.blocks.iter().copied()).sum()
    }
}

fn plan(queues: bool) -> impl Strategy<Value = Plan> {
    let size = || prop_oneof![Just(0), 1..100usize, 1..20_000usize];
    let read = || (0..2 * BODY).prop_map(Step::Read);
    let later = prop_oneof![read(), size().prop_map(Step::Write)];
    let steps = (prop::collection::vec(read(), 0..3), prop::collection::vec(later, 0..4))
        .prop_map(|(before, after)| [before, vec![Step::Start], after].concat());
    let blocks = prop::collection::vec(size(), 0..5);
    let place = prop_oneof![
        1 => Just(Place::Nowhere),
        u32::from(queues) => Just(Place::Queued),
        6 => any::<Index>().prop_map(Place::Line),
        3 => any::<Index>().prop_map(Place::Waiting),
        2 => (0..40_000usize).prop_map(Place::Bytes),
        1 => (0..BODY).prop_map(Place::Body),
    ];
    (0..DIRECTIVES.len(), steps, blocks, place).prop_map(|(directives, steps, blocks, place)| Plan {
        directives,
        steps,
        blocks,
        place,
    })
}

/// Makes clients leave a host that runs applications on one thread at a time, or `inline`.
pub(crate) fn clients_leave(host: &Host, inline: bool) {
    let apps = DIRECTIVES
        .map(|directives| directives.iter().fold(host.app(APPLICATION), |app, directive| app.with(directive)));
    // Loads the applications first, because loading is logged, too.
    apps.iter().for_each(|app| assert!(host.send(app, get("/late")).is_complete()));
    let blocker = (!inline).then(|| Blocker::new(host));
    let (made, left) = (RefCell::new(0), RefCell::new(0));
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    runner
        .run(&plan(!inline), |plan| {
            let captured = run(host, &apps[plan.directives], blocker.as_ref(), &plan);
            check(host, &apps[plan.directives], &plan, &captured);
            *made.borrow_mut() += count(&captured, "made");
            *left.borrow_mut() += usize::from(!captured.is_complete());
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    let mode = if inline { "inline" } else { "threads" };
    let text = format!("model, {mode}: 1000 plans, {} clients left, {} results closed once", left.take(), made.take());
    figure("R14", &text);
}

fn run(host: &Host, app: &App, blocker: Option<&Blocker>, plan: &Plan) -> Captured {
    let mut faults = Faults::default();
    let mut request = post("/", vec![b'x'; BODY]).variable("plan", plan.to_python());
    let held = matches!(plan.place, Place::Queued).then(|| blocker.expect("a thread to be held").hold(host));
    match &plan.place {
        Place::Nowhere | Place::Queued => {}
        Place::Line(index) => {
            let lines = plan.lines();
            faults.leaves_at = Some(index.get(&lines).clone());
        }
        Place::Waiting(index) => {
            faults.stalls_before = vec![index.index(plan.blocks.len() + 1)];
            faults.leaves_when_stalled = true;
        }
        Place::Bytes(bytes) => faults.leaves_after = Some(*bytes),
        Place::Body(bytes) => request = request.body_arrives(Body::CutAfter(*bytes)),
    }
    let leaves_when_stalled = faults.leaves_when_stalled;
    let pending = host.send_to(app, request, faults);
    let client = pending.client().clone();
    if let Some((gate, first)) = held {
        client.leave();
        drop(gate);
        assert!(first.finish().is_complete());
    }
    while leaves_when_stalled && blocker.is_some() && !client.is_over() {
        if client.is_stalled() {
            client.leave();
        }
        std::thread::yield_now();
    }
    pending.finish()
}

fn check(host: &Host, app: &App, plan: &Plan, captured: &Captured) {
    captured.check();
    let lines: Vec<&str> = captured.log().map(|line| line.text.as_str()).collect();
    // An iterable that was made is closed once.
    assert_eq!(count(captured, "close"), count(captured, "made"), "{lines:?}");
    let dropped = captured.events().iter().filter(|event| matches!(event, Event::Dropped)).count();
    assert_eq!(dropped, 1, "the host's sink");
    let asked_after = |line: &str| {
        let position = lines.iter().position(|other| *other == line);
        position.map_or(0, |position| lines[position + 1..].iter().filter(|line| line.starts_with("block")).count())
    };
    match &plan.place {
        Place::Nowhere => {
            assert!(captured.is_complete() && captured.body().len() == plan.bytes(), "{captured:#?}");
            assert_eq!(lines, plan.lines());
        }
        Place::Queued => {
            assert!(lines.is_empty(), "the application was called: {lines:?}");
            assert!(matches!(captured.fault(), Some(Fault::Cancelled)), "{:?}", captured.fault());
        }
        Place::Line(index) => {
            let all = plan.lines();
            let line = index.get(&all);
            assert_eq!(asked_after(line), 0, "asked for more after {line:?}: {lines:?}");
            // At the last line the response has been sent.
            assert_eq!(captured.is_complete(), line == "close", "{line:?} {captured:#?}");
        }
        // The response may end before the client reaches that place.
        Place::Waiting(_) | Place::Bytes(_) | Place::Body(_) => {
            assert!(captured.is_complete() || captured.fault().is_some());
        }
    }
    // The next request is served, and the objects of the last one can no longer be used.
    let late = host.send(app, get("/late"));
    assert!(late.is_complete());
    assert!(late.text().split(' ').all(|name| name.is_empty() || name == "RuntimeError"), "{}", late.text());
}

fn count(captured: &Captured, text: &str) -> usize {
    captured.log().filter(|line| line.text == text).count()
}

/// An application that occupies the only running thread.
struct Blocker {
    app: App,
    gate: Gate,
    _folder: TempDir,
}

impl Blocker {
    fn new(host: &Host) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gate");
        let source = format!(
            "
def application(environ, start_response):
    open({path:?}).read()
    start_response('200 OK', [])
    return []
"
        );
        Self { app: host.app(&source), gate: Gate::new(path), _folder: folder }
    }

    /// Occupies the thread until the file is closed.
    fn hold(&self, host: &Host) -> (File, Pending) {
        let pending = host.send_to(&self.app, get("/"), Faults::default());
        (self.gate.arrival(), pending)
    }
}
