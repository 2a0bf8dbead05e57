//! Virtual environments, executables and homes of another installation of Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::HELLO;
use super::harness::command;

/// Creates a directory that looks like another installation, for every minor version, and a virtual environment of it.
fn plant(folder: &Path) {
    for minor in 9..=20 {
        for lib in ["lib", "lib64"] {
            let stdlib = folder.join(format!("other/{lib}/python3.{minor}"));
            fs::create_dir_all(&stdlib).unwrap();
            fs::write(stdlib.join("os.py"), "").unwrap();
            fs::create_dir_all(folder.join(format!("venv/{lib}/python3.{minor}/site-packages"))).unwrap();
        }
    }
    for bin in ["other/bin", "venv/bin"] {
        fs::create_dir_all(folder.join(bin)).unwrap();
    }
    fs::copy("/bin/sh", folder.join("other/bin/python")).unwrap();
    std::os::unix::fs::symlink(folder.join("other/bin/python"), folder.join("venv/bin/python")).unwrap();
    fs::write(folder.join("venv/pyvenv.cfg"), format!("home = {}/other/bin\n", folder.display())).unwrap();
    fs::write(folder.join("app.py"), HELLO).unwrap();
}

/// Returns the only line that the program writes before it exits with status 1.
fn refusal(folder: &Path, arguments: &[&str], python_home: Option<&Path>) -> String {
    let mut command = command(folder);
    if let Some(home) = python_home {
        command.env("PYTHONHOME", home);
    }
    let output = command.args(["--bind", "127.0.0.1:0"]).args(arguments).arg("app.py").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("wsgi-hyper: cannot start Python: "), "{said}");
    said
}

#[test]
fn another_installation_is_refused_in_one_line_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let other = folder.path().join("other");
    for (arguments, python_home, expected) in [
        (&["--set", "wsgi_python_home=venv"][..], None, "/venv\" was made by another installation of Python (home \""),
        (&["--set", "wsgi_python_executable=venv/bin/python"], None, "/venv\" was made by another installation"),
        (
            &["--set", "wsgi_python_executable=other/bin/python"],
            None,
            "/other/bin/python\" belongs to another installation",
        ),
        (&["--set", "wsgi_python_home=other"], None, "wsgi_python_home \""),
        (&[], Some(&*other), "PYTHONHOME \""),
    ] {
        let said = refusal(folder.path(), arguments, python_home);
        assert!(said.contains(expected), "{expected} is not in {said}");
        let library = format!("standard library \"{}/lib", other.display());
        for part in [&*library, "than the running one (version 3.", "PYTHON="] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}

#[test]
fn a_library_of_another_installation_than_that_of_the_build_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    // The same library beside another standard library, in the directory that the dynamic linker searches first.
    let lib = folder.path().join("other/lib");
    fs::copy(libpython(), lib.join(libpython().file_name().unwrap())).unwrap();
    let mut command = command(folder.path());
    command.env("LD_LIBRARY_PATH", &lib).args(["--bind", "127.0.0.1:0", "app.py"]);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let refusal = said.lines().last().unwrap();
    for part in [
        "wsgi-hyper: cannot start Python: the gateway was built for another installation of Python (standard library \"",
        &format!("library \"{}/libpython3.", lib.display()),
        "LD_LIBRARY_PATH",
    ] {
        assert!(refusal.contains(part), "{part} is not in {said}");
    }
}

/// Returns the path of the libpython that the program is linked with.
fn libpython() -> PathBuf {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_wsgi-hyper")).output().expect("ldd of the C library");
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("libpython")).expect("a line of libpython");
    PathBuf::from(line.split_whitespace().find(|word| word.starts_with('/')).expect("a path"))
}
