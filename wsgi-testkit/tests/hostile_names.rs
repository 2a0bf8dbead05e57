//! Names, messages and paths that try to forge records, or to control a terminal, in every message of the log.

use std::path::PathBuf;
use std::sync::Arc;

use wsgi_core::config::Target;
use wsgi_core::error::StartError;
use wsgi_core::host::Level;
use wsgi_core::python::{Callable, Middleware, MiddlewareError};
use wsgi_testkit::{App, Faults, FullDisk, Host, get};

/// Used in names of files, types and callables, and in messages.
const FORGED: &str = "x\n[alert] 1#1: forged\r\x1b[31m\u{85}";

/// Prefix of each script: types and exceptions with such a name.
const NAMES: &str = r#"
import sys
FORGED = "x\n[alert] 1#1: forged\r\x1b[31m\x85"
Thing = type(FORGED, (), {})
Text = type(FORGED, (str,), {})
Error = type(FORGED, (Exception,), {})
Missing = type(FORGED, (AttributeError,), {})
"#;

/// Applications; each causes a message in the log.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "loads and prints",
        "
def application(environ, start_response):
    print(FORGED); print(FORGED, file=sys.stderr)
    environ['wsgi.errors'].write(FORGED)
    start_response('200 OK', [])
    return []
",
    ),
    ("cannot be loaded", "raise Error(FORGED)"),
    (
        "has no callable",
        "
def __getattr__(name): raise Missing(FORGED)
",
    ),
    ("is not callable", "application = Thing()"),
    (
        "raises",
        "
def application(environ, start_response): raise Error(FORGED)
",
    ),
    (
        "raises what cannot be shown",
        "
import traceback
def application(environ, start_response):
    before = traceback.format_exception
    def broken(*arguments):
        traceback.format_exception = before
        raise Error(FORGED)
    traceback.format_exception = broken
    raise Error(FORGED)
",
    ),
    (
        "returns no iterable",
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return Text('x')
",
    ),
    (
        "returns what cannot be iterated",
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return Thing()
",
    ),
    (
        "makes a block of another type",
        "
def application(environ, start_response):
    start_response('200 OK', [])
    yield Thing()
",
    ),
    (
        "makes a list of another type",
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [Thing()]
",
    ),
    (
        "raises in close",
        "
class Result:
    def __iter__(self): return iter([])
    def close(self): raise Error(FORGED)
def application(environ, start_response):
    start_response('200 OK', [])
    return Result()
",
    ),
    (
        "hides close",
        "
class Result:
    def __iter__(self): return iter([])
    def __getattr__(self, name): raise Error(FORGED)
def application(environ, start_response):
    start_response('200 OK', [])
    return Result()
",
    ),
    (
        "breaks the protocol",
        "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '5')])
    return [b'1']
",
    ),
    (
        "sends too much",
        "
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '1')])
    yield b'12345'
",
    ),
    (
        "passes wrong arguments",
        "
def application(environ, start_response):
    start_response(Thing(), [])
    return []
",
    ),
    (
        "is asked for a signal",
        "
import signal
def application(environ, start_response):
    code = compile('import signal\\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)', FORGED, 'exec')
    exec(code)
    start_response('200 OK', [])
    return []
",
    ),
];

fn script(host: &Host, name: &str, source: &str) -> PathBuf {
    // The file has such a name as well.
    let path = host.app("").path().expect("a file").with_file_name(format!("{name} {FORGED}.py"));
    std::fs::write(&path, format!("{NAMES}{source}")).expect("a script");
    path
}

fn served(host: &Host, path: PathBuf) -> App {
    host.serve(Target::Script { path, callable: "application".to_owned() })
}

/// Sends a request, and checks the records that it causes.
fn check(host: &Host, what: &str, app: &App) -> String {
    let response = host.send_to(app, get("/"), Faults::default()).finish();
    let mut records: Vec<_> = response.log().map(|line| (line.level, line.text.clone())).collect();
    records.extend(host.log().into_iter().map(|line| (line.level, line.text)));
    assert!(!records.is_empty(), "{what}: nothing is logged");
    for (level, text) in &records {
        assert!(!text.contains(|character: char| character.is_control() && character != '\t'), "{what}: {text:?}");
        assert!(*level < Level::Alert, "{what}: {text:?}");
    }
    records.into_iter().map(|(_, text)| text + "\n").collect()
}

/// A middleware with such a name and message.
struct Refusing;

impl Middleware for Refusing {
    fn name(&self) -> String {
        FORGED.to_owned()
    }

    fn wrap<'py>(&self, _: Callable<'py>) -> Result<Callable<'py>, MiddlewareError> {
        Err(MiddlewareError::Other(FORGED.to_owned()))
    }
}

#[test]
fn no_name_path_or_message_of_an_application_makes_a_record_of_its_own() {
    let host = Host::shared();
    for own in [false, true] {
        for (what, source) in SCRIPTS {
            let mut app = served(host, script(host, what, source));
            if own {
                app = app.with("wsgi_enable_subinterpreters on");
            }
            let records = check(host, what, &app);
            // Text that the application prints in several lines makes several records, each with its escapes.
            assert!(records.contains("\\x1b[31m"), "{what}: {records}");
        }
    }
    let absent = script(host, "absent", "");
    std::fs::remove_file(&absent).expect("it is there");
    check(host, "an absent script", &served(host, absent));
    let module = Target::Module { name: FORGED.to_owned(), callable: "application".to_owned() };
    check(host, "a module", &host.serve(module));
    let target = Target::Script { path: script(host, "a callable", ""), callable: FORGED.to_owned() };
    check(host, "a callable", &host.serve(target));

    let plain = script(host, "in the middle", SCRIPTS[0].1);
    let app = served(host, plain.clone()).built_with(|builder| builder.middleware(Arc::new(Refusing)));
    check(host, "a middleware in Rust", &app);
    let large = "
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(bytes(100_000))
    return []
";
    let app = served(host, script(host, "a full disk", large)).with("wsgi_write_buffering on");
    let app = app.with("wsgi_write_buffer_size 1k").built_with(|builder| builder.store(FullDisk::NoFile));
    check(host, "a full disk", &app);
}

#[test]
fn an_error_at_the_start_is_one_line_for_any_paths() {
    let path = || PathBuf::from(FORGED);
    for error in [
        StartError::Python { message: "no".to_owned(), home: Some(path()) },
        StartError::VenvVersion { venv: path(), found: (3, 1), linked: (3, 2) },
        StartError::VenvIncomplete { venv: path(), missing: path() },
        StartError::NoStandardLibrary { home: path(), missing: path() },
        StartError::Unreadable { user: "nobody".to_owned(), path: path(), reason: "no".to_owned() },
    ] {
        let text = error.to_string();
        assert!(!text.contains(char::is_control) && text.contains("\\x0a"), "{text:?}");
    }
}
