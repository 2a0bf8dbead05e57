//! Processes that applications start: calls the host before each start, and in forked processes.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, OnceLock};

use pyo3::ffi;

use super::couriers;
use crate::failpoint::failpoint;
use crate::host::{ChildProcesses, Level};
use crate::protocol::pool::panic_message;
use crate::protocol::record::Log;
use crate::python::application::loading;
use crate::python::attach::data::HeapType;
use crate::python::attach::forked::{self, is_forked, set_forked};
use crate::python::attach::signals;
use crate::python::attach::token::{Obj, Token, new_ref};
use crate::python::exchange::heap_type::{Blueprint, enter};
use crate::python::objects::method::{method, sentinel};
use crate::python::objects::raise::{Raised, fetch};

/// The host's part, set when Python starts.
static HOST: OnceLock<Host> = OnceLock::new();

struct Host {
    children: Option<Arc<dyn ChildProcesses>>,
    log: Log,
}

/// Audit events that precede the start of a process, or of another program in this process.
const STARTS: [&CStr; 6] =
    [c"os.system", c"subprocess.Popen", c"os.posix_spawn", c"os.fork", c"os.forkpty", c"os.exec"];

/// `Py_AuditHookFunction`
type AuditHook = unsafe extern "C" fn(*const c_char, *mut ffi::PyObject, *mut c_void) -> c_int;

unsafe extern "C" {
    fn PySys_AddAuditHook(hook: AuditHook, data: *mut c_void) -> c_int;
}

/// Registers `children`, to be called before applications of this process start another one. Once per process,
/// attached.
pub(crate) fn watch(_token: Token<'_>, children: Option<Arc<dyn ChildProcesses>>, log: Log) -> Result<(), Raised> {
    // Called once per process, when Python starts.
    let _ = HOST.set(Host { children, log });
    forked::on_end(|token, what| exit_status(token, what).ok());
    // SAFETY: the thread is attached; the hook exists to the end of the process and needs no data.
    if unsafe { PySys_AddAuditHook(audit, ptr::null_mut()) } < 0 { Err(Raised) } else { Ok(()) }
}

/// Audit hook. Python calls it for each audit event in any interpreter; most events do not matter here.
unsafe extern "C" fn audit(event: *const c_char, _arguments: *mut ffi::PyObject, _data: *mut c_void) -> c_int {
    // SAFETY: Python passes a NUL-terminated name.
    let event = unsafe { CStr::from_ptr(event) };
    if !matches!(event.to_bytes(), [b'o', b's', b'.', ..] | [b's', b'u', b'b', ..]) || !STARTS.contains(&event) {
        return 0;
    }
    let result = guard("audit", || before_start(event));
    if result.is_ok() { 0 } else { -1 }
}

fn before_start(event: &CStr) -> Result<(), Raised> {
    // SAFETY: Python calls the hook on an attached thread.
    let is_main = unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() };
    if !is_main && event.to_bytes().starts_with(b"os.fork") {
        // Python up to 3.11 refuses this itself. Newer versions fork, and the new process ends in a fatal error.
        return Err(raise(c"fork not supported for subinterpreters"));
    }
    // In a forked process the host has already closed the descriptors that must not be inherited.
    if !is_forked()
        && let Some(children) = HOST.get().and_then(|host| host.children.as_ref())
    {
        children.before_start();
    }
    Ok(())
}

/// Runs `work`; turns a panic into an alert with `name` and a RuntimeError.
fn guard(name: &str, work: impl FnOnce() -> Result<(), Raised>) -> Result<(), Raised> {
    let work = || {
        failpoint(name);
        work()
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        if let Some(host) = HOST.get() {
            let message = panic_message(&*panic);
            host.log.log(Level::Alert, &format!("panic in {name}, called by Python: {message}"));
        }
        Err(raise(c"internal error of the gateway before the start of a process"))
    })
}

/// Raises RuntimeError. The caller is attached, to any interpreter.
fn raise(message: &CStr) -> Raised {
    // SAFETY: a static of the running interpreter, and a NUL-terminated message.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_RuntimeError, message.as_ptr()) };
    Raised
}

fn exit_status(token: Token<'_>, what: &str) -> Result<c_int, Raised> {
    // SAFETY: the singleton lives as long as Python.
    let none = || unsafe { token.borrow(ffi::Py_None()) }.ok_or(Raised);
    let exception = match fetch(token) {
        Some(exception) => exception,
        None => none()?,
    };
    let what = token.text(what)?;
    let status = token.call(token.helper(c"end_of_forked")?.as_ptr(), &[exception.as_ptr(), what.as_ptr()])?;
    // SAFETY: a live object. PyLong_AsLong raises if it is no int.
    let status = unsafe { ffi::PyLong_AsLong(status.as_ptr()) };
    Ok(status as c_int)
}

/// Creates the object behind `gateway.forked()`, `gateway.is_loading()` and `gateway.mask_changed()` of the bootstrap.
pub(crate) fn object<'py>(token: Token<'py>) -> Result<Obj<'py>, Raised> {
    // The instance keeps its type alive.
    HeapType::new(token, &BLUEPRINT)?.instance(token, None)
}

const BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.Processes",
    doc: c"The state of this process and thread.",
    call: None,
    methods: &[
        method(c"forked", forked, c"forked(): this process was forked by the application"),
        method(c"is_loading", is_loading, c"is_loading(): whether this thread loads an application"),
        method(c"mask_changed", mask_changed, c"mask_changed(): the application may have blocked signals"),
        sentinel(),
    ],
    iter: None,
    next: None,
};

unsafe extern "C" fn forked(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // First, so that this process counts as forked even if a call below fails.
    set_forked();
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "processes.forked", ptr::null_mut(), |_token, _| {
            couriers::close_in_forked();
            if let Some(children) = HOST.get().and_then(|host| host.children.as_ref()) {
                children.after_fork();
            }
            Ok(new_ref(ffi::Py_None()))
        })
    }
}

unsafe extern "C" fn mask_changed(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type; the singleton lives as long as Python.
    unsafe {
        enter(object, "processes.mask_changed", ptr::null_mut(), |_token, _| {
            signals::mask_changed();
            Ok(new_ref(ffi::Py_None()))
        })
    }
}

unsafe extern "C" fn is_loading(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type; the singletons live as long as Python.
    unsafe {
        enter(object, "processes.is_loading", ptr::null_mut(), |_token, _| {
            Ok(new_ref(if loading::is_loading() { ffi::Py_True() } else { ffi::Py_False() }))
        })
    }
}
