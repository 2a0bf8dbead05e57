//! What the project depends on, and what it hands out (docs/threat-model.md, SUP-*): manifests and lock files are looked at,
//! and the gates that read them are given something bad, of which they have to say so.

use std::path::Path;
use std::process::Command;

mod gates;
mod locked;

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around this package")
}

/// Whether a command succeeded, and all that it said.
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
