//! Malformed requests, sent to the program. The expected results are a column of the table of malformed requests.

use std::process::Command;

use wsgi_harness::malformed;
use wsgi_testkit::{End, Program};

#[test]
fn malformed_requests_are_judged_as_the_table_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("app.py");
    std::fs::write(&script, malformed::APPLICATION).expect("write the script");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-hyper"));
    command.args(["--bind", "127.0.0.1:0", "--threads", "1"]).arg(script);
    malformed::check_hyper(&Program::start(command, folder, End::Signal));
}
