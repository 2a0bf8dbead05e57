//! `wsgi_enable_subinterpreters` and `wsgi_use_main_interpreter` on threads (SUB-*), in process. This file runs with every
//! version of Python that CI finds.

use wsgi_core::config::Target;
use wsgi_core::host::Level;
use wsgi_testkit::{App, Captured, Host, get};

/// Counts in a module, which scripts of one interpreter share.
const COUNTS: &str = "
import this_is_shared
def application(environ, start_response):
    this_is_shared.n = getattr(this_is_shared, 'n', 0) + 1
    start_response('200 OK', [])
    return [str(this_is_shared.n).encode()]
second = application
";

/// [`COUNTS`] with a unique module, which the first script of an interpreter adds to `sys.modules`.
fn counts(name: &str) -> String {
    format!("import sys, types\nsys.modules.setdefault('{name}', types.ModuleType('{name}'))\n{COUNTS}")
        .replace("this_is_shared", name)
}

fn send(app: &App) -> Captured {
    Host::shared().send(app, get("/"))
}

fn answers(apps: &[&App]) -> Vec<String> {
    apps.iter().map(|app| send(app).text()).collect()
}

fn app(source: &str, directives: &[&str]) -> App {
    directives.iter().fold(Host::shared().app(source), |app, directive| app.with(directive))
}

const OWN: &str = "wsgi_enable_subinterpreters on";
const MAIN: &str = "wsgi_use_main_interpreter on";

#[test]
fn sub_1_off_applications_share_modules() {
    let source = counts("shared_1");
    assert_eq!(answers(&[&app(&source, &[]), &app(&source, &[])]), ["1", "2"]);
}

#[test]
fn sub_2_on_each_script_has_modules_of_its_own() {
    let source = counts("shared_2");
    let (a, b) = (app(&source, &[OWN]), app(&source, &[OWN]));
    assert_eq!(answers(&[&a, &b, &a]), ["1", "1", "2"]);
}

#[test]
fn sub_3_users_of_the_main_interpreter_share_it() {
    let source = counts("shared_3");
    let (a, b, c) = (app(&source, &[OWN]), app(&source, &[OWN, MAIN]), app(&source, &[OWN, MAIN]));
    assert_eq!(answers(&[&a, &b, &c, &a]), ["1", "1", "2", "2"]);
}

#[test]
fn sub_4_main_interpreter_alone_changes_nothing() {
    let source = counts("shared_4");
    assert_eq!(answers(&[&app(&source, &[MAIN]), &app(&source, &[])]), ["1", "2"]);
}

#[test]
fn sub_5_locations_and_callables_of_one_script_share_its_interpreter() {
    let first = app(&counts("shared_5"), &[OWN]);
    let path = first.path().expect("a file").to_path_buf();
    let of = |callable: &str| {
        Host::shared().serve(Target::Script { path: path.clone(), callable: callable.to_owned() }).with(OWN)
    };
    assert_eq!(answers(&[&first, &of("application"), &of("second")]), ["1", "2", "3"]);
}

#[test]
fn objects_of_one_interpreter_are_not_seen_in_another() {
    let source = "
import sys
class Mine: pass
def application(environ, start_response):
    errors = environ['wsgi.errors']
    start_response('200 OK', [('X-Interpreter', environ['wsgi_gateway.interpreter'])])
    return [f'{id(type(errors))} {id(type(start_response))} {id(sys.modules)}'.encode()]
";
    let (a, b) = (send(&app(source, &[OWN])), send(&app(source, &[OWN])));
    let ids = |response: &Captured| response.text().split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(ids(&a).iter().zip(ids(&b)).all(|(one, other)| *one != other), "{} {}", a.text(), b.text());
    assert_ne!(a.header("X-Interpreter"), b.header("X-Interpreter"));
}

#[test]
fn interpreters_work_side_by_side() {
    let source = "
import threading
local = threading.local()
def application(environ, start_response):
    start_response('200 OK', [])
    local.n = getattr(local, 'n', 0) + 1
    for number in range(20):
        yield b'%d,' % number
";
    let expected: String = (0..20).map(|number| format!("{number},")).collect();
    let apps: Vec<App> = (0..4).map(|number| app(source, if number == 0 { &[] } else { &[OWN] })).collect();
    std::thread::scope(|scope| {
        for app in &apps {
            let expected = &expected;
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(&send(app).text(), expected);
                }
            });
        }
    });
}

#[test]
fn a_refused_import_names_the_module_and_the_remedy() {
    // Simulates an extension module that only one interpreter can load.
    let source = "raise ImportError('may be loaded once per process', name='picky')\n";
    let log = send(&app(source, &[OWN])).log_text(Level::Error);
    assert!(log.contains("\"import picky\"") && log.contains("wsgi_use_main_interpreter on"), "{log}");
    let log = send(&app(source, &[])).log_text(Level::Error);
    assert!(!log.contains("wsgi_use_main_interpreter"), "{log}");
}

#[test]
fn an_exception_stays_in_its_interpreter() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'begun'
    raise ValueError('expected')
";
    let (a, b) = (app(source, &[OWN]), app(source, &[OWN]));
    for app in [&a, &b, &a] {
        let response = send(app);
        assert_eq!((response.text().as_str(), response.is_complete()), ("begun", false));
        assert!(response.log_text(Level::Error).contains("ValueError: expected"));
    }
}

#[test]
fn a_reload_in_an_interpreter_changes_no_other() {
    let source = |word: &str| {
        format!("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{word}']\n")
    };
    let watched = app(&source("old"), &[OWN, "wsgi_script_reloading on"]);
    let other = Host::shared()
        .serve(Target::Script { path: watched.path().expect("a file").into(), callable: "application".to_owned() });
    assert_eq!(answers(&[&watched, &other]), ["old", "old"]);
    std::fs::write(watched.path().expect("a file"), source("newer")).expect("write the script");
    assert_eq!(answers(&[&watched, &other, &watched]), ["newer", "old", "newer"]);
}

#[test]
fn a_sub_interpreter_refuses_to_fork_and_runs_other_programs() {
    let source = "
import os, subprocess
def attempt(work):
    try:
        return str(work())
    except RuntimeError as error:
        return f'{error}'
def application(environ, start_response):
    start_response('200 OK', [])
    return ['; '.join([
        attempt(os.fork),
        attempt(os.forkpty),
        attempt(lambda: subprocess.run(['true'], preexec_fn=os.setsid)),
        attempt(lambda: subprocess.run(['false'], start_new_session=True).returncode),
        attempt(lambda: os.system('exit 3') >> 8),
    ]).encode()]
";
    let app = app(source, &["wsgi_enable_subinterpreters on"]);
    let answer = send(&app).text();
    let fork = "fork not supported for subinterpreters";
    assert_eq!(answer, format!("{fork}; {fork}; preexec_fn not supported within subinterpreters; 1; 3"));
}

#[test]
fn decimals_are_numbers_in_every_interpreter() {
    let source = "
import decimal, fractions, numbers
def application(environ, start_response):
    start_response('200 OK', [])
    one = decimal.Decimal(1)
    return [str((isinstance(one, numbers.Number), isinstance(fractions.Fraction(1), numbers.Rational))).encode()]
";
    let apps = [app(source, &[OWN]), app(source, &[OWN, MAIN]), app(source, &[OWN])];
    assert_eq!(answers(&[&apps[0], &apps[1], &apps[2]]), ["(True, True)"; 3]);
}
