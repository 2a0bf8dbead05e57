//! Dedicated interpreters: each is started when it is first needed, for the applications of one script or module.
//!
//! They share the GIL with the main interpreter, as all interpreters did before Python 3.12: most extension modules
//! that do not support several interpreters can be loaded in them, too. None is ended before the process is.

use std::ffi::CStr;

use pyo3::ffi;

use super::runtime::preserving_sigint;
use super::start::set_up;
use crate::error::Fault;
use crate::host::Level;
use crate::protocol::record::Log;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::{self, Attached};
use crate::python::attach::token::Token;
use crate::python::objects::raise::Raised;

impl Interpreter {
    /// Starts the interpreter unless it is running. A failure is logged; the next request tries again.
    ///
    /// Blocks for 10 to 30 ms for a start, and waits for the GIL. A thread of a pool must be detached.
    pub(crate) fn ensure(&'static self, log: &Log) -> Result<(), Fault> {
        if self.is_ready() { Ok(()) } else { self.start(log) }
    }

    #[cold]
    fn start(&'static self, log: &Log) -> Result<(), Fault> {
        let name = self.name().display();
        let Ok(_starting) = self.starting.lock() else {
            log.log(Level::Error, &format!("interpreter for \"{name}\" is already being created by this thread"));
            return Err(Fault::Application);
        };
        if self.is_ready() {
            return Ok(());
        }
        let created = if self.state().is_null() { self.create() } else { Ok(()) };
        let result = created.and_then(|()| {
            let attached = Attached::new(self);
            let token = attached.token();
            hide_process_wide_modules(token).and_then(|()| set_up(token)).map_err(|_| token.take_error_line())
        });
        match result {
            Ok(()) => {
                log.log(Level::Notice, &format!("interpreter for \"{name}\" created"));
                Ok(())
            }
            Err(reason) => {
                log.log(Level::Error, &format!("cannot create an interpreter for \"{name}\": {reason}"));
                Err(Fault::Application)
            }
        }
    }

    /// Creates the interpreter in CPython; the error is the reason.
    fn create(&'static self) -> Result<(), String> {
        let result = {
            let _attached = Attached::new(self.main());
            // SAFETY: attached to the main interpreter.
            preserving_sigint(|| unsafe { create_state() })
        };
        if self.inline_thread.is_none() {
            // Up to Python 3.11 PyGILState_Ensure in an extension would return to the main interpreter, and wait for
            // the GIL that this thread holds itself.
            thread::retire(self.main());
        }
        self.set_state(result?);
        #[cfg(not(Py_3_13))]
        crate::python::attach::gil_switch::add_interpreter(self);
        Ok(())
    }
}

/// Accelerator modules that keep state of an interpreter in process-wide variables. The modules that use them have a
/// version in Python without such state: `decimal`, `asyncio`, `zoneinfo` and `json`.
///
/// - `_decimal`, up to 3.12, finds the current context by the id of the thread state, which is unique only within an
///   interpreter: the arithmetic of one script uses the context of another script, or a freed one.
/// - `_asyncio`, up to 3.11, finds the running event loop in the same way, and raises exceptions of classes that belong
///   to the interpreter that has loaded it first.
/// - `_zoneinfo`, up to 3.11, shares its cache and search path, and raises exceptions of another interpreter's classes.
/// - `_json`, up to 3.9, raises the `JSONDecodeError` of another interpreter.
const PROCESS_WIDE_MODULES: &[&CStr] = &[
    #[cfg(not(Py_3_13))]
    c"_decimal",
    #[cfg(not(Py_3_12))]
    c"_asyncio",
    #[cfg(not(Py_3_12))]
    c"_zoneinfo",
    #[cfg(not(Py_3_10))]
    c"_json",
];

/// Makes `import` fail for [`PROCESS_WIDE_MODULES`] in a new interpreter. The main interpreter keeps them.
fn hide_process_wide_modules(_token: Token<'_>) -> Result<(), Raised> {
    for name in PROCESS_WIDE_MODULES {
        // SAFETY: attached; the dict of modules and None live as long as the interpreter.
        if unsafe { ffi::PyDict_SetItemString(ffi::PyImport_GetModuleDict(), name.as_ptr(), ffi::Py_None()) } < 0 {
            return Err(Raised);
        }
    }
    Ok(())
}

/// Creates an interpreter that shares the GIL of the main one.
///
/// # Safety
///
/// The thread is attached to the main interpreter.
unsafe fn create_state() -> Result<*mut ffi::PyInterpreterState, String> {
    // SAFETY: the thread is attached to the main interpreter. Python makes the new interpreter's first thread state
    // current; the previous state is made current again. The first state is never cleared: `threading` would take that
    // for the end of the main thread, and up to 3.12 `threading._shutdown` asserts that the main thread has not ended.
    unsafe {
        let before = ffi::PyThreadState_Get();
        let first = new_interpreter()?;
        let state = ffi::PyThreadState_GetInterpreter(first);
        // The first thread that imports `threading` is the main thread. The bootstrap will report a failure.
        let threading = ffi::PyImport_ImportModule(c"threading".as_ptr());
        ffi::PyErr_Clear();
        ffi::Py_XDECREF(threading);
        ffi::PyThreadState_Swap(before);
        Ok(state)
    }
}

/// # Safety
///
/// The thread is attached.
#[cfg(Py_3_12)]
unsafe fn new_interpreter() -> Result<*mut ffi::PyThreadState, String> {
    let mut state = std::ptr::null_mut();
    // SAFETY: the thread is attached, and the configuration is complete.
    unsafe {
        let status = ffi::Py_NewInterpreterFromConfig(&raw mut state, &ffi::_PyInterpreterConfig_LEGACY_INIT);
        if ffi::PyStatus_Exception(status) != 0 { Err(super::runtime::reason(&status)) } else { Ok(state) }
    }
}

/// Creates an interpreter. Up to 3.11 most failures are fatal: CPython itself ends the process.
///
/// # Safety
///
/// The thread is attached.
#[cfg(not(Py_3_12))]
unsafe fn new_interpreter() -> Result<*mut ffi::PyThreadState, String> {
    // SAFETY: attached; the call returns null or a new thread state.
    let state = unsafe { ffi::Py_NewInterpreter() };
    if state.is_null() { Err("Py_NewInterpreter() failed".to_owned()) } else { Ok(state) }
}
