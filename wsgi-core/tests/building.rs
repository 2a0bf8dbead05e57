//! Pythons that cannot be embedded are refused at build time: by wsgi-core's build script, and before that by the scripts
//! behind `make` and nginx's `./configure`.
//!
//! The stand-ins are programs that run the Python of this build and answer one question differently.
#![cfg(feature = "python")]

#[path = "../build/python.rs"]
mod python;

use std::path::{Path, PathBuf};
use std::process::Command;

use python::Python;

/// The Python of this build.
const REAL: &str = env!("WSGI_PYTHON_EXECUTABLE");

/// Creates a Python that executes these statements at its start.
fn stand_in(folder: &Path, statements: &str) -> PathBuf {
    let program = folder.join("python");
    // $2 is either -c or a file.
    let text = format!(
        r#"#!/bin/sh
if [ "$2" = -c ]; then
    exec {REAL} -I -c 'import sys, sysconfig; {statements}; exec(sys.argv[1])' "$3"
fi
exec {REAL} -I -c 'import runpy, sys, sysconfig; {statements}; runpy.run_path(sys.argv[1], run_name="__main__")' "$2"
"#
    );
    create_program(&program, &text);
    program
}

/// Creates an executable script. Another process writes it: a child that another test forks at that time would inherit the
/// descriptor from this process, and execution fails with ETXTBSY as long as any process can write to the file. The same as
/// `write_script` of wsgi-harness, which would switch on the feature `python` here (see Cargo.toml).
fn create_program(path: &Path, text: &str) {
    let script = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").args(["-c", script]).arg(path).arg(text).status().expect("sh runs");
    assert!(status.success(), "{} cannot be written", path.display());
}

/// The statements, the build script's message after the name of the program, and the message of the scripts.
const REFUSED: [(&str, &str, &str); 5] = [
    (
        r#"sysconfig.get_config_vars()["Py_GIL_DISABLED"] = 1"#,
        "is free-threaded; the gateway needs the GIL, set PYO3_PYTHON to another Python",
        "is free-threaded: the gateway needs the GIL, choose a Python that has it with PYTHON=",
    ),
    (
        r#"sysconfig.get_config_vars(); sys.abiflags = "t""#,
        "is free-threaded; the gateway needs the GIL, set PYO3_PYTHON to another Python",
        "is free-threaded: the gateway needs the GIL, choose a Python that has it with PYTHON=",
    ),
    (
        r#"sys.version_info = (3, 8, 18, "final", 0)"#,
        "is too old; 3.9 or newer is needed, set PYO3_PYTHON to another Python",
        "is too old: 3.9 or newer is needed, choose one with PYTHON=",
    ),
    (
        r#"sys.implementation.name = "pypy""#,
        "is pypy; CPython is needed, set PYO3_PYTHON to another Python",
        "is pypy: CPython is needed, choose one with PYTHON=",
    ),
    (
        r#"sysconfig.get_config_vars()["Py_ENABLE_SHARED"] = 0"#,
        "was built without a shared library; build it with --enable-shared, or set PYO3_PYTHON to another Python",
        "was built without a shared library, so it cannot be embedded: build it with --enable-shared \
         (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared) or choose another with PYTHON=",
    ),
];

/// Simulates a Python without the files of its `-dev` package.
const NO_DEVELOPMENT_FILES: &str = r#"sysconfig.get_config_vars()["LDLIBRARY"] = "libpython-none.so""#;

fn ask(program: &Path) -> Result<Python, String> {
    Python::ask(program.to_str().unwrap(), false)
}

#[test]
fn the_build_script_takes_the_python_of_this_build() {
    let folder = tempfile::tempdir().unwrap();
    for program in [Path::new(REAL), &stand_in(folder.path(), "pass")] {
        let python = ask(program).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(python.executable, REAL);
        assert_eq!(python.version, env!("WSGI_PYTHON_VERSION"));
        assert_eq!(python.library, env!("WSGI_PYTHON_LIBRARY"));
        assert_eq!(python.stdlib, env!("WSGI_PYTHON_STDLIB"));
    }
}

#[test]
fn the_build_script_refuses_a_python_that_cannot_be_embedded_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{REAL} (Python {})", env!("WSGI_PYTHON_VERSION"));
    let minor = minor();
    for (statements, expected, _) in REFUSED {
        let reason = ask(&stand_in(folder.path(), statements)).err().expect("it is refused");
        assert_eq!(reason, format!("{name} {expected}"));
    }
    let reason = ask(&stand_in(folder.path(), NO_DEVELOPMENT_FILES)).err().expect("it is refused");
    assert!(reason.starts_with(&format!("{name} has no /")), "{reason}");
    let rest = format!(
        "/libpython-none.so; install its development files (Debian: python{minor}-dev), or set PYO3_PYTHON \
                        to another Python"
    );
    assert!(reason.ends_with(&rest), "{reason}");
    // PyO3 detected it.
    let reason = Python::ask(REAL, true).err().expect("it is refused");
    assert!(reason.contains("is free-threaded; "), "{reason}");
}

#[test]
fn the_build_script_says_what_is_wrong_with_a_program_that_is_no_python() {
    let folder = tempfile::tempdir().unwrap();
    let reason = ask(Path::new("/nonexistent/python")).err().expect("it is refused");
    assert_eq!(
        reason,
        "/nonexistent/python cannot be run (No such file or directory (os error 2)); install Python or set PYO3_PYTHON to \
         another Python"
    );
    let program = stand_in(folder.path(), "raise OSError(\"broken\")");
    let reason = ask(&program).err().expect("it is refused");
    let expected =
        format!("{} cannot describe itself (OSError: broken); set PYO3_PYTHON to another Python", program.display());
    assert_eq!(reason, expected);
    let reason = ask(Path::new("/bin/echo")).err().expect("it is refused");
    assert_eq!(reason, "/bin/echo gave an unexpected description of itself; set PYO3_PYTHON to another Python");
}

/// Returns the standard error of one of the project's scripts, run with this Python. The script must fail.
fn scripts_say(python: &Path, script: &str) -> String {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let command = format!("source {}/lib/common.sh; {script}", scripts.display());
    let output = Command::new("bash").args(["-c", &command]).env("PYTHON", python).env_remove("WSGI_PYTHON").output();
    let output = output.expect("bash runs");
    assert!(!output.status.success(), "{script} takes {}", python.display());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_scripts_refuse_a_python_that_cannot_be_embedded_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let minor = minor();
    for (statements, _, expected) in REFUSED {
        let said = scripts_say(&stand_in(folder.path(), statements), "prepare");
        let name = if statements.contains("version_info") { "3.8" } else { &minor };
        assert_eq!(said, format!("error: Python {name} ({REAL}) {expected}\n"));
    }
    let said = scripts_say(&stand_in(folder.path(), NO_DEVELOPMENT_FILES), "prepare");
    assert!(said.starts_with(&format!("error: Python {minor} ({REAL}) has no /")), "{said}");
    let rest = format!("/libpython-none.so: install its development files (Debian: python{minor}-dev)\n");
    assert!(said.ends_with(&rest) && said.lines().count() == 1, "{said}");
}

#[test]
fn the_scripts_say_in_one_sentence_what_is_wrong_with_a_program_that_is_no_python() {
    let folder = tempfile::tempdir().unwrap();
    let said = scripts_say(Path::new("no-such-python"), "prepare");
    assert_eq!(said, "error: no-such-python was not found in PATH: install it or name another with PYTHON=\n");
    // Python 2 does not have the option -I, and prints its usage.
    let program = folder.path().join("python2");
    create_program(&program, "#!/bin/sh\necho 'Unknown option: -I' >&2\necho usage: >&2\nexit 2\n");
    let said = scripts_say(&program, "prepare");
    let expected = "does not run, or is too old: CPython 3.9 or newer is needed, choose one with PYTHON=\n";
    assert_eq!(said, format!("error: {} {expected}", program.display()));
}

fn minor() -> String {
    env!("WSGI_PYTHON_VERSION").split('.').take(2).collect::<Vec<_>>().join(".")
}
