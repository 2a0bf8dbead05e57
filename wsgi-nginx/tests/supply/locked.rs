//! The project's manifests, lock files, sources and packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{cargo, must, workspace};

/// The oldest versions without a known vulnerability, for crates that had one which mattered here.
const FLOORS: [(&str, [u32; 3]); 5] = [
    ("bytes", [1, 11, 1]),
    ("crossbeam-channel", [0, 5, 15]),
    ("h2", [0, 4, 16]),
    ("memmap2", [0, 9, 11]),
    ("pyo3", [0, 29, 0]),
];

const PUBLISHED: [&str; 3] = ["wsgi-core", "wsgi-testkit", "wsgi-hyper"];

/// Files and directories that a package may have at its top level.
const PACKED: [&str; 10] = [
    ".cargo_vcs_info.json",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "build",
    "build.rs",
    "src",
    "tests",
];

/// The places where unsafe code is allowed: at the C interface, and where a file is mapped as memory.
const UNSAFE: [&str; 3] = ["wsgi-core/src/python", "wsgi-core/src/protocol/output/spool.rs", "wsgi-nginx/src"];

const CORE_DEPENDENCIES: usize = 12;

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Parses a version: `[1, 2, 0]` for `1.2`.
fn version(text: &str) -> [u32; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or_else(|_| panic!("version {text}")));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// The lock files of the project, by their paths in it.
fn locks() -> Vec<&'static str> {
    ["Cargo.lock", "fuzz/Cargo.lock"].into_iter().filter(|lock| workspace().join(lock).exists()).collect()
}

/// Returns a value of a package in a lock file.
fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
    line.map(|rest| rest.trim_end_matches('"'))
}

/// Returns the version of a crate in the workspace's lock file.
pub(crate) fn locked_version(name: &str) -> String {
    let lock = read("Cargo.lock");
    let package = lock.split("[[package]]\n").find(|package| value(package, "name") == Some(name));
    value(package.expect("it is locked"), "version").expect("a version").to_owned()
}

#[test]
fn no_version_with_a_known_vulnerability_is_asked_for_or_locked() {
    let manifest = read("Cargo.toml");
    let mut asked = BTreeSet::new();
    for (name, floor) in FLOORS {
        let Some(line) = manifest.lines().find(|line| line.starts_with(&format!("{name} = "))) else { continue };
        let wanted = line.split('"').nth(1).expect("a version");
        assert!(version(wanted) >= floor, "others may resolve {name} {wanted}: raise it to {floor:?} in Cargo.toml");
        asked.insert(name);
    }
    assert_eq!(asked, BTreeSet::from(["bytes", "memmap2", "pyo3"]), "direct dependencies of FLOORS");
    for lock in locks() {
        for package in read(lock).split("[[package]]\n").skip(1) {
            let (name, locked) =
                (value(package, "name").expect("a name"), value(package, "version").expect("a version"));
            if let Some((_, floor)) = FLOORS.iter().find(|(floored, _)| *floored == name) {
                assert!(version(locked) >= *floor, "{lock}: {name} {locked} is below {floor:?}");
            }
        }
    }
}

#[test]
fn every_download_has_a_checksum() {
    for lock in locks() {
        let text = read(lock);
        let downloaded = text.split("[[package]]\n").skip(1).filter(|package| value(package, "source").is_some());
        let mut count = 0;
        for package in downloaded {
            let checksum = value(package, "checksum").unwrap_or_else(|| panic!("{lock}: no checksum in {package}"));
            assert_eq!(checksum.len(), 64, "{lock}: {package}");
            count += 1;
        }
        assert!(count > 10, "{lock} was not understood: {count} packages");
    }
}

#[test]
fn the_core_has_few_direct_dependencies() {
    let tree =
        must(cargo().args(["tree", "--quiet", "--locked", "--offline", "-p", "wsgi-core", "--all-features"]).args([
            "--edges",
            "normal,build",
            "--depth",
            "1",
            "--prefix",
            "none",
        ]));
    let crates: Vec<_> = tree.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with('[')).collect();
    assert!(crates.iter().any(|name| name.starts_with("pyo3 ")), "not understood: {tree}");
    assert!(crates.len() <= CORE_DEPENDENCIES, "{} direct dependencies: {crates:?}", crates.len());
}

#[test]
fn unsafe_code_is_in_listed_files_with_safety_notes() {
    let mut files = Vec::new();
    for folder in PUBLISHED.iter().chain(&["wsgi-nginx", "examples"]) {
        collect(Path::new(folder), &mut files);
    }
    let tests = |file: &Path| file.components().any(|part| part.as_os_str() == "tests");
    let (mut listed, mut outside) = (BTreeSet::new(), BTreeSet::new());
    for file in files.iter().filter(|file| !tests(file)) {
        let text = read(file);
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let mut words = code.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
        if words.any(|word| word == "unsafe") {
            match UNSAFE.iter().find(|path| file.starts_with(path)) {
                Some(path) => listed.insert(*path),
                None => outside.insert(file),
            };
        }
    }
    assert!(outside.is_empty(), "unsafe code outside of the paths in UNSAFE: {outside:?}");
    assert_eq!(listed, BTreeSet::from(UNSAFE), "a path in UNSAFE has no unsafe code");
    // clippy checks in every crate that each block has a reason.
    assert!(read("Cargo.toml").contains("undocumented_unsafe_blocks = "));
    for package in PUBLISHED.iter().chain(&["wsgi-testkit/harness", "wsgi-nginx", "examples/axum", "examples/embed"]) {
        assert!(read(format!("{package}/Cargo.toml")).contains("[lints]\nworkspace = true"), "{package}");
    }
}

/// Functions of nginx that can run handlers, and so call the module before they return.
const COMING_BACK: [&str; 12] = [
    "ngx_http_core_run_phases",
    "ngx_http_filter_finalize_request",
    "ngx_http_finalize_request",
    "ngx_http_handler",
    "ngx_http_internal_redirect",
    "ngx_http_named_location",
    "ngx_http_output_filter",
    "ngx_http_read_client_request_body",
    "ngx_http_run_posted_requests",
    "ngx_http_send_header",
    "ngx_http_special_response_handler",
    "ngx_http_subrequest",
];

#[test]
fn functions_of_nginx_that_can_come_back_are_called_in_one_file() {
    let mut files = Vec::new();
    collect(Path::new("wsgi-nginx/src"), &mut files);
    let mut callers = BTreeSet::new();
    for file in &files {
        let text = read(file);
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let mut words = code.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
        if words.any(|word| COMING_BACK.contains(&word)) {
            callers.insert(file.display().to_string());
        }
    }
    assert_eq!(callers, BTreeSet::from(["wsgi-nginx/src/reentry.rs".to_owned()]));
}

/// Collects the Rust files below a directory, by their paths in the project.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(workspace().join(folder)).expect("a folder of the project") {
        let path = folder.join(entry.expect("an entry").file_name());
        if workspace().join(&path).is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn packages_hold_sources_and_nothing_else() {
    for package in PUBLISHED {
        let list = must(cargo().args(["package", "--quiet", "--list", "--allow-dirty", "--offline", "-p", package]));
        let files: Vec<_> = list.lines().filter(|line| !line.is_empty()).collect();
        for needed in ["src/lib.rs", "LICENSE-APACHE", "LICENSE-MIT"] {
            assert!(files.contains(&needed), "{package} holds no {needed}: {list}");
        }
        for file in files {
            let (top, rest) = file.split_once('/').unwrap_or((file, ""));
            assert!(PACKED.contains(&top), "{package} holds {file}");
            let kind = rest.rsplit_once('.').map_or("", |(_, extension)| extension);
            assert!(rest.is_empty() || ["rs", "py"].contains(&kind), "{package} holds {file}");
        }
    }
}
