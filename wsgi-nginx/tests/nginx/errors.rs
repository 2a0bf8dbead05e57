//! Bad input, from operators and from applications, gets a clear error. (Others stand in `pass.rs`, `variables.rs` and
//! `python_settings.rs`, by the scenario they belong to.)

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
fn a_script_of_another_encoding_says_so_or_fails() {
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
    // The build signature: three sizes and a row of digits, one for each option.
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
fn what_breaks_the_protocol_is_answered_with_500_and_the_rule() {
    // What the application does, and words of the log.
    let violations = [
        ("start_response('200OK', [])", "status"),
        ("start_response('2000 OK', [])", "status"),
        ("start_response('99 Low', [])", "status"),
        ("start_response('100 Continue', [])", "100"),
        ("start_response('200 OK\\r\\nX: y', [])", "PEP 3333"),
        ("start_response('200 \\u20ac', [])", "U+00FF"),
        ("start_response(b'200 OK', [])", "str"),
        ("start_response('200 OK', (('A', 'b'),))", "list"),
        ("start_response('200 OK', {'A': 'b'})", "list"),
        ("start_response('200 OK', [['A', 'b']])", "tuple"),
        ("start_response('200 OK', [('A', b'b')])", "str"),
        ("start_response('200 OK', [('A', 5)])", "str"),
        ("start_response('200 OK', [('A\\r\\nB', 'c')])", "RFC 9110"),
        ("start_response('200 OK', [('A B', 'c')])", "RFC 9110"),
        ("start_response('200 OK', [('A:', 'c')])", "RFC 9110"),
        ("start_response('200 OK', [('', 'c')])", "RFC 9110"),
        ("start_response('200 OK', [('A', 'b\\r\\nSet-Cookie: c')])", "PEP 3333"),
        ("start_response('200 OK', [('A', 'b\\0c')])", "PEP 3333"),
        ("start_response('200 OK', [('A', '\\u20ac')])", "U+00FF"),
        ("start_response('200 OK', [('connection', 'close')])", "connection"),
        ("start_response('200 OK', [('Transfer-Encoding', 'chunked')])", "Transfer-Encoding"),
        ("start_response('200 OK', [('Content-Length', '-1')])", "Content-Length"),
        ("start_response('200 OK', [('Content-Length', '1'), ('content-length', '2')])", "Content-Length"),
        ("start_response(status='200 OK', headers=[])", "keyword"),
        ("start_response('200 OK', []); start_response('200 OK', [])", "exc_info"),
        ("pass", "start_response() was not called"),
        ("start_response('200 OK', []); return None", "NoneType"),
        ("start_response('200 OK', []); return b'bytes'", "bytes"),
        ("start_response('200 OK', []); return 'text'", "str"),
        ("start_response('200 OK', []); return ['text']", "str"),
        ("start_response('200 OK', []); return [b'ok', None]", "NoneType"),
        ("start_response('200 OK', []); return iter([bytearray(b'x')])", "bytearray"),
        ("start_response('200 OK', []); return 5", "int"),
        ("start_response('200 OK', [])('text')", "bytes"),
        ("start_response('200 OK', [('Content-Length', '1')])(b'too long')", "Content-Length"),
    ];
    let functions: String = (0..)
        .zip(&violations)
        .map(|(number, (body, _))| {
            format!("def v{number}(environ, start_response):\n    {body}\n    return [b'never']\n")
        })
        .collect();
    let dispatch = "def application(environ, start_response):\n    return globals()[environ['PATH_INFO'][1:]](environ, start_response)\n";
    in_both_modes(|mode| {
        let nginx =
            Site::new(mode).file("app.py", functions.clone() + dispatch).location("/", "wsgi_pass app.py;").start();
        for (number, (body, words)) in (0..).zip(&violations) {
            let before = nginx.log().len();
            let response = nginx.get(&format!("/v{number}"));
            assert_eq!(response.status, 500, "{body}");
            assert_eq!(response.header("A"), None, "{body}");
            let log = nginx.log().split_off(before);
            let told = log.lines().any(|line| line.contains("[error]") && line.contains(words));
            assert!(told, "{words:?} is not in the log after {body}:\n{log}");
        }
    });
}

#[test]
fn a_late_violation_cuts_the_connection() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'begun'
    yield 'text'
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        let response = nginx.get("/");
        assert!(!response.whole, "half an answer looks whole: {response:?}");
        nginx.logged("str");
    });
}

#[test]
fn recursion_and_memory_errors_are_exceptions() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    if environ['PATH_INFO'] == '/recursion':
        return application(environ, start_response)
    if environ['PATH_INFO'] == '/memory':
        return [b'x' * (1 << 62)]
    start_response('200 OK', [])
    return [b'fine']
";
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/recursion").status, 500);
        assert_eq!(nginx.get("/memory").status, 500);
        nginx.logged("RecursionError");
        nginx.logged("MemoryError");
        assert_eq!(nginx.get("/").ok(), "fine");
    });
}
