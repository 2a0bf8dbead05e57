//! Reads the sources: the functions that C and Python call, and the failpoints.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::workspace;

/// Beginnings of the expressions that name a failpoint.
const MARKS: [&str; 7] =
    ["guard(", "guard_again(", "guard_request(", "is_done(", "enter(object, ", "failpoint(", "report_panic("];

/// Returns every `extern "C"` function of the module and of the gateway, with the name by which it is guarded.
pub(super) fn of_c_and_python() -> Vec<(String, Option<String>)> {
    let mut callbacks = Vec::new();
    for (path, source) in sources() {
        for piece in source.split("extern \"C").skip(1) {
            let after = piece.split_once('"').map_or("", |(_, after)| after);
            // Declarations of C functions.
            if after.starts_with(" {") {
                continue;
            }
            // A function type has no name: `extern "C" fn(...)`.
            let Some(rest) = after.strip_prefix(" fn ") else {
                assert!(after.starts_with(" fn("), "cannot read what is extern in {}: {after:.40}", path.display());
                continue;
            };
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            let body = rest.split("\n}\n").next().unwrap_or_default();
            if only_ends_the_process(body) {
                continue;
            }
            callbacks.push((name, points(body).into_iter().next()));
        }
    }
    callbacks
}

/// Whether a function only calls `_exit`, which cannot panic.
fn only_ends_the_process(body: &str) -> bool {
    let mut lines = body.lines().skip(1).map(str::trim).filter(|line| !line.starts_with("//"));
    lines.next().is_some_and(|line| line.starts_with("unsafe { libc::_exit(")) && lines.next().is_none()
}

/// Returns the names of all failpoints.
pub(super) fn failpoints() -> BTreeSet<String> {
    sources().iter().flat_map(|(_, source)| points(source)).collect()
}

fn points(source: &str) -> Vec<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for mark in MARKS {
        for (at, _) in source.match_indices(mark) {
            let Some(rest) = source[at + mark.len()..].trim_start().strip_prefix('"') else { continue };
            found.push((at, rest.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    for folder in ["wsgi-nginx/src", "wsgi-core/src"] {
        collect(&workspace().join(folder), &mut sources);
    }
    sources
}

fn collect(folder: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).expect("sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).expect("a source");
            sources.push((path, source));
        }
    }
}
