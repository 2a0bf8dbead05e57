//! Queries the Python of the build for its version, shared library and standard library, and refuses a Python that
//! cannot be embedded.

use std::path::Path;
use std::process::Command;

/// Script that the interpreter runs. It prints one answer per line.
const QUESTIONS: &str = "
import os, platform, sys, sysconfig
var = sysconfig.get_config_var
print(sys.executable)
print('%d.%d' % sys.version_info[:2])
print(platform.python_version())
print(sys.implementation.name)
print(1 if var('Py_GIL_DISABLED') or 't' in sys.abiflags else 0)
print(1 if var('Py_ENABLE_SHARED') else 0)
print(os.path.join(var('LIBDIR') or '', var('INSTSONAME') or ''))
print(os.path.join(var('LIBDIR') or '', var('LDLIBRARY') or ''))
print(os.__file__)
";

const OLDEST: (u32, u32) = (3, 9);

/// A CPython that can be embedded.
pub(crate) struct Python {
    /// Path of the interpreter program.
    pub(crate) executable: String,
    /// Full version, `3.11.2`.
    pub(crate) version: String,
    /// Path of the shared library, under the name that the dynamic linker looks for (`libpython3.11.so.1.0`).
    pub(crate) library: String,
    /// Path of `os.py` in the standard library.
    pub(crate) stdlib: String,
}

impl Python {
    /// Runs `program` and parses its answers. An error is one sentence without its full stop. `free_threaded`: whether
    /// PyO3's build configuration is for a free-threaded Python.
    pub(crate) fn ask(program: &str, free_threaded: bool) -> Result<Self, String> {
        let another = "set PYO3_PYTHON to another Python";
        let output = Command::new(program)
            .args(["-I", "-c", QUESTIONS])
            .output()
            .map_err(|error| format!("{program} cannot be run ({error}); install Python or {another}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().next_back().unwrap_or("it says nothing");
            return Err(format!("{program} cannot describe itself ({last}); {another}"));
        }
        let answers = String::from_utf8_lossy(&output.stdout).into_owned();
        let answers: Vec<&str> = answers.lines().collect();
        let &[executable, minor, version, implementation, no_gil, shared, library, linked, stdlib] = answers.as_slice()
        else {
            return Err(format!("{program} gave an unexpected description of itself; {another}"));
        };
        let name = format!("{executable} (Python {version})");
        let parts: Vec<u32> = minor.split('.').filter_map(|part| part.parse().ok()).collect();
        if parts.as_slice() < [OLDEST.0, OLDEST.1].as_slice() {
            return Err(format!("{name} is too old; {}.{} or newer is needed, {another}", OLDEST.0, OLDEST.1));
        }
        if implementation != "cpython" {
            return Err(format!("{name} is {implementation}; CPython is needed, {another}"));
        }
        if free_threaded || no_gil != "0" {
            return Err(format!("{name} is free-threaded; the gateway needs the GIL, {another}"));
        }
        if shared != "1" {
            return Err(format!(
                "{name} was built without a shared library; build it with --enable-shared, or {another}"
            ));
        }
        if let Some(missing) = [library, linked].into_iter().find(|file| !Path::new(file).is_file()) {
            return Err(format!(
                "{name} has no {missing}; install its development files (Debian: python{minor}-dev), or {another}"
            ));
        }
        Ok(Self {
            executable: executable.to_owned(),
            version: version.to_owned(),
            library: library.to_owned(),
            stdlib: stdlib.to_owned(),
        })
    }
}
