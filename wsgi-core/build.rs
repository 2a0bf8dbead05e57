//! Passes the Python that this is built for on to the crate; if it cannot be used, fails with the reason in one sentence.

#[path = "build/python.rs"]
mod python;

use std::path::Path;
use std::process::exit;

use python::Python;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/python.rs");
    println!("cargo::rerun-if-env-changed=PYO3_PYTHON");
    if std::env::var_os("CARGO_FEATURE_PYTHON").is_none() {
        return;
    }
    pyo3_build_config::use_pyo3_cfgs();
    let config = pyo3_build_config::get();
    let free_threaded = config.target_abi().kind().is_free_threaded();
    let Python { executable, version, library, stdlib } =
        Python::ask(config.executable().unwrap_or("python3"), free_threaded).unwrap_or_else(|reason| give_up(&reason));
    // The loader finds this library in our own tests. A link argument does not reach other crates: they read the folder from
    // the metadata (see wsgi-testkit/build.rs).
    if let Some(folder) = Path::new(&library).parent() {
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
