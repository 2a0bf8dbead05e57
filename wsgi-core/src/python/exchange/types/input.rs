//! `wsgi.input` (PEP 3333, "Input and Error Streams").

use std::ptr;

use pyo3::ffi;

use super::super::cell::ExchangeCell;
use super::super::heap_type::{Blueprint, enter};
use crate::error::HostError;
use crate::protocol::input::Input;
use crate::python::attach::lock::PartGuard;
use crate::python::attach::token::{Obj, Token, new_ref};
use crate::python::objects::convert::len;
use crate::python::objects::method::{method, sentinel};
use crate::python::objects::raise::{Raised, host_error, type_error, value_error};

pub(super) const BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.InputStream",
    doc: c"The body of one request. At its end, reads return b''.",
    call: None,
    methods: &[
        method(c"read", read, c"read(size=-1) -> bytes"),
        method(c"readline", readline, c"readline(size=-1) -> bytes"),
        method(c"readlines", readlines, c"readlines(hint=-1) -> list of bytes"),
        method(c"close", close, c"close(): does nothing, the server owns the stream"),
        sentinel(),
    ],
    iter: Some(iter),
    next: Some(next),
};

/// Type of a body that can be read from any position.
pub(super) const SEEKABLE_BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.SeekableInputStream",
    doc: c"The complete body of one request. At its end, reads return b''; seek() allows reading it again.",
    call: None,
    methods: &[
        method(c"read", read, c"read(size=-1) -> bytes"),
        method(c"readline", readline, c"readline(size=-1) -> bytes"),
        method(c"readlines", readlines, c"readlines(hint=-1) -> list of bytes"),
        method(c"close", close, c"close(): does nothing, the server owns the stream"),
        method(c"seek", seek, c"seek(offset, whence=0) -> int: as for files"),
        method(c"tell", tell, c"tell() -> int: the position of the next read"),
        method(c"seekable", seekable, c"seekable() -> True"),
        sentinel(),
    ],
    iter: Some(iter),
    next: Some(next),
};

unsafe extern "C" fn read(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "input.read", ptr::null_mut(), |token, cell| {
            let size = size(token, "read", arguments, count)?;
            let Some(cell) = live(token, cell, "wsgi.input.read()")? else { return empty(token) };
            read_bytes(token, cell, size)
        })
    }
}

unsafe extern "C" fn readline(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "input.readline", ptr::null_mut(), |token, cell| {
            let limit = size(token, "readline", arguments, count)?;
            let Some(cell) = live(token, cell, "wsgi.input.readline()")? else { return empty(token) };
            let mut line = Vec::new();
            reading(token, cell, |input| input.read_line(limit, &mut line))?;
            bytes(token, &line).map(Obj::into_ptr)
        })
    }
}

unsafe extern "C" fn readlines(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "input.readlines", ptr::null_mut(), |token, cell| {
            // As in `io`, a hint of 0 or less is ignored.
            let hint = size(token, "readlines", arguments, count)?.filter(|&hint| hint > 0);
            let lines = token.own(ffi::PyList_New(0)).ok_or(Raised)?;
            if let Some(cell) = live(token, cell, "wsgi.input.readlines()")? {
                read_lines(token, cell, hint.unwrap_or(usize::MAX), &lines)?;
            }
            Ok(lines.into_ptr())
        })
    }
}

/// Appends lines to a list until they have `hint` bytes in all or the body ends.
fn read_lines(token: Token<'_>, cell: &ExchangeCell, hint: usize, lines: &Obj<'_>) -> Result<(), Raised> {
    let mut total = 0;
    let mut line = Vec::new();
    while total < hint {
        line.clear();
        reading(token, cell, |input| input.read_line(None, &mut line))?;
        if line.is_empty() {
            break;
        }
        total += line.len();
        // SAFETY: a list that no other code has seen, and a live object.
        if unsafe { ffi::PyList_Append(lines.as_ptr(), bytes(token, &line)?.as_ptr()) } < 0 {
            return Err(Raised);
        }
    }
    Ok(())
}

unsafe extern "C" fn seek(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type with `count` live arguments.
    unsafe {
        enter(object, "input.seek", ptr::null_mut(), |token, cell| {
            if !(1..=2).contains(&count) {
                return Err(type_error(token, "wsgi.input.seek() takes an offset, and perhaps a whence"));
            }
            let offset = number(token, *arguments)?;
            let whence = if count == 2 { number(token, *arguments.add(1))? } else { 0 };
            // The stream of a request without a body stays at position 0.
            let Some(cell) = live(token, cell, "wsgi.input.seek()")? else { return position(token, 0) };
            let sought = input(token, cell)?.as_mut().map_or(Ok(0), |input| go(input, offset, whence));
            sought.map_err(|problem| value_error(token, problem)).and_then(|sought| position(token, sought))
        })
    }
}

/// Changes the position like `io.BytesIO.seek`, and returns it.
fn go(input: &mut Input, offset: i64, whence: i64) -> Result<u64, &'static str> {
    let base = match whence {
        0 if offset < 0 => return Err("wsgi.input.seek(): the offset is negative"),
        0 => Some(0),
        1 => input.position(),
        2 => input.length(),
        _ => return Err("wsgi.input.seek(): whence must be 0, 1 or 2"),
    };
    // After an error of the body there is no position: the next read reports the error.
    let Some(base) = base else { return Ok(0) };
    let target = base.saturating_add_signed(offset);
    input.seek(target);
    Ok(target)
}

unsafe extern "C" fn tell(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "input.tell", ptr::null_mut(), |token, cell| {
            if count != 0 {
                return Err(type_error(token, "wsgi.input.tell() takes no arguments"));
            }
            let Some(cell) = live(token, cell, "wsgi.input.tell()")? else { return position(token, 0) };
            let told = input(token, cell)?.as_ref().and_then(Input::position).unwrap_or(0);
            position(token, told)
        })
    }
}

unsafe extern "C" fn seekable(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe { enter(object, "input.seekable", ptr::null_mut(), |_, _| Ok(new_ref(ffi::Py_True()))) }
}

fn position(token: Token<'_>, position: u64) -> Result<*mut ffi::PyObject, Raised> {
    // SAFETY: attached; a new reference results.
    unsafe { token.own(ffi::PyLong_FromUnsignedLongLong(position)) }.map(Obj::into_ptr).ok_or(Raised)
}

/// # Safety
///
/// `object` is alive.
unsafe fn number(token: Token<'_>, object: *mut ffi::PyObject) -> Result<i64, Raised> {
    // SAFETY: a live object; a new reference results, or an exception.
    unsafe {
        let number = token.own(ffi::PyNumber_Index(object)).ok_or(Raised)?;
        let value = ffi::PyLong_AsLongLong(number.as_ptr());
        if value == -1 && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
    }
}

unsafe extern "C" fn close(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type; None may get a further reference while attached.
    unsafe {
        enter(object, "input.close", ptr::null_mut(), |token, _| {
            if count != 0 {
                return Err(type_error(token, "wsgi.input.close() takes no arguments"));
            }
            Ok(new_ref(ffi::Py_None()))
        })
    }
}

unsafe extern "C" fn iter(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls a slot of our type, with a live object.
    unsafe { enter(object, "input.iter", ptr::null_mut(), |_, _| Ok(new_ref(object))) }
}

unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls a slot of our type. Null without an exception ends the iteration.
    unsafe {
        enter(object, "input.next", ptr::null_mut(), |token, cell| {
            let Some(cell) = live(token, cell, "wsgi.input")? else { return Ok(ptr::null_mut()) };
            let mut line = Vec::new();
            reading(token, cell, |input| input.read_line(None, &mut line))?;
            if line.is_empty() { Ok(ptr::null_mut()) } else { bytes(token, &line).map(Obj::into_ptr) }
        })
    }
}

/// Returns `None` for the stream of a request without a body, which never expires.
fn live<'a>(token: Token<'_>, cell: Option<&'a ExchangeCell>, what: &str) -> Result<Option<&'a ExchangeCell>, Raised> {
    match cell {
        None => Ok(None),
        Some(cell) => cell.check(token, what).map(|()| Some(cell)),
    }
}

/// Parses the optional size argument: absent, None and negative mean "no limit".
///
/// # Safety
///
/// `arguments` points to `count` live objects.
unsafe fn size(
    token: Token<'_>,
    method: &str,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> Result<Option<usize>, Raised> {
    if count == 0 {
        return Ok(None);
    }
    if count > 1 {
        return Err(type_error(token, &format!("wsgi.input.{method}() takes at most one argument")));
    }
    // SAFETY: there is one argument, which the caller keeps alive.
    unsafe {
        if *arguments == ffi::Py_None() {
            return Ok(None);
        }
        let number = token.own(ffi::PyNumber_Index(*arguments)).ok_or(Raised)?;
        let size = ffi::PyLong_AsSsize_t(number.as_ptr());
        if size == -1 && !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        // Negative: no limit.
        Ok(usize::try_from(size).ok())
    }
}

/// Reads up to `size` bytes; fewer only at the end of the body.
fn read_bytes(token: Token<'_>, cell: &ExchangeCell, size: Option<usize>) -> Result<*mut ffi::PyObject, Raised> {
    let known = input(token, cell)?.as_ref().map_or(Some(0), Input::remaining);
    let known = known.map(|remaining| usize::try_from(remaining).unwrap_or(usize::MAX));
    let Some(exact) = known.map(|remaining| size.unwrap_or(usize::MAX).min(remaining)) else {
        let mut body = Vec::new();
        reading(token, cell, |input| match size {
            Some(size) => input.read_up_to(size, &mut body),
            None => input.read_to_end(&mut body),
        })?;
        return bytes(token, &body).map(Obj::into_ptr);
    };
    if exact == 0 {
        return empty(token);
    }
    let length = ffi::Py_ssize_t::try_from(exact).unwrap_or(ffi::Py_ssize_t::MAX);
    // SAFETY: attached; the call returns a new object with uninitialised memory.
    let object = unsafe { token.own(ffi::PyBytes_FromStringAndSize(ptr::null(), length)) }.ok_or(Raised)?;
    // SAFETY: a bytes object.
    let memory = unsafe { ffi::PyBytes_AsString(object.as_ptr()) }.cast::<u8>();
    // SAFETY: a new bytes object of `exact` bytes that no other code has seen: its memory may be written until it is
    // returned, also while detached.
    let filled = reading(token, cell, |input| unsafe { fill(input, memory, exact) })?;
    if filled == exact {
        return Ok(object.into_ptr());
    }
    // Another thread has read meanwhile, or the request is over.
    // SAFETY: the first `filled` bytes are initialised.
    bytes(token, unsafe { std::slice::from_raw_parts(memory, filled) }).map(Obj::into_ptr)
}

/// Reads up to `exact` bytes into memory that may be uninitialised; returns the count.
///
/// The host implements the body in safe code, which may read its buffer and report more bytes than it has written. It
/// therefore gets zeroed memory, and memory is zeroed only just before it is read into: a length that a client has
/// announced costs no memory before the bytes arrive.
///
/// # Safety
///
/// `memory` points to `exact` bytes that no other code uses.
unsafe fn fill(input: &mut Input, memory: *mut u8, exact: usize) -> Result<usize, HostError> {
    let mut filled = 0;
    while filled < exact {
        let size = (exact - filled).min(STEP);
        // SAFETY: `memory` has `exact` bytes that no other code uses, and `filled + size` is at most `exact`.
        let piece = unsafe {
            let begin = memory.add(filled);
            ptr::write_bytes(begin, 0, size);
            std::slice::from_raw_parts_mut(begin, size)
        };
        let count = input.read_into(piece)?;
        filled += count;
        if count < size {
            break;
        }
    }
    Ok(filled)
}

/// Bytes that are zeroed and read at a time. They fit into the L2 cache, and most bodies need one step.
const STEP: usize = 128 * 1024;

/// Runs a read, detached unless the data is in memory. Releases the lock before it raises: creating an exception can
/// run a finaliser, which may run any code.
fn reading<T: Default>(
    token: Token<'_>,
    cell: &ExchangeCell,
    work: impl FnOnce(&mut Input) -> Result<T, HostError>,
) -> Result<T, Raised> {
    let mut guard = input(token, cell)?;
    let result = match guard.as_mut() {
        // The request has ended since the check: same result as at the end of the body.
        None => Ok(T::default()),
        Some(input) if input.is_ready() => work(input),
        Some(input) => token.detached(|| work(input)),
    };
    drop(guard);
    result.map_err(|error| host_error(token, &error))
}

fn input<'a>(token: Token<'_>, cell: &'a ExchangeCell) -> Result<PartGuard<'a, Option<Input>>, Raised> {
    cell.input(token).map_err(|held| held.raise(token, "wsgi.input"))
}

fn bytes<'py>(token: Token<'py>, content: &[u8]) -> Result<Obj<'py>, Raised> {
    // SAFETY: pointer and length of one slice, which is copied.
    unsafe { token.own(ffi::PyBytes_FromStringAndSize(content.as_ptr().cast(), len(content))) }.ok_or(Raised)
}

fn empty(token: Token<'_>) -> Result<*mut ffi::PyObject, Raised> {
    // SAFETY: a live object of this interpreter gets a further reference.
    unsafe { Ok(new_ref(token.interpreter().data().empty_bytes.as_ptr())) }
}
