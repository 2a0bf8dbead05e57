//! Links the tests that run Python so that they load the libpython they were built for, even where another one of the same
//! name is installed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by wsgi-core, whose link arguments would not reach the tests of this crate. Not set without Python.
    if let Ok(folder) = std::env::var("DEP_WSGI_CORE_PYTHON_LIB_DIR") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
