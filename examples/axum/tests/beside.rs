//! Django beside routes in Rust, over loopback.

use std::process::Command;

use wsgi_testkit::conformance::{Served, get};
use wsgi_testkit::{End, Program};

/// Starts the example, with the project set up.
fn serve() -> Box<dyn Served> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../prepare.sh");
    let python = ["WSGI_PYTHON", "PYO3_PYTHON"].iter().find_map(std::env::var_os).unwrap_or_else(|| "python3".into());
    let prepared = Command::new(script).arg("django_project").env("PYTHON", python).output().expect("run prepare.sh");
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum-example"));
    command.arg("127.0.0.1:0");
    Box::new(Program::start(command, tempfile::tempdir().expect("a temporary folder"), End::Signal))
}

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn django_answers_below_its_prefix_and_rust_beside_it() {
    let site = serve();
    assert!(site.get("/").ok().starts_with("This is axum"));
    assert_eq!(site.get("/missing").status, 404);
    // Django builds its links with SCRIPT_NAME.
    let page = site.get("/library/").ok();
    assert!(page.contains("href=\"/library/"), "{page}");
    let login = site.get("/library/admin/");
    assert_eq!(login.header("Location"), Some("/library/admin/login/?next=/library/admin/"));
    let style = site.get("/library/static/admin/css/base.css");
    assert_eq!((style.status, style.header("Content-Type")), (200, Some("text/css")));
    assert_eq!(site.send(get("/library/").method("HEAD")).status, 200);
    let log = site.stop();
    assert!(!log.contains("Traceback"), "{log}");
}
