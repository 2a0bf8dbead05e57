//! A panic in any function that nginx or Python calls, or at the bottom of a thread, results in a 500 and an alert. The
//! worker survives: the next request is served by the same process.

mod callbacks;

use std::time::Duration;

use crate::harness::{Gate, HELLO, Mode, Site, WAIT_TIMEOUT, get, in_both_modes, python_says, request, wait_for};

/// Failpoints while nginx reads a configuration. `set_directive` is the first function that nginx calls after the two
/// that make records.
const CONFIGURATION: [&str; 5] =
    ["create_main_conf", "create_location_conf", "set_directive", "merge_location_conf", "postconfiguration"];

/// Failpoints in a request, before its head is sent: the name, and a statement of the application that reaches it.
const REQUEST: [(&str, &str); 23] = [
    ("content_handler", "pass"),
    ("body_arrived", "pass"),
    ("start_response", "pass"),
    ("write", "write(b'')"),
    ("input.read", "body.read()"),
    ("input.readline", "body.readline()"),
    ("input.readlines", "body.readlines()"),
    ("input.seek", "body.seek(0)"),
    ("input.tell", "body.tell()"),
    ("input.seekable", "body.seekable()"),
    ("input.close", "body.close()"),
    ("input.iter", "iter(body)"),
    ("input.next", "next(iter(body))"),
    ("errors.write", "errors.write('text')"),
    ("errors.writelines", "errors.writelines(['text'])"),
    ("errors.flush", "errors.flush()"),
    ("errors._write", "errors.buffer.write(b'text')"),
    ("errors._flush", "errors.buffer.flush()"),
    ("log.write", "print('text')"),
    ("log.flush_lines", "sys.stdout.flush()"),
    ("audit", "os.system('true')"),
    ("processes.is_loading", "with contextlib.suppress(ValueError): signal.siginterrupt(signal.SIGTERM, True)"),
    ("processes.mask_changed", "signal.pthread_sigmask(signal.SIG_BLOCK, [])"),
];

/// More of them if a thread runs the application: one on the thread, one on the event loop.
const REQUEST_ON_A_THREAD: [(&str, &str); 2] = [("job", "pass"), ("deliver", "pass")];

/// Failpoints without effect on the response, which is complete in spite of the panic.
const HARMLESS: [&str; 4] = ["request_over", "release_blocks", "release_body", "dealloc"];
const HARMLESS_WITH_THREADS: [&str; 3] = ["mail_arrived", "thread_start", "thread_release"];

/// Failpoints at the end of a worker.
const EXIT: [&str; 2] = ["exit_process", "exit"];

/// Failpoints with a separate test each.
const OTHERS: [&str; 20] = [
    "release",
    "write_event",
    "init_process",
    "drop_conf",
    "hold_expired",
    "retire",
    "retirement_due",
    "thread_end",
    "processes.forked",
    "gil_request",
    "init_module",
    "accept_event",
    "connection_accepted",
    "request_known",
    "called",
    "check_due",
    "resume_if_free",
    "waiting_due",
    "request_received",
    "request_ended",
];

fn scenarios() -> Vec<&'static str> {
    let requests = REQUEST.iter().chain(&REQUEST_ON_A_THREAD).map(|(name, _)| *name);
    let others = [&CONFIGURATION[..], &HARMLESS, &HARMLESS_WITH_THREADS, &EXIT, &OTHERS].concat();
    requests.chain(others).collect()
}

#[test]
fn every_callback_has_a_failpoint_and_a_scenario() {
    let callbacks = callbacks::of_c_and_python();
    assert!(callbacks.len() > 25, "{callbacks:?}");
    let points = callbacks::failpoints();
    for (function, point) in &callbacks {
        let point = point.as_ref().unwrap_or_else(|| panic!("{function} is not guarded: see guard::guard, enter()"));
        assert!(points.contains(point), "{function}: {point}");
        let own_name = point.rsplit('.').next() == Some(function);
        assert!(own_name, "{function} is guarded by the name of another one, {point}");
    }
    let scenarios = scenarios();
    let without: Vec<_> = points.iter().filter(|point| !scenarios.contains(&point.as_str())).collect();
    assert!(without.is_empty(), "no scenario arms {without:?}");
    let unknown: Vec<_> = scenarios.iter().filter(|name| !points.contains(**name)).collect();
    assert!(unknown.is_empty(), "nothing is called {unknown:?}");
}

/// An application that runs the statement of a failpoint for the path with its name.
fn each_statement() -> String {
    let statements: String = REQUEST
        .iter()
        .chain(&REQUEST_ON_A_THREAD)
        .map(|(name, statement)| format!("    if environ['PATH_INFO'] == '/{name}':\n        {statement}\n"))
        .collect();
    format!(
        "
import contextlib, os, signal, sys
def application(environ, start_response):
    write = start_response('200 OK', [])
    body, errors = environ['wsgi.input'], environ['wsgi.errors']
{statements}    return [b'ok']
"
    )
}

fn site(mode: Mode, source: &str) -> Site {
    Site::new(mode).with_failpoints().file("app.py", source).location("/", "wsgi_pass app.py;")
}

#[test]
fn a_panic_in_a_request_is_500_and_an_alert() {
    in_both_modes(|mode| {
        let nginx = site(mode, &each_statement()).start();
        let worker = nginx.worker();
        let on_a_thread = if mode == Mode::Inline { &[][..] } else { &REQUEST_ON_A_THREAD };
        for (name, _) in REQUEST.iter().chain(on_a_thread) {
            let ask = || nginx.post(&format!("/{name}"), b"a body\n");
            assert_eq!(ask().ok(), "ok", "{name}");
            nginx.arm(name);
            let failed = ask();
            assert_eq!((failed.status, failed.whole), (500, true), "{name}");
            assert!(!failed.text().contains("failpoint"), "{name} is told to the client: {failed:?}");
            let alert = nginx.fired(name);
            assert!(*name == "job" || alert.contains(&format!("panic in {name}")), "{alert}");
            assert_eq!(ask().ok(), "ok", "after {name}");
            assert_eq!(nginx.worker(), worker, "{name} has cost the worker");
        }
    });
}

#[test]
fn a_panic_in_a_forked_process_leaves_it_a_process_that_does_not_serve() {
    let source = "
import os
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        return [b'child']
    start_response('200 OK', [])
    return [str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode()]
";
    in_both_modes(|mode| {
        let nginx = site(mode, source).start();
        let worker = nginx.worker();
        nginx.arm("processes.forked");
        assert_eq!(nginx.get("/").ok(), "0");
        let alert = nginx.fired("processes.forked");
        assert!(alert.contains("panic in processes.forked"), "{alert}");
        assert_eq!(nginx.get("/").ok(), "0");
        assert_eq!(nginx.worker(), worker);
    });
}

/// The first block is kept, not copied; the second one is made when the first has been sent.
const LARGE: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    yield bytes(100000)
    yield b'end'
";

#[test]
fn a_panic_beside_a_response_costs_nothing_but_an_alert() {
    in_both_modes(|mode| {
        let with_threads = if mode == Mode::Inline { &[][..] } else { &HARMLESS_WITH_THREADS };
        for name in HARMLESS.iter().chain(with_threads) {
            let mut nginx = site(mode, LARGE).start();
            let worker = nginx.worker();
            // Armed before the first request, which starts the thread.
            nginx.arm(name);
            for _ in 0..2 {
                assert_eq!(nginx.post("/", &[b'x'; 10_000]).ok().len(), 100_003, "{name}");
            }
            nginx.fired(name);
            assert_eq!(nginx.get("/").ok().len(), 100_003, "after {name}");
            assert_eq!(nginx.worker(), worker, "{name} has cost the worker");
            // A request that is still counted would keep the worker from exiting.
            nginx.signal(libc::SIGQUIT);
            assert!(nginx.wait().success(), "{name}");
        }
    });
}

#[test]
fn a_panic_while_memory_is_given_back_costs_nothing_but_an_alert() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [bytes(8 << 20)] if environ['PATH_INFO'] == '/large' else [b'ok']
";
    let nginx = site(Mode::Inline, source).start();
    let worker = nginx.worker();
    nginx.arm("release");
    let mut client = nginx.connect();
    client.send(get("/large"));
    client.head();
    drop(client);
    nginx.fired("release");
    assert_eq!(nginx.get("/").ok(), "ok");
    assert_eq!(nginx.worker(), worker);
}

#[test]
fn panic_in_the_delivery_of_several_responses_fails_one_of_them() {
    let source = "
import threading
both = threading.Barrier(2)
def application(environ, start_response):
    both.wait()
    start_response('200 OK', [])
    return [b'ok']
";
    let nginx = site(Mode::Threads(2), source).start();
    for name in ["mail_arrived", "deliver"] {
        let mut clients = [nginx.connect(), nginx.connect()];
        nginx.arm(name);
        clients.iter_mut().for_each(|client| client.send(get("/")));
        let statuses: Vec<u16> = clients.iter_mut().map(|client| client.response().status).collect();
        let failed = statuses.iter().filter(|status| **status == 500).count();
        let expected = usize::from(name == "deliver");
        assert_eq!(failed, expected, "{name}: {statuses:?}");
        nginx.fired(name);
    }
}

#[test]
fn a_panic_while_the_configuration_is_read_refuses_it() {
    for name in CONFIGURATION {
        let site = site(Mode::Inline, HELLO);
        site.arm(name);
        let check = site.check();
        assert!(!check.succeeded, "{name}: {}", check.output);
        let alert =
            check.output.lines().find(|line| line.contains("[alert]")).unwrap_or_else(|| panic!("{}", check.output));
        assert!(alert.contains(&format!("panic in {name} ")), "{alert}");
        let again = site.check();
        assert!(again.succeeded, "{name}: {}", again.output);
    }
}

#[test]
fn a_panic_while_the_configuration_is_read_anew_leaves_the_old_one_in_force() {
    in_both_modes(|mode| {
        let mut nginx = site(mode, HELLO).start();
        let worker = nginx.worker();
        for name in CONFIGURATION {
            nginx.arm(name);
            nginx.signal(libc::SIGHUP);
            nginx.fired(name);
            assert_eq!(nginx.get("/").ok(), "hello world\n", "after {name}");
            assert_eq!(nginx.workers(), [worker], "{name}");
        }
        nginx.reload();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

/// Two of its responses are larger than the buffers of sockets.
const SLOW: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/large':
        for _ in range(200):
            yield bytes(100000)
    while environ['PATH_INFO'] == '/endless':
        yield bytes(100000)
    yield b'old'
";

#[test]
fn a_panic_in_write_event_cuts_the_response() {
    in_both_modes(|mode| {
        let nginx = site(mode, SLOW).start();
        let worker = nginx.worker();
        // With chunks an incomplete body is visible. Without them the body ends with the connection, so that nginx must
        // reset it.
        for head in [get("/endless"), b"GET /endless HTTP/1.0\r\n\r\n".to_vec()] {
            let mut client = nginx.connect();
            client.send(head);
            assert!(client.has_answer_within(WAIT_TIMEOUT));
            nginx.arm("write_event");
            let response = client.response();
            assert_eq!(response.status, 200);
            assert!(!response.whole, "a response that was cut looks complete: {:?}", response.headers);
            nginx.fired("write_event");
            assert_eq!(nginx.get("/").ok(), "old");
            assert_eq!(nginx.worker(), worker);
        }
    });
}

#[test]
fn a_worker_that_panics_at_its_start_answers_500() {
    in_both_modes(|mode| {
        let site = site(mode, HELLO).location("/static", "return 200 static;");
        site.arm("init_process");
        let mut nginx = site.start();
        let worker = nginx.worker();
        nginx.fired("init_process");
        for _ in 0..2 {
            assert_eq!(nginx.get("/").status, 500);
            assert_eq!(nginx.get("/static").ok(), "static");
        }
        assert_eq!(nginx.worker(), worker);
        nginx.reload();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

#[test]
fn a_panic_at_the_end_of_a_worker_does_not_keep_it() {
    in_both_modes(|mode| {
        for name in EXIT {
            let mut nginx = site(mode, HELLO).start();
            assert_eq!(nginx.get("/").ok(), "hello world\n");
            nginx.arm(name);
            nginx.reload();
            nginx.fired(name);
            assert_eq!(nginx.get("/").ok(), "hello world\n");
        }
    });
}

#[test]
fn a_panic_at_the_end_of_a_thread_does_not_keep_the_worker() {
    let mut nginx = site(Mode::Threads(1), HELLO).start();
    assert_eq!(nginx.get("/").ok(), "hello world\n");
    nginx.arm("thread_end");
    let began = std::time::Instant::now();
    nginx.reload();
    nginx.fired("thread_end");
    assert!(began.elapsed() < Duration::from_secs(4), "the worker has waited for the thread");
    assert_eq!(nginx.get("/").ok(), "hello world\n");
}

#[test]
fn a_panic_at_the_end_of_an_interpreter_of_its_own_is_an_alert() {
    in_both_modes(|mode| {
        let site = site(mode, HELLO).http("wsgi_enable_subinterpreters on;");
        let mut nginx = site.file("other.py", HELLO).location("/other", "wsgi_pass other.py;").start();
        for path in ["/", "/other"] {
            assert_eq!(nginx.get(path).ok(), "hello world\n");
        }
        nginx.arm("exit");
        nginx.reload();
        nginx.fired("exit");
        assert_eq!(nginx.get("/other").ok(), "hello world\n");
    });
}

#[test]
fn a_panic_in_a_request_for_the_gil_prevents_no_later_request() {
    if python_says("__import__('sys').version_info >= (3, 13)") == "True" {
        // Python itself switches between interpreters.
        return;
    }
    let computes = "
import threading
def compute():
    while True:
        pass
threading.Thread(target=compute, daemon=True).start()
";
    in_both_modes(|mode| {
        let site = site(mode, HELLO).http("wsgi_enable_subinterpreters on;");
        let site = site.file("other.py", computes.to_owned() + HELLO).location("/other", "wsgi_pass other.py;");
        site.arm("gil_request");
        let nginx = site.start();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
        assert_eq!(nginx.get("/other").ok(), "hello world\n");
        nginx.fired("gil_request");
        for _ in 0..10 {
            assert_eq!(nginx.get("/").ok(), "hello world\n");
        }
    });
}

#[test]
fn panic_while_the_old_configuration_is_freed_keeps_the_new_one() {
    in_both_modes(|mode| {
        let mut nginx = site(mode, HELLO).start();
        nginx.arm("drop_conf");
        nginx.reload();
        nginx.fired("drop_conf");
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

#[test]
fn panic_in_the_timer_that_holds_a_worker_does_not_end_it_early() {
    let source = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    open(os.path.join(os.path.dirname(__file__), 'gate')).read()
    return [b'ended']
";
    let mut nginx = site(Mode::Threads(1), source).start();
    let worker = nginx.worker();
    let gate = Gate::new(nginx.path("gate"));
    nginx.arm("hold_expired");
    nginx.fired("hold_expired");
    let mut client = nginx.connect();
    client.send(request("GET", "/", "Connection: close\r\n", b""));
    let at_gate = gate.arrival();
    assert_eq!(nginx.worker(), worker);
    nginx.signal(libc::SIGQUIT);
    nginx.logged("gracefully shutting down");
    assert!(!client.has_answer_within(Duration::from_millis(300)));
    drop(at_gate);
    assert_eq!(client.response().ok(), "ended");
    assert!(nginx.wait().success());
}

#[test]
fn panic_in_the_retirement_of_a_worker_does_not_prevent_its_replacement() {
    in_both_modes(|mode| {
        for name in ["retire", "retirement_due"] {
            let reloading = "wsgi_script_reloading on;\nwsgi_reload_mechanism process;\nwsgi_retire_delay 200ms;";
            let nginx = site(mode, SLOW).http(reloading).start();
            let worker = nginx.worker();
            // An open request, for which the worker waits.
            let mut client = nginx.connect();
            client.send(get("/large"));
            assert!(client.has_answer_within(WAIT_TIMEOUT));
            std::fs::write(nginx.path("app.py"), SLOW.replace("old", "new")).expect("write a file");
            nginx.arm(name);
            assert_eq!(nginx.get("/").ok(), "old");
            nginx.fired(name);
            assert_eq!(client.response().ok().len(), 20_000_003);
            wait_for("the new version", || (nginx.get("/").ok() == "new").then_some(()));
            assert_ne!(nginx.worker(), worker, "{name}");
        }
    });
}
