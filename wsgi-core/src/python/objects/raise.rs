//! Raises Python exceptions, and fetches pending ones.

use std::ffi::CString;
#[cfg(not(Py_3_12))]
use std::ptr;

use pyo3::ffi;

use crate::error::{HostError, ProtocolError};
use crate::lock::rules;
use crate::python::attach::lock::UnderWay;
use crate::python::attach::token::{Obj, Token, new_ref};

/// Error: a Python exception is pending on this thread.
#[derive(Debug)]
pub(crate) struct Raised;

/// Raises `kind(message)`.
fn raise(_token: Token<'_>, kind: *mut ffi::PyObject, message: &str) -> Raised {
    // Creating an exception can run the garbage collector, and thereby any destructor.
    rules::no_lock("an exception is raised");
    let message = CString::new(message.replace('\0', "\\x00")).unwrap_or_default();
    // SAFETY: `kind` is one of Python's static exception types, and this thread is attached.
    unsafe { ffi::PyErr_SetString(kind, message.as_ptr()) };
    Raised
}

pub(crate) fn type_error(token: Token<'_>, message: &str) -> Raised {
    // SAFETY: a static of the running interpreter.
    raise(token, unsafe { ffi::PyExc_TypeError }, message)
}

pub(crate) fn value_error(token: Token<'_>, message: &str) -> Raised {
    // SAFETY: a static of the running interpreter.
    raise(token, unsafe { ffi::PyExc_ValueError }, message)
}

pub(crate) fn runtime_error(token: Token<'_>, message: &str) -> Raised {
    // SAFETY: a static of the running interpreter.
    raise(token, unsafe { ffi::PyExc_RuntimeError }, message)
}

/// Raises an exception for a protocol error of the application: ValueError for a wrong length, RuntimeError for a wrong
/// order of calls.
pub(crate) fn protocol_error(token: Token<'_>, error: &ProtocolError) -> Raised {
    match error {
        ProtocolError::TooLong { .. } | ProtocolError::TooShort { .. } => value_error(token, &error.to_string()),
        _ => runtime_error(token, &error.to_string()),
    }
}

/// Raises an `OSError` for a failure of the host, with its errno if there is one.
pub(crate) fn host_error(token: Token<'_>, error: &HostError) -> Raised {
    rules::no_lock("an exception is raised");
    let (kind, number) = match error {
        // SAFETY: a static of the running interpreter.
        HostError::ClientGone => (unsafe { ffi::PyExc_BrokenPipeError }, libc::EPIPE),
        // SAFETY: a static of the running interpreter.
        HostError::TimedOut => (unsafe { ffi::PyExc_TimeoutError }, libc::ETIMEDOUT),
        // SAFETY: a static of the running interpreter.
        HostError::Io(error) => (unsafe { ffi::PyExc_OSError }, error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let message = CString::new(error.to_string()).unwrap_or_default();
    // SAFETY: attached; the int and the string match the format "is". OSError picks its subclass by errno.
    unsafe {
        let arguments = ffi::Py_BuildValue(c"is".as_ptr(), number, message.as_ptr());
        if let Some(arguments) = token.own(arguments) {
            ffi::PyErr_SetObject(kind, arguments.as_ptr());
        }
    }
    Raised
}

impl UnderWay {
    /// Raises this error as a RuntimeError in the application, which has made `call`.
    #[cold]
    pub(crate) fn raise(self, token: Token<'_>, call: &str) -> Raised {
        runtime_error(token, &format!("{call}: a call for the same request is already under way on this thread"))
    }
}

/// Fetches and clears the pending exception, normalised and with its traceback attached.
pub(crate) fn fetch(token: Token<'_>) -> Option<Obj<'_>> {
    rules::no_lock("an exception is fetched");
    // SAFETY: attached, as the token proves; the result is null or a new reference.
    unsafe { token.own(take_raised()) }
}

/// Raises an existing exception object with the given traceback.
pub(crate) fn raise_again(_token: Token<'_>, exception: *mut ffi::PyObject, traceback: *mut ffi::PyObject) -> Raised {
    // SAFETY: the token proves that the thread is attached; `exception` is an exception instance and `traceback` a
    // traceback or null, both alive.
    unsafe { set_raised(exception, traceback) };
    Raised
}

/// Returns the pending exception as a new reference and clears it; null if there is none.
///
/// # Safety
///
/// The thread is attached.
#[cfg(Py_3_12)]
unsafe fn take_raised() -> *mut ffi::PyObject {
    // SAFETY: attached; the call returns a new reference or null.
    unsafe { ffi::PyErr_GetRaisedException() }
}

/// Returns the pending exception as a new reference and clears it; null if there is none.
///
/// # Safety
///
/// The thread is attached.
#[cfg(not(Py_3_12))]
unsafe fn take_raised() -> *mut ffi::PyObject {
    let (mut kind, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: attached, as the caller promises. PyErr_Fetch returns three references that are owned here; two are
    // released.
    unsafe {
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        if kind.is_null() {
            return ptr::null_mut();
        }
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        if !traceback.is_null() && !value.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
        }
        ffi::Py_XDECREF(kind);
        ffi::Py_XDECREF(traceback);
    }
    value
}

/// # Safety
///
/// The thread is attached. `exception` is a live exception instance, `traceback` a live traceback or null.
#[cfg(Py_3_12)]
unsafe fn set_raised(exception: *mut ffi::PyObject, traceback: *mut ffi::PyObject) {
    // SAFETY: the thread is attached and both objects are alive. None stands for no traceback; PyErr_SetRaisedException
    // takes over the new reference.
    unsafe {
        let traceback = if traceback.is_null() { ffi::Py_None() } else { traceback };
        ffi::PyException_SetTraceback(exception, traceback);
        ffi::PyErr_SetRaisedException(new_ref(exception));
    }
}

/// # Safety
///
/// The thread is attached. `exception` is a live exception instance, `traceback` a live traceback or null.
#[cfg(not(Py_3_12))]
unsafe fn set_raised(exception: *mut ffi::PyObject, traceback: *mut ffi::PyObject) {
    // SAFETY: the thread is attached and both objects are alive. PyErr_Restore takes over a new reference to each.
    unsafe {
        let kind = new_ref(ffi::Py_TYPE(exception).cast());
        ffi::Py_XINCREF(traceback);
        ffi::PyErr_Restore(kind, new_ref(exception), traceback);
    }
}
