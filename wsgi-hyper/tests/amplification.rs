//! The cost of requests for the program.

use std::process::Command;

use wsgi_harness::{amplification, malformed};
use wsgi_testkit::{End, Program};

/// Sum of the program's limits: 32 KiB for a head, and 64 KiB of a body or response between application and client.
const LIMIT: u64 = 96 * 1024;

#[test]
fn no_request_costs_the_program_much_more_than_its_client() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("app.py");
    std::fs::write(&script, malformed::APPLICATION).expect("write the script");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-hyper"));
    command.args(["--bind", "127.0.0.1:0", "--threads", "1"]).arg(script);
    let program = Program::start(command, folder, End::Signal);
    amplification::check(&program, program.process(), LIMIT, "wsgi-hyper");
}
