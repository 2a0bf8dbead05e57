//! Executable scripts, for tests that replace a program.

use std::path::Path;
use std::process::Command;

/// Creates an executable script with this text, or replaces it.
///
/// Another process writes it. A child that another thread forks at that time would inherit the descriptor from this process,
/// and execution fails with ETXTBSY as long as any process can write to the file. Panics if the file cannot be written.
pub fn write_script(path: &Path, text: &str) {
    let script = r#"printf %s "$1" >"$0" && chmod 755 "$0""#;
    let status = Command::new("sh").args(["-c", script]).arg(path).arg(text).status().expect("sh runs");
    assert!(status.success(), "{} cannot be written", path.display());
}
