//! Separate interpreters for applications (SUB-*): `wsgi_enable_subinterpreters` and `wsgi_use_main_interpreter`.

use std::thread;

use crate::harness::{Environ, Gate, Mode, Nginx, Site, get, in_both_modes, package_venv, wait_for};

/// Counts in a module that every script can import, and answers with the count.
const COUNTS: &str = "
import shared
def application(environ, start_response):
    shared.n += 1
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(shared.n).encode()]
";

/// Answers with the value of the expression in the query string.
const EVALUATE: &str = "
import os, signal, sys, threading
from urllib.parse import unquote
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(eval(unquote(environ['QUERY_STRING']), globals(), {'environ': environ})).encode()]
";

/// A site with identical scripts `a.py`, `b.py` and `c.py`, and a module `shared`.
fn counting(mode: Mode, http: &str) -> Site {
    let site = Site::new(mode).file("lib/shared.py", "n = 0\n").http("wsgi_python_path lib;").http(http);
    ["a", "b", "c"].into_iter().fold(site, |site, name| site.file(&format!("{name}.py"), COUNTS))
}

fn evaluate(nginx: &Nginx, path: &str, expression: &str) -> String {
    nginx.get(&format!("{path}?{}", expression.replace(' ', "%20"))).ok()
}

#[test]
fn sub_1_off_applications_share_modules() {
    in_both_modes(|mode| {
        let nginx = counting(mode, "").location("/a", "wsgi_pass a.py;").location("/b", "wsgi_pass b.py;").start();
        assert_eq!(nginx.get("/a").ok(), "1");
        assert_eq!(nginx.get("/b").ok(), "2");
    });
}

#[test]
fn sub_2_on_each_script_has_modules_of_its_own() {
    in_both_modes(|mode| {
        let nginx = counting(mode, "wsgi_enable_subinterpreters on;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;")
            .start();
        assert_eq!(nginx.get("/a").ok(), "1");
        assert_eq!(nginx.get("/b").ok(), "1");
        assert_eq!(nginx.get("/a").ok(), "2");
        for name in ["a", "b"] {
            let path = nginx.path(&format!("{name}.py")).display().to_string();
            let lines = nginx.log_lines(&format!("interpreter for \"{path}\" created"));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].contains("[notice]"), "{lines:?}");
        }
    });
}

#[test]
fn sub_3_users_of_the_main_interpreter_share_it() {
    in_both_modes(|mode| {
        let nginx = counting(mode, "wsgi_enable_subinterpreters on;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;\nwsgi_use_main_interpreter on;")
            .location("/c", "wsgi_pass c.py;\nwsgi_use_main_interpreter on;")
            .start();
        let answers = ["/a", "/b", "/c", "/a"].map(|path| nginx.get(path).ok());
        assert_eq!(answers, ["1", "1", "2", "2"]);
    });
}

#[test]
fn sub_4_main_interpreter_alone_changes_nothing() {
    in_both_modes(|mode| {
        for flag in ["on", "off"] {
            let nginx = counting(mode, &format!("wsgi_use_main_interpreter {flag};"))
                .location("/a", "wsgi_pass a.py;")
                .location("/b", "wsgi_pass b.py;")
                .start();
            assert_eq!(["/a", "/b"].map(|path| nginx.get(path).ok()), ["1", "2"]);
            assert!(nginx.log_lines("interpreter for").is_empty());
        }
    });
}

#[test]
fn sub_5_locations_and_callables_of_one_script_share_its_interpreter() {
    in_both_modes(|mode| {
        let source = COUNTS.replace("shared", "itself").replace("import itself", "class itself: n = 0")
            + "\nsecond = lambda *arguments: application(*arguments)\n";
        let nginx = Site::new(mode)
            .file("app.py", source)
            .http("wsgi_enable_subinterpreters on;")
            .location("/x", "wsgi_pass app.py;")
            .location("/y", "wsgi_pass app.py;")
            .location("/z", "wsgi_pass app.py second;")
            .start();
        assert_eq!(["/x", "/y", "/z"].map(|path| nginx.get(path).ok()), ["1", "2", "3"]);
        assert_eq!(nginx.log_lines("interpreter for").len(), 1);
    });
}

#[test]
fn sub_6_scripts_of_one_name_in_two_folders_do_not_mix() {
    in_both_modes(|mode| {
        let app = |name: &str| COUNTS.replace("import shared", &format!("class shared: n = {name}"));
        let nginx = Site::new(mode)
            .file("one/app.py", app("10"))
            .file("two/app.py", app("20"))
            .http("wsgi_enable_subinterpreters on;")
            .location("/one", "wsgi_pass one/app.py;")
            .location("/two", "wsgi_pass two/app.py;")
            .start();
        assert_eq!(["/one", "/two", "/one"].map(|path| nginx.get(path).ok()), ["11", "21", "12"]);
    });
}

#[test]
fn sub_7_an_extension_that_refuses_a_second_interpreter_is_named_with_the_remedy() {
    // This version's PyO3 refuses a second interpreter. Later versions leave that to Python, which checks only
    // interpreters with their own GIL. The only wheel has the stable ABI, so that it also fits newer versions of
    // Python.
    let venv = package_venv("bcrypt==4.3.0");
    in_both_modes(|mode| {
        // The first interpreter that imports it gets it.
        let source = COUNTS.replace("import shared", "import bcrypt\nclass shared: n = 0");
        let site = |flag: &str| {
            Site::new(mode)
                .file("a.py", &source)
                .file("b.py", &source)
                .http(&format!("wsgi_python_home {};", venv.display()))
                .http("wsgi_enable_subinterpreters on;")
                .location("/a", &format!("wsgi_pass a.py;{flag}"))
                .location("/b", &format!("wsgi_pass b.py;{flag}"))
                .start()
        };
        let nginx = site("");
        // With Python 3.13 and later it refuses every interpreter except the main one.
        let first = nginx.get("/a").status;
        assert_eq!(nginx.get("/b").status, 500);
        nginx.logged("ImportError: ");
        let hint = nginx.logged("b.py'; if it is an extension module");
        assert!(hint.contains("bcrypt") && hint.contains("wsgi_use_main_interpreter on"), "{hint}");
        assert_eq!(nginx.get("/a").status, first, "the failure of one is not that of the other");
        let main = site("wsgi_use_main_interpreter on;");
        assert_eq!(["/a", "/b"].map(|path| main.get(path).ok()), ["1", "1"]);
    });
}

#[test]
fn environ_names_the_interpreter() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", crate::harness::ENVIRON)
            .file("lib/package/site.py", crate::harness::ENVIRON)
            .http("wsgi_python_path lib;")
            .http("wsgi_enable_subinterpreters on;")
            .location("/own", "wsgi_pass app.py;")
            .location("/module", "wsgi_pass package.site;")
            .location("/main", "wsgi_pass app.py;\nwsgi_use_main_interpreter on;")
            .start();
        let of = |path: &str| Environ::of(&nginx.get(path)).get("wsgi_gateway.interpreter").map(str::to_owned);
        assert_eq!(of("/own"), Some(format!("'{}'", nginx.path("app.py").display())));
        assert_eq!(of("/module").as_deref(), Some("'package.site'"));
        assert_eq!(of("/main").as_deref(), Some("'main'"));
    });
}

#[test]
fn interpreters_have_environments_guards_and_search_paths_of_their_own() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("a.py", EVALUATE)
            .file("b.py", EVALUATE)
            .file("lib/shared.py", "")
            .http("wsgi_enable_subinterpreters on;")
            .http("wsgi_python_path lib;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;")
            .start();
        // A new interpreter copies the environment of the process, which other interpreters change as well: `/b` starts
        // first.
        assert_eq!(evaluate(&nginx, "/b", "os.environ.get('A')"), "None");
        assert_eq!(evaluate(&nginx, "/a", "os.environ.setdefault('A', 'x')"), "x");
        assert_eq!(evaluate(&nginx, "/b", "os.environ.get('A')"), "None");
        assert_eq!(evaluate(&nginx, "/a", "sys.path[0]"), nginx.path("lib").display().to_string());
        assert_eq!(evaluate(&nginx, "/a", "sys.argv, os.getcwd()"), "([''], '/')");
        // Only the main interpreter may set signal handlers, whether or not the signal is nginx's.
        assert_eq!(nginx.get("/a?signal.signal(signal.SIGTERM,signal.SIG_DFL)").status, 500);
        assert_eq!(nginx.get("/b?signal.signal(signal.SIGRTMIN,signal.SIG_DFL)").status, 500);
        nginx.logged("ValueError: signal only works in main thread");
        let children = "__import__('subprocess').call(['sh','-c','exit 3'])";
        assert_eq!(evaluate(&nginx, "/a", children), "3");
        assert_eq!(evaluate(&nginx, "/b", "print('printed') or 1"), "1");
        assert!(nginx.logged("printed").contains("[notice]"));
    });
}

#[test]
fn os_exit_in_an_interpreter_costs_the_worker_only() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("a.py", EVALUATE)
            .http("wsgi_enable_subinterpreters on;")
            .location("/a", "wsgi_pass a.py;")
            .start();
        let worker = nginx.worker();
        let mut client = nginx.connect();
        client.send(get("/a?os._exit(2)"));
        assert!(client.rest().is_empty());
        wait_for("another worker", || nginx.workers().iter().any(|pid| *pid != worker).then_some(()));
        assert_eq!(evaluate(&nginx, "/a", "6*7"), "42");
        nginx.logged("with os._exit(2)");
    });
}

#[test]
fn at_the_end_every_interpreter_runs_its_atexit_functions_and_waits_for_its_threads() {
    in_both_modes(|mode| {
        let app = |name: &str| {
            format!(
                "
import atexit, threading
asked = threading.Event()
def work():
    asked.wait()
    threading.main_thread()
    print('thread of {name} ended')
threading.Thread(target=work).start()
atexit.register(lambda: print('atexit of {name}'))
def application(environ, start_response):
    # With one more thread that the end must not wait for.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    asked.set()
    start_response('200 OK', [])
    return [b'{name}']
"
            )
        };
        let nginx = Site::new(mode)
            .file("a.py", app("a"))
            .file("b.py", app("b"))
            .file("c.py", app("c"))
            .http("wsgi_enable_subinterpreters on;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;")
            .location("/c", "wsgi_pass c.py;\nwsgi_use_main_interpreter on;")
            .start();
        assert_eq!(["/a", "/b", "/c"].map(|path| nginx.get(path).ok()), ["a", "b", "c"]);
        let log = nginx.stop();
        for name in ["a", "b", "c"] {
            for line in ["thread of NAME ended", "atexit of NAME"] {
                let line = line.replace("NAME", name);
                assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
            }
        }
        assert!(!log.contains("abandoned") && !log.contains("Traceback"), "{log}");
    });
}

#[test]
fn threads_that_do_not_end_hold_up_the_end_of_no_other_interpreter() {
    in_both_modes(|mode| {
        let stuck = "
import threading
threading.Thread(target=threading.Event().wait, daemon=False).start()
"
        .to_owned();
        let ends = "
import atexit, threading
atexit.register(lambda: print('atexit ran'))
";
        let nginx = Site::new(mode)
            .file("a.py", stuck.clone() + EVALUATE)
            .file("b.py", ends.to_owned() + EVALUATE)
            .file("c.py", stuck + EVALUATE)
            .http("wsgi_enable_subinterpreters on;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;")
            .location("/c", "wsgi_pass c.py;\nwsgi_use_main_interpreter on;")
            .start();
        for path in ["/a", "/b", "/c"] {
            evaluate(&nginx, path, "1");
        }
        // The worker terminates: it has half a second for all interpreters.
        nginx.signal(libc::SIGTERM);
        let mut nginx = nginx;
        assert!(nginx.wait().success());
        let log = nginx.log();
        assert_eq!(log.matches("atexit ran").count(), 1, "{log}");
        assert_eq!(log.matches("threads of the application still running at exit are abandoned").count(), 2, "{log}");
    });
}

#[test]
fn background_threads_run_between_requests_and_log() {
    in_both_modes(|mode| {
        let source = "
import shared, sys, threading
def work(gate):
    open(gate).read()
    print('background sees', shared.n, 'in', len(sys.modules['shared'].__dict__) > 0)
def application(environ, start_response):
    shared.n += 1
    threading.Thread(target=work, args=(environ['QUERY_STRING'],)).start()
    start_response('200 OK', [])
    return [b'ok']
";
        let nginx = counting(mode, "wsgi_enable_subinterpreters on;")
            .file("app.py", source)
            .location("/", "wsgi_pass app.py;")
            .location("/b", "wsgi_pass b.py;")
            .start();
        let gate = Gate::new(nginx.path("gate"));
        assert_eq!(nginx.get(&format!("/?{}", nginx.path("gate").display())).ok(), "ok");
        assert_eq!(nginx.get("/b").ok(), "1");
        assert_eq!(nginx.get("/b").ok(), "2");
        gate.pass();
        nginx.logged("background sees 1 in True");
    });
}

#[test]
fn a_response_goes_on_in_its_own_interpreter_after_others_have_run() {
    in_both_modes(|mode| {
        let source = "
import shared
def application(environ, start_response):
    start_response('200 OK', [])
    for _ in range(200):
        import shared
        shared.n += 1
        yield b'x' * 65535 + b'\\n'
    yield f'{shared.n} {environ[\"wsgi_gateway.interpreter\"]}'.encode()
";
        let site = counting(mode, "wsgi_enable_subinterpreters on;\npostpone_output 0;\nsend_timeout 30s;");
        let nginx = ["one", "two"]
            .into_iter()
            .fold(site, |site, name| {
                site.file(&format!("{name}.py"), source).location(&format!("/{name}"), &format!("wsgi_pass {name}.py;"))
            })
            .location("/b", "wsgi_pass b.py;")
            .start();
        // Two requests stall, each in its interpreter, and a third one does not.
        let mut clients = ["/one", "/two"].map(|path| {
            let mut client = nginx.connect();
            client.send(get(path));
            assert_eq!(client.head().status, 200);
            client
        });
        assert_eq!(nginx.get("/b").ok(), "1");
        let ends: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let mut last = Vec::new();
                while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
                    last = chunk;
                }
                String::from_utf8_lossy(&last).into_owned()
            })
            .collect();
        let expected = ["one", "two"].map(|name| format!("200 {}", nginx.path(&format!("{name}.py")).display()));
        assert_eq!(ends, expected);
        assert_eq!(nginx.get("/b").ok(), "2");
    });
}

#[test]
fn a_script_that_fails_to_load_is_tried_again_in_the_same_interpreter() {
    in_both_modes(|mode| {
        let nginx = counting(mode, "wsgi_enable_subinterpreters on;")
            .file("app.py", "import shared\nshared.n += 1\nraise OSError('not yet')\n")
            .location("/", "wsgi_pass app.py;")
            .start();
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("OSError: not yet");
        std::fs::write(nginx.path("app.py"), COUNTS).expect("write a file");
        assert_eq!(nginx.get("/").ok(), "2");
        assert_eq!(nginx.log_lines("interpreter for").len(), 1);
    });
}

#[test]
fn preloaded_applications_have_their_interpreters_before_the_first_request() {
    in_both_modes(|mode| {
        let nginx = counting(mode, "wsgi_enable_subinterpreters on;\nwsgi_preload on;")
            .location("/a", "wsgi_pass a.py;")
            .location("/b", "wsgi_pass b.py;")
            .start();
        for name in ["a", "b"] {
            nginx.logged(&format!("{name}.py\" loaded"));
        }
        assert_eq!(nginx.log_lines("interpreter for").len(), 2);
        assert_eq!(["/a", "/b"].map(|path| nginx.get(path).ok()), ["1", "1"]);
    });
}

#[test]
fn two_interpreters_serve_under_load_while_the_configuration_is_reloaded() {
    for mode in [Mode::Threads(4), Mode::Inline] {
        load(Site::new(mode), 250);
    }
}

#[test]
fn python_with_a_debugging_allocator_finds_nothing_wrong() {
    for mode in [Mode::Threads(4), Mode::Inline] {
        load(Site::new(mode).main("env PYTHONMALLOC=debug;"), 50);
    }
}

/// Four clients send `requests` requests each to two scripts in turn, with and without bodies, while nginx reloads.
fn load(site: Site, requests: usize) {
    let source = "
import sys, threading
lock, local = threading.Lock(), threading.local()
class Block(bytes):
    def __del__(self):
        sys.modules[__name__].released += 1
released = 0
def application(environ, start_response):
    local.count = getattr(local, 'count', 0) + 1
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('X-Interpreter', environ['wsgi_gateway.interpreter'])])
    if body:
        return [Block(body * 2000), Block(b'end')]
    return (Block(block) for block in (b'NAME', b' ' * 20000, b'end'))
";
    let site = ["a", "b"].into_iter().fold(site, |site, name| {
        site.file(&format!("{name}.py"), source.replace("NAME", name))
            .location(&format!("/{name}"), &format!("wsgi_pass {name}.py;"))
    });
    let nginx = &site.http("wsgi_enable_subinterpreters on;").start();
    let paths = ["a", "b"].map(|name| nginx.path(&format!("{name}.py")).display().to_string());
    let (paths, old) = (&paths, nginx.worker());
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                for number in 0..requests {
                    let which = (client + number) % 2;
                    let path = ["/a", "/b"][which];
                    let response = if number % 3 == 0 { nginx.post(path, b"body") } else { nginx.get(path) };
                    assert_eq!(response.header("X-Interpreter"), Some(paths[which].as_str()));
                    let text = response.ok();
                    if number % 3 == 0 {
                        assert_eq!(text.len(), 8003);
                    } else {
                        assert_eq!((&text[..1], text.len()), (["a", "b"][which], 20004));
                    }
                }
            });
        }
        nginx.signal(libc::SIGHUP);
    });
    wait_for("the old worker to go", || (!nginx.workers().contains(&old)).then_some(()));
    assert!(!nginx.log().contains("Traceback"), "{}", nginx.log());
}
