//! The gates `scripts/check/supply` and `scripts/check/audit`, run on planted faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::locked::locked_version;
use crate::{cargo, must, run, script, workspace};

/// A crate with one dependency.
struct Planted(TempDir);

impl Planted {
    /// Creates a crate with this dependency, and a second crate in `beside` whose manifest has these lines.
    fn new(dependency: &str, beside: &str) -> Self {
        let planted = Self(tempfile::tempdir().expect("a temporary folder"));
        planted.write("Cargo.toml", &manifest("name = \"planted\"\nlicense = \"MIT\"", dependency));
        planted.write("src/lib.rs", "");
        planted.write("beside/Cargo.toml", &manifest(beside, ""));
        planted.write("beside/src/lib.rs", "");
        planted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        fs::write(path, text).expect("write a file");
    }

    /// Adds a lock file.
    fn locked(self) -> Self {
        must(cargo().args(["generate-lockfile", "--offline", "--manifest-path"]).arg(self.path("Cargo.toml")));
        self
    }

    /// Runs `scripts/check/supply` on it. Returns whether it succeeded, and its output.
    fn judged(&self) -> (bool, String) {
        run(script("check/supply").arg(self.path("Cargo.toml")))
    }

    /// Asserts that it is refused with these words.
    fn is_refused(&self, words: &[&str]) {
        let (succeeded, said) = self.judged();
        assert!(!succeeded, "{said}");
        for word in words {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
    }
}

fn manifest(package: &str, dependency: &str) -> String {
    format!("[package]\nversion = \"0.1.0\"\nedition = \"2024\"\n{package}\n[dependencies]\n{dependency}\n")
}

#[test]
#[ignore = "runs cargo-deny, which scripts/check/test builds"]
fn a_licence_that_is_not_allowed_is_refused() {
    let beside = "beside = { path = \"beside\", version = \"0.1.0\" }";
    let (succeeded, said) =
        Planted::new(beside, "name = \"beside\"\nlicense = \"Apache-2.0 OR GPL-3.0-only\"").locked().judged();
    assert!(succeeded, "{said}");
    Planted::new(beside, "name = \"beside\"\nlicense = \"GPL-3.0-only\"")
        .locked()
        .is_refused(&["licenses FAILED", "GPL-3.0"]);
    Planted::new(beside, "name = \"beside\"").locked().is_refused(&["licenses FAILED", "unlicensed"]);
}

#[test]
#[ignore = "runs cargo-deny, which scripts/check/test builds"]
fn a_banned_crate_or_any_version_of_one_is_refused() {
    let openssl = Planted::new(
        "openssl-sys = { path = \"beside\", version = \"0.1.0\" }",
        "name = \"openssl-sys\"\nlicense = \"MIT\"",
    );
    openssl.locked().is_refused(&["bans FAILED", "openssl-sys", "nginx provides TLS"]);
    let past_pyo3 =
        Planted::new("pyo3-ffi = { path = \"beside\", version = \"0.1.0\" }", "name = \"pyo3-ffi\"\nlicense = \"MIT\"");
    past_pyo3.locked().is_refused(&["bans FAILED", "pyo3-ffi"]);
    let any_version = Planted::new("beside = { path = \"beside\" }", "name = \"beside\"\nlicense = \"MIT\"");
    any_version.locked().is_refused(&["bans FAILED", "wildcard"]);
}

#[test]
#[ignore = "runs cargo-deny, which scripts/check/test builds"]
fn a_source_other_than_crates_io_is_refused() {
    let repository = Planted::new("", "name = \"beside\"\nlicense = \"MIT\"");
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"];
        must(Command::new("git").args(identity).arg("-C").arg(repository.path("beside")).args(arguments))
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "A crate"]);
    let address = format!("file://{}", repository.path("beside").display());
    let dependency = format!("beside = {{ git = \"{address}\", version = \"0.1.0\" }}");
    let planted = Planted::new(&dependency, "name = \"unused\"");
    must(cargo().args(["generate-lockfile", "--manifest-path"]).arg(planted.path("Cargo.toml")));
    planted.is_refused(&["sources FAILED", "beside"]);
}

#[test]
#[ignore = "runs cargo-deny, which scripts/check/test builds"]
fn a_lock_file_that_is_not_the_manifest_s_is_refused() {
    let beside = "name = \"beside\"\nlicense = \"MIT\"";
    let planted = Planted::new("", beside).locked();
    let dependency = "beside = { path = \"beside\", version = \"0.1.0\" }";
    planted.write("Cargo.toml", &manifest("name = \"planted\"\nlicense = \"MIT\"", dependency));
    planted.is_refused(&["its lock file differ"]);
}

/// An advisory database with one advisory of this `kind` for `name`, `days` old, patched in the versions `safe`.
fn advisory(name: &str, kind: &str, safe: &str, days: u32) -> Planted {
    let date = must(Command::new("date").args(["-u", "+%F", "--date", &format!("{days} days ago")]));
    let database = Planted(tempfile::tempdir().expect("a temporary folder"));
    let text = format!(
        "```toml\n[advisory]\nid = \"RUSTSEC-2026-9001\"\npackage = \"{name}\"\ndate = \"{}\"\n{kind}\n\n[versions]\n\
         patched = [{safe}]\n```\n\n# Trouble with {name}\n\nIt is planted.\n",
        date.trim()
    );
    database.write(&format!("crates/{name}/RUSTSEC-2026-9001.md"), &text);
    database
}

/// Runs `scripts/check/audit` with this database. Returns whether it succeeded, and its output.
fn audited(database: &Path) -> (bool, String) {
    run(script("check/audit").env("DB", database))
}

#[test]
#[ignore = "runs cargo-deny, which scripts/check/test builds"]
fn an_advisory_fails_the_audit_which_names_the_versions_that_are_safe() {
    for (name, kind) in [("bytes", ""), ("memmap2", "informational = \"unsound\"")] {
        let (succeeded, said) = audited(advisory(name, kind, "\">= 99.1.0\"", 3).0.path());
        assert!(!succeeded, "{said}");
        let locked = format!("{name} {} registry", locked_version(name));
        for text in ["error[", &locked, "RUSTSEC-2026-9001", "Trouble with", ">=99.1.0", "raise the versions"] {
            assert!(said.contains(text), "{text} is not in: {said}");
        }
        let (succeeded, said) = audited(advisory(name, kind, "\">= 0.0.1\"", 3).0.path());
        assert!(succeeded && !said.contains("RUSTSEC"), "{said}");
    }
    let (succeeded, said) = audited(advisory("bytes", "informational = \"unmaintained\"", "", 3).0.path());
    assert!(succeeded && said.contains("warning[unmaintained]: Trouble with bytes"), "{said}");
}

#[test]
#[ignore = "runs cargo-deny, which scripts/check/test builds"]
fn an_audit_prints_the_age_of_its_data_and_warns_of_old_data() {
    let (succeeded, said) = audited(advisory("unused", "", "", 60).0.path());
    assert!(succeeded && said.contains("1 advisories in ") && said.contains(": 60 days old"), "{said}");
    assert!(!said.contains("warning"), "{said}");

    // Like the downloaded database: packed, and one directory deeper.
    let old = advisory("unused", "", "", 61);
    let (archive, folder) = (old.path("database.tgz"), old.0.path());
    let name = folder.file_name().expect("a name");
    let mut pack = Command::new("tar");
    must(pack.arg("-czf").arg(&archive).arg("-C").arg(folder.join("..")).arg(Path::new(name).join("crates")));
    let (succeeded, said) = audited(&archive);
    assert!(succeeded && said.contains(": 61 days old"), "{said}");
    assert!(said.contains("warning: the database lacks advisories of the last 61 days"), "{said}");
}

#[test]
fn an_audit_without_data_says_that_nothing_was_checked() {
    // The scripts in a project without a database beside it.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let scripts = elsewhere.path().join("project/scripts");
    for name in ["check/audit", "lib/supply.sh", "lib/common.sh"] {
        fs::create_dir_all(scripts.join(name).parent().expect("a folder")).expect("make a folder");
        fs::copy(workspace().join("scripts").join(name), scripts.join(name)).expect("copy a script");
    }
    let (succeeded, said) = run(Command::new(scripts.join("check/audit")).env_remove("DB"));
    assert!(!succeeded && said.contains("no database") && said.contains("make audit DB=path"), "{said}");
    let (succeeded, said) = run(Command::new(scripts.join("check/audit")).arg("--if-there").env_remove("DB"));
    assert!(succeeded && said.contains("NOT checked"), "{said}");

    for (name, text) in [("empty.tgz", ""), ("folder/README", "no advisories")] {
        let path = elsewhere.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        fs::write(&path, text).expect("write a file");
    }
    for name in ["empty.tgz", "folder", "absent"] {
        let (succeeded, said) = run(Command::new(scripts.join("check/audit")).env("DB", elsewhere.path().join(name)));
        assert!(!succeeded && said.contains("error: "), "{name}: {said}");
    }
}
