//! Heap types whose instances point to an exchange. Each interpreter has its own set.
//!
//! All types of the gateway share one layout ([`Instance`]) and hold no Python references, so that they need no garbage
//! collection. An instance may outlive its request: its cell is then expired, and calls raise.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;

use super::cell::ExchangeCell;
use crate::failpoint::failpoint;
use crate::host::Level;
use crate::protocol::pool::panic_message;
use crate::python::attach::data::HeapType;
use crate::python::attach::forked::log_of;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::Attached;
use crate::python::attach::token::{Obj, Token};
use crate::python::objects::raise::{Raised, runtime_error};

/// Memory layout of every object that the gateway gives to an application.
#[repr(C)]
pub(crate) struct Instance {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// Null for objects that all requests share.
    cell: *const ExchangeCell,
    interpreter: *const Interpreter,
}

/// Definition of a type.
pub(crate) struct Blueprint {
    pub(crate) name: &'static CStr,
    pub(crate) doc: &'static CStr,
    pub(crate) call: Option<ffi::vectorcallfunc>,
    pub(crate) methods: &'static [ffi::PyMethodDef],
    pub(crate) iter: Option<ffi::getiterfunc>,
    pub(crate) next: Option<ffi::iternextfunc>,
}

impl HeapType {
    /// Creates the type. `methods` must end with a zeroed entry.
    pub(crate) fn new(token: Token<'_>, blueprint: &Blueprint) -> Result<Self, Raised> {
        // SAFETY: plain data, which may be all-zero; a zeroed entry ends a members table.
        let mut members: [ffi::PyMemberDef; 2] = unsafe { std::mem::zeroed() };
        members[0].name = c"__vectorcalloffset__".as_ptr();
        members[0].type_code = ffi::Py_T_PYSSIZET;
        members[0].offset = offset_of!(Instance, vectorcall) as ffi::Py_ssize_t;
        members[0].flags = ffi::Py_READONLY;

        let mut slots: Vec<ffi::PyType_Slot> = Vec::new();
        let mut slot = |id: c_int, function: *mut c_void| {
            if !function.is_null() {
                slots.push(ffi::PyType_Slot { slot: id, pfunc: function });
            }
        };
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void);
        slot(ffi::Py_tp_doc, blueprint.doc.as_ptr() as *mut c_void);
        slot(ffi::Py_tp_methods, blueprint.methods.as_ptr() as *mut c_void);
        slot(ffi::Py_tp_iter, blueprint.iter.map_or(ptr::null_mut(), |function| function as *mut c_void));
        slot(ffi::Py_tp_iternext, blueprint.next.map_or(ptr::null_mut(), |function| function as *mut c_void));
        let mut flags = ffi::Py_TPFLAGS_DEFAULT;
        // All requests of an interpreter share the type: an attribute set by one application would be visible in
        // others.
        #[cfg(Py_3_10)]
        (flags |= ffi::Py_TPFLAGS_IMMUTABLETYPE);
        if blueprint.call.is_some() {
            flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
            slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void);
            slot(ffi::Py_tp_members, members.as_mut_ptr().cast());
        }
        slots.push(ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() });
        let mut spec = ffi::PyType_Spec {
            name: blueprint.name.as_ptr(),
            basicsize: size_of::<Instance>() as c_int,
            itemsize: 0,
            flags: flags as _,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the spec is complete; name, doc and methods are static, and Python copies the rest.
        let object = unsafe { token.own(ffi::PyType_FromSpec(&mut spec)) }.ok_or(Raised)?;
        // Only the gateway creates instances: the pointers of an instance created by Python code would be invalid.
        // SAFETY: a new type object, which no other code has seen yet.
        unsafe {
            let object = object.as_ptr().cast::<ffi::PyTypeObject>();
            (*object).tp_new = None;
            ffi::PyType_Modified(object);
        }
        Ok(Self { object: object.hold(), call: blueprint.call })
    }

    /// Creates an instance for `cell`, or for no exchange.
    pub(crate) fn instance<'py>(
        &self,
        token: Token<'py>,
        cell: Option<&Arc<ExchangeCell>>,
    ) -> Result<Obj<'py>, Raised> {
        // SAFETY: a type created above, of the size of `Instance` and without garbage collection. Python initialises
        // the header (type and reference count), and the lines below initialise the other fields.
        unsafe {
            let object = ffi::PyObject_New::<ffi::PyObject>(self.object.as_ptr().cast());
            if object.is_null() {
                return Err(Raised);
            }
            let instance = object.cast::<Instance>();
            (*instance).vectorcall = self.call;
            (*instance).cell = cell.map_or(ptr::null(), |cell| Arc::into_raw(Arc::clone(cell)));
            (*instance).interpreter = token.interpreter();
            token.own(object).ok_or(Raised)
        }
    }
}

impl HeapType {
    /// Adds the entries of a bootstrap dict to the type, before any application code runs. Existing attributes are
    /// kept. A base class cannot provide them: since Python 3.14 an immutable type may not have a mutable base.
    pub(crate) fn add_attributes(&self, attributes: &Obj<'_>) -> Result<(), Raised> {
        let object = self.object.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: a type created above, whose dict exists since PyType_FromSpec; PyType_Modified reports the change to
        // Python. No name has a slot (`__len__`).
        unsafe {
            let result = ffi::PyDict_Merge((*object).tp_dict, attributes.as_ptr(), 0);
            ffi::PyType_Modified(object);
            if result < 0 { Err(Raised) } else { Ok(()) }
        }
    }

    /// Creates an instance for the exchange of another instance.
    ///
    /// # Safety
    ///
    /// `object` is a live [`Instance`] that belongs to a request.
    pub(crate) unsafe fn instance_of<'py>(
        &self,
        token: Token<'py>,
        object: *mut ffi::PyObject,
    ) -> Result<Obj<'py>, Raised> {
        // SAFETY: the cell pointer came from Arc::into_raw, and `object` holds its count. The new Arc gets another
        // count.
        let cell = unsafe {
            let cell = (*object.cast::<Instance>()).cell;
            Arc::increment_strong_count(cell);
            Arc::from_raw(cell)
        };
        self.instance(token, Some(&cell))
    }
}

/// Returns the exchange that an instance belongs to, if any.
///
/// # Safety
///
/// `object` is a live [`Instance`], and the thread is attached.
unsafe fn cell<'a>(object: *mut ffi::PyObject) -> Option<&'a ExchangeCell> {
    // SAFETY: the pointer is null or came from Arc::into_raw, and only `dealloc` releases it.
    unsafe { (*object.cast::<Instance>()).cell.as_ref() }
}

/// Runs `work` for a call from Python. Every entry from Python goes through here: a panic becomes a RuntimeError and an
/// alert with `name`, and the thread is attached while `work` runs. `failure` is the slot's return value when an
/// exception is pending.
///
/// # Safety
///
/// Called by Python with a live [`Instance`] as `object`.
pub(crate) unsafe fn enter<T>(
    object: *mut ffi::PyObject,
    name: &str,
    failure: T,
    work: impl FnOnce(Token<'_>, Option<&ExchangeCell>) -> Result<T, Raised>,
) -> T {
    // SAFETY: Python calls with the thread attached, and interpreters live to the end of the process.
    let entered = unsafe { Attached::assume(&*(*object.cast::<Instance>()).interpreter) };
    // SAFETY: a live instance, attached.
    let cell = unsafe { cell(object) };
    let work = || {
        failpoint(name);
        work(entered.token(), cell)
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => value,
        Ok(Err(Raised)) => failure,
        Err(panic) => {
            let message = panic_message(&*panic);
            report_panic(entered.token().interpreter(), name, message);
            runtime_error(entered.token(), &format!("internal error of the gateway in {name}: {message}"));
            failure
        }
    }
}

/// Logs a panic: Python code may catch the RuntimeError, and `dealloc` raises none.
fn report_panic(interpreter: &Interpreter, name: &str, message: &str) {
    log_of(&interpreter.log).log(Level::Alert, &format!("panic in {name}, called by Python: {message}"));
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference to an Instance is gone. The count of its cell, its memory and its reference to the
    // type (each instance of a heap type has one) are released once; interpreters live to the end of the process.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let Instance { cell, interpreter, .. } = &*object.cast::<Instance>();
        if !cell.is_null() {
            let cell = Arc::from_raw(*cell);
            // The last count drops the host's objects. A panic in that must not leave this function.
            let dropping = || {
                failpoint("dealloc");
                drop(cell);
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(dropping)) {
                report_panic(&**interpreter, "dealloc", panic_message(&*panic));
            }
        }
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}
