//! `wsgi.errors` (PEP 3333, "Input and Error Streams"): complete lines become records of the request's error log.

use pyo3::ffi;

use super::super::cell::ExchangeCell;
use super::super::heap_type::{Blueprint, enter};
use crate::host::Level;
use crate::lock::rules;
use crate::python::attach::forked::log_of;
use crate::python::attach::token::{Token, new_ref};
use crate::python::objects::method::{method, sentinel};
use crate::python::objects::raise::{Raised, runtime_error, type_error};
use crate::python::objects::text::Text;

pub(super) const BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.ErrorStream",
    doc: c"The error log of one request. Each line becomes one record.",
    call: None,
    methods: &[
        method(c"write", write, c"write(text) -> number of characters"),
        method(c"writelines", writelines, c"writelines(lines)"),
        method(c"flush", flush, c"flush(): logs a line that is not complete yet"),
        method(c"_write", _write, c"write() of the stream's buffer"),
        method(c"_flush", _flush, c"flush() of the stream's buffer, which does nothing after the request"),
        sentinel(),
    ],
    iter: None,
    next: None,
};

unsafe extern "C" fn write(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "errors.write", std::ptr::null_mut(), |token, cell| {
            if count != 1 {
                return Err(type_error(token, "wsgi.errors.write() takes exactly one argument"));
            }
            append(token, live(token, cell)?, *arguments)?.length(token)
        })
    }
}

unsafe extern "C" fn writelines(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type; the iterator and its items are owned here.
    unsafe {
        enter(object, "errors.writelines", std::ptr::null_mut(), |token, cell| {
            if count != 1 {
                return Err(type_error(token, "wsgi.errors.writelines() takes exactly one argument"));
            }
            let cell = live(token, cell)?;
            rules::no_lock("an iterable is iterated over");
            let lines = token.own(ffi::PyObject_GetIter(*arguments)).ok_or(Raised)?;
            while let Some(line) = token.own(ffi::PyIter_Next(lines.as_ptr())) {
                append(token, cell, line.as_ptr())?;
            }
            if ffi::PyErr_Occurred().is_null() { Ok(none()) } else { Err(Raised) }
        })
    }
}

unsafe extern "C" fn flush(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "errors.flush", std::ptr::null_mut(), |token, cell| {
            if count != 0 {
                return Err(type_error(token, "wsgi.errors.flush() takes no arguments"));
            }
            finish_line(token, live(token, cell)?)?;
            Ok(none())
        })
    }
}

unsafe extern "C" fn _write(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type with `count` live arguments.
    unsafe {
        enter(object, "errors._write", std::ptr::null_mut(), |token, cell| {
            if count != 1 {
                return Err(type_error(token, "write() takes exactly one argument"));
            }
            let cell = live(token, cell)?;
            let bytes = Text::of_bytes(*arguments)?;
            log(token, cell, &bytes)?;
            bytes.length(token)
        })
    }
}

unsafe extern "C" fn _flush(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "errors._flush", std::ptr::null_mut(), |token, cell| {
            // A text stream around the buffer may outlive the request, and flushes when it is closed.
            if let Some(cell) = cell.filter(|cell| cell.is_live()) {
                finish_line(token, cell)?;
            }
            Ok(none())
        })
    }
}

/// Returns the cell while the request lives. Every thread may log, so nothing else is checked.
fn live<'a>(token: Token<'_>, cell: Option<&'a ExchangeCell>) -> Result<&'a ExchangeCell, Raised> {
    cell.filter(|cell| cell.is_live()).ok_or_else(|| runtime_error(token, "wsgi.errors: the request is over"))
}

/// Adds one str to the line, and returns its text.
///
/// # Safety
///
/// `text` is alive.
unsafe fn append(token: Token<'_>, cell: &ExchangeCell, text: *mut ffi::PyObject) -> Result<Text, Raised> {
    // SAFETY: a live object.
    let text = unsafe {
        if ffi::PyUnicode_Check(text) == 0 {
            return Err(type_error(token, "wsgi.errors takes str only (PEP 3333, Input and Error Streams)"));
        }
        Text::of_str(token, text)?
    };
    log(token, cell, &text)?;
    Ok(text)
}

fn log(token: Token<'_>, cell: &ExchangeCell, text: &Text) -> Result<(), Raised> {
    let errors = cell.errors(token).map_err(|held| held.raise(token, "wsgi.errors"));
    text.write(token, log_of(&cell.log), Level::Error, &mut *errors?);
    Ok(())
}

/// Logs the incomplete line.
fn finish_line(token: Token<'_>, cell: &ExchangeCell) -> Result<(), Raised> {
    let errors = cell.errors(token).map_err(|held| held.raise(token, "wsgi.errors.flush()"));
    log_of(&cell.log).finish(Level::Error, &mut *errors?);
    Ok(())
}

fn none() -> *mut ffi::PyObject {
    // SAFETY: None lives as long as Python, and this thread is attached.
    unsafe { new_ref(ffi::Py_None()) }
}
