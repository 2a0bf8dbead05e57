//! The worker as a process: children, signals, exits, start and stop.

use std::time::Duration;

use crate::harness::{Gate, HELLO, Mode, Nginx, Site, get, in_both_modes, kill, wait_for};

/// Evaluates the query string in Python.
const RUNS: &str = "
import os, signal, subprocess, sys, threading, time
from urllib.parse import unquote
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = {}
    exec('result = ' + unquote(environ['QUERY_STRING']), globals(), names)
    return [str(names['result']).encode()]
";

fn runner(site: Site) -> Nginx {
    site.file("app.py", RUNS).location("/", "wsgi_pass app.py;").start()
}

fn run(nginx: &Nginx, expression: &str) -> String {
    nginx.get(&format!("/?{}", expression.replace(' ', "%20"))).ok()
}

#[test]
fn exit_codes_of_child_processes_are_right() {
    let codes = "[subprocess.call(['sh','-c','exit '+str(n)]) for n in (0,1,2,3,127,255)]";
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode));
        for _ in 0..3 {
            assert_eq!(run(&nginx, codes), "[0, 1, 2, 3, 127, 255]");
        }
        let single = runner(Site::new(mode).without_master());
        assert_eq!(run(&single, codes), "[0, 1, 2, 3, 127, 255]");
    });
}

#[test]
fn a_forked_child_that_exits_leaves_the_worker_alone() {
    in_both_modes(|mode| {
        let source = "
import os
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        os._exit(7)
    start_response('200 OK', [])
    return [str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode()]
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let worker = nginx.worker();
        assert_eq!(nginx.get("/").ok(), "7");
        assert_eq!(nginx.get("/").ok(), "7");
        assert_eq!(nginx.worker(), worker);
        assert!(!nginx.stop().contains("os._exit"));
    });
}

#[test]
fn sys_exit_and_its_kin_are_exceptions() {
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode));
        let worker = nginx.worker();
        let raising = ["sys.exit(0)", "sys.exit(2)", "(_ for _ in ()).throw(KeyboardInterrupt)"];
        for expression in raising {
            assert_eq!(nginx.get(&format!("/?{}", expression.replace(' ', "%20"))).status, 500, "{expression}");
        }
        nginx.logged("SystemExit: 2");
        nginx.logged("KeyboardInterrupt");
        assert_eq!(run(&nginx, "6*7"), "42");
        assert_eq!(nginx.worker(), worker);
    });
}

#[test]
fn os_exit_with_any_code_costs_the_worker_only() {
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode));
        for code in [0, 1, 2, 3, 255] {
            let worker = nginx.worker();
            let mut client = nginx.connect();
            client.send(get(&format!("/?os._exit({code})")));
            assert!(client.rest().is_empty(), "os._exit({code}) was answered");
            wait_for("another worker", || nginx.workers().iter().any(|pid| *pid != worker).then_some(()));
            assert_eq!(run(&nginx, "6*7"), "42", "after os._exit({code})");
            let line = nginx.logged(&format!("with os._exit({code})"));
            assert!(line.contains("[crit]"), "{line}");
        }
    });
}

#[test]
fn a_crash_costs_the_worker_only() {
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode).expect_in_log("exited on signal 6"));
        let worker = nginx.worker();
        let mut client = nginx.connect();
        client.send(get("/?os.abort()"));
        assert!(client.rest().is_empty());
        wait_for("another worker", || nginx.workers().iter().any(|pid| *pid != worker).then_some(()));
        assert_eq!(run(&nginx, "6*7"), "42");
    });
}

#[test]
fn signals_of_nginx_are_not_the_applications() {
    in_both_modes(|mode| {
        let source = "
import signal
for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, lambda *arguments: None)
"
        .to_owned()
            + HELLO;
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        if mode == Mode::Inline {
            // On another thread than the main one, Python itself raises unless the gateway has already intervened.
            assert_eq!(nginx.get("/").ok(), "hello world\n");
        } else {
            nginx.get("/");
        }
        let line = nginx.logged("signal.signal(SIGTERM)");
        assert!(line.contains("[warn]") && line.contains("app.py:4"), "{line}");
        // The end of this test stops nginx, which still works.
    });
}

#[test]
fn a_reload_loads_changed_code() {
    in_both_modes(|mode| {
        let mut nginx = Site::new(mode).file("app.py", HELLO).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
        // Same size, and most likely the same second: stale bytecode must not be used.
        std::fs::write(nginx.path("app.py"), HELLO.replace("hello world", "other world")).expect("write a file");
        nginx.reload();
        assert_eq!(nginx.get("/").ok(), "other world\n");
        assert!(!nginx.path("__pycache__").exists(), "bytecode was written next to the script");
    });
}

#[test]
fn a_running_request_ends_normally_at_a_reload_and_at_a_stop() {
    let source = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'begun '
    open(os.path.join(os.path.dirname(__file__), 'gate')).read()
    yield b'and ended'
";
    in_both_modes(|mode| {
        for signal in [libc::SIGHUP, libc::SIGQUIT] {
            let mut nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
            let gate = Gate::new(nginx.path("gate"));
            let mut client = nginx.connect();
            client.send(get("/"));
            let at_gate = gate.arrival();
            let worker = nginx.worker();
            nginx.signal(signal);
            // By now the worker has been asked to exit, and must still run.
            if signal == libc::SIGHUP {
                wait_for("a new worker", || (nginx.workers().len() > 1).then_some(()));
            }
            std::thread::sleep(Duration::from_millis(200));
            assert!(nginx.workers().contains(&worker));
            drop(at_gate);
            assert_eq!(client.response().ok(), "begun and ended");
            if signal == libc::SIGQUIT {
                assert!(nginx.wait().success());
            }
        }
    });
}

#[test]
fn a_request_that_waits_for_a_thread_is_served_at_a_stop() {
    let source = "
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/wait':
        open(os.path.join(os.path.dirname(__file__), 'gate')).read()
    start_response('200 OK', [])
    return [b'served']
";
    let mut nginx = Site::new(Mode::Threads(1)).file("app.py", source).location("/", "wsgi_pass app.py;").start();
    let gate = Gate::new(nginx.path("gate"));
    let (mut first, mut second) = (nginx.connect(), nginx.connect());
    first.send(get("/wait"));
    let at_gate = gate.arrival();
    second.send(get("/"));
    assert!(!second.has_answer_within(Duration::from_millis(100)));
    nginx.signal(libc::SIGQUIT);
    drop(at_gate);
    assert_eq!(first.response().ok(), "served");
    assert_eq!(second.response().ok(), "served");
    assert!(nginx.wait().success());
}

#[test]
fn a_thread_of_the_application_that_never_ends_does_not_keep_nginx() {
    in_both_modes(|mode| {
        let source = "
import threading
forever = threading.Event()
threading.Thread(target=forever.wait).start()
threading.Thread(target=forever.wait, daemon=True).start()
"
        .to_owned()
            + HELLO;
        let mut nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
        nginx.signal(libc::SIGQUIT);
        assert!(nginx.wait().success());
    });
}

#[test]
fn a_fast_stop_does_not_wait_for_the_application() {
    // With inline execution, nginx sees the signal only when the application returns.
    let source = "import time\ndef application(environ, start_response):\n    print('sleeping')\n    time.sleep(600)\n";
    let mut nginx = Site::new(Mode::Threads(1)).file("app.py", source).location("/", "wsgi_pass app.py;").start();
    let mut client = nginx.connect();
    client.send(get("/"));
    nginx.logged("sleeping");
    nginx.signal(libc::SIGTERM);
    assert!(nginx.wait().success());
}

#[test]
fn objects_of_a_loaded_application_are_frozen() {
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode));
        let frozen = run(&nginx, "__import__('gc').get_freeze_count()");
        assert!(frozen.parse::<u64>().is_ok_and(|count| count > 1000), "{frozen} objects");
    });
}

#[test]
fn preload_imports_at_the_start_of_a_worker() {
    in_both_modes(|mode| {
        for level in ["http", "server", "location"] {
            let site = Site::new(mode).file("app.py", "print('loaded early')\n".to_owned() + HELLO);
            let on = "wsgi_preload on;";
            let site = match level {
                "http" => site.http(on).location("/", "wsgi_pass app.py;"),
                "server" => site.server(on).location("/", "wsgi_pass app.py;"),
                _ => site.location("/", &format!("wsgi_pass app.py;\n{on}")),
            };
            let nginx = site.start();
            nginx.logged("loaded early");
            assert_eq!(nginx.get("/").ok(), "hello world\n");
            assert_eq!(nginx.log_lines("loaded early").len(), 1, "at {level} level");
        }
    });
}

#[test]
fn an_application_is_imported_by_workers_and_as_their_user() {
    let source = "import os\nprint('imported by', os.getpid(), os.getresuid())\n".to_owned() + HELLO;
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", &source).location("/", "wsgi_pass app.py;\nwsgi_preload on;");
        let check = site.check();
        assert!(check.succeeded && !check.output.contains("imported by"), "{}", check.output);
        let mut nginx = site.start();
        let imported_by = |nginx: &Nginx| {
            let worker = nginx.worker();
            let status = std::fs::read_to_string(format!("/proc/{worker}/status")).expect("a worker");
            let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a user");
            let user: Vec<_> = user.split_whitespace().take(3).collect();
            nginx.logged(&format!("imported by {worker} ({})", user.join(", ")));
        };
        imported_by(&nginx);
        nginx.reload();
        imported_by(&nginx);
        assert_eq!(nginx.log_lines("imported by").len(), 2);
    });
}

#[test]
fn preload_that_fails_says_so_and_the_first_request_tries_again() {
    in_both_modes(|mode| {
        let source = "import os\nif not os.path.exists(__file__ + '.ready'):\n    raise ValueError('not yet')\n";
        let nginx = Site::new(mode)
            .file("app.py", source.to_owned() + HELLO)
            .file("hello.py", HELLO)
            .location("/", "wsgi_pass app.py;\nwsgi_preload on;")
            .location("/hello", "wsgi_pass hello.py;")
            .start();
        nginx.logged("ValueError: not yet");
        assert!(nginx.log_lines("cannot load")[0].contains("/app.py"));
        assert_eq!(nginx.get("/hello").ok(), "hello world\n");
        std::fs::write(nginx.path("app.py.ready"), "").expect("write a file");
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

#[test]
fn a_python_that_the_workers_user_cannot_read_answers_500_in_one_line() {
    // SAFETY: `geteuid` only returns a number.
    assert_eq!(unsafe { libc::geteuid() }, 0, "workers of another user need root");
    in_both_modes(|mode| {
        let site = Site::new(mode)
            .file("app.py", HELLO)
            .file("private/lib/os.py", "")
            .http("wsgi_python_home private;")
            .location("/", "wsgi_pass app.py;")
            .location("/static", "return 200 static;")
            .user("daemon")
            .expect_in_log("cannot start Python");
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(site.path("private"), closed).expect("set permissions");
        let nginx = site.start();
        let worker = nginx.worker();
        for _ in 0..3 {
            assert_eq!(nginx.get("/").status, 500);
        }
        assert_eq!(nginx.get("/static").ok(), "static");
        assert_eq!(nginx.worker(), worker, "the worker was replaced");
        let lines = nginx.log_lines("cannot start Python");
        assert_eq!(lines.len(), 1, "{lines:?}");
        for text in ["daemon", "cannot read", "/private"] {
            assert!(lines[0].contains(text), "{text} is not in {lines:?}");
        }
    });
}

#[test]
fn each_of_several_workers_serves() {
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode).workers(2));
        wait_for("two workers", || (nginx.workers().len() == 2).then_some(()));
        let mut seen = std::collections::BTreeSet::new();
        wait_for("both workers to answer", || {
            seen.insert(run(&nginx, "os.getpid()"));
            (seen.len() == 2).then_some(())
        });
    });
}

#[test]
fn a_killed_worker_is_replaced() {
    in_both_modes(|mode| {
        let nginx = runner(Site::new(mode).expect_in_log("exited on signal 9"));
        let worker = nginx.worker();
        kill(worker, libc::SIGKILL);
        wait_for("another worker", || nginx.workers().iter().any(|pid| *pid != worker).then_some(()));
        assert_eq!(run(&nginx, "6*7"), "42");
    });
}

#[test]
fn reloads_can_remove_and_restore_the_last_application() {
    in_both_modes(|mode| {
        let mut nginx = Site::new(mode).file("app.py", HELLO).location("/", "wsgi_pass app.py;").start();
        nginx.change("wsgi_pass app.py;", "return 200 none;");
        nginx.reload();
        assert_eq!(nginx.get("/").ok(), "none");
        nginx.change("return 200 none;", "wsgi_pass app.py;");
        nginx.reload();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

#[test]
fn a_thread_that_ends_in_time_does_not_hold_up_the_worker_and_is_not_abandoned() {
    in_both_modes(|mode| {
        let source = r#"
import os, threading
from concurrent.futures import ThreadPoolExecutor
def work():
    open(os.path.join(os.path.dirname(__file__), "gate")).read()
    print("thread ended")
threading.Thread(target=work, daemon=False).start()
pool = ThreadPoolExecutor()
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(pool.submit(lambda: 42).result()).encode()]
"#;
        let mut nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let gate = Gate::new(nginx.path("gate"));
        assert_eq!(nginx.get("/").ok(), "42");
        let standing = gate.arrival();
        nginx.signal(libc::SIGQUIT);
        nginx.logged("exiting");
        let asked = std::time::Instant::now();
        drop(standing);
        assert!(nginx.wait().success());
        // The limit would be five seconds.
        assert!(asked.elapsed().as_secs() < 4, "{:?}", asked.elapsed());
        let log = nginx.log();
        assert!(log.contains("thread ended") && !log.contains("abandoned"), "{log}");
    });
}
