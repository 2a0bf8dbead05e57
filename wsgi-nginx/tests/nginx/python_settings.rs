//! The Python that runs, and where it finds modules (PY-*, EXE-*, HOME-*).

use crate::harness::{HELLO, Mode, Nginx, Site, Venv, in_both_modes, python_says};

/// Answers with the value of the expression in the query string.
const EVALUATE: &str = "
import os, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(eval(environ['QUERY_STRING'])).encode()]
";

/// Answers with the value of a module that can be missing.
const IMPORTS: &str = "
import private_module, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{private_module.value} {sys.prefix}'.encode()]
";

fn evaluate(nginx: &Nginx, expression: &str) -> String {
    nginx.get(&format!("/?{expression}")).ok()
}

fn evaluator(site: Site) -> Site {
    site.file("app.py", EVALUATE).location("/", "wsgi_pass app.py;")
}

#[test]
fn py_1_equal_values_at_two_levels_are_accepted() {
    let home = python_says("sys.base_prefix");
    let site = Site::with_defaults()
        .http(&format!("wsgi_python_home {home};"))
        .location("/", &format!("wsgi_python_home {home}/;"));
    let check = site.check();
    assert!(check.succeeded, "{}", check.output);
}

#[test]
fn py_1_values_are_compared_as_absolute_paths() {
    let site = Site::with_defaults();
    let absolute = site.path("python");
    std::os::unix::fs::symlink(python_says("sys.executable"), &absolute).expect("a link");
    let site = site
        .http("wsgi_python_executable python;")
        .location("/", &format!("wsgi_python_executable {};", absolute.display()));
    let check = site.check();
    assert!(check.succeeded, "{}", check.output);
}

#[test]
fn py_2_different_values_are_refused_with_both_and_the_first_place() {
    let (one, two) = ("/usr", "/tmp");
    let site = Site::with_defaults()
        .http(&format!("wsgi_python_home {one};"))
        .location("/", &format!("wsgi_python_home {two};"));
    let check = site.check();
    assert!(!check.succeeded);
    for part in ["wsgi_python_home", one, two] {
        assert!(check.output.contains(part), "{part} is not in {}", check.output);
    }
    // The message names the first place, nginx the second.
    assert_eq!(check.output.matches("nginx.conf:").count(), 2, "{}", check.output);
}

#[test]
fn py_3_different_values_in_two_servers_are_refused() {
    let check = Site::with_defaults()
        .server("wsgi_python_home /usr;")
        .another_server("listen 127.0.0.1:8;\nserver_name other;\nwsgi_python_home /tmp;")
        .check();
    assert!(!check.succeeded);
    assert!(check.output.contains("wsgi_python_home"), "{}", check.output);
}

#[test]
fn py_4_without_wsgi_pass_python_is_not_started() {
    in_both_modes(|mode| {
        // With PYTHONVERBOSE, Python prints its imports when it starts.
        let verbose = |site: Site| site.main("env PYTHONVERBOSE=1;");
        let without = verbose(Site::new(mode)).location("/", "return 200 ok;").start();
        assert_eq!(without.get("/").ok(), "ok");
        assert!(!without.stop().contains("import "), "Python was started");
        let with = verbose(Site::new(mode)).file("app.py", HELLO).location("/", "wsgi_pass app.py;").start();
        assert_eq!(with.get("/").ok(), "hello world\n");
        assert!(with.stop().contains("import "), "this test would not notice that Python was started");
    });
}

#[test]
fn py_5_reload_applies_changed_settings() {
    in_both_modes(|mode| {
        let mut nginx = evaluator(Site::new(mode))
            .file("one/setting.py", "value = 1")
            .file("two/setting.py", "value = 2")
            .http("wsgi_python_path one;")
            .start();
        assert_eq!(evaluate(&nginx, "__import__('setting').value"), "1");
        nginx.change("wsgi_python_path one;", "wsgi_python_path two;");
        nginx.reload();
        assert_eq!(evaluate(&nginx, "__import__('setting').value"), "2");
    });
}

#[test]
fn py_6_atexit_functions_run_at_a_graceful_stop() {
    in_both_modes(|mode| {
        let source = "import atexit\natexit.register(lambda: print('atexit ran'))\n".to_owned() + HELLO;
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").ok(), "hello world\n");
        assert!(!nginx.log().contains("atexit ran"));
        assert_eq!(nginx.stop().matches("atexit ran").count(), 1);
    });
}

/// Evaluates the query string in a file with a failing assertion.
const ASSERTS: &str = "
import sys
def documented():
    'What it does.'
def application(environ, start_response):
    assert False, 'seen'
    start_response('200 OK', [])
    return [repr(eval(environ['QUERY_STRING'])).encode()]
";

fn optimized(mode: Mode, level: u8) -> Nginx {
    let site = Site::new(mode).http(&format!("wsgi_python_optimize {level};"));
    site.file("app.py", EVALUATE)
        .file("asserts.py", ASSERTS)
        .location("/", "wsgi_pass app.py;")
        .location("/asserts", "wsgi_pass asserts.py;")
        .start()
}

#[test]
fn opt_1_level_0_is_plain_python() {
    in_both_modes(|mode| assert_eq!(evaluate(&optimized(mode, 0), "(sys.flags.optimize,__debug__)"), "(0, True)"));
}

#[test]
fn opt_2_level_1_leaves_assertions_out() {
    in_both_modes(|mode| {
        let nginx = optimized(mode, 1);
        assert_eq!(nginx.get("/asserts?(sys.flags.optimize,documented.__doc__)").ok(), "(1, 'What it does.')");
    });
}

#[test]
fn opt_3_level_0_has_assertions() {
    in_both_modes(|mode| {
        let nginx = optimized(mode, 0);
        assert_eq!(nginx.get("/asserts?1").status, 500);
        nginx.logged("AssertionError: seen");
    });
}

#[test]
fn opt_4_level_2_leaves_documentation_out() {
    in_both_modes(|mode| assert_eq!(optimized(mode, 2).get("/asserts?documented.__doc__").ok(), "None"));
}

#[test]
fn opt_5_other_levels_are_refused() {
    for bad in ["3", "abc", "-1"] {
        let check = Site::with_defaults().http(&format!("wsgi_python_optimize {bad};")).check();
        assert!(!check.succeeded);
        let expected = format!("invalid value \"{bad}\" in \"wsgi_python_optimize\" directive");
        assert!(check.output.contains(&expected), "{}", check.output);
    }
}

#[test]
fn py_1_and_py_2_one_level_for_the_whole_configuration() {
    let check = |inner: &str| {
        let site = Site::with_defaults().http("wsgi_python_optimize 1;");
        site.location("/", &format!("wsgi_python_optimize {inner};")).check()
    };
    assert!(check("1").succeeded);
    let refused = check("2");
    assert!(!refused.succeeded);
    assert!(
        refused.output.contains("\"wsgi_python_optimize\"") && refused.output.contains("nginx.conf:"),
        "{}",
        refused.output
    );
}

#[test]
fn py_5_a_reload_changes_the_level() {
    in_both_modes(|mode| {
        let mut nginx = optimized(mode, 0);
        assert_eq!(evaluate(&nginx, "sys.flags.optimize"), "0");
        nginx.change("wsgi_python_optimize 0;", "wsgi_python_optimize 1;");
        nginx.reload();
        assert_eq!(evaluate(&nginx, "sys.flags.optimize"), "1");
    });
}

#[test]
fn exe_1_executable_of_a_virtual_environment_brings_its_packages() {
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", IMPORTS).location("/", "wsgi_pass app.py;");
        let venv = Venv::new(site.path("venv"));
        venv.install("private_module", "value = 'private'");
        let nginx = site.http("wsgi_python_executable venv/bin/python;").start();
        assert_eq!(nginx.get("/").ok(), format!("private {}", venv.folder().display()));
    });
}

#[test]
fn exe_2_without_it_the_log_has_sys_path() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", IMPORTS).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.get("/").status, 500);
        nginx.logged("ModuleNotFoundError: No module named 'private_module'");
        let line = nginx.logged("sys.path is [");
        assert!(line.contains("wsgi_python_path") && line.contains("wsgi_python_home"), "{line}");
        assert!(line.contains(&python_says("sys.base_prefix")), "{line}");
    });
}

#[test]
fn exe_3_missing_executable_is_refused() {
    for name in ["missing/python", "app.py"] {
        // The second file exists, but cannot be executed.
        let check = Site::with_defaults()
            .file("app.py", HELLO)
            .location("/", &format!("wsgi_pass app.py;\nwsgi_python_executable {name};"))
            .check();
        assert!(!check.succeeded, "{name} was accepted");
        assert!(check.output.contains(name) && check.output.contains("nginx.conf:"), "{}", check.output);
    }
}

#[test]
fn exe_4_sys_executable_is_a_python_and_not_nginx() {
    in_both_modes(|mode| {
        let nginx = evaluator(Site::new(mode)).start();
        let code = "__import__('subprocess').check_output([sys.executable,'-c','print(6*7)'])";
        assert_eq!(evaluate(&nginx, code), r"b'42\n'");
    });
}

#[test]
fn home_1_is_the_prefix() {
    in_both_modes(|mode| {
        let home = python_says("sys.base_prefix");
        let nginx = evaluator(Site::new(mode)).http(&format!("wsgi_python_home {home};")).start();
        assert_eq!(evaluate(&nginx, "sys.prefix"), home);
        assert_eq!(evaluate(&nginx, "__import__('json').dumps([1])"), "[1]");
    });
}

#[test]
fn home_2_can_be_a_virtual_environment() {
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", IMPORTS).location("/", "wsgi_pass app.py;");
        let venv = Venv::new(site.path("venv"));
        venv.install("private_module", "value = 'private'");
        let nginx = site.http("wsgi_python_home venv;").start();
        assert_eq!(nginx.get("/").ok(), format!("private {}", venv.folder().display()));
    });
}

#[test]
fn home_3_missing_folder_is_refused() {
    let check = Site::with_defaults().http("wsgi_python_home missing;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("/missing\"") && check.output.contains("nginx.conf:"), "{}", check.output);
}

#[test]
fn home_4_wins_over_the_environment() {
    let home = python_says("sys.base_prefix");
    let nginx =
        evaluator(Site::with_defaults()).main("env PYTHONHOME=/nowhere;").http(&format!("wsgi_python_home {home};"));
    assert_eq!(evaluate(&nginx.start(), "sys.prefix"), home);
}

#[test]
fn executable_outside_the_virtual_environment_of_home_is_refused() {
    let site = Site::with_defaults();
    let (one, two) = (Venv::new(site.path("one")), Venv::new(site.path("two")));
    let site = site
        .http(&format!("wsgi_python_home {};", one.folder().display()))
        .http(&format!("wsgi_python_executable {};", two.executable().display()));
    let check = site.check();
    assert!(!check.succeeded);
    assert!(check.output.contains("wsgi_python_executable"), "{}", check.output);
}

#[test]
fn virtual_environment_of_another_version_answers_500_and_says_why_in_one_line() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", HELLO)
            .file("venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.1.4\n")
            .http("wsgi_python_home venv;")
            .location("/", "wsgi_pass app.py;")
            .expect_in_log("cannot start Python")
            .start();
        assert_cannot_start(&nginx, &["/venv", "3.1"]);
    });
}

#[test]
fn virtual_environment_of_another_installation_answers_500_and_says_why_in_one_line() {
    in_both_modes(|mode| {
        let version = python_says("'.'.join(map(str, sys.version_info[:2]))");
        let library = python_says("'/'.join(os.__file__.split('/')[-3:-1])");
        let site = Site::new(mode);
        let other = site.path("other").display().to_string();
        let nginx = site
            .file(&format!("other/{library}/os.py"), "")
            .file("venv/pyvenv.cfg", format!("home = {other}/bin\nversion = {version}.99\n"))
            .file(&format!("venv/lib/python{version}/site-packages/module.py"), "")
            .file("app.py", HELLO)
            .http("wsgi_python_home venv;")
            .location("/", "wsgi_pass app.py;")
            .expect_in_log("cannot start Python")
            .start();
        let made_by = format!("(version {version}.99, home \"{other}/bin\", standard library \"{other}/{library}\")");
        assert_cannot_start(
            &nginx,
            &["/venv\" was made by another installation", &made_by, "-m venv --clear", "PYTHON="],
        );
    });
}

#[test]
fn home_of_another_installation_answers_500_and_says_why_in_one_line() {
    in_both_modes(|mode| {
        let library = python_says("'/'.join(os.__file__.split('/')[-3:-1])");
        let nginx = Site::new(mode)
            .file(&format!("other/{library}/os.py"), "")
            .file("app.py", HELLO)
            .http("wsgi_python_home other;")
            .location("/", "wsgi_pass app.py;")
            .expect_in_log("cannot start Python")
            .start();
        assert_cannot_start(&nginx, &["wsgi_python_home", "/other\" is another installation", "remove the setting"]);
    });
}

#[test]
fn home_without_a_standard_library_answers_500_and_says_why_in_one_line() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", HELLO)
            .file("home/empty", "")
            .http("wsgi_python_home home;")
            .location("/", "wsgi_pass app.py;")
            .expect_in_log("cannot start Python")
            .start();
        assert_cannot_start(&nginx, &["/home", "wsgi_python_home"]);
    });
}

/// Asserts that one worker answers every request with 500 and is not replaced, and that the log has one line about it.
fn assert_cannot_start(nginx: &Nginx, mentions: &[&str]) {
    let worker = nginx.worker();
    for _ in 0..3 {
        assert_eq!(nginx.get("/").status, 500);
    }
    assert_eq!(nginx.worker(), worker, "the worker was replaced");
    let lines = nginx.log_lines("cannot start Python");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("[emerg]"), "{lines:?}");
    for mention in mentions {
        assert!(lines[0].contains(mention), "{mention} is not in {lines:?}");
    }
}

#[test]
fn python_path_goes_in_front_outermost_first() {
    in_both_modes(|mode| {
        let nginx = evaluator(Site::new(mode))
            .http("wsgi_python_path a:b;")
            .server("wsgi_python_path c;")
            .location("/other", "wsgi_python_path d;\nwsgi_pass app.py;")
            .start();
        let expected: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| nginx.path(name).display().to_string()).collect();
        assert_eq!(evaluate(&nginx, "'|'.join(sys.path[:4])"), expected.join("|"));
    });
}

#[test]
fn environment_counts_when_nginx_lets_it_through() {
    in_both_modes(|mode| {
        let with = evaluator(Site::new(mode)).main("env PYTHONPATH=/from_env;").start();
        assert_eq!(evaluate(&with, "'/from_env'in(sys.path)"), "True");
    });
}

#[test]
fn neither_the_current_folder_nor_nginx_arguments_reach_the_application() {
    in_both_modes(|mode| {
        // nginx runs in `/` here, see the harness.
        let nginx = evaluator(Site::new(mode)).start();
        assert_eq!(evaluate(&nginx, "''in(sys.path)or'/'in(sys.path)or'.'in(sys.path)"), "False");
        assert_eq!(evaluate(&nginx, "sys.argv"), "['']");
        assert_eq!(evaluate(&nginx, "os.environ.get('HOME')"), "None");
    });
}

#[test]
fn the_check_runs_no_python() {
    for mode in [Mode::Threads(1), Mode::Inline] {
        let site = Site::new(mode)
            .main("env PYTHONVERBOSE=1;")
            .file("app.py", "open(__file__ + '.ran', 'w')")
            .location("/", "wsgi_pass app.py;\nwsgi_preload on;");
        let check = site.check();
        assert!(check.succeeded, "{}", check.output);
        assert!(!check.output.contains("import "), "Python was started: {}", check.output);
        assert!(!site.path("app.py.ran").exists(), "the application was loaded");
    }
}
