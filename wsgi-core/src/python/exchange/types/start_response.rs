//! `start_response` and the write callable (PEP 3333, "The start_response() Callable", "The write() Callable").

use std::ptr;
use std::sync::Arc;

use pyo3::ffi;

use super::super::cell::ExchangeCell;
use super::super::heap_type::{Blueprint, enter};
use super::super::reply::Stop;
use crate::error::{HostError, ProtocolError};
use crate::host::Level;
use crate::protocol::head::{HeaderList, StatusLine};
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
    doc: c"write(data): sends a block before the returned iterable",
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
    // SAFETY: Python calls the vectorcall slot of our type with live arguments, and with a tuple of keyword names or
    // null.
    unsafe {
        enter(object, "start_response", ptr::null_mut(), |token, cell| {
            let cell = cell.expect("start_response belongs to a request");
            let count = ffi::PyVectorcall_NARGS(flags as _);
            let call =
                cell.check(token, "start_response()").map(|()| parse_call(token, cell, arguments, count, keywords));
            start(token, cell, call?)?;
            token.interpreter().data().types.write.instance_of(token, object).map(|write| write.into_ptr())
        })
    }
}

/// Starts the response, unless the arguments could not be parsed.
fn start(token: Token<'_>, cell: &ExchangeCell, call: Result<Call, Raised>) -> Result<(), Raised> {
    let Call { status, headers, error } = match call {
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
    result.map_err(|refused| match (refused, error) {
        (ProtocolError::HeadSent, Some((exception, traceback))) => raise_again(token, exception, traceback),
        (refused, _) => protocol_error(token, &refused),
    })
}

/// Arguments of a call of `start_response`.
struct Call {
    status: StatusLine,
    headers: HeaderList,
    error: Option<Exception>,
}

/// # Safety
///
/// There are `count` live arguments, and `keywords` is null or a live tuple. No Python code runs meanwhile.
unsafe fn parse_call(
    token: Token<'_>,
    cell: &ExchangeCell,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> Result<Call, Raised> {
    // SAFETY: null or a live tuple.
    let names = if keywords.is_null() { 0 } else { unsafe { ffi::PyTuple_Size(keywords) } };
    // SAFETY: `keywords` has names, so it is a live tuple of str.
    if names > 0 && !(count == 2 && unsafe { is_exc_info_alone(keywords) }) {
        return Err(type_error(
            token,
            "start_response() takes status and headers as positional arguments, and exc_info once, by position or by name \
             (PEP 3333, The start_response() Callable)",
        ));
    }
    if !(2..=3).contains(&count) {
        let text = format!(
            "start_response() takes 2 or 3 positional arguments, {count} were given \
             (PEP 3333, The start_response() Callable)"
        );
        return Err(type_error(token, &text));
    }
    // SAFETY: two live arguments, and a third if `count` or a keyword includes it. No Python code runs meanwhile.
    unsafe {
        let status = parse_status(token, *arguments)?;
        let headers = parse_headers(token, cell, *arguments.add(1))?;
        let error = if count == 3 || names > 0 { exception_of(token, *arguments.add(2))? } else { None };
        Ok(Call { status, headers, error })
    }
}

/// Returns whether `exc_info`, the optional argument, is the only keyword.
///
/// # Safety
///
/// `keywords` is a live tuple of str, as Python passes it.
unsafe fn is_exc_info_alone(keywords: *mut ffi::PyObject) -> bool {
    // SAFETY: a live tuple; the item is borrowed from it.
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
    // SAFETY: Python calls the vectorcall slot of our type with live arguments, and with a tuple of keyword names or
    // null.
    unsafe {
        enter(object, "write", ptr::null_mut(), |token, cell| {
            let cell = cell.expect("write belongs to a request");
            cell.check(token, "write()")?;
            let names = if keywords.is_null() { 0 } else { ffi::PyTuple_Size(keywords) };
            if ffi::PyVectorcall_NARGS(flags as _) != 1 || names > 0 {
                let text = "write() takes exactly one positional argument (PEP 3333, The write() Callable)";
                return Err(type_error(token, text));
            }
            write_block(token, cell, *arguments)?;
            Ok(new_ref(ffi::Py_None()))
        })
    }
}

/// # Safety
///
/// `block` is alive.
unsafe fn write_block(token: Token<'_>, cell: &ExchangeCell, block: *mut ffi::PyObject) -> Result<(), Raised> {
    // SAFETY: a live object.
    if unsafe { ffi::PyBytes_Check(block) } == 0 {
        // SAFETY: a live object.
        let kind = unsafe { type_name(block) };
        return Err(type_error(token, &format!("write() takes bytes, not {kind} (PEP 3333, The write() Callable)")));
    }
    // No Python code runs while the lock is held: exceptions are raised after `send` has released it.
    // SAFETY: a live `bytes` object.
    unsafe { send(token, cell, block) }.map_err(|refused| match refused {
        Refused::Protocol(error) => protocol_error(token, &error),
        Refused::Host(error) => host_error(token, &error),
        Refused::UnderWay(held) => held.raise(token, "write()"),
    })
}

/// # Safety
///
/// `block` is a live `bytes` object.
unsafe fn send(token: Token<'_>, cell: &ExchangeCell, block: *mut ffi::PyObject) -> Result<(), Refused> {
    let mut reply = cell.reply(token).map_err(Refused::UnderWay)?;
    // The failed block is missing at the client: no block may follow it, however often the application tries.
    if let Some(failure) = reply.failure.clone().filter(|_| reply.response.head_sent()) {
        return Err(Refused::Host(failure));
    }
    // SAFETY: a live `bytes` object.
    unsafe { reply.write(token, &cell.location, block) }.map_err(|stop| match stop {
        Stop::Protocol(error) => Refused::Protocol(error),
        Stop::Host(error) => {
            // Logged once, however often the application tries.
            if let (HostError::Io(error), None) = (&error, &reply.failure) {
                cell.log.log(Level::Crit, &format!("cannot spool output of {}: {error}", cell.location.target()));
            }
            let error = Arc::new(error);
            reply.failure = Some(Arc::clone(&error));
            Refused::Host(error)
        }
        Stop::FailedWrite(error) => Refused::Host(error),
    })
}

/// Why a block of the write callable was not sent.
enum Refused {
    Protocol(ProtocolError),
    Host(Arc<HostError>),
    UnderWay(UnderWay),
}

/// # Safety
///
/// `status` is alive.
unsafe fn parse_status(token: Token<'_>, status: *mut ffi::PyObject) -> Result<StatusLine, Raised> {
    // SAFETY: a live object; the bytes are used at once.
    let bytes = unsafe { latin1(token, status, "status") }?;
    StatusLine::parse(bytes).map_err(|error| value_error(token, &error.to_string()))
}

/// # Safety
///
/// `headers` is alive. No Python code runs meanwhile, so that borrowed items stay alive.
unsafe fn parse_headers(
    token: Token<'_>,
    cell: &ExchangeCell,
    headers: *mut ffi::PyObject,
) -> Result<HeaderList, Raised> {
    // SAFETY: a live object.
    if unsafe { ffi::PyList_CheckExact(headers) } == 0 {
        // SAFETY: a live object.
        let kind = unsafe { type_name(headers) };
        let text = format!("headers must be a list, not {kind} (PEP 3333, The start_response() Callable)");
        return Err(type_error(token, &text));
    }
    let mut list = HeaderList::new();
    // SAFETY: an exact list. Its items are borrowed: the list and its tuples cannot change, since the GIL is held and
    // no line below calls Python, except to raise.
    unsafe {
        for index in 0..ffi::PyList_GET_SIZE(headers) {
            let item = ffi::PyList_GET_ITEM(headers, index);
            if ffi::PyTuple_Check(item) == 0 || ffi::PyTuple_GET_SIZE(item) != 2 {
                return Err(no_header(token, index, item));
            }
            let name = latin1(token, ffi::PyTuple_GET_ITEM(item, 0), "header name")?;
            let value = latin1(token, ffi::PyTuple_GET_ITEM(item, 1), "header value")?;
            if let Err(error) = list.push(name, value)
                && !cell.location.leaves_out(&error, &cell.log)
            {
                return Err(value_error(token, &error.to_string()));
            }
        }
    }
    Ok(list)
}

/// # Safety
///
/// `item` is alive.
#[cold]
unsafe fn no_header(token: Token<'_>, index: ffi::Py_ssize_t, item: *mut ffi::PyObject) -> Raised {
    // SAFETY: a live object.
    let kind = unsafe {
        match ffi::PyTuple_Check(item) {
            0 => type_name(item),
            _ => format!("a tuple of length {}", ffi::PyTuple_GET_SIZE(item)),
        }
    };
    let text =
        format!("header {index} must be a tuple (name, value), not {kind} (PEP 3333, The start_response() Callable)");
    type_error(token, &text)
}

/// Returns the bytes of a str whose code points are all below U+0100, without a copy.
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

/// Returns exception and traceback of an `exc_info` argument, borrowed; `None` for None.
///
/// # Safety
///
/// `exc_info` is alive.
unsafe fn exception_of(token: Token<'_>, exc_info: *mut ffi::PyObject) -> Result<Option<Exception>, Raised> {
    // SAFETY: the singleton lives as long as Python.
    if exc_info == unsafe { ffi::Py_None() } {
        return Ok(None);
    }
    // SAFETY: a live object; a tuple has a size.
    if unsafe { ffi::PyTuple_Check(exc_info) == 0 || ffi::PyTuple_GET_SIZE(exc_info) != 3 } {
        let text =
            "exc_info must be a tuple of three, as sys.exc_info() gives (PEP 3333, The start_response() Callable)";
        return Err(type_error(token, text));
    }
    // SAFETY: items are borrowed from a tuple of three, which cannot change.
    let (exception, traceback) = unsafe { (ffi::PyTuple_GET_ITEM(exc_info, 1), ffi::PyTuple_GET_ITEM(exc_info, 2)) };
    // SAFETY: a live object.
    if unsafe { ffi::PyExceptionInstance_Check(exception) } == 0 {
        let text = "exc_info[1] must be an exception (PEP 3333, The start_response() Callable)";
        return Err(type_error(token, text));
    }
    // SAFETY: a live object.
    let has_traceback = unsafe { ffi::PyTraceBack_Check(traceback) } != 0;
    Ok(Some((exception, if has_traceback { traceback } else { ptr::null_mut() })))
}
