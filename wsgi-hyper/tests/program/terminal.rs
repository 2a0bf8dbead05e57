//! Standard output and standard error that are not read.

use std::time::Instant;

use wsgi_testkit::Gate;

use crate::HELLO;
use crate::harness::{LONG, Program, command};

/// Number of requests: more lines than a pipe and the program's queue hold.
const MANY: usize = 500;

#[test]
fn unread_access_log_delays_neither_requests_nor_signals() {
    let program = Program::serve(HELLO);
    let held = program.out.hold();
    let mut client = program.client();
    let target = format!("/{}", "x".repeat(6000));
    for _ in 0..MANY {
        client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.head();
        assert_eq!(client.read(5), "hello");
    }
    assert!(program.get("/").ends_with("hello"));
    drop(held);
    let warning = program.errors.wait_for("lines of requests were dropped, because standard output was not read");
    let lost = warning.split_whitespace().nth(1).and_then(|count| count.parse::<usize>().ok()).expect("a count");
    let _held = program.out.hold();
    client.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(MANY));
    (0..MANY).for_each(|_| {
        client.head();
        client.read(5);
    });
    assert!(lost > 0 && lost < MANY, "{lost}");
    let asked = Instant::now();
    program.signal("INT");
    program.wait_until_closed();
    program.signal("INT");
    assert_eq!(program.end().code(), Some(1));
    assert!(asked.elapsed() < LONG);
}

#[test]
fn unread_output_of_an_application_delays_neither_requests_nor_signals() {
    let source = r#"
def application(environ, start_response):
    for number in range(3000):
        print("x" * 1000)
    start_response("200 OK", [])
    return [b"hello"]
"#;
    let program = Program::serve(source);
    let held = program.errors.hold();
    (0..3).for_each(|_| assert!(program.get("/").ends_with("hello")));
    drop(held);
    program.errors.wait_for("lines of this log were dropped, because standard error was not read");
    let _held = program.errors.hold();
    assert!(program.get("/").ends_with("hello"));
    program.signal("TERM");
    assert!(program.end().success());
}

#[test]
fn no_line_is_lost_while_it_is_read_even_if_the_process_ends_right_behind_it() {
    let source = r#"
import os
def application(environ, start_response):
    for number in range(20000):
        print(number)
    os._exit(3)
"#;
    let program = Program::serve(source);
    let mut client = program.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let lines = program.errors.rest();
    let numbers: Vec<_> = lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).collect();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
    assert_eq!(program.end().code(), Some(3));
}

#[test]
fn second_signal_ends_the_program_while_python_is_starting() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), HELLO).unwrap();
    let gate = Gate::new(folder.path().join("gate"));
    let stops = format!("open({:?}).read()\nimport time\ntime.sleep(3600)\n", folder.path().join("gate"));
    std::fs::write(folder.path().join("sitecustomize.py"), stops).unwrap();
    let mut starting = command(folder.path());
    starting.args(["--bind", "127.0.0.1:0", "app.py"]).env("PYTHONPATH", folder.path());
    let mut child = starting.spawn().unwrap();
    gate.pass();
    let asked = Instant::now();
    let status = loop {
        // Signals that are pending at the same time count once.
        let kill = std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(asked.elapsed() < LONG, "it does not end");
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(1));
}
