//! A worker ends within its time limit although code of an application still runs, and loses no line of a log.

use std::time::{Duration, Instant};

use crate::harness::{Gate, Mode, Nginx, Site, get, in_both_modes, kill, wait_for};

/// `hold()` keeps the GIL in C, as a regular expression or an extension may do, and prints a line before. A thread
/// starts its work when the test opens the gate, after the request.
const HOLD: &str = "
import atexit, ctypes, os, sys, threading, time
def hold():
    print('holds', file=sys.stderr)
    ctypes.PyDLL(None).sleep(3600)
def loop():
    print('holds', file=sys.stderr)
    while True:
        pass
def thread(function, **options):
    def work():
        open(os.path.join(os.path.dirname(__file__), 'gate')).read()
        function()
    threading.Thread(target=work, **options).start()
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'].endswith('/go'):
        go()
    return [b'ok']
";

/// Code that delays the end of a worker: the function `go` of an application, called in a request.
const KEEPERS: [(&str, &str); 7] = [
    ("a thread that keeps the GIL", "thread(hold, daemon=True)"),
    ("a thread that computes", "thread(loop, daemon=True)"),
    ("a thread that computes and is waited for", "thread(loop)"),
    ("atexit that sleeps", "atexit.register(time.sleep, 3600); print('holds')"),
    ("atexit that computes", "atexit.register(loop); print('holds')"),
    ("atexit that keeps the GIL", "atexit.register(hold); print('holds')"),
    ("a thread and atexit", "thread(loop); atexit.register(time.sleep, 3600)"),
];

/// More of it for threads, where a running request does not block the event loop.
const KEEPERS_ON_THREADS: [(&str, &str); 2] =
    [("a request that keeps the GIL", "hold()"), ("a request that computes", "loop()")];

fn script(go: &str) -> String {
    format!("{HOLD}\ndef go():\n    {go}\n")
}

/// Time for a worker on a busy machine: it has half a second for each of two things. Nothing here ends without being
/// abandoned.
const SOON: Duration = Duration::from_secs(6);

/// Ends a worker that the application delays, and checks that another worker serves.
fn end_worker(nginx: &Nginx, location: &str, what: &str) {
    let worker = nginx.worker();
    nginx.logged("holds");
    let asked = Instant::now();
    kill(worker, libc::SIGTERM);
    wait_for(&format!("the end of a worker with {what}"), || (!nginx.workers().contains(&worker)).then_some(()));
    assert!(asked.elapsed() < SOON, "{what}: {:?}", asked.elapsed());
    let exited = nginx.logged(&format!("worker process {worker} exited"));
    assert!(exited.contains("exited with code 0"), "{what}: {exited}");
    assert_eq!(nginx.get(location).ok(), "ok", "{what}");
}

#[test]
fn a_worker_ends_in_time_despite_running_code() {
    in_both_modes(|mode| {
        let on_threads = if mode == Mode::Inline { &[][..] } else { &KEEPERS_ON_THREADS };
        for own in ["on", "off"] {
            for (what, go) in KEEPERS.iter().chain(on_threads) {
                let nginx = Site::new(mode)
                    .file("app.py", script(go))
                    .file("other.py", script("pass"))
                    .http(&format!("wsgi_enable_subinterpreters {own};"))
                    .server("access_log access.log combined buffer=64k;")
                    .location("/", "wsgi_pass app.py;")
                    .location("/other", "wsgi_pass other.py;")
                    .start();
                assert_eq!((nginx.get("/").ok(), nginx.get("/other").ok()), ("ok".into(), "ok".into()));
                let gate = go.contains("thread(").then(|| Gate::new(nginx.path("gate")));
                let mut client = nginx.connect();
                client.send(get("/go"));
                if let Some(gate) = gate {
                    assert_eq!(client.response().text(), "ok");
                    drop(gate.arrival());
                }
                end_worker(&nginx, "/", &format!("{what}, sub-interpreters {own}"));
                let log = std::fs::read_to_string(nginx.path("access.log")).unwrap_or_default();
                for request in ["GET / ", "GET /other "] {
                    assert_eq!(log.matches(request).count(), 1, "{what}: {request}\n{log}");
                }
            }
        }
    });
}

#[test]
fn a_worker_of_scripts_that_all_compute_ends_in_time() {
    in_both_modes(|mode| {
        let names = ["a", "b", "c", "d", "e", "f"];
        let go = "threading.Thread(target=loop).start(); threading.Thread(target=loop, daemon=True).start(); \
                  atexit.register(time.sleep, 3600)";
        let site = names.iter().fold(Site::new(mode).http("wsgi_enable_subinterpreters on;"), |site, name| {
            let file = format!("{name}.py");
            site.file(&file, script(go)).location(&format!("/{name}"), &format!("wsgi_pass {file};"))
        });
        let nginx = site.start();
        // All scripts are loaded before any of them computes, since each file access then waits for the GIL.
        for path in ["", "/go"] {
            for name in names {
                assert_eq!(nginx.get(&format!("/{name}{path}")).ok(), "ok");
            }
        }
        end_worker(&nginx, "/a", "six scripts");
    });
}

#[test]
fn a_reload_leaves_no_worker_behind_that_code_in_c_keeps() {
    let mut nginx = Site::new(Mode::Threads(1))
        .file("app.py", script("hold()"))
        .main("worker_shutdown_timeout 1s;")
        .location("/", "wsgi_pass app.py;")
        .start();
    let mut client = nginx.connect();
    client.send(get("/go"));
    nginx.logged("holds");
    drop(client);
    // Five seconds for threads, five for atexit, and some more.
    let began = Instant::now();
    nginx.reload();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    nginx.logged("code that holds the GIL still running at exit is abandoned");
    assert_eq!(nginx.get("/").ok(), "ok");
}
