//! What applications write to a log: a str, or bytes of UTF-8.

use std::mem::MaybeUninit;

use pyo3::ffi;

use super::raise::Raised;
use crate::host::Level;
use crate::lock::rules;
use crate::python::attach::token::Token;
use crate::record::{LineBuffer, Log};

/// A copy: the object may be changed while the thread waits for the log.
pub(crate) enum Text {
    /// With the number of its characters in Python.
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

    /// Of an object with a buffer of contiguous bytes; any other raises TypeError or BufferError.
    ///
    /// # Safety
    ///
    /// `object` is alive, and the thread is attached.
    pub(crate) unsafe fn of_bytes(object: *mut ffi::PyObject) -> Result<Self, Raised> {
        rules::no_lock("a buffer is asked for");
        let mut view = MaybeUninit::<ffi::Py_buffer>::uninit();
        // SAFETY: a live object; without an exception the view is filled in, and its memory stays until it is released. It is
        // null for an empty one of some types.
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

    /// Logs each line that it completes. Other threads run Python while the log is full.
    pub(crate) fn write(&self, token: Token<'_>, log: &Log, level: Level, lines: &mut LineBuffer) {
        match self {
            Self::Str(text, _) => log.write(level, lines, text, |log| token.wait_for(log)),
            Self::Bytes(bytes) => log.write_bytes(level, lines, bytes, |log| token.wait_for(log)),
        }
    }

    /// What `write` of a stream returns: the number of characters, or of bytes.
    pub(crate) fn length(&self, token: Token<'_>) -> Result<*mut ffi::PyObject, Raised> {
        let length = match self {
            Self::Str(_, characters) => *characters,
            Self::Bytes(bytes) => super::convert::len(bytes),
        };
        // SAFETY: attached; a new reference results.
        unsafe { token.own(ffi::PyLong_FromSsize_t(length)) }.map(|number| number.into_ptr()).ok_or(Raised)
    }
}
