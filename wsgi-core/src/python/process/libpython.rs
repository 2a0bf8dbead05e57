//! The libpython of this process, and the Python that this library was built for.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pyo3::ffi;

/// The interpreter that this library was built for.
pub(crate) const BUILD_EXECUTABLE: &str = env!("WSGI_PYTHON_EXECUTABLE");
/// Its full version, `3.11.2`.
pub(crate) const BUILD_VERSION: &str = env!("WSGI_PYTHON_VERSION");
/// Its shared library.
pub(crate) const BUILD_LIBRARY: &str = env!("WSGI_PYTHON_LIBRARY");
/// `os.py` of its standard library.
pub(crate) const BUILD_STDLIB: &str = env!("WSGI_PYTHON_STDLIB");

/// The full version of libpython, `3.11.2`.
pub(crate) fn version() -> String {
    version_of(&version_text()).to_owned()
}

/// The version in what [`version_text`] returns.
pub(crate) fn version_of(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// What `sys.version` will be.
pub(crate) fn version_text() -> String {
    // SAFETY: a static string, which is there before Python is started.
    unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy().into_owned()
}

/// The file that libpython was loaded from.
pub(crate) fn library() -> Option<PathBuf> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address of a function of libpython; the result is plain data with a static string.
    unsafe {
        if libc::dladdr(ffi::Py_IsInitialized as *const libc::c_void, found.as_mut_ptr()) == 0 {
            return None;
        }
        let name = found.assume_init().dli_fname;
        (!name.is_null()).then(|| PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes())))
    }
}

/// The minor version that headers and structures were taken from.
pub(crate) fn build_minor() -> (u32, u32) {
    let mut parts = BUILD_VERSION.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
