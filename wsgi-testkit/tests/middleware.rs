//! The middleware stack of an application: `wsgi_middleware`, and middleware of an embedder (MW-*).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wsgi_core::config::Target;
use wsgi_core::host::Level;
use wsgi_core::python::{Callable, Location, Middleware, MiddlewareError};
use wsgi_testkit::{App, Captured, Host, get};

/// Answers with the names that middleware has added to environ, in the order in which they saw the request.
const TRACE: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(environ.get('trace', ['none'])).encode()]
";

/// Writes a module with a unique name to [`folder`], and returns the name.
fn module(source: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("wsgi_test_middleware_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    std::fs::write(folder().join(format!("{name}.py")), source).expect("write a module");
    name
}

/// Returns a folder on `sys.path`.
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("wsgi-testkit-modules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = format!(
        "import sys
if {folder:?} not in sys.path: sys.path.insert(0, {folder:?})
def application(environ, start_response):
    import importlib; importlib.invalidate_caches()
    start_response('200 OK', [])
    return []
"
    );
    let host = Host::shared();
    assert_eq!(host.send(&host.app(&source), get("/")).status(), 200);
    folder
}

/// Writes a middleware that adds its name to environ; `made` counts how often it was applied.
fn tracing(name: &str) -> String {
    module(&format!(
        "made = 0
def middleware(application):
    global made
    made += 1
    def wrapped(environ, start_response):
        environ.setdefault('trace', []).append('{name}')
        return application(environ, start_response)
    return wrapped
class Other:
    @staticmethod
    def make(application): return middleware(application)
"
    ))
}

fn send(app: &App) -> Captured {
    Host::shared().send(app, get("/"))
}

fn app(source: &str, directives: &[&str]) -> App {
    directives.iter().fold(Host::shared().app(source), |app, directive| app.with(directive))
}

#[test]
fn mw_1_the_last_one_is_the_outermost() {
    let (a, b) = (tracing("A"), tracing("B"));
    let app = app(TRACE, &[&format!("wsgi_middleware {a}"), &format!("wsgi_middleware {b} Other.make")]);
    assert_eq!(send(&app).text(), "B A");
}

#[test]
fn mw_2_the_validator_of_the_standard_library_has_no_complaint() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'valid']
";
    let response = send(&app(source, &["wsgi_middleware wsgiref.validate validator"]));
    assert_eq!(response.text(), "valid");
    assert_eq!(response.log_text(Level::Warn), "");
}

#[test]
fn mw_3_the_default_callable_is_middleware() {
    let name = tracing("default");
    assert_eq!(send(&app(TRACE, &[&format!("wsgi_middleware {name}")])).text(), "default");
}

#[test]
fn mw_4_a_missing_module_is_500_until_it_is_there() {
    let name = format!("{}_late", module(""));
    let app = app(TRACE, &[&format!("wsgi_middleware {name}")]);
    let response = send(&app);
    assert_eq!(response.status(), 500);
    let log = response.log_text(Level::Error);
    assert!(
        log.contains("ModuleNotFoundError") && log.contains(&format!("wsgi_middleware {name} middleware")),
        "{log}"
    );
    let source = "def middleware(application): return application\n";
    std::fs::write(folder().join(format!("{name}.py")), source).expect("write a module");
    folder();
    assert_eq!(send(&app).text(), "none");
}

#[test]
fn invalid_middleware_is_500_with_the_reason_in_the_log() {
    let name = module(
        "number = 1
def raises(application): raise ValueError('no')
def nothing(application): pass
",
    );
    for (callable, reason) in [
        ("number", "TypeError: 'int' object is not callable"),
        ("raises", "ValueError: no"),
        ("nothing", "is not callable: it is of type NoneType"),
        ("missing", "AttributeError"),
    ] {
        let response = send(&app(TRACE, &[&format!("wsgi_middleware {name} {callable}")]));
        assert_eq!(response.status(), 500, "{callable}");
        let log = response.log_text(Level::Error);
        assert!(log.contains(reason) && log.contains(&format!("wsgi_middleware {name} {callable}")), "{log}");
    }
}

#[test]
fn mw_6_off_is_an_application_without_middleware() {
    assert_eq!(send(&app(TRACE, &["wsgi_middleware off"])).text(), "none");
}

#[test]
fn mw_7_a_stack_is_built_once_for_all_locations_that_share_it() {
    let name = tracing("once");
    let directive = format!("wsgi_middleware {name}");
    let first = app(TRACE, &[&directive]);
    let target = Target::Script { path: first.path().expect("a file").into(), callable: "application".to_owned() };
    let second = Host::shared().serve(target).with(&directive);
    for _ in 0..50 {
        assert_eq!(send(&first).text(), "once");
        assert_eq!(send(&second).text(), "once");
    }
    let count = format!(
        "import {name}
def application(environ, start_response):
    start_response('200 OK', [])
    return [str({name}.made).encode()]
"
    );
    assert_eq!(send(&app(&count, &[])).text(), "1");
}

/// A middleware of an embedder: it takes its callable from Python, and counts in Rust.
#[derive(Default)]
struct Own(String, AtomicUsize);

impl Middleware for Own {
    fn name(&self) -> String {
        "own".to_owned()
    }
    fn wrap<'py>(&self, application: Callable<'py>) -> Result<Callable<'py>, MiddlewareError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        application.import(&self.0, "middleware")?.call(&application)
    }
}

struct Refuses;

impl Middleware for Refuses {
    fn name(&self) -> String {
        "one that refuses".to_owned()
    }
    fn wrap<'py>(&self, _application: Callable<'py>) -> Result<Callable<'py>, MiddlewareError> {
        Err(MiddlewareError::Other("not today".to_owned()))
    }
}

#[test]
fn an_embedder_pushes_middleware_of_its_own() {
    let (inner, outer) = (tracing("inner"), Arc::new(Own(tracing("outer"), AtomicUsize::new(0))));
    let configured = app(TRACE, &[&format!("wsgi_middleware {inner}")]);
    let target = Target::Script { path: configured.path().expect("a file").into(), callable: "application".to_owned() };
    let settings = {
        let mut settings = wsgi_core::config::LevelSettings::default();
        settings.middleware = Some(vec![wsgi_core::config::Layer {
            module: inner,
            callable: "middleware".to_owned(),
            place: wsgi_core::config::Place { file: "test".to_owned(), line: 1 },
        }]);
        settings
    };
    let location = Location::builder(target.clone()).settings(settings).middleware(outer.clone()).build();
    let app = App::from(location);
    assert_eq!((send(&app).text().as_str(), send(&app).text().as_str()), ("outer inner", "outer inner"));
    assert_eq!(outer.1.load(Ordering::Relaxed), 1);

    let response = send(&App::from(Location::builder(target).middleware(Arc::new(Refuses)).build()));
    assert_eq!(response.status(), 500);
    assert!(
        response.log_text(Level::Error).contains("one that refuses")
            && response.log_text(Level::Error).contains("not today")
    );
}
