//! Applications of five web frameworks inside the validator of the standard library, and the checks that every host must pass
//! with them.
//!
//! The scripts are in `frameworks/`. All have the same routes and answers, as far as the framework permits; the differences
//! are in [`FRAMEWORKS`]. `wsgiref.validate.validator` is around each, and its warnings are errors, so that a host that
//! violates PEP 3333 answers 500, with an `AssertionError` in its log. Each script can also be served by
//! `wsgiref.simple_server`, to find out whether a complaint is about the framework or about the host.
//!
//! The frameworks are installed into a virtual [`environment`], which needs the Python package index: tests that use it are
//! for `make test`, not for a plain `cargo test`.

mod checks;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use checks::check;

/// A framework, and its differences from the others.
#[derive(Debug)]
pub struct Framework {
    /// Its name, in lower case.
    pub name: &'static str,
    /// The script, whose callable is `application`.
    pub source: &'static str,
    /// The status of a POST without a CSRF token, if the framework requires one.
    refusal: Option<u16>,
    /// Whether it handles ranges of a file itself.
    ranges: bool,
    /// Number of tracebacks that an exception leaves in the log.
    tracebacks: usize,
}

/// All frameworks.
pub const FRAMEWORKS: [Framework; 5] = [
    Framework {
        name: "flask",
        source: include_str!("../frameworks/flask_app.py"),
        refusal: None,
        ranges: true,
        tracebacks: 1,
    },
    Framework {
        name: "django",
        source: include_str!("../frameworks/django_app.py"),
        refusal: Some(403),
        ranges: false,
        tracebacks: 1,
    },
    Framework {
        name: "falcon",
        source: include_str!("../frameworks/falcon_app.py"),
        refusal: None,
        ranges: false,
        tracebacks: 1,
    },
    Framework {
        name: "bottle",
        source: include_str!("../frameworks/bottle_app.py"),
        refusal: None,
        ranges: true,
        tracebacks: 1,
    },
    // Pyramid looks for a view of the exception; the exception that there is none is logged first.
    Framework {
        name: "pyramid",
        source: include_str!("../frameworks/pyramid_app.py"),
        refusal: Some(400),
        ranges: true,
        tracebacks: 2,
    },
];

impl Framework {
    /// Returns the framework of that name; panics if there is none.
    pub fn named(name: &str) -> &'static Self {
        FRAMEWORKS.iter().find(|framework| framework.name == name).unwrap_or_else(|| panic!("no framework \"{name}\""))
    }
}

/// Returns the virtual environment with the frameworks, below `target/venv/`. It is created when it is first needed, and
/// again when `requirements.txt` has changed, by the Python that `PYO3_PYTHON`, `WSGI_PYTHON` or `PYTHON` names, else
/// python3. Blocks meanwhile, also while another process creates it; on failure, panics with one sentence that names the
/// remedy.
pub fn environment() -> PathBuf {
    prepared("frameworks")
}

/// As [`environment`], with numpy and scipy (`numerics.txt`) in place of the frameworks.
pub fn numerics() -> PathBuf {
    prepared("numerics")
}

fn prepared(name: &str) -> PathBuf {
    let named = ["PYO3_PYTHON", "WSGI_PYTHON", "PYTHON"].iter().find_map(std::env::var_os);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(named.unwrap_or_else(|| "python3".into()));
    python.arg(here.join("frameworks/prepare.py")).arg(here.join("../../target/venv")).arg(name);
    let output =
        python.output().unwrap_or_else(|error| panic!("cannot run {python:?}: {error}; set PYTHON to a Python"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8_lossy(&output.stdout).trim().into()
}
