//! Sets up an interpreter after CPython has started: types, the bootstrap, and the constant entries of environ.

use std::ffi::{CStr, CString, c_int};

use pyo3::ffi;

use super::processes;
use super::runtime::preserving_sigint;
use crate::python::attach::data::{Data, Types};
use crate::python::attach::interpreter::Setup;
use crate::python::attach::token::{Held, Obj, Token};
use crate::python::exchange::stdio;
use crate::python::objects::raise::Raised;

/// Python sources of the gateway, in the order in which they run.
const BOOTSTRAP: [(&CStr, &str); 12] = [
    (c"<wsgi_gateway/gateway>", include_str!("bootstrap/gateway.py")),
    (c"<wsgi_gateway/streams>", include_str!("bootstrap/streams.py")),
    (c"<wsgi_gateway/file_wrapper>", include_str!("bootstrap/file_wrapper.py")),
    (c"<wsgi_gateway/loading>", include_str!("bootstrap/loading.py")),
    (c"<wsgi_gateway/importing>", include_str!("bootstrap/importing.py")),
    (c"<wsgi_gateway/hints>", include_str!("bootstrap/hints.py")),
    (c"<wsgi_gateway/describing>", include_str!("bootstrap/describing.py")),
    (c"<wsgi_gateway/processes>", include_str!("bootstrap/processes.py")),
    (c"<wsgi_gateway/signals>", include_str!("bootstrap/signals.py")),
    (c"<wsgi_gateway/crashes>", include_str!("bootstrap/crashes.py")),
    (c"<wsgi_gateway/ending>", include_str!("bootstrap/ending.py")),
    (c"<wsgi_gateway/install>", include_str!("bootstrap/install.py")),
];

/// Source that also runs in processes that `multiprocessing` starts with `spawn` or `forkserver`.
const SPAWNED: &str = include_str!("bootstrap/spawned.py");

/// Prepares the interpreter of `token` for requests. May be called again after a failure.
pub(crate) fn set_up(token: Token<'_>) -> Result<(), Raised> {
    let interpreter = token.interpreter();
    let setup = &*interpreter.setup;
    let types = Types::new(token)?;
    let bootstrap = preserving_sigint(|| run_bootstrap(token, setup))?;
    // SAFETY: the namespace is a dict, from which the items are borrowed. The empty bytes object is new.
    let (file_wrapper, real_file, errors_attributes, empty_bytes) = unsafe {
        let item =
            |name: &CStr| token.borrow(ffi::PyDict_GetItemString(bootstrap.as_ptr(), name.as_ptr())).ok_or(Raised);
        (
            item(c"FileWrapper")?,
            item(c"real_file")?,
            item(c"errors_attributes")?,
            token.own(ffi::PyBytes_FromStringAndSize(std::ptr::null(), 0)).ok_or(Raised)?,
        )
    };
    types.errors.add_attributes(&errors_attributes)?;
    let environ = vec![
        entry(token, "wsgi.version", version(token)?)?,
        entry(token, "wsgi.multithread", boolean(token, setup.multithread))?,
        entry(token, "wsgi.multiprocess", boolean(token, setup.multiprocess))?,
        entry(token, "wsgi.run_once", boolean(token, false))?,
        entry(token, "wsgi.input_terminated", boolean(token, true))?,
        entry(token, "wsgi.file_wrapper", file_wrapper.duplicate())?,
        entry(token, "wsgi_gateway.version", token.text(env!("CARGO_PKG_VERSION"))?)?,
        entry(token, "wsgi_gateway.interpreter", token.path(interpreter.name())?)?,
    ];
    interpreter.complete(Data {
        types,
        close: token.intern("close")?.hold(),
        input_key: token.intern("wsgi.input")?.hold(),
        errors_key: token.intern("wsgi.errors")?.hold(),
        script_key: token.intern("wsgi_gateway.script")?.hold(),
        callable_key: token.intern("wsgi_gateway.callable")?.hold(),
        empty_bytes: empty_bytes.hold(),
        file_wrapper: file_wrapper.hold(),
        real_file: real_file.hold(),
        bootstrap: bootstrap.hold(),
        environ,
    });
    Ok(())
}

/// Runs the bootstrap in a new namespace, and returns the namespace.
fn run_bootstrap<'py>(token: Token<'py>, setup: &Setup) -> Result<Obj<'py>, Raised> {
    let gateway = dict(token)?;
    let log = stdio::log_object(token)?;
    set(&gateway, "write", &token.attribute(log.as_ptr(), c"write")?)?;
    set(&gateway, "flush", &token.attribute(log.as_ptr(), c"flush")?)?;
    let processes = processes::object(token)?;
    set(&gateway, "forked", &token.attribute(processes.as_ptr(), c"forked")?)?;
    set(&gateway, "is_loading", &token.attribute(processes.as_ptr(), c"is_loading")?)?;
    set(&gateway, "mask_changed", &token.attribute(processes.as_ptr(), c"mask_changed")?)?;
    set(&gateway, "spawned", &token.text(SPAWNED)?)?;
    let signals: Vec<_> =
        setup.reserved_signals.iter().map(|signal| number(token, *signal)).collect::<Result<_, _>>()?;
    set(&gateway, "reserved_signals", &list(token, &signals)?)?;
    match setup.fatal_exit_status {
        Some(status) => set(&gateway, "fatal_exit_status", &number(token, status)?)?,
        None => set(&gateway, "fatal_exit_status", &none(token)?)?,
    }
    set(&gateway, "fault_handler", &boolean(token, setup.fault_handler))?;
    set(&gateway, "terminal", &boolean(token, setup.terminal))?;
    let interpreter = token.interpreter();
    let name = if interpreter.is_main() { none(token)? } else { token.path(interpreter.name())? };
    set(&gateway, "interpreter", &name)?;
    let path: Vec<_> = setup.path.iter().map(|folder| token.path(folder)).collect::<Result<_, _>>()?;
    set(&gateway, "path", &list(token, &path)?)?;

    let namespace = dict(token)?;
    set(&namespace, "__name__", &token.text("_wsgi_gateway")?)?;
    set(&namespace, "gateway", &gateway)?;
    // SAFETY: a dict; the builtins are borrowed.
    if unsafe { ffi::PyDict_SetItemString(namespace.as_ptr(), c"__builtins__".as_ptr(), ffi::PyEval_GetBuiltins()) } < 0
    {
        return Err(Raised);
    }
    for (file, source) in BOOTSTRAP {
        let source = CString::new(source).map_err(|_| Raised)?;
        // SAFETY: NUL-terminated source and file name; the dict, with builtins in it, serves as globals and locals.
        unsafe {
            let code =
                token.own(ffi::Py_CompileString(source.as_ptr(), file.as_ptr(), ffi::Py_file_input)).ok_or(Raised)?;
            token.own(ffi::PyEval_EvalCode(code.as_ptr(), namespace.as_ptr(), namespace.as_ptr())).ok_or(Raised)?;
        }
    }
    Ok(namespace)
}

fn entry(token: Token<'_>, key: &str, value: Obj<'_>) -> Result<(Held, Held), Raised> {
    Ok((token.intern(key)?.hold(), value.hold()))
}

fn dict(token: Token<'_>) -> Result<Obj<'_>, Raised> {
    // SAFETY: attached; a new reference results.
    unsafe { token.own(ffi::PyDict_New()) }.ok_or(Raised)
}

fn set(dict: &Obj<'_>, key: &str, value: &Obj<'_>) -> Result<(), Raised> {
    let key = dict.token().intern(key)?;
    // SAFETY: a dict and live objects.
    if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } < 0 { Err(Raised) } else { Ok(()) }
}

fn list<'py>(token: Token<'py>, items: &[Obj<'py>]) -> Result<Obj<'py>, Raised> {
    // SAFETY: a new list; the items are alive.
    unsafe {
        let list = token.own(ffi::PyList_New(0)).ok_or(Raised)?;
        for item in items {
            if ffi::PyList_Append(list.as_ptr(), item.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}

fn number(token: Token<'_>, value: c_int) -> Result<Obj<'_>, Raised> {
    // SAFETY: attached; a new reference results.
    unsafe { token.own(ffi::PyLong_FromLong(value.into())) }.ok_or(Raised)
}

fn boolean(token: Token<'_>, value: bool) -> Obj<'_> {
    // SAFETY: the singletons live as long as Python.
    unsafe { token.borrow(if value { ffi::Py_True() } else { ffi::Py_False() }) }.expect("a singleton")
}

fn none(token: Token<'_>) -> Result<Obj<'_>, Raised> {
    // SAFETY: the singleton lives as long as Python.
    unsafe { token.borrow(ffi::Py_None()) }.ok_or(Raised)
}

/// Returns `(1, 0)` (PEP 3333, "environ Variables").
fn version(token: Token<'_>) -> Result<Obj<'_>, Raised> {
    // SAFETY: two ints for the format.
    unsafe { token.own(ffi::Py_BuildValue(c"(ii)".as_ptr(), 1 as c_int, 0 as c_int)) }.ok_or(Raised)
}
