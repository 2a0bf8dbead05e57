//! Checks before the start of Python. Each error is one sentence.
//!
//! CPython accepts a virtual environment of another version without an error, and reports a wrong home with a page of
//! text on standard error.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::installation::{self, Lead, prefix_of};
use super::libpython::{BUILD_EXECUTABLE, BUILD_STDLIB, build_minor, version_of};
use crate::config::VenvConfig;
use crate::error::StartError;

/// The Python to run, and the folders of its modules.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PythonSettings {
    /// Home of the standard library (PYTHONHOME, also `prefix:exec_prefix`), or a virtual environment.
    pub home: Option<PathBuf>,
    /// Value of `sys.executable`; determines the prefix, and the virtual environment around it.
    pub executable: Option<PathBuf>,
    /// Level of `-O`, 0 to 2. By default `PYTHONOPTIMIZE` determines it.
    pub optimize: Option<u8>,
    /// Folders that are put in front of `sys.path`, in this order.
    pub path: Vec<PathBuf>,
}

/// Parameters for the start of CPython.
pub(crate) struct Plan {
    /// Program name. Never empty, since CPython would then take the first python3 of PATH.
    pub(crate) executable: PathBuf,
    pub(crate) home: Option<PathBuf>,
}

pub(crate) fn plan(settings: &PythonSettings) -> Result<Plan, StartError> {
    let venv_home = settings.home.as_ref().filter(|home| home.join("pyvenv.cfg").is_file());
    let executable = match (venv_home, &settings.executable) {
        (_, Some(executable)) => executable.clone(),
        (Some(venv), None) => venv.join("bin/python"),
        (None, None) => PathBuf::from(BUILD_EXECUTABLE),
    };
    let venv = venv_of(&executable);
    if let Some(venv) = &venv {
        check_venv(venv)?;
    }
    let home = settings.home.clone().filter(|_| venv_home.is_none());
    match &home {
        Some(home) => check_home(home)?,
        None => check_readable(Path::new(BUILD_STDLIB))?,
    }
    // If a home is set, `runtime` removes PYTHONHOME from the environment.
    let from_environment =
        std::env::var_os("PYTHONHOME").filter(|home| settings.home.is_none() && !home.is_empty()).map(PathBuf::from);
    if let Some(home) = &home {
        installation::check(&Lead::Home(home, "wsgi_python_home"))?;
    } else if let Some(home) = &from_environment {
        installation::check(&Lead::Home(home, "PYTHONHOME"))?;
    } else if venv_home.is_some() || settings.executable.is_some() {
        installation::check(&Lead::Executable(&executable, venv.as_deref()))?;
    } else {
        installation::check(&Lead::Build)?;
    }
    Ok(Plan { executable, home })
}

/// Refuses a free-threaded libpython, by the text of `sys.version` and by its file name, which then ends in `t`.
/// Without the GIL it does not exclude other threads, and even with `PYTHON_GIL=1` its objects have another layout.
pub(crate) fn check_gil(version_text: &str, library: &Path) -> Result<(), StartError> {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    let version = name.strip_prefix("libpython").and_then(|rest| rest.split(".so").next()).unwrap_or_default();
    // `libpython3.14t.so.1.0`; for a debug build `libpython3.14td.so.1.0`.
    if version_text.contains("free-threading build") || version.contains('t') {
        return Err(StartError::FreeThreaded {
            version: version_of(version_text).to_owned(),
            library: library.to_path_buf(),
        });
    }
    Ok(())
}

/// Returns the virtual environment around an executable, by CPython's rule: pyvenv.cfg beside it or one level up.
fn venv_of(executable: &Path) -> Option<PathBuf> {
    let folder = executable.parent()?;
    [folder.parent(), Some(folder)]
        .into_iter()
        .flatten()
        .find(|folder| folder.join("pyvenv.cfg").exists())
        .map(Path::to_path_buf)
}

fn check_venv(venv: &Path) -> Result<(), StartError> {
    check_readable(&venv.join("pyvenv.cfg"))?;
    let (major, minor) = build_minor();
    if let Some(found) = VenvConfig::read(venv).and_then(|config| config.minor())
        && found != (major, minor)
    {
        return Err(StartError::VenvVersion { venv: venv.to_path_buf(), found, linked: (major, minor) });
    }
    let packages = venv.join(format!("lib/python{major}.{minor}/site-packages"));
    if let Err(error) = packages.read_dir() {
        return Err(match error.kind() {
            io::ErrorKind::PermissionDenied => unreadable(&packages, &error),
            _ => StartError::VenvIncomplete { venv: venv.to_path_buf(), missing: packages },
        });
    }
    Ok(())
}

fn check_home(home: &Path) -> Result<(), StartError> {
    let prefix = prefix_of(home);
    let (major, minor) = build_minor();
    if prefix.join(format!("lib/python{major}{minor}.zip")).exists() {
        return Ok(());
    }
    let candidates = ["lib", "lib64"].map(|lib| prefix.join(format!("{lib}/python{major}.{minor}/os.py")));
    let mut denied = None;
    for candidate in &candidates {
        match File::open(candidate) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied = Some(unreadable(candidate, &error))
            }
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| StartError::NoStandardLibrary {
        home: prefix.to_path_buf(),
        missing: candidates[0].clone(),
    }))
}

/// Fails if the permissions of an existing file forbid reading it.
fn check_readable(path: &Path) -> Result<(), StartError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(unreadable(path, &error)),
        _ => Ok(()),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> StartError {
    StartError::Unreadable { user: user(), path: path.to_path_buf(), reason: error.to_string() }
}

/// Returns the name of the user that this process runs as.
fn user() -> String {
    // SAFETY: the result points into static memory, which is copied at once; the host starts Python on one thread.
    unsafe {
        let uid = libc::geteuid();
        let entry = libc::getpwuid(uid);
        if entry.is_null() { uid.to_string() } else { CStr::from_ptr((*entry).pw_name).to_string_lossy().into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_threaded_python_is_refused_in_one_sentence() {
        let said = |text, library| check_gil(text, Path::new(library)).err().map(|error| error.to_string());
        let plain = "/usr/lib/x86_64-linux-gnu/libpython3.14.so.1.0";
        for text in [
            "3.13.0 experimental free-threading build (main, Oct  7 2024, 00:00:00) [GCC 12.2.0]",
            "3.14.2 free-threading build (main, Dec  5 2025, 00:00:00) [GCC 15.2.0]",
        ] {
            let version = version_of(text);
            let expected = format!(
                "cannot start Python: Python {version} from \"{plain}\" is free-threaded and the gateway needs the GIL; \
                 build for a Python that has it with PYTHON= (make) or PYO3_PYTHON= (cargo)"
            );
            assert_eq!(said(text, plain), Some(expected));
        }
        let text = "3.14.2 (main, Dec  5 2025, 00:00:00) [GCC 15.2.0]";
        for library in ["/opt/lib/libpython3.14t.so.1.0", "/opt/lib/libpython3.14td.so.1.0", "libpython3.14t.so"] {
            assert!(said(text, library).is_some_and(|said| said.contains(library)), "{library}");
        }
        for library in [plain, "/opt/t/libpython3.14d.so.1.0", "/opt/libpython3.so", "/usr/sbin/nginx", ""] {
            assert_eq!(said(text, library), None, "{library}");
        }
    }
}
