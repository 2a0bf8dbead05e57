//! The stacks that applications run on: their size, and whether recursion and numerical libraries fit.

use wsgi_harness::frameworks::numerics;
use wsgi_harness::stacks::{APPLICATION, LARGE, NUMERICS, RECURSION_LIMITS, SHAPES};

use crate::harness::{Mode, Nginx, Site, in_both_modes};

const USUAL_LIMIT: &str = "ulimit -S -s 8192";
const LARGE_LIMIT: &str = "ulimit -S -s 65536";

fn start(mode: Mode, limits: &'static str, http: &str) -> Nginx {
    Site::new(mode).limits(limits).http(http).file("app.py", APPLICATION).location("/", "wsgi_pass app.py;").start()
}

/// Whether nginx runs under a sanitizer, whose instrumented code takes far more stack than a release build.
fn is_sanitized() -> bool {
    std::env::var_os("ASAN_OPTIONS").is_some()
}

#[test]
fn a_stack_has_the_size_that_the_limit_of_the_worker_or_the_directive_says() {
    const MIB: usize = 1 << 20;
    for (limits, http, expected) in [
        ("ulimit -S -s 1024", "", 8 * MIB),
        (USUAL_LIMIT, "", 8 * MIB),
        ("ulimit -S -s 32768", "", 32 * MIB),
        ("ulimit -s 1048576", "", 64 * MIB),
        ("ulimit -s unlimited", "", 8 * MIB),
        (USUAL_LIMIT, "wsgi_enable_subinterpreters on;", 8 * MIB),
        (USUAL_LIMIT, "wsgi_thread_stack_size 1m;", MIB),
        ("ulimit -s 1048576", "wsgi_thread_stack_size 2m; wsgi_enable_subinterpreters on;", 2 * MIB),
    ] {
        let nginx = start(Mode::Threads(2), limits, http);
        assert_eq!(nginx.get("/size").ok(), expected.to_string(), "{limits}, {http:?}");
    }
}

#[test]
fn a_recursion_ends_in_a_request_as_on_a_thread_of_python() {
    if is_sanitized() {
        eprintln!("skipped: with AddressSanitizer Python takes several times as much stack");
        return;
    }
    let compare = |mode, limits, shapes: &[&str]| {
        let nginx = start(mode, limits, "");
        for shape in shapes {
            for limit in RECURSION_LIMITS {
                let expected = nginx.get(&format!("/thread?{shape},{limit}")).ok();
                assert_eq!(nginx.get(&format!("/?{shape},{limit}")).ok(), expected, "{shape}, {limit}");
            }
        }
    };
    in_both_modes(|mode| compare(mode, LARGE_LIMIT, &LARGE));
    compare(Mode::Threads(1), USUAL_LIMIT, &SHAPES);
    compare(Mode::Inline, USUAL_LIMIT, &["getattr", "max_key", "substitution", "eval_sum", "xml"]);
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn matrices_are_inverted_in_a_request() {
    let home = format!("wsgi_python_home {};", numerics().display());
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .limits(USUAL_LIMIT)
            .main("env OPENBLAS_NUM_THREADS=2;")
            .http(&home)
            .file("app.py", NUMERICS)
            .location("/", "wsgi_pass app.py;")
            .start();
        assert_eq!(nginx.get("/").ok(), "right");
    });
}

#[test]
fn failed_thread_start_is_answered_with_503_and_logs_one_line_with_the_remedy() {
    if is_sanitized() {
        eprintln!("skipped: AddressSanitizer needs more address space than this test allows");
        return;
    }
    let nginx = start(Mode::Threads(2), "ulimit -v 1000000", "wsgi_thread_stack_size 1024m;");
    for _ in 0..3 {
        let response = nginx.get("/size");
        assert_eq!((response.status, response.header("Retry-After")), (503, Some("1")));
    }
    assert_eq!(nginx.log_lines("request refused: cannot start a thread").len(), 3);
    let lines = nginx.log_lines("cannot start a thread with a stack of 1024m");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("[error]") && lines[0].contains("lower \"wsgi_thread_stack_size\""), "{lines:?}");
}
