//! Text that applications write to a log: a str, or bytes of UTF-8.

use std::mem::MaybeUninit;

use pyo3::ffi;

use super::raise::Raised;
use crate::host::Level;
use crate::lock::rules;
use crate::protocol::record::{LineBuffer, Log};
use crate::python::attach::token::Token;

/// A copy of the text, because the object may change while the thread waits for the log.
pub(crate) enum Text {
    /// The text, and its number of characters in Python.
    Str(String, ffi::Py_ssize_t),
    Bytes(Vec<u8>),
}

impl Text {
    /// # Safety
    ///
    /// `object` is a str that is alive.
    pub(crate) unsafe fn of_str(token: Token<'_>, object: *mut ffi::PyObject) -> Result<Self, Raised> {
        // SAFETY: a live str.
        let characters = unsafe { ffi::PyUnicode_GetLength(object) };
        Ok(Self::Str(token.to_text(object)?, characters))
    }

    /// Copies the bytes of an object with a contiguous buffer; raises TypeError or BufferError for others.
    ///
    /// # Safety
    ///
    /// `object` is alive, and the thread is attached.
    pub(crate) unsafe fn of_bytes(object: *mut ffi::PyObject) -> Result<Self, Raised> {
        rules::no_lock("a buffer is asked for");
        let mut view = MaybeUninit::<ffi::Py_buffer>::uninit();
        // SAFETY: a live object. On success the view is initialised, and its memory is valid until the release. `buf`
        // is null for empty objects of some types.
        unsafe {
            if ffi::PyObject_GetBuffer(object, view.as_mut_ptr(), ffi::PyBUF_SIMPLE) < 0 {
                return Err(Raised);
            }
            let mut view = view.assume_init();
            let mut bytes = vec![0; usize::try_from(view.len).unwrap_or(0)];
            if !view.buf.is_null() {
                std::ptr::copy_nonoverlapping(view.buf.cast::<u8>(), bytes.as_mut_ptr(), bytes.len());
            }
            ffi::PyBuffer_Release(&raw mut view);
            Ok(Self::Bytes(bytes))
        }
    }

    /// Logs each line that the text completes. Other threads may run Python while this waits for room in the log.
    pub(crate) fn write(&self, token: Token<'_>, log: &Log, level: Level, lines: &mut LineBuffer) {
        match self {
            Self::Str(text, _) => log.write(level, lines, text, |log| token.wait_for(log)),
            Self::Bytes(bytes) => log.write_bytes(level, lines, bytes, |log| token.wait_for(log)),
        }
    }

    /// Returns the result of a stream's `write`: the number of characters or of bytes.
    pub(crate) fn length(&self, token: Token<'_>) -> Result<*mut ffi::PyObject, Raised> {
        let length = match self {
            Self::Str(_, characters) => *characters,
            Self::Bytes(bytes) => super::convert::len(bytes),
        };
        // SAFETY: attached; the call returns a new reference.
        unsafe { token.own(ffi::PyLong_FromSsize_t(length)) }.map(|number| number.into_ptr()).ok_or(Raised)
    }
}
