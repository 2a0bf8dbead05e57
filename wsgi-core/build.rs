//! Passes on which Python this is built for; says in one sentence what is missing for it.

use std::path::Path;
use std::process::{Command, exit};

/// Asks the interpreter what the gateway has to know of it, one answer a line.
const QUESTIONS: &str = "
import os, platform, sys, sysconfig
print(sys.executable)
print(platform.python_version())
print(os.path.join(sysconfig.get_config_var('LIBDIR') or '', sysconfig.get_config_var('INSTSONAME') or ''))
print(os.__file__)
print(sysconfig.get_config_var('Py_ENABLE_SHARED'))
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PYO3_PYTHON");
    if std::env::var_os("CARGO_FEATURE_PYTHON").is_none() {
        return;
    }
    pyo3_build_config::use_pyo3_cfgs();
    let executable = pyo3_build_config::get().executable().unwrap_or("python3").to_owned();
    let output = match Command::new(&executable).args(["-I", "-c", QUESTIONS]).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => give_up(&format!(
            "{executable} cannot describe itself ({}); set PYO3_PYTHON to another Python",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => give_up(&format!("{executable} cannot be run ({error}); install Python or set PYO3_PYTHON")),
    };
    let answers = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Vec<&str> = answers.lines().collect();
    let &[executable, version, library, stdlib, shared] = answers.as_slice() else {
        give_up(&format!("{executable} gave an unexpected description of itself; set PYO3_PYTHON to another Python"))
    };
    if shared != "1" {
        give_up(&format!(
            "{executable} (Python {version}) was built without a shared library; build it with --enable-shared, or set \
             PYO3_PYTHON to another Python"
        ));
    }
    if !Path::new(library).exists() {
        give_up(&format!(
            "the library of {executable} (Python {version}) is not at {library}; install its development files \
             (Debian: python3-dev)"
        ));
    }
    // The loader finds this library in our own tests; a link argument does not reach other crates, which ask for the
    // folder (see wsgi-testkit/build.rs).
    if let Some(folder) = Path::new(library).parent() {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
        println!("cargo::metadata=lib_dir={}", folder.display());
    }
    println!("cargo::rustc-env=WSGI_PYTHON_EXECUTABLE={executable}");
    println!("cargo::rustc-env=WSGI_PYTHON_VERSION={version}");
    println!("cargo::rustc-env=WSGI_PYTHON_LIBRARY={library}");
    println!("cargo::rustc-env=WSGI_PYTHON_STDLIB={stdlib}");
}

fn give_up(reason: &str) -> ! {
    eprintln!("wsgi-core cannot be built: {reason}.");
    exit(1)
}
