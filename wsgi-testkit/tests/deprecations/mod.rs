//! Python's warnings, mainly about deprecated functions: the gateway causes none, from its start to its end.
//!
//! Python reads the warning filters at its start, so the test runs itself as a child process with each filter.

use std::env;
use std::fs::File;
use std::process::Command;
use std::time::{Duration, SystemTime};

use wsgi_core::config::Mode;
use wsgi_testkit::{App, Host, Request, get, post};

/// Set in the child process.
const AGAIN: &str = "WSGI_TEST_WARNINGS";

/// Causes one warning, so that the test fails if warnings are not seen at all.
const PLANTED: &str = "
import warnings
def application(environ, start_response):
    start_response('200 OK', [])
    warnings.warn('planted', DeprecationWarning)
    return [b'warned']
";

/// Uses all objects that the gateway provides to an application.
const EVERYTHING: &str = "
import faulthandler, io, signal, sys
def application(environ, start_response):
    print('to the log')
    print('to the log', file=sys.stderr)
    environ['wsgi.errors'].writelines(['one\\n', 'two\\n'])
    body = environ['wsgi.input']
    lines = [body.readline(), *body.readlines(), *body]
    signal.signal(signal.SIGUSR1, signal.getsignal(signal.SIGUSR1)) if environ['PATH_INFO'] == '/signal' else None
    try:
        raise ValueError
    except ValueError:
        write = start_response('200 OK', [('Content-Type', 'text/plain')], sys.exc_info())
    write(b'written ')
    return environ['wsgi.file_wrapper'](io.BytesIO(b''.join(lines)))
";

const FAILS: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    raise KeyError('on purpose')
";

/// Re-raises an exception after the head has been sent.
const RAISES_AGAIN: &str = "
import sys
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'begun'
    try:
        raise KeyError('on purpose')
    except KeyError:
        start_response('500 Error', [], sys.exc_info())
";

/// Runs a function of the script in child processes.
const PROCESSES: &str = "
import multiprocessing
def work(status):
    raise SystemExit(status)
def application(environ, start_response):
    statuses = []
    for method in 'spawn', 'forkserver':
        process = multiprocessing.get_context(method).Process(target=work, args=(7,))
        process.start()
        process.join()
        statuses.append(process.exitcode)
    start_response('200 OK', [])
    return [repr(statuses).encode()]
";

/// Leaves a thread and an `atexit` function for the end.
const ENDS: &str = "
import atexit, concurrent.futures, threading
atexit.register(print, 'atexit')
executor = concurrent.futures.ThreadPoolExecutor(1)
executor.submit(print, 'executed').result()
threading.Thread(target=print, args=('started',)).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ends']
";

/// Called by the test of this name.
pub(crate) fn no_step_warns(test: &str, mode: Mode) {
    if env::var_os(AGAIN).is_some() {
        return steps(Host::shared_with(mode));
    }
    for filter in ["always", "error"] {
        let program = env::current_exe().expect("this program");
        let output = Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .envs([(AGAIN, "1"), ("PYTHONWARNINGS", filter)])
            .output()
            .expect("it runs once more");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "with {filter}: {said}");
        let (planted, others): (Vec<_>, Vec<_>) =
            said.lines().filter(|line| line.contains("Warning: ")).partition(|line| line.contains("planted"));
        assert!(!planted.is_empty(), "with {filter} the warning of an application is not seen: {said}");
        assert!(others.is_empty(), "with {filter}: {others:?} in {said}");
    }
}

fn steps(host: &Host) {
    let own = |source: &str| host.app(source).with("wsgi_enable_subinterpreters on");
    send(host, &host.app(PLANTED), get("/"));
    for app in [host.app(EVERYTHING), own(EVERYTHING)] {
        assert_eq!(send(host, &app, post("/", "one\ntwo\nthree\n")), "written one\ntwo\nthree\n");
    }
    for app in [host.app(FAILS), own(FAILS), host.app("def application(:\n"), host.app("import no_such_module\n")] {
        assert!(send(host, &app, get("/")).starts_with("status 500"));
    }
    send(host, &host.app(RAISES_AGAIN), get("/"));
    send(host, &host.named("wsgiref.simple_server:demo_app"), get("/"));
    assert_eq!(send(host, &host.app(PROCESSES), get("/")), "[7, 7]");
    for app in [host.app(ENDS), own(ENDS)] {
        assert_eq!(send(host, &app, get("/")), "ends");
    }
    let watched = host.app(ENDS).with("wsgi_script_reloading on");
    assert_eq!(send(host, &watched, get("/")), "ends");
    std::fs::write(watched.path().expect("a file"), ENDS.replace("b'ends'", "b'again'")).expect("write the script");
    let file = File::options().write(true).open(watched.path().expect("a file")).expect("the script");
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).expect("set the time");
    assert_eq!(send(host, &watched, get("/")), "again");
    host.shutdown(Duration::from_secs(10));
    let log = host.log();
    log.iter().for_each(|line| println!("{}", line.text));
    assert!(log.iter().any(|line| line.text == "atexit"), "the end is not reached");
}

/// Prints the log of a request; returns the body of its response, or its status if that is an error.
fn send(host: &Host, app: &App, request: Request) -> String {
    let response = host.send(app, request);
    response.log().for_each(|line| println!("{}", line.text));
    if response.status() == 200 { response.text() } else { format!("status {}", response.status()) }
}
