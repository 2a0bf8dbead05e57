//! The project's dependencies and packages (docs/threat-model.md, SUP-*): checks of manifests and lock files, and tests
//! that the gates which read them report planted faults.

use std::path::Path;
use std::process::Command;

mod gates;
mod locked;

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this package")
}

/// Returns whether a command succeeded, and all of its output.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

pub(crate) fn must(command: &mut Command) -> String {
    let (succeeded, said) = run(command);
    assert!(succeeded, "{command:?}: {said}");
    said
}

pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace());
    command
}

pub(crate) fn script(name: &str) -> Command {
    Command::new(workspace().join("scripts").join(name))
}
