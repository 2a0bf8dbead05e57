//! The libpython of this process, and the Python that this library was built for.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pyo3::ffi;

/// Executable of the Python that this library was built for.
pub(crate) const BUILD_EXECUTABLE: &str = env!("WSGI_PYTHON_EXECUTABLE");
/// Full version of that Python, `3.11.2`.
pub(crate) const BUILD_VERSION: &str = env!("WSGI_PYTHON_VERSION");
/// Path of its shared library.
pub(crate) const BUILD_LIBRARY: &str = env!("WSGI_PYTHON_LIBRARY");
/// Path of `os.py` in its standard library.
pub(crate) const BUILD_STDLIB: &str = env!("WSGI_PYTHON_STDLIB");

/// Returns the full version of libpython, `3.11.2`.
pub(crate) fn version() -> String {
    version_of(&version_text()).to_owned()
}

/// Returns the version in the text from [`version_text`].
pub(crate) fn version_of(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// Returns the text that `sys.version` will have.
pub(crate) fn version_text() -> String {
    // SAFETY: returns a static string, also before Python is started.
    unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy().into_owned()
}

/// Returns the file that libpython was loaded from.
pub(crate) fn library() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address of a function of libpython. On success the result has a NUL-terminated name, which lives as
    // long as the library is loaded.
    unsafe {
        if libc::dladdr(ffi::Py_IsInitialized as *const libc::c_void, found.as_mut_ptr()) == 0 {
            return None;
        }
        let name = found.assume_init().dli_fname;
        (!name.is_null()).then(|| PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes())))
    }
}

/// Returns the version of the headers and structures, as major and minor.
pub(crate) fn build_minor() -> (u32, u32) {
    let mut parts = BUILD_VERSION.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
