//! The conformance suite on the program, which includes the service: see docs/conformance.md. Also the answers to the table of
//! malformed requests, and five frameworks, wrapped in the validator of the standard library.

use std::process::Command;

use wsgi_harness::frameworks::{Framework, check, environment};
use wsgi_harness::malformed;
use wsgi_testkit::conformance::{HostUnderTest, Served, Site, Traits, check_leaks};
use wsgi_testkit::{End, Program};

/// The program with two threads.
struct Host;

impl HostUnderTest for Host {
    fn name(&self) -> String {
        "wsgi-hyper".to_owned()
    }

    fn traits(&self) -> Traits {
        Traits { multithread: true, multiprocess: false, inline: false, collects_body: false, collects_chunks: true }
    }

    fn serve(&self, site: Site) -> Box<dyn Served> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let script = folder.path().join("app.py");
        std::fs::write(&script, &site.source).expect("write the script");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsgi-hyper"));
        command.args(["--bind", "127.0.0.1:0", "--threads", "2", "--prefix", &site.prefix]);
        // The only default that differs from the core's.
        command.args(["--set", "wsgi_script_reloading=off"]);
        for directive in &site.directives {
            command.arg("--set").arg(directive.replacen(' ', "=", 1));
        }
        command.arg(script);
        Box::new(Program::start(command, folder, End::Signal))
    }
}

mod hyper {
    wsgi_testkit::conformance_suite!(super::Host);
    wsgi_testkit::wire_conformance_suite!(super::Host);
}

#[test]
fn malformed_requests_tell_a_client_nothing_about_the_server() {
    check_leaks(&Host, &malformed::requests().collect::<Vec<_>>());
}

/// Serves an application that uses a framework.
fn runs(name: &str) {
    let framework = Framework::named(name);
    let home = format!("wsgi_python_home {}", environment().display());
    check(framework, Host.serve(Site::new(framework.source).with(&home)));
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn flask_runs_on_hyper_without_a_complaint() {
    runs("flask");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn django_runs_on_hyper_without_a_complaint() {
    runs("django");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn falcon_runs_on_hyper_without_a_complaint() {
    runs("falcon");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn bottle_runs_on_hyper_without_a_complaint() {
    runs("bottle");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn pyramid_runs_on_hyper_without_a_complaint() {
    runs("pyramid");
}
