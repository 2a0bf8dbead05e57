//! `wsgi_middleware`: the stack that applies at each level (MW-*).

use crate::harness::{Mode, Site, in_both_modes};

/// Answers with the names that the middlewares have added.
const TRACE: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Made", str(environ.get("made")))])
    return [" ".join(environ.get("trace", ["none"])).encode()]
"#;

/// A middleware that adds its name to environ and, in the response, to a header.
fn tracing(name: &str) -> String {
    format!(
        r#"
made = 0
def middleware(application):
    global made
    made += 1
    def wrapped(environ, start_response):
        environ.setdefault("trace", []).append("{name}")
        environ["made"] = made
        def start(status, headers, exc_info=None):
            return start_response(status, headers + [("X-Trace", "{name}")], exc_info)
        return application(environ, start)
    return wrapped
"#
    )
}

fn site(mode: Mode) -> Site {
    Site::new(mode)
        .http("wsgi_python_path modules;")
        .file("app.py", TRACE)
        .file("modules/a.py", tracing("A"))
        .file("modules/b.py", tracing("B"))
}

#[test]
fn mw_1_the_last_directive_is_the_outermost() {
    in_both_modes(|mode| {
        let nginx = site(mode).location("/", "wsgi_pass app.py;\nwsgi_middleware a;\nwsgi_middleware b;").start();
        let response = nginx.get("/");
        assert_eq!(response.ok(), "B A");
        // The inner middleware handles the response first.
        assert_eq!(response.all("X-Trace"), ["A", "B"]);
    });
}

#[test]
fn mw_2_the_validator_of_the_standard_library_has_no_complaint() {
    in_both_modes(|mode| {
        let directives = "wsgi_pass app.py;\nwsgi_middleware wsgiref.validate validator;";
        let nginx = site(mode).location("/", directives).start();
        assert_eq!(nginx.get("/").ok(), "none");
        assert_eq!(nginx.post("/", b"body").ok(), "none");
        assert!(!nginx.log().contains("AssertionError") && !nginx.log().contains("Warning"), "{}", nginx.log());
    });
}

#[test]
fn mw_3_the_default_callable_is_middleware() {
    in_both_modes(|mode| {
        let nginx = site(mode).location("/", "wsgi_pass app.py;\nwsgi_middleware a;").start();
        assert_eq!(nginx.get("/").ok(), "A");
    });
}

#[test]
fn mw_4_a_missing_module_is_500_with_the_directive_until_it_is_there() {
    in_both_modes(|mode| {
        let nginx = site(mode).location("/", "wsgi_pass app.py;\nwsgi_middleware late make;").start();
        assert_eq!(nginx.get("/").status, 500);
        let line = nginx.logged("wsgi_middleware late make");
        assert!(line.contains("nginx.conf:"), "{line}");
        nginx.logged("ModuleNotFoundError");
        let worker = nginx.worker();
        std::fs::write(nginx.path("modules/late.py"), tracing("late").replace("middleware(", "make(")).expect("write");
        // Python rereads a directory when its modification time has changed.
        crate::harness::wait_for("the module to be found", || (nginx.get("/").status == 200).then_some(()));
        assert_eq!(nginx.get("/").ok(), "late");
        assert_eq!(nginx.worker(), worker);
    });
}

#[test]
fn mw_5_an_inner_stack_replaces_the_outer_one_and_mw_6_off_clears_it() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .http("wsgi_middleware a;")
            .location("/", "wsgi_pass app.py;")
            .location("/b/", "wsgi_pass app.py;\nwsgi_middleware b;")
            .location("/off/", "wsgi_pass app.py;\nwsgi_middleware off;")
            .start();
        for (path, stack) in [("/", "A"), ("/b/", "B"), ("/off/", "none"), ("/", "A")] {
            assert_eq!(nginx.get(path).ok(), stack);
        }
    });
}

#[test]
fn mw_7_the_stack_is_built_once_in_a_worker() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .server("wsgi_middleware a;")
            .location("/", "wsgi_pass app.py;")
            .location("/other/", "wsgi_pass app.py;")
            .start();
        for _ in 0..50 {
            assert_eq!(nginx.get("/").header("X-Made"), Some("1"));
            assert_eq!(nginx.get("/other/").header("X-Made"), Some("1"));
        }
    });
}

#[test]
fn mw_8_a_reload_builds_the_stack_once_more() {
    in_both_modes(|mode| {
        let directives = "wsgi_pass app.py;\nwsgi_middleware a;\nwsgi_script_reloading on;";
        let nginx = site(mode).location("/", directives).start();
        assert_eq!(nginx.get("/").header("X-Made"), Some("1"));
        std::fs::write(nginx.path("app.py"), TRACE.replace("\"none\"", "\"changed\"")).expect("write the script");
        for _ in 0..3 {
            let response = nginx.get("/");
            assert_eq!((response.ok().as_str(), response.header("X-Made")), ("A", Some("2")));
        }
    });
}

#[test]
fn invalid_middleware_is_refused() {
    for (directives, expected) in [
        ("wsgi_middleware a/b.py;", "invalid value \"a/b.py\" in \"wsgi_middleware\" directive"),
        ("wsgi_middleware a;\nwsgi_middleware off;", "invalid value \"off\" in \"wsgi_middleware\" directive"),
        ("wsgi_middleware a b c;", "invalid number of arguments in \"wsgi_middleware\" directive"),
    ] {
        let check = Site::with_defaults().http(directives).check();
        assert!(!check.succeeded && check.output.contains(expected), "{directives}: {}", check.output);
    }
}
