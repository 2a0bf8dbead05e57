//! Raising Python exceptions, and taking raised ones.

use std::ffi::CString;
#[cfg(not(Py_3_12))]
use std::ptr;

use pyo3::ffi;

use crate::error::{HostError, ProtocolError};
use crate::lock::rules;
use crate::python::attach::lock::UnderWay;
use crate::python::attach::token::{Obj, Token, new_ref};

/// A Python exception is set on this thread.
#[derive(Debug)]
pub(crate) struct Raised;

/// Raises `kind(message)`.
fn raise(_token: Token<'_>, kind: *mut ffi::PyObject, message: &str) -> Raised {
    // Making an exception can run the garbage collector, and that any destructor.
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

/// The application broke the protocol: a wrong length is a value, everything else a matter of order.
pub(crate) fn protocol_error(token: Token<'_>, error: &ProtocolError) -> Raised {
    match error {
        ProtocolError::TooLong { .. } | ProtocolError::TooShort { .. } => value_error(token, &error.to_string()),
        _ => runtime_error(token, &error.to_string()),
    }
}

/// Trouble of the host is an `OSError`, with its number where there is one.
pub(crate) fn host_error(token: Token<'_>, error: &HostError) -> Raised {
    rules::no_lock("an exception is raised");
    let (kind, number) = match error {
        // SAFETY: statics of the running interpreter.
        HostError::ClientGone => (unsafe { ffi::PyExc_BrokenPipeError }, libc::EPIPE),
        // SAFETY: a static of the running interpreter.
        HostError::TimedOut => (unsafe { ffi::PyExc_TimeoutError }, libc::ETIMEDOUT),
        // SAFETY: a static of the running interpreter.
        HostError::Io(error) => (unsafe { ffi::PyExc_OSError }, error.raw_os_error().unwrap_or(libc::EIO)),
    };
    let message = CString::new(error.to_string()).unwrap_or_default();
    // SAFETY: attached; the arguments are an int and a string for the format "is". OSError picks its subclass by errno.
    unsafe {
        let arguments = ffi::Py_BuildValue(c"is".as_ptr(), number, message.as_ptr());
        if let Some(arguments) = token.own(arguments) {
            ffi::PyErr_SetObject(kind, arguments.as_ptr());
        }
    }
    Raised
}

impl UnderWay {
    /// Raises it in the application that has made `call`.
    #[cold]
    pub(crate) fn raise(self, token: Token<'_>, call: &str) -> Raised {
        runtime_error(token, &format!("{call}: a call for the same request is already under way on this thread"))
    }
}

/// Takes the pending exception, normalised and with its traceback attached.
pub(crate) fn fetch(token: Token<'_>) -> Option<Obj<'_>> {
    rules::no_lock("an exception is fetched");
    // SAFETY: attached, as the token proves; the result is null or a new reference.
    unsafe { token.own(take_raised()) }
}

/// Raises an exception object again, with the traceback that the caller names.
pub(crate) fn raise_again(_token: Token<'_>, exception: *mut ffi::PyObject, traceback: *mut ffi::PyObject) -> Raised {
    // SAFETY: attached, as the token proves; `exception` is an exception instance and `traceback` a traceback or null,
    // both alive.
    unsafe { set_raised(exception, traceback) };
    Raised
}

/// The pending exception as a new reference, and no longer pending; null if there is none.
///
/// # Safety
///
/// The thread is attached.
#[cfg(Py_3_12)]
unsafe fn take_raised() -> *mut ffi::PyObject {
    // SAFETY: attached; a new reference or null results.
    unsafe { ffi::PyErr_GetRaisedException() }
}

/// The pending exception as a new reference, and no longer pending; null if there is none.
///
/// # Safety
///
/// The thread is attached.
#[cfg(not(Py_3_12))]
unsafe fn take_raised() -> *mut ffi::PyObject {
    let (mut kind, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: attached, as the caller promises; the three references become ours, and two of them are given up here.
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
    // SAFETY: the caller's promise. None stands for no traceback; PyErr_SetRaisedException takes the reference that is made
    // for it.
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
    // SAFETY: the caller's promise; PyErr_Restore takes the reference that is made for each of them.
    unsafe {
        let kind = new_ref(ffi::Py_TYPE(exception).cast());
        ffi::Py_XINCREF(traceback);
        ffi::PyErr_Restore(kind, new_ref(exception), traceback);
    }
}
