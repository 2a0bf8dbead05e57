//! Starts CPython in this process.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use pyo3::ffi;

use super::libpython::{BUILD_LIBRARY, BUILD_VERSION, library, version, version_text};
use super::preflight::{self, PythonSettings};
use crate::error::StartError;
use crate::host::Level;
use crate::protocol::record::Log;

/// Starts Python. Afterwards the calling thread is Python's main thread and holds the GIL.
pub(crate) fn start(settings: &PythonSettings, log: &Log) -> Result<(), StartError> {
    // SAFETY: only reads a flag, which is allowed at any time.
    if unsafe { ffi::Py_IsInitialized() } != 0 {
        return Err(StartError::AlreadyRunning);
    }
    let library = library().unwrap_or_default();
    preflight::check_gil(&version_text(), &library)?;
    check_library(log);
    let plan = preflight::plan(settings)?;
    if settings.home.is_some() {
        // A directive overrides the environment, also if it is turned into an executable.
        // SAFETY: no other thread uses the environment: the host starts Python before any code that reads it.
        unsafe { libc::unsetenv(c"PYTHONHOME".as_ptr()) };
    }
    preserving_sigint(|| initialise(&plan, settings.optimize))?;
    ignore_file_size_signal();
    Ok(())
}

/// Ignores SIGXFSZ, as the `python` program does: a file that grows beyond the limit is then an `OSError`, and does not
/// end the process. Programs that the application starts inherit this.
fn ignore_file_size_signal() {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: reads the disposition of one signal, which is initialised on success, and changes it if it is the
    // default.
    unsafe {
        if libc::sigaction(libc::SIGXFSZ, ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_DFL
        {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
    }
}

fn initialise(plan: &preflight::Plan, optimize: Option<u8>) -> Result<(), StartError> {
    pre_initialise(plan)?;
    let mut config = MaybeUninit::<ffi::PyConfig>::uninit();
    // SAFETY: the configuration is initialised by Python's own function before anything is read from it.
    let config = unsafe {
        ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
        config.assume_init_mut()
    };
    config.parse_argv = 0;
    config.install_signal_handlers = 0;
    if let Some(level) = optimize {
        config.optimization_level = level.into();
    }
    #[cfg(Py_3_11)]
    {
        config.safe_path = 1;
    }
    // SAFETY: strings of an initialised configuration, which is used once, on one thread, and cleared.
    unsafe {
        let result = set(config, &raw mut config.program_name, &plan.executable)
            .and_then(|()| plan.home.as_ref().map_or(Ok(()), |home| set(config, &raw mut config.home, home)))
            .and_then(|()| checked(ffi::Py_InitializeFromConfig(config), plan));
        ffi::PyConfig_Clear(config);
        result
    }
}

fn pre_initialise(plan: &preflight::Plan) -> Result<(), StartError> {
    let mut config = MaybeUninit::<ffi::PyPreConfig>::uninit();
    // SAFETY: the configuration is initialised by Python's own function before anything is read from it.
    let config = unsafe {
        ffi::PyPreConfig_InitPythonConfig(config.as_mut_ptr());
        config.assume_init_mut()
    };
    // The host owns the locale, and so LANG; text is UTF-8 in any case.
    config.configure_locale = 0;
    config.coerce_c_locale = 0;
    config.utf8_mode = 1;
    config.parse_argv = 0;
    // SAFETY: an initialised configuration, used once, on one thread.
    checked(unsafe { ffi::Py_PreInitialize(config) }, plan)
}

/// # Safety
///
/// `field` is a string of `config`, which is initialised.
unsafe fn set(config: *mut ffi::PyConfig, field: *mut *mut libc::wchar_t, value: &Path) -> Result<(), StartError> {
    let value = CString::new(value.as_os_str().as_bytes())
        .map_err(|_| StartError::Python { message: "a path contains NUL".to_owned(), home: None })?;
    // SAFETY: `field` belongs to the initialised `config`, and Python copies the string.
    unsafe {
        let status = ffi::PyConfig_SetBytesString(config, field, value.as_ptr());
        if ffi::PyStatus_Exception(status) == 0 { Ok(()) } else { Err(failure(&status, None)) }
    }
}

fn checked(status: ffi::PyStatus, plan: &preflight::Plan) -> Result<(), StartError> {
    // SAFETY: a status that Python has just returned.
    if unsafe { ffi::PyStatus_Exception(status) } == 0 { Ok(()) } else { Err(failure(&status, plan.home.as_deref())) }
}

fn failure(status: &ffi::PyStatus, home: Option<&Path>) -> StartError {
    StartError::Python { message: reason(status), home: home.map(Path::to_path_buf) }
}

/// Returns the text of an error status.
pub(crate) fn reason(status: &ffi::PyStatus) -> String {
    let text = |pointer: *const c_char| {
        // SAFETY: null or a static string of libpython.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
    };
    match (text(status.func), text(status.err_msg)) {
        (Some(function), Some(message)) => format!("{function}: {message}"),
        (_, Some(message)) => message,
        _ => "no reason given".to_owned(),
    }
}

/// Logs a warning if the dynamic linker has found another libpython than that of the build, and makes the symbols of
/// libpython visible to extension modules; a host that loads this library privately (`RTLD_LOCAL`) has hidden them.
fn check_library(log: &Log) {
    let Some(library) = library() else { return };
    // SAFETY: the library is loaded already, so that this only makes its symbols global. The handle is never closed.
    unsafe {
        if let Ok(name) = CString::new(library.as_os_str().as_bytes()) {
            libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_GLOBAL);
        }
    }
    let version = version();
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if version != BUILD_VERSION || !same(&library, Path::new(BUILD_LIBRARY)) {
        log.log(
            Level::Warn,
            &format!(
                "running with Python {version} from {}, but built for Python {BUILD_VERSION} from {BUILD_LIBRARY}; \
                 rebuild if applications misbehave",
                library.display()
            ),
        );
    }
}

/// Runs `work`, and restores the disposition of SIGINT, which belongs to the host: `import signal` takes over a SIGINT
/// at its default.
pub(crate) fn preserving_sigint<T>(work: impl FnOnce() -> T) -> T {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: reads and restores the disposition of one signal.
    let known = unsafe { libc::sigaction(libc::SIGINT, ptr::null(), before.as_mut_ptr()) } == 0;
    let result = work();
    if known {
        // SAFETY: restores the disposition of one signal, which was read above.
        unsafe { libc::sigaction(libc::SIGINT, before.as_ptr(), ptr::null_mut()) };
    }
    result
}
