//! `start_response` and the write callable (PEP 3333, "The start_response() Callable", "The write() Callable").

use std::ptr;
use std::sync::Arc;

use pyo3::ffi;

use super::super::cell::ExchangeCell;
use super::super::heap_type::{Blueprint, enter};
use super::super::reply::Stop;
use crate::error::{HostError, ProtocolError};
use crate::head::{HeaderList, StatusLine};
use crate::host::Level;
use crate::python::attach::lock::UnderWay;
use crate::python::attach::token::{Token, new_ref};
use crate::python::objects::convert::type_name;
use crate::python::objects::raise::{Raised, host_error, protocol_error, raise_again, type_error, value_error};

pub(super) const BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.StartResponse",
    doc: c"start_response(status, headers, exc_info=None) -> write",
    call: Some(start_response),
    methods: &[crate::python::objects::method::sentinel()],
    iter: None,
    next: None,
};

pub(super) const WRITE_BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.Write",
    doc: c"write(data): sends a block before what the application returns",
    call: Some(write),
    methods: &[crate::python::objects::method::sentinel()],
    iter: None,
    next: None,
};

unsafe extern "C" fn start_response(
    object: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flags: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls the vectorcall slot of our type with that many live arguments.
    unsafe {
        enter(object, "start_response", ptr::null_mut(), |token, cell| {
            let cell = cell.expect("start_response belongs to a request");
            cell.check(token, "start_response()")?;
            let count = ffi::PyVectorcall_NARGS(flags as _);
            let Call { status, headers, error } = match parse_call(token, cell, arguments, count, keywords) {
                Ok(call) => call,
                Err(Raised) => {
                    if let Ok(mut reply) = cell.reply(token) {
                        reply.response.start_refused();
                    }
                    return Err(Raised);
                }
            };
            let reply = cell.reply(token).map_err(|held| held.raise(token, "start_response()"));
            let result = reply?.start(status, headers, error.is_some());
            match (result, error) {
                (Ok(()), _) => {
                    let write = &token.interpreter().data().types.write;
                    write.instance_of(token, object).map(|write| write.into_ptr())
                }
                (Err(ProtocolError::HeadSent), Some((exception, traceback))) => {
                    Err(raise_again(token, exception, traceback))
                }
                (Err(error), _) => Err(protocol_error(token, &error)),
            }
        })
    }
}

/// What `start_response` was called with.
struct Call {
    status: StatusLine,
    headers: HeaderList,
    error: Option<Exception>,
}

/// # Safety
///
/// There are `count` live arguments, and `keywords` is null or a live tuple. No Python code runs in between.
unsafe fn parse_call(
    token: Token<'_>,
    cell: &ExchangeCell,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> Result<Call, Raised> {
    // SAFETY: the caller's promise.
    unsafe {
        let given_by_name = !keywords.is_null() && ffi::PyTuple_Size(keywords) > 0;
        if given_by_name && !(count == 2 && is_exc_info_alone(keywords)) {
            return Err(type_error(
                token,
                "start_response() takes status and headers as positional arguments, and exc_info once, by position or by name \
                 (PEP 3333, The start_response() Callable)",
            ));
        }
        if !(2..=3).contains(&count) {
            return Err(type_error(
                token,
                &format!(
                    "start_response() takes 2 or 3 positional arguments, {count} were given \
                     (PEP 3333, The start_response() Callable)"
                ),
            ));
        }
        let status = parse_status(token, *arguments)?;
        let headers = parse_headers(token, cell, *arguments.add(1))?;
        let error = if count == 3 || given_by_name { exception_of(token, *arguments.add(2))? } else { None };
        Ok(Call { status, headers, error })
    }
}

/// Whether these are the names of arguments, and there is but that of the optional one.
///
/// # Safety
///
/// `keywords` is a live tuple of str, as Python passes it.
unsafe fn is_exc_info_alone(keywords: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's promise; the item is borrowed.
    unsafe {
        ffi::PyTuple_Size(keywords) == 1
            && ffi::PyUnicode_CompareWithASCIIString(ffi::PyTuple_GetItem(keywords, 0), c"exc_info".as_ptr()) == 0
    }
}

unsafe extern "C" fn write(
    object: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flags: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls the vectorcall slot of our type with that many live arguments.
    unsafe {
        enter(object, "write", ptr::null_mut(), |token, cell| {
            let cell = cell.expect("write belongs to a request");
            cell.check(token, "write()")?;
            let keywords = if keywords.is_null() { 0 } else { ffi::PyTuple_Size(keywords) };
            if ffi::PyVectorcall_NARGS(flags as _) != 1 || keywords > 0 {
                return Err(type_error(
                    token,
                    "write() takes exactly one positional argument (PEP 3333, The write() Callable)",
                ));
            }
            let block = *arguments;
            if ffi::PyBytes_Check(block) == 0 {
                return Err(type_error(
                    token,
                    &format!("write() takes bytes, not {} (PEP 3333, The write() Callable)", type_name(block)),
                ));
            }
            // No Python runs while the lock is held: whatever is to be raised is raised below.
            match send(token, cell, block) {
                Ok(()) => Ok(new_ref(ffi::Py_None())),
                Err(Refused::Protocol(error)) => Err(protocol_error(token, &error)),
                Err(Refused::Host(error)) => Err(host_error(token, &error)),
                Err(Refused::UnderWay(held)) => Err(held.raise(token, "write()")),
            }
        })
    }
}

/// # Safety
///
/// `block` is a live `bytes` object.
unsafe fn send(token: Token<'_>, cell: &ExchangeCell, block: *mut ffi::PyObject) -> Result<(), Refused> {
    let mut reply = cell.reply(token).map_err(Refused::UnderWay)?;
    // What has failed is missing at the client: nothing goes behind it, however often the application tries.
    if let Some(failure) = reply.failure.clone().filter(|_| reply.response.head_sent()) {
        return Err(Refused::Host(failure));
    }
    // SAFETY: the caller's promise.
    unsafe { reply.write(token, &cell.location, block) }.map_err(|stop| match stop {
        Stop::Protocol(error) => Refused::Protocol(error),
        Stop::Host(error) => {
            // Once is enough, however often the application tries.
            if let (HostError::Io(error), None) = (&error, &reply.failure) {
                cell.log.log(Level::Crit, &format!("cannot take what {} writes: {error}", cell.location.target()));
            }
            let error = Arc::new(error);
            reply.failure = Some(Arc::clone(&error));
            Refused::Host(error)
        }
        Stop::FailedWrite(error) => Refused::Host(error),
    })
}

/// Why a block written was not sent.
enum Refused {
    Protocol(ProtocolError),
    Host(Arc<HostError>),
    UnderWay(UnderWay),
}

/// # Safety
///
/// `status` is alive.
unsafe fn parse_status(token: Token<'_>, status: *mut ffi::PyObject) -> Result<StatusLine, Raised> {
    // SAFETY: the caller's promise; the bytes are used at once.
    let bytes = unsafe { latin1(token, status, "status") }?;
    StatusLine::parse(bytes).map_err(|error| value_error(token, &error.to_string()))
}

/// # Safety
///
/// `headers` is alive. No Python code runs in between, so that borrowed items stay alive.
unsafe fn parse_headers(
    token: Token<'_>,
    cell: &ExchangeCell,
    headers: *mut ffi::PyObject,
) -> Result<HeaderList, Raised> {
    // SAFETY: the caller's promise. Items are borrowed from a list and tuples that nothing can change meanwhile: the
    // GIL is held and nothing below calls back into Python, except to raise.
    unsafe {
        if ffi::PyList_CheckExact(headers) == 0 {
            return Err(type_error(
                token,
                &format!(
                    "headers must be a list, not {} (PEP 3333, The start_response() Callable)",
                    type_name(headers)
                ),
            ));
        }
        let count = ffi::PyList_GET_SIZE(headers);
        let mut list = HeaderList::new();
        for index in 0..count {
            let item = ffi::PyList_GET_ITEM(headers, index);
            if ffi::PyTuple_Check(item) == 0 || ffi::PyTuple_GET_SIZE(item) != 2 {
                return Err(type_error(
                    token,
                    &format!(
                        "header {index} must be a tuple (name, value), not {} (PEP 3333, The start_response() Callable)",
                        type_name(item)
                    ),
                ));
            }
            let name = latin1(token, ffi::PyTuple_GET_ITEM(item, 0), "header name")?;
            let value = latin1(token, ffi::PyTuple_GET_ITEM(item, 1), "header value")?;
            if let Err(error) = list.push(name, value)
                && !cell.location.leaves_out(&error, &cell.log)
            {
                return Err(value_error(token, &error.to_string()));
            }
        }
        Ok(list)
    }
}

/// The bytes of a str whose code points are all below U+0100, without a copy.
///
/// # Safety
///
/// `object` stays alive for as long as the bytes are used.
unsafe fn latin1<'a>(token: Token<'_>, object: *mut ffi::PyObject, what: &str) -> Result<&'a [u8], Raised> {
    // SAFETY: a str that is alive; its characters are stored one byte each when its kind is 1.
    unsafe {
        if ffi::PyUnicode_Check(object) == 0 {
            return Err(type_error(
                token,
                &format!("{what} must be str, not {} (PEP 3333, A Note On String Types)", type_name(object)),
            ));
        }
        #[cfg(not(Py_3_12))]
        if ffi::PyUnicode_READY(object) < 0 {
            return Err(Raised);
        }
        if ffi::PyUnicode_KIND(object) != ffi::PyUnicode_1BYTE_KIND {
            return Err(value_error(
                token,
                &format!("{what} has characters above U+00FF (PEP 3333, A Note On String Types)"),
            ));
        }
        let length = usize::try_from(ffi::PyUnicode_GET_LENGTH(object)).unwrap_or(0);
        Ok(std::slice::from_raw_parts(ffi::PyUnicode_DATA(object).cast::<u8>(), length))
    }
}

type Exception = (*mut ffi::PyObject, *mut ffi::PyObject);

/// Exception and traceback of an `exc_info` argument, borrowed; `None` for None.
///
/// # Safety
///
/// `exc_info` is alive.
unsafe fn exception_of(token: Token<'_>, exc_info: *mut ffi::PyObject) -> Result<Option<Exception>, Raised> {
    // SAFETY: a live object; items are borrowed from a tuple, which cannot change.
    unsafe {
        if exc_info == ffi::Py_None() {
            return Ok(None);
        }
        if ffi::PyTuple_Check(exc_info) == 0 || ffi::PyTuple_GET_SIZE(exc_info) != 3 {
            return Err(type_error(
                token,
                "exc_info must be a tuple of three, as sys.exc_info() gives (PEP 3333, The start_response() Callable)",
            ));
        }
        let exception = ffi::PyTuple_GET_ITEM(exc_info, 1);
        let traceback = ffi::PyTuple_GET_ITEM(exc_info, 2);
        if ffi::PyExceptionInstance_Check(exception) == 0 {
            return Err(type_error(
                token,
                "exc_info[1] must be an exception (PEP 3333, The start_response() Callable)",
            ));
        }
        let traceback = if ffi::PyTraceBack_Check(traceback) == 0 { ptr::null_mut() } else { traceback };
        Ok(Some((exception, traceback)))
    }
}
