//! The Python that the module was built for, and small applications.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::workspace;

/// Answers with 12 bytes.
pub(crate) const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello world\n"]
"#;

/// Returns the Python that the module was built for, if the environment names it; otherwise python3.
fn python() -> Command {
    let named = ["WSGI_PYTHON", "PYO3_PYTHON", "PYTHON"].iter().find_map(std::env::var_os);
    Command::new(named.unwrap_or_else(|| OsString::from("python3")))
}

/// Returns the text that Python prints for an expression; `sys` and `os` are imported.
pub(crate) fn python_says(expression: &str) -> String {
    run(python().arg("-c").arg(format!("import os, sys; print({expression})")))
}

/// A virtual environment without pip.
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    pub(crate) fn new(folder: PathBuf) -> Self {
        run(python().args(["-m", "venv", "--without-pip"]).arg(&folder));
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn executable(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Installs a module that consists of one file.
    pub(crate) fn install(&self, module: &str, source: &str) {
        let expression = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let packages = run(Command::new(self.executable()).args(["-c", expression]));
        std::fs::write(Path::new(&packages).join(format!("{module}.py")), source).expect("write a module");
    }
}

/// Returns the virtual environment of an example, below `target/`; created on first use.
pub(crate) fn example_venv(name: &'static str) -> &'static Path {
    static MADE: Mutex<BTreeMap<&str, &Path>> = Mutex::new(BTreeMap::new());
    // Created once, while other tests wait. If that fails, the next test tries again.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(name).or_insert_with(|| {
        let example = if name == "django" { "django_project" } else { "flask_app" };
        let script = workspace().join("examples/prepare.sh");
        run(Command::new(script).arg(example).env("PYTHON", python().get_program()));
        Box::leak(workspace().join("target/venv").join(name).into_boxed_path())
    })
}

/// Returns a virtual environment below `target/` with a package of the index and its dependencies.
pub(crate) fn package_venv(package: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let version = python_says("sys.version.split()[0]");
    let folder = workspace().join(format!("target/venv/{package}-{version}"));
    let complete = folder.join("complete");
    if !complete.exists() {
        run(python().args(["-m", "venv", "--clear"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
        run(Command::new(folder.join("bin/python")).args(pip));
        std::fs::write(complete, "").expect("write a file");
    }
    folder
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}:\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
