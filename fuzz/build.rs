//! Targets that run Python find the libpython that they were built for, also where another one of the same name is
//! installed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // From wsgi-core, whose own link arguments would not reach the targets. Missing without Python.
    if let Ok(folder) = std::env::var("DEP_WSGI_CORE_PYTHON_LIB_DIR") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
