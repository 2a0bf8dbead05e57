//! `wsgi_pass`: the choice of the application (PASS-*), and its loading.

use crate::harness::{ENVIRON, Environ, HELLO, Site, in_both_modes, request};

/// An application that answers with one word.
fn says(word: &str) -> String {
    named("application", word)
}

fn named(callable: &str, word: &str) -> String {
    format!("def {callable}(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{word}']\n")
}

#[test]
fn pass_1_script_with_application_answers_200() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", HELLO).location("/", "wsgi_pass app.py;").start();
        let response = nginx.get("/");
        assert_eq!(response.ok(), "hello world\n");
        assert_eq!(response.header("Content-Length"), Some("12"));
        assert_eq!(response.header("Content-Type"), Some("text/plain"));
    });
}

#[test]
fn pass_2_second_argument_names_the_callable() {
    in_both_modes(|mode| {
        let source = says("wrong") + &named("my_app", "mine");
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py my_app;").start();
        assert_eq!(nginx.get("/").ok(), "mine");
    });
}

#[test]
fn pass_3_missing_callable_answers_500_and_the_log_names_script_and_callable() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", HELLO).location("/", "wsgi_pass app.py other;").start();
        assert_eq!(nginx.get("/").status, 500);
        let line = nginx.logged("has no callable");
        assert!(line.contains("/app.py") && line.contains("\"other\"") && line.contains("[error]"), "{line}");
    });
}

#[test]
fn pass_4_failing_import_answers_500_with_a_traceback_and_is_tried_again() {
    in_both_modes(|mode| {
        let source = "import os\nif not os.path.exists(__file__ + '.ready'):\n    raise ValueError('not yet')\n";
        let nginx =
            Site::new(mode).file("app.py", source.to_owned() + HELLO).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("ValueError: not yet");
        assert!(nginx.log().contains("Traceback (most recent call last)"));
        assert!(nginx.log().contains("raise ValueError('not yet')"), "the traceback shows no source");
        std::fs::write(nginx.path("app.py.ready"), "").expect("write a file");
        assert_eq!(nginx.get("/").ok(), "hello world\n");
    });
}

#[test]
fn pass_5_attribute_that_is_not_callable_answers_500() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", "application = 5").location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").status, 500);
        let line = nginx.logged("is not callable");
        assert!(line.contains("/app.py") && line.contains("int"), "{line}");
    });
}

#[test]
fn pass_6_is_not_allowed_in_a_server_block() {
    let check = Site::with_defaults().file("app.py", HELLO).server("wsgi_pass app.py;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("\"wsgi_pass\" directive is not allowed here"), "{}", check.output);
}

#[test]
fn pass_7_inside_if_selects_the_second_application_with_the_same_script_name() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("one.py", says("one"))
            .file("two.py", ENVIRON)
            .location("/app", "wsgi_pass one.py;\nif ($arg_v) {\nwsgi_pass two.py;\n}")
            .start();
        assert_eq!(nginx.get("/app/x").ok(), "one");
        let environ = Environ::of(&nginx.get("/app/x?v=1"));
        assert_eq!(environ.get("SCRIPT_NAME"), Some("'/app'"));
        assert_eq!(environ.get("PATH_INFO"), Some("'/x'"));
    });
}

#[test]
fn pass_8_limit_except_selects_by_method() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("ro.py", says("ro"))
            .file("rw.py", says("rw"))
            .location("/", "wsgi_pass ro.py;\nlimit_except GET {\nwsgi_pass rw.py;\n}")
            .start();
        assert_eq!(nginx.get("/").ok(), "ro");
        let mut client = nginx.connect();
        client.send(request("HEAD", "/", "Connection: close\r\n", b""));
        assert_eq!(client.head().status, 200);
        assert!(client.is_ended());
        assert_eq!(nginx.post("/", b"x").ok(), "rw");
    });
}

#[test]
fn pass_8_limit_except_without_wsgi_pass_keeps_the_application() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/app", "wsgi_pass app.py;\nwsgi_var A outer;\nlimit_except GET {\nallow 127.0.0.1;\n}")
            .start();
        for response in [nginx.get("/app/x"), nginx.post("/app/x", b"x")] {
            let environ = Environ::of(&response);
            assert_eq!(environ.get("A"), Some("'outer'"));
            assert_eq!(environ.get("SCRIPT_NAME"), Some("'/app'"));
        }
    });
}

#[test]
fn pass_9_if_without_wsgi_pass_keeps_the_application() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var A outer;\nif ($arg_v) {\nadd_header X-Seen yes;\n}")
            .start();
        let response = nginx.get("/?v=1");
        assert_eq!(Environ::of(&response).get("A"), Some("'outer'"));
        assert_eq!(response.header("X-Seen"), Some("yes"));
        assert_eq!(nginx.get("/").header("X-Seen"), None);
    });
}

#[test]
fn pass_10_relative_path_is_relative_to_the_prefix() {
    in_both_modes(|mode| {
        // nginx runs in `/` here, see the harness.
        let nginx = Site::new(mode).file("sub/app.py", says("found")).location("/", "wsgi_pass sub/app.py;").start();
        assert_eq!(nginx.get("/").ok(), "found");
    });
}

#[test]
fn pass_11_scripts_of_one_name_in_two_folders_are_not_mixed_up() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("a/app.py", says("a"))
            .file("b/app.py", says("b"))
            .location("/a", "wsgi_pass a/app.py;")
            .location("/b", "wsgi_pass b/app.py;")
            .start();
        for _ in 0..2 {
            assert_eq!(nginx.get("/a").ok(), "a");
            assert_eq!(nginx.get("/b").ok(), "b");
        }
    });
}

#[test]
fn one_script_in_two_locations_is_one_module() {
    in_both_modes(|mode| {
        let source = "
import itertools
numbers = itertools.count(1)
def one(environ, start_response):
    start_response('200 OK', [])
    return [str(next(numbers)).encode()]
two = one
";
        let nginx = Site::new(mode)
            .file("app.py", source)
            .location("/one", "wsgi_pass app.py one;")
            .location("~ ^/two", "wsgi_pass app.py two;")
            .start();
        assert_eq!([nginx.get("/one").ok(), nginx.get("/two").ok(), nginx.get("/one").ok()], ["1", "2", "3"]);
    });
}

#[test]
fn pass_12_script_that_exits_answers_500_and_the_worker_lives() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", "import sys\nsys.exit(2)\n")
            .file("hello.py", HELLO)
            .location("/", "wsgi_pass app.py;")
            .location("/hello", "wsgi_pass hello.py;")
            .start();
        let worker = nginx.worker();
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("SystemExit: 2");
        assert_eq!(nginx.get("/hello").ok(), "hello world\n");
        assert_eq!(nginx.worker(), worker);
    });
}

#[test]
fn pass_13_application_answers_auth_request() {
    in_both_modes(|mode| {
        let source = "
def application(environ, start_response):
    allowed = environ.get('HTTP_X_USER') == 'me'
    start_response('204 No Content' if allowed else '403 Forbidden', [('X-Who', 'you')])
    return []
";
        let nginx = Site::new(mode)
            .file("auth.py", source)
            .file("html/file", "secret")
            .location("= /auth", "internal;\nwsgi_pass auth.py;")
            .location(
                "/",
                "auth_request /auth;\nauth_request_set $who $sent_http_x_who;\nadd_header X-Got $who;\nroot html;",
            )
            .start();
        let response = nginx.send(&request("GET", "/file", "X-User: me\r\nConnection: close\r\n", b""));
        assert_eq!(response.ok(), "secret");
        assert_eq!(response.header("X-Got"), Some("you"));
        assert_eq!(nginx.get("/file").status, 403);
    });
}

#[test]
fn pass_14_three_arguments_are_refused() {
    let check = Site::with_defaults().file("app.py", HELLO).location("/", "wsgi_pass app.py application x;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("invalid number of arguments in \"wsgi_pass\""), "{}", check.output);
}

#[test]
fn a_second_wsgi_pass_in_one_location_is_a_duplicate() {
    let check = Site::with_defaults().location("/", "wsgi_pass a.py;\nwsgi_pass b.py;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("is duplicate"), "{}", check.output);
}

#[test]
fn nested_locations_do_not_inherit_the_application() {
    let nginx = Site::with_defaults()
        .file("app.py", says("app"))
        .file("html/static/file", "file")
        .location("/", "root html;\nwsgi_pass app.py;\nlocation /static/ {\n}")
        .start();
    assert_eq!(nginx.get("/x").ok(), "app");
    assert_eq!(nginx.get("/static/file").ok(), "file");
}

#[test]
fn location_that_ends_in_a_slash_redirects_to_itself() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", HELLO).location("/app/", "wsgi_pass app.py;").start();
        let response = nginx.get("/app");
        assert_eq!(response.status, 301);
        assert!(response.header("Location").is_some_and(|location| location.ends_with("/app/")), "{response:?}");
    });
}

#[test]
fn dotted_name_is_imported_as_a_module_and_the_check_says_so() {
    in_both_modes(|mode| {
        let site = Site::new(mode)
            .file("code/mysite/__init__.py", "")
            .file("code/mysite/wsgi.py", says("module"))
            .http("wsgi_python_path code;")
            .location("/", "wsgi_pass mysite.wsgi;");
        let check = site.check();
        assert!(check.succeeded, "{}", check.output);
        assert!(check.output.contains("[notice]") && check.output.contains("\"mysite.wsgi\""), "{}", check.output);
        assert_eq!(site.start().get("/").ok(), "module");
    });
}

#[test]
fn dotted_name_of_an_existing_file_is_a_script() {
    let nginx = Site::with_defaults().file("app.wsgi", says("file")).location("/", "wsgi_pass app.wsgi;").start();
    assert_eq!(nginx.get("/").ok(), "file");
}

#[test]
fn variables_and_colons_in_the_target_are_refused_with_a_hint() {
    for (target, hint) in [("$host.py", "variables"), ("mysite.wsgi:application", "separate word")] {
        let check = Site::with_defaults().location("/", &format!("wsgi_pass {target};")).check();
        assert!(!check.succeeded, "{target} was accepted");
        assert!(check.output.contains("wsgi_pass") && check.output.contains(target), "{}", check.output);
        assert!(check.output.contains(hint), "no hint about {hint}: {}", check.output);
        assert!(check.output.contains("nginx.conf:"), "{}", check.output);
    }
}
