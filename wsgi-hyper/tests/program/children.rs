//! Child processes of applications: like those of a plain Python program while it serves, and ended with the program.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use wsgi_harness::children::{APPLICATION, FUNCTIONS, Forked, IgnoredSignals, PROGRAMS, compare};
use wsgi_testkit::wait_for;

use crate::harness::Program;

#[test]
fn child_processes_start_as_from_a_plain_python_program() {
    let program = Program::serve(APPLICATION);
    compare(&[&PROGRAMS[..], &FUNCTIONS].concat(), Forked::Everything, IgnoredSignals::Reset, |path| {
        program.get(path).split_once("\r\n\r\n").expect("a body").1.to_owned()
    });
}

/// A process pool that is created at import.
const POOL: &str = "
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(METHOD))
def work(number):
    time.sleep(0.05)
    return os.getpid()
def application(environ, start_response):
    processes = set(pool.map(work, range(8)))
    start_response('200 OK', [])
    return [' '.join(map(str, processes)).encode()]
";

#[test]
fn pools_of_an_application_end_with_the_server() {
    for (method, signal) in [("fork", "INT"), ("spawn", "TERM"), ("forkserver", "INT")] {
        let program = Program::serve(&format!("METHOD = {method:?}\n{POOL}"));
        let processes = pool_of(&program);
        program.signal(signal);
        assert!(program.end().success(), "{method}, {signal}");
        are_over(&processes);
    }
}

#[test]
fn a_signal_of_the_terminal_ends_server_and_pool() {
    for method in ["fork", "spawn", "forkserver"] {
        // A terminal sends the signal to all processes of a group.
        let program = Program::prepared(&format!("METHOD = {method:?}\n{POOL}"), |command| {
            command.process_group(0);
        });
        let processes = pool_of(&program);
        // The shell's built-in kill: that of procps-ng 4.0.7 accepts no process group after -s.
        let kill = format!("kill -s INT -- -{}", program.process());
        let sent = Command::new("sh").args(["-c", &kill]).stdin(Stdio::null()).status().unwrap();
        assert!(sent.success());
        assert!(program.end().success(), "{method}");
        are_over(&processes);
    }
}

#[test]
fn a_forked_process_ends_where_its_code_comes_back() {
    let program = Program::serve(
        "
import os, sys
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        print('printed by the child')
        if environ['PATH_INFO'] == '/exit':
            sys.exit(5)
        return [b'answer of the child']
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    start_response('200 OK', [])
    return [str(status).encode()]
",
    );
    for (path, status) in [("/exit", "5"), ("/return", "0")] {
        let answer = program.get(path);
        assert!(answer.ends_with(&format!("\r\n\r\n{status}")), "{answer}");
        program.errors.wait_for("printed by the child");
        program.errors.wait_for("a forked process must end with os._exit()");
    }
}

fn pool_of(program: &Program) -> Vec<String> {
    let answer = program.get("/");
    let (_, processes) = answer.split_once("\r\n\r\n").expect("a body");
    processes.split(' ').map(str::to_owned).collect()
}

fn are_over(processes: &[String]) {
    wait_for("the end of the pool", || {
        processes.iter().all(|process| !Path::new("/proc").join(process).exists()).then_some(())
    });
}
