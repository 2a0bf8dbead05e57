//! Flask, Django, Falcon, Bottle and Pyramid in this process, without a server.
//!
//! `make test` runs these: they install the frameworks from the Python package index.

use std::sync::{Mutex, OnceLock, PoisonError};

use wsgi_core::config::{Limits, Mode};
use wsgi_core::python::GatewaySettings;
use wsgi_harness::frameworks::{Framework, check, environment};
use wsgi_testkit::Host;
use wsgi_testkit::conformance::{HostUnderTest as _, InProcess, Site, Traits};

/// Runs one framework at a time: log records without a request are kept once for the process.
fn runs(name: &str) {
    static TURN: Mutex<()> = Mutex::new(());
    static HOST: OnceLock<Host> = OnceLock::new();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let host = HOST.get_or_init(|| {
        let mut settings = GatewaySettings::new(Mode::Threads(Limits::new(2).max_threads(64).queue(64)));
        settings.python.home = Some(environment());
        Host::start(&settings)
    });
    let traits =
        Traits { multithread: true, multiprocess: false, inline: false, collects_body: false, collects_chunks: false };
    let framework = Framework::named(name);
    check(framework, InProcess::new(host, traits).serve(Site::new(framework.source)));
    let rest = host.log();
    assert!(rest.is_empty(), "logged without a request: {rest:?}");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn flask_runs_in_process_without_a_complaint() {
    runs("flask");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn django_runs_in_process_without_a_complaint() {
    runs("django");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn falcon_runs_in_process_without_a_complaint() {
    runs("falcon");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn bottle_runs_in_process_without_a_complaint() {
    runs("bottle");
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn pyramid_runs_in_process_without_a_complaint() {
    runs("pyramid");
}
