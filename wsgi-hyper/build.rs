//! Makes tests and the server load the libpython that they were built for, even if another library of the same name is
//! installed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by wsgi-core, whose own link arguments do not apply to the tests of this crate. Unset in a build without
    // Python.
    if let Ok(folder) = std::env::var("DEP_WSGI_CORE_PYTHON_LIB_DIR") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
