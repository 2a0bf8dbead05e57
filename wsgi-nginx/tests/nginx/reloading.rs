//! `wsgi_script_reloading` and `wsgi_reload_mechanism` (REL-*).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{
    Gate, HELLO, KEEPALIVE_MIN_TIMEOUT, Mode, Nginx, Site, get, in_both_modes, nginx_version, wait_for,
};

/// Answers with a word and the worker's process id; `/gate` waits between them.
fn says(word: &str) -> String {
    format!(
        r#"
import os
word = "{word}"
def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/gate":
        yield word.encode()
        open(os.path.join(os.path.dirname(__file__), "gate")).read()
    yield f"{{word}} {{os.getpid()}}".encode()
"#
    )
}

fn site(mode: Mode, directives: &str) -> Site {
    Site::new(mode).file("app.py", says("old")).location("/", &format!("wsgi_pass app.py;\n{directives}"))
}

const MODULE: &str = "wsgi_script_reloading on;";
const PROCESS: &str = "wsgi_script_reloading on;\nwsgi_reload_mechanism process;";

/// Replaces the script by another file.
fn edit(nginx: &Nginx, source: &str) {
    let beside = nginx.path("app.py.new");
    std::fs::write(&beside, source).expect("write the script");
    std::fs::rename(beside, nginx.path("app.py")).expect("put it in place");
}

/// Returns the word, and the process id of the worker that answered.
fn ask(nginx: &Nginx) -> (String, u32) {
    let text = nginx.get("/").ok();
    let (word, process) = text.split_once(' ').expect("two words");
    (word.to_owned(), process.parse().expect("a process id"))
}

#[test]
fn rel_1_without_it_a_change_waits_for_a_reload() {
    in_both_modes(|mode| {
        let mut nginx = site(mode, "").start();
        assert_eq!(ask(&nginx).0, "old");
        edit(&nginx, &says("new"));
        assert_eq!(ask(&nginx).0, "old");
        nginx.reload();
        assert_eq!(ask(&nginx).0, "new");
    });
}

#[test]
fn rel_2_by_module_the_very_next_request_gets_the_new_version_from_the_same_worker() {
    in_both_modes(|mode| {
        let nginx = site(mode, MODULE).start();
        let (word, worker) = ask(&nginx);
        assert_eq!(word, "old");
        edit(&nginx, &says("new"));
        assert_eq!(ask(&nginx), ("new".to_owned(), worker));
        nginx.logged("loaded again");
    });
}

/// A script whose objects are destroyed as soon as the next version is loaded, and whose destructors let other threads
/// run.
fn with_destructors(word: &str) -> String {
    format!(
        r#"
from destroyed import Application
application = Application(Application("{word}"))
"#
    )
}

#[test]
fn rel_2_versions_with_destructors_are_replaced_under_load() {
    for mode in [Mode::Threads(2), Mode::Threads(4), Mode::Inline] {
        let destroyed = r#"
import threading, time
lock = threading.Lock()
class Application:
    def __init__(self, inner):
        self.inner = inner
    def __call__(self, environ, start_response):
        if callable(self.inner):
            return self.inner(environ, start_response)
        with lock:
            pass
        start_response("200 OK", [])
        return [self.inner.encode()]
    def __del__(self):
        with lock:
            time.sleep(0.02)
        print("destroyed")
"#;
        let directives = format!("{MODULE}\nwsgi_python_path .;");
        let nginx = Site::new(mode)
            .file("destroyed.py", destroyed)
            .file("app.py", with_destructors("version 0"))
            .location("/", &format!("wsgi_pass app.py;\n{directives}"))
            .start();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let text = nginx.get("/").ok();
                        assert!(text.starts_with("version "), "{mode}: {text}");
                    }
                });
            }
            for version in 1..8 {
                let word = format!("version {version}");
                edit(&nginx, &with_destructors(&word));
                assert_eq!(nginx.get("/").ok(), word, "{mode}");
            }
            over.store(true, Ordering::Relaxed);
        });
        nginx.logged("destroyed");
        nginx.stop();
    }
}

#[test]
fn rel_3_modules_that_a_script_imports_are_not_watched() {
    in_both_modes(|mode| {
        let source = "from helper import word\n".to_owned() + &says("x").replace("word = \"x\"", "");
        let nginx = site(mode, &format!("{MODULE}\nwsgi_python_path .;"))
            .file("helper.py", "word = 'old'\n")
            .file("app.py", &source)
            .start();
        assert_eq!(ask(&nginx).0, "old");
        std::fs::write(nginx.path("helper.py"), "word = 'newer'\n").expect("write the helper");
        assert_eq!(ask(&nginx).0, "old");
    });
}

#[test]
fn rel_4_a_broken_version_is_500_logged_once_and_mended_by_the_next() {
    in_both_modes(|mode| {
        let nginx = site(mode, MODULE).start();
        assert_eq!(ask(&nginx).0, "old");
        edit(&nginx, "def application(:\n");
        for _ in 0..5 {
            assert_eq!(nginx.get("/").status, 500);
        }
        assert_eq!(nginx.log_lines("SyntaxError").len(), 1);
        edit(&nginx, &says("mended"));
        assert_eq!(ask(&nginx).0, "mended");
    });
}

#[test]
fn rel_5_a_running_stream_keeps_the_code_it_began_with() {
    let nginx = site(Mode::Threads(2), MODULE).start();
    let gate = Gate::new(nginx.path("gate"));
    let mut client = nginx.connect();
    client.send(get("/gate"));
    client.head();
    assert_eq!(client.chunk().as_deref(), Some(&b"old"[..]));
    let standing = gate.arrival();
    edit(&nginx, &says("new"));
    assert_eq!(ask(&nginx).0, "new");
    drop(standing);
    assert!(client.chunk().expect("a chunk").starts_with(b"old "));
}

#[test]
fn rel_6_by_process_the_old_code_answers_once_more_and_another_worker_follows() {
    in_both_modes(|mode| {
        let nginx = site(mode, PROCESS).start();
        let (word, worker) = ask(&nginx);
        assert_eq!(word, "old");
        edit(&nginx, &says("new"));
        let response = nginx.get("/");
        assert_eq!((response.ok(), response.header("Refresh")), (format!("old {worker}"), Some("0")));
        let (word, follower) = wait_for("the new version", || Some(ask(&nginx)).filter(|(word, _)| word == "new"));
        assert_eq!(word, "new");
        assert_ne!(follower, worker);
        assert_eq!(nginx.get("/").header("Refresh"), None);
        nginx.logged("will be replaced by a new one");
    });
}

#[test]
fn rel_7_by_process_a_running_request_completes() {
    let nginx = site(Mode::Threads(2), PROCESS).http("wsgi_retire_delay 100ms;").start();
    let gate = Gate::new(nginx.path("gate"));
    let mut client = nginx.connect();
    client.send(get("/gate"));
    client.head();
    assert_eq!(client.chunk().as_deref(), Some(&b"old"[..]));
    let standing = gate.arrival();
    edit(&nginx, &says("new"));
    nginx.get("/").ok();
    let line = nginx.logged("will be replaced by a new one");
    assert!(line.contains("1 requests under way"), "{line}");
    drop(standing);
    assert!(client.chunk().expect("a chunk").starts_with(b"old "));
    assert_eq!(client.chunk().as_deref(), Some(&b""[..]));
    wait_for("the new version", || (ask(&nginx).0 == "new").then_some(()));
}

#[test]
fn rel_8_without_a_master_process_the_module_is_reloaded_with_one_warning() {
    in_both_modes(|mode| {
        let nginx = site(mode, PROCESS).without_master().start();
        let (_, process) = ask(&nginx);
        for word in ["new", "newer", "newest"] {
            edit(&nginx, &says(word));
            assert_eq!(ask(&nginx), (word.to_owned(), process));
        }
        assert_eq!(nginx.log_lines("is reloaded in it instead").len(), 1);
    });
}

#[test]
fn rel_9_a_script_that_is_gone_is_500_until_it_is_back() {
    in_both_modes(|mode| {
        let nginx = site(mode, MODULE).start();
        assert_eq!(ask(&nginx).0, "old");
        std::fs::remove_file(nginx.path("app.py")).expect("it is there");
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("FileNotFoundError");
        edit(&nginx, &says("back"));
        assert_eq!(ask(&nginx).0, "back");
    });
}

/// Sends requests from two threads while `work` runs, each on a new connection. Returns the number of answers.
fn under_load(nginx: &Nginx, work: impl FnOnce()) -> usize {
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    nginx.get("/").ok();
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
    answers.into_inner()
}

#[test]
fn rel_10_and_rel_13_hundreds_of_edits_under_load_lose_no_request_by_module() {
    in_both_modes(|mode| {
        let nginx = site(mode, MODULE).start();
        let answers = under_load(&nginx, || {
            for number in 0..300 {
                let word = format!("v{number}");
                edit(&nginx, &says(&word));
                assert_eq!(ask(&nginx).0, word);
            }
        });
        assert!(answers > 100, "{answers} answers");
    });
}

#[test]
fn rel_11_by_process_all_workers_are_replaced_and_no_request_is_lost() {
    in_both_modes(|mode| {
        let nginx = site(mode, PROCESS).workers(4).start();
        under_load(&nginx, || {
            for number in 0..5 {
                let word = format!("v{number}");
                edit(&nginx, &says(&word));
                // Each worker notices the edit when it gets a request; in the end all workers are new.
                wait_for("all workers to be replaced", || (0..40).all(|_| ask(&nginx).0 == word).then_some(()));
            }
        });
        assert_eq!(wait_for("four workers", || Some(nginx.workers()).filter(|workers| workers.len() == 4)).len(), 4);
    });
}

#[test]
fn rel_11_by_process_hundreds_of_edits_under_load_lose_no_request() {
    in_both_modes(|mode| {
        let nginx = site(mode, PROCESS).workers(2).start();
        let first = nginx.workers();
        let answers = under_load(&nginx, || {
            for number in 0..100 {
                let word = format!("v{number}");
                edit(&nginx, &says(&word));
                wait_for("the new version", || (ask(&nginx).0 == word).then_some(()));
            }
        });
        assert!(answers > 100, "{answers} answers");
        // A worker that has not loaded the script yet loads the latest version, so that not every edit replaces a
        // worker.
        assert!(nginx.workers().iter().all(|worker| !first.contains(worker)));
    });
}

/// Sends one request on a persistent connection. Returns `None` if the connection was closed before a byte of the
/// answer.
fn ask_again(stream: &mut TcpStream) -> Option<String> {
    if stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
        return None;
    }
    let (mut answer, mut block) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut block) {
            Ok(0) | Err(_) if answer.is_empty() => return None,
            Ok(0) => return Some(String::from_utf8_lossy(&answer).into_owned()),
            Err(error) => panic!("half an answer: {error}, {:?}", String::from_utf8_lossy(&answer)),
            Ok(count) => answer.extend_from_slice(&block[..count]),
        }
        if answer.ends_with(b"\r\n0\r\n\r\n") {
            return Some(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

#[test]
fn rel_11_by_process_a_kept_connection_loses_no_request_that_was_executed() {
    let counts = r#"
import os
def application(environ, start_response):
    with open(os.path.join(os.path.dirname(__file__), "count"), "a") as file:
        file.write("x")
    start_response("200 OK", [])
    yield b"VERSION"
"#;
    let knows = nginx_version() >= KEEPALIVE_MIN_TIMEOUT;
    let timeout = if knows { "keepalive_min_timeout 5s;" } else { "" };
    let nginx = site(Mode::Threads(1), PROCESS).http(timeout).file("app.py", counts).start();
    let executed = || std::fs::read(nginx.path("count")).map_or(0, |text| text.len());
    let (mut answered, mut reset, mut stream) = (0, 0, None);
    let end = Instant::now() + Duration::from_secs(3);
    let mut number = 0;
    while Instant::now() < end {
        if number % 50 == 49 {
            edit(&nginx, &counts.replace("VERSION", &format!("v{number}")));
        }
        number += 1;
        let stream_now = stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(("127.0.0.1", nginx.port())).expect("nginx listens");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
            stream
        });
        match ask_again(stream_now) {
            Some(answer) => {
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                answered += 1;
                if answer.contains("Connection: close") {
                    stream = None;
                }
            }
            None => {
                reset += 1;
                stream = None;
            }
        }
    }
    assert_eq!(executed(), answered, "a request was executed without its answer, or the other way round");
    assert!(!knows || reset == 0, "{reset} kept connections were closed on their re-use");
    assert!(
        nginx.log_lines("will be replaced by a new one").len() > 1,
        "{answered} answers without a change of workers"
    );
}

#[test]
fn workers_retire_one_at_a_time() {
    let nginx = site(Mode::Threads(4), PROCESS).workers(2).http("wsgi_retire_delay 50ms;").start();
    let gate = Gate::new(nginx.path("gate"));
    // Both workers have loaded the script.
    wait_for("both workers", || {
        (0..20).map(|_| ask(&nginx).1).collect::<std::collections::BTreeSet<_>>().len().eq(&2).then_some(())
    });
    let mut client = nginx.connect();
    client.send(get("/gate"));
    client.head();
    let standing = gate.arrival();
    edit(&nginx, &says("new"));
    // At least one worker serves at any time, whichever retires first.
    for _ in 0..100 {
        ask(&nginx);
        assert!(!nginx.workers().is_empty());
    }
    drop(standing);
    wait_for("only new workers", || (0..40).all(|_| ask(&nginx).0 == "new").then_some(()));
}

#[test]
fn rel_12_other_mechanisms_are_refused() {
    let check = Site::with_defaults().http("wsgi_reload_mechanism interpreter;").check();
    assert!(!check.succeeded);
    let expected = "invalid value \"interpreter\" in \"wsgi_reload_mechanism\" directive";
    assert!(check.output.contains(expected), "{}", check.output);
}

#[test]
fn a_mechanism_without_reloading_has_no_effect() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", HELLO)
            .location("/", "wsgi_pass app.py;\nwsgi_reload_mechanism process;")
            .start();
        nginx.get("/").ok();
        edit(&nginx, "broken(");
        assert_eq!(nginx.get("/").header("Refresh"), None);
    });
}
