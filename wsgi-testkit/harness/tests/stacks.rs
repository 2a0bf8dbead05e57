//! The stacks of the threads that applications run on, in process. This file runs with every version of Python that CI finds.
//!
//! Each test runs this program again, as a child process with the limits under test, so that a crash is a failed test.

use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use wsgi_core::config::Lines;
use wsgi_core::host::Level;
use wsgi_core::python::GatewaySettings;
use wsgi_harness::frameworks::numerics;
use wsgi_harness::stacks::{APPLICATION, LARGE, LARGE_LIMIT, NUMERICS, RECURSION_LIMITS, SHAPES, USUAL_LIMIT};
use wsgi_testkit::{Host, get};

/// The requests, separated by spaces, that the child process sends to [`APPLICATION`], or to [`NUMERICS`] if a virtual
/// environment is configured. Not set in the parent.
const REQUESTS: &str = "WSGI_TEST_STACKS_REQUESTS";

/// Directives, separated by semicolons.
const DIRECTIVES: &str = "WSGI_TEST_STACKS_DIRECTIVES";

/// Prefix of each answer in the output, which has other lines, too.
const ANSWER: &str = "answer: ";

/// Prefix of log lines that belong to no request.
const LOG: &str = "log: ";

const OWN: &str = "wsgi_enable_subinterpreters on";

const INLINE: &str = "wsgi_threads 0";

/// The child process of [`answers`].
#[test]
fn process_that_answers() {
    let Ok(requests) = std::env::var(REQUESTS) else { return };
    let directives = std::env::var(DIRECTIVES).expect("directives, or none");
    let lines = Lines::new(directives.split(';').filter(|line| !line.is_empty()), "/".as_ref());
    let lines = lines.unwrap_or_else(|error| panic!("{error}"));
    let host = Host::start(&GatewaySettings::from(&lines.process));
    let home = lines.process.home().is_some();
    let mut app = host.app(if home { NUMERICS } else { APPLICATION });
    if directives.contains(OWN) {
        app = app.with(OWN);
    }
    for request in requests.split(' ') {
        // Panics with the reason if the gateway refuses the request.
        let response = catch_unwind(AssertUnwindSafe(|| host.send(&app, get(request))));
        match response {
            Ok(response) => println!("{ANSWER}{request} {}{}", response.text(), response.log_text(Level::Error)),
            Err(reason) => println!("{ANSWER}{request} refused: {}", reason.downcast_ref::<String>().expect("a text")),
        }
    }
    for line in host.log() {
        println!("{LOG}{}", line.text);
    }
}

/// Runs shell commands in `limits`, and then the child process that sends `requests`.
fn run(limits: &str, directives: &str, requests: &[String]) -> Output {
    Command::new("sh")
        .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "process_that_answers", "--nocapture", "--test-threads=1"])
        .env(REQUESTS, requests.join(" "))
        .env(DIRECTIVES, directives)
        .output()
        .expect("sh runs")
}

/// Returns the answers to `requests` in a process with `stack` as its soft `RLIMIT_STACK` (KiB, or `unlimited`).
fn answers(stack: &str, directives: &str, requests: &[String]) -> Vec<String> {
    let output = run(&format!("ulimit -S -s {stack}"), directives, requests);
    let text = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(ANSWER)?.1.split_once(' '))
        .map(|(_, answer)| answer.to_owned())
        .collect();
    let failed = requests.get(answers.len()).map_or("its end", String::as_str);
    assert!(
        output.status.success() && answers.len() == requests.len(),
        "ulimit -s {stack}, {directives:?}: {failed} ended the process ({}, signal {:?})\n{}",
        output.status,
        output.status.signal(),
        String::from_utf8_lossy(&output.stderr)
    );
    answers
}

/// Compares a shape at every recursion limit on the thread of a request with a thread of Python.
fn ends_as_on_a_thread_of_python(shape: &str, stack: u32, directives: &str) {
    let requests = |path: &str| RECURSION_LIMITS.map(|limit| format!("{path}?{shape},{limit}"));
    let stack = stack.to_string();
    // The thread of Python first: if that crashes, the table is wrong.
    let expected = answers(&stack, directives, &requests("/thread"));
    assert_eq!(answers(&stack, directives, &requests("/")), expected, "{shape}, {directives:?}");
}

/// Runs all shapes, two at a time.
fn all_shapes(directives: &str) {
    let shapes: Vec<_> =
        LARGE.map(|shape| (shape, LARGE_LIMIT)).into_iter().chain(SHAPES.map(|shape| (shape, USUAL_LIMIT))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((shape, stack)) = shapes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    ends_as_on_a_thread_of_python(shape, *stack, directives);
                }
            });
        }
    });
}

#[test]
fn a_recursion_ends_on_the_thread_of_a_request_as_on_a_thread_of_python() {
    all_shapes("");
}

#[test]
fn a_recursion_ends_in_a_sub_interpreter_as_on_a_thread_of_python() {
    for shape in ["plain_calls", "getattr", "max_key", "substitution", "eval_sum"] {
        ends_as_on_a_thread_of_python(shape, USUAL_LIMIT, OWN);
    }
}

#[test]
fn a_recursion_ends_on_an_event_loop_as_on_a_thread_of_python() {
    for shape in ["plain_calls", "getattr", "max_key", "substitution", "eval_sum"] {
        ends_as_on_a_thread_of_python(shape, USUAL_LIMIT, INLINE);
    }
}

#[test]
fn the_table_names_every_shape_of_the_application() {
    let defined: Vec<&str> = APPLICATION
        .lines()
        .filter_map(|line| {
            let name = line.strip_prefix("SHAPES[\"").and_then(|rest| rest.split('"').next());
            name.or_else(|| line.strip_prefix("        ")?.strip_suffix(',').filter(|name| is_name(name)))
        })
        .collect();
    let mut named: Vec<&str> = SHAPES.into_iter().chain(LARGE).collect();
    named.sort_unstable();
    let mut found: Vec<&str> = defined.into_iter().collect();
    found.sort_unstable();
    assert_eq!(found, named);
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn a_stack_has_the_size_that_its_limit_or_the_directive_says() {
    const MIB: usize = 1 << 20;
    for (limit, directives, expected) in [
        ("1024", "", 8 * MIB),
        ("8192", "", 8 * MIB),
        ("32768", "", 32 * MIB),
        ("1048576", "", 64 * MIB),
        ("unlimited", "", 8 * MIB),
        ("8192", OWN, 8 * MIB),
        ("32768", OWN, 32 * MIB),
        ("8192", "wsgi_thread_stack_size 512k", MIB / 2),
        ("1048576", "wsgi_thread_stack_size 3m", 3 * MIB),
        ("unlimited", "wsgi_thread_stack_size 256m", 256 * MIB),
        ("8192", "wsgi_thread_stack_size 1m;wsgi_enable_subinterpreters on", MIB),
    ] {
        // A process that runs as root may raise its hard limit, others may not.
        let told = answers(limit, directives, &["/size".to_owned()]);
        assert_eq!(told, [expected.to_string()], "ulimit -s {limit}, {directives:?}");
    }
}

#[test]
fn plain_recursion_ends_on_the_smallest_stack_that_is_allowed() {
    let requests = ["/?plain_calls,1000".to_owned()];
    assert_eq!(answers("8192", "wsgi_thread_stack_size 512k", &requests), ["RecursionError"]);
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn matrices_are_inverted_on_the_thread_of_a_request() {
    let home = format!("wsgi_python_home {}", numerics().display());
    let output = run("ulimit -S -s 8192 && export OPENBLAS_NUM_THREADS=2", &home, &["/".to_owned()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("answer: / right"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn failed_thread_start_refuses_the_request_and_logs_one_line_with_the_remedy() {
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        eprintln!("skipped: AddressSanitizer needs more address space than this test allows");
        return;
    }
    // Enough address space for the program (some 200 MB), but not for a stack of 1 GiB.
    let requests = ["/size", "/size"].map(str::to_owned);
    let output = run("ulimit -v 1000000", "wsgi_thread_stack_size 1024m", &requests);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("answer: /size refused: cannot start a thread").count(), 2, "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(LOG)).collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("log: cannot start a thread with a stack of 1024m"), "{line}");
    assert!(line.contains("lower \"wsgi_thread_stack_size\"") && line.contains("address space"), "{line}");
}
