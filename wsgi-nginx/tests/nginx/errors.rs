//! Invalid input from operators and applications gets a clear error. (More cases are in `pass.rs`, `variables.rs` and
//! `python_settings.rs`, by scenario.)

use crate::harness::{HELLO, Site, in_both_modes, module};

#[test]
fn a_missing_script_is_warned_of_and_answered_with_500() {
    in_both_modes(|mode| {
        let site = Site::new(mode).location("/", "wsgi_pass missing.py;");
        let check = site.check();
        assert!(check.succeeded, "{}", check.output);
        let warning = check.output.lines().find(|line| line.contains("[warn]")).unwrap_or_default();
        assert!(warning.contains("/missing.py") && warning.contains("nginx.conf:"), "{}", check.output);
        let nginx = site.start();
        assert_eq!(nginx.get("/").status, 500);
        let line = nginx.logged("cannot load");
        assert!(line.contains("[error]") && line.contains("/missing.py"), "{line}");
        std::fs::write(nginx.path("missing.py"), HELLO).expect("write a file");
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

#[test]
fn a_syntax_error_is_shown_with_its_line() {
    in_both_modes(|mode| {
        let source = "def application(environ, start_response):\n    return [\n";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("SyntaxError");
        assert!(nginx.log().contains("app.py\", line 2"), "{}", nginx.log());
    });
}

#[test]
fn script_in_another_encoding_declares_it_or_fails() {
    in_both_modes(|mode| {
        let declared = b"# coding: latin-1\ntext = 'n\xe9'\n".to_vec();
        let undeclared = b"text = 'n\xe9'\n".to_vec();
        let app = b"def application(environ, start_response):\n    start_response('200 OK', [])\n    return [str(len(text)).encode()]\n";
        let nginx = Site::new(mode)
            .file("declared.py", [declared, app.to_vec()].concat())
            .file("undeclared.py", [undeclared, app.to_vec()].concat())
            .location("/declared", "wsgi_pass declared.py;")
            .location("/undeclared", "wsgi_pass undeclared.py;")
            .start();
        assert_eq!(nginx.get("/declared").ok(), "2");
        assert_eq!(nginx.get("/undeclared").status, 500);
        nginx.logged("undeclared.py");
    });
}

#[test]
fn numbers_of_threads_that_make_no_sense_are_refused() {
    for value in ["-1", "x", "1.5", "1025", "4 max=2", "0 max=4", "1 max=x", "1 min=1", "\"\""] {
        let check = Site::with_defaults().http(&format!("wsgi_threads {value};")).check();
        assert!(!check.succeeded, "{value} was accepted");
        let bad = value.split(' ').next_back().unwrap_or_default().trim_matches('"');
        for text in ["wsgi_threads", bad, "nginx.conf:"] {
            assert!(check.output.contains(text), "{text:?} is not in {}", check.output);
        }
    }
    for value in ["0", "1", "1024 max=1024", "4 max=4"] {
        let check = Site::with_defaults().http(&format!("wsgi_threads {value};")).check();
        assert!(check.succeeded, "{value}: {}", check.output);
    }
}

#[test]
fn flags_are_on_or_off() {
    let check = Site::with_defaults().http("wsgi_preload yes;").check();
    assert!(!check.succeeded);
    for text in ["invalid value \"yes\"", "wsgi_preload", "it must be \"on\" or \"off\"", "nginx.conf:"] {
        assert!(check.output.contains(text), "{text:?} is not in {}", check.output);
    }
}

#[test]
fn repeated_and_misplaced_directives_get_nginxs_own_messages() {
    for (site, message) in [
        (Site::with_defaults().http("wsgi_threads 1;\nwsgi_threads 1;"), "is duplicate"),
        (Site::with_defaults().http("wsgi_preload on;\nwsgi_preload on;"), "is duplicate"),
        (Site::with_defaults().server("wsgi_threads 1;"), "is not allowed here"),
        (Site::with_defaults().location("/", "if ($host) {\nwsgi_var A b;\n}"), "is not allowed here"),
        (Site::with_defaults().http("wsgi_var A;"), "invalid number of arguments"),
        (Site::with_defaults().http("wsgi_no_such_directive on;"), "unknown directive"),
    ] {
        let check = site.check();
        assert!(!check.succeeded, "no {message:?}");
        assert!(check.output.contains(message) && check.output.contains("nginx.conf:"), "{}", check.output);
    }
}

#[test]
fn a_module_for_another_nginx_is_refused() {
    let mut bytes = std::fs::read(module()).expect("the module");
    // The build signature: three sizes, and one digit for each option.
    let digit = bytes
        .windows(30)
        .position(|text| text.starts_with(b"8,4,8,") && text[6..].iter().all(|byte| matches!(byte, b'0' | b'1')));
    let digit = digit.expect("a signature") + 10;
    bytes[digit] ^= 1;
    let site = Site::plain().file("other.so", bytes);
    let path = site.path("other.so");
    let check = site.main(&format!("load_module {};", path.display())).check();
    assert!(!check.succeeded);
    assert!(check.output.contains("other.so\" is not binary compatible"), "{}", check.output);
}

#[test]
fn protocol_violation_is_logged_with_script_and_request() {
    in_both_modes(|mode| {
        let source = "
def nothing(environ, start_response):
    start_response('200 OK', [])
def text(environ, start_response):
    start_response('200 OK', [])
    return ['text']
def late(environ, start_response):
    start_response('200 OK', [])
    yield b'begun'
    yield 5
def long(environ, start_response):
    start_response('200 OK', [('Content-Length', '6')])
    return [b'four', b'four']
def short(environ, start_response):
    start_response('200 OK', [('Content-Length', '6')])
    yield b'four'
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        for (path, words) in [
            ("/nothing", "returned NoneType"),
            ("/text", "block of type str"),
            ("/late", "block of type int"),
            ("/long", "beyond its Content-Length"),
            ("/short", "before the declared Content-Length"),
        ] {
            nginx.get(path);
            let line = nginx.logged(words);
            for text in ["[error]", "/app.py", &format!("request: \"GET {path} HTTP/1.1\"")] {
                assert!(line.contains(text), "{text:?} is not in {line}");
            }
        }
    });
}
