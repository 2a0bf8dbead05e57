//! A worker that crashes writes the Python traceback of each thread to nginx's error log.

use crate::harness::{Mode, Nginx, Site, get, in_both_modes, python_says, wait_for};

/// Ends the process by the statement in the query.
const SOURCE: &str = "
import ctypes, faulthandler, os, signal, sys
from urllib.parse import unquote
def crashes(statement):
    exec(statement)
def application(environ, start_response):
    if environ['QUERY_STRING']:
        crashes(unquote(environ['QUERY_STRING']))
    start_response('200 OK', [])
    return [b'serves']
";

fn site(mode: Mode) -> Site {
    Site::new(mode).expect_in_log("exited on signal").file("app.py", SOURCE).location("/", "wsgi_pass app.py;")
}

/// Crashes the worker and returns the text that was written to `log` about it. The new worker answers afterwards.
fn crash(nginx: &Nginx, statement: &str, log: &str) -> String {
    assert_eq!(nginx.get("/").ok(), "serves");
    let (before, length) = (nginx.worker(), log_of(nginx, log).len());
    let mut client = nginx.connect();
    client.send(get(&format!("/?{}", statement.replace(' ', "%20"))));
    assert!(client.rest().is_empty(), "{statement} was answered");
    wait_for("the worker's successor", || nginx.workers().iter().any(|worker| *worker != before).then_some(()));
    assert_eq!(nginx.get("/").ok(), "serves", "after {statement}");
    log_of(nginx, log)[length..].to_owned()
}

fn log_of(nginx: &Nginx, name: &str) -> String {
    std::fs::read_to_string(nginx.path(name)).unwrap_or_default()
}

#[track_caller]
fn assert_reported(text: &str, fault: &str) {
    assert!(text.contains(&format!("Fatal Python error: {fault}")), "{text}");
    for line in ["line 5 in crashes", "line 8 in application"] {
        let frame = text.lines().find(|text| text.contains(line)).unwrap_or_else(|| panic!("no {line:?} in\n{text}"));
        assert!(frame.contains("File \"") && frame.contains("/app.py\""), "{frame}");
    }
}

#[test]
fn a_crash_leaves_its_python_traceback_in_the_error_log() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        for (statement, fault) in [
            ("ctypes.string_at(0)", "Segmentation fault"),
            ("faulthandler._sigsegv()", "Segmentation fault"),
            ("faulthandler._sigfpe()", "Floating"),
            ("os.abort()", "Aborted"),
            ("signal.raise_signal(7)", "Bus error"),
            ("signal.raise_signal(4)", "Illegal instruction"),
        ] {
            assert_reported(&crash(&nginx, statement, "error.log"), fault);
        }
    });
}

#[test]
fn an_overflow_of_the_stack_leaves_a_traceback_too() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        assert_reported(&crash(&nginx, "faulthandler._stack_overflow()", "error.log"), "Segmentation fault");
    });
}

#[test]
fn a_crash_is_reported_after_any_use_of_faulthandler() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        for statement in [
            "faulthandler.enable()",
            "faulthandler.enable(file=sys.__stderr__, all_threads=False)",
            "faulthandler.disable()",
            "faulthandler.enable();faulthandler.disable()",
            "faulthandler.enable(file=open(os.devnull, 'w'));faulthandler.disable()",
            "sys.stderr.close();sys.stderr.detach();os.environ.clear()",
        ] {
            let text = crash(&nginx, &format!("{statement};ctypes.string_at(0)"), "error.log");
            assert_reported(&text, "Segmentation fault");
        }
    });
}

#[test]
fn a_crash_in_an_interpreter_of_its_own_is_reported() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .http("wsgi_enable_subinterpreters on;")
            .location("/main", "wsgi_pass app.py;\nwsgi_use_main_interpreter on;")
            .start();
        assert_eq!(nginx.get("/main").ok(), "serves");
        let text = crash(&nginx, "ctypes.string_at(0)", "error.log");
        if mode == Mode::Inline && python_says("sys.version_info < (3, 12)") == "True" {
            // The handler uses the first thread state of the thread, which belongs to the main interpreter.
            assert!(text.contains("Fatal Python error: Segmentation fault"), "{text}");
        } else {
            assert_reported(&text, "Segmentation fault");
        }
    });
}

#[test]
fn a_crash_after_the_logs_were_opened_anew_is_in_the_new_log() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        assert_eq!(nginx.get("/").ok(), "serves");
        std::fs::rename(nginx.path("error.log"), nginx.path("error.log.1")).expect("rotate the log");
        let worker = nginx.worker();
        nginx.signal(libc::SIGUSR1);
        // Each process reopens the log separately.
        let link = format!("/proc/{worker}/fd/2");
        wait_for("the worker to open the log", || {
            std::fs::read_link(&link).is_ok_and(|path| path == nginx.path("error.log")).then_some(())
        });
        assert_reported(&crash(&nginx, "ctypes.string_at(0)", "error.log"), "Segmentation fault");
        assert!(!log_of(&nginx, "error.log.1").contains("Fatal Python error"));
    });
}

#[test]
fn a_crash_is_reported_on_standard_error_where_that_is_a_log() {
    in_both_modes(|mode| {
        let nginx = site(mode).main("error_log stderr notice;").start();
        assert_reported(&crash(&nginx, "ctypes.string_at(0)", "output"), "Segmentation fault");
    });
}
