//! Heap types, made anew in each interpreter, whose instances point to an exchange.
//!
//! All of the gateway's types share one layout ([`Instance`]) and hold no Python references, so that they need no
//! garbage collection. An instance may outlive its request: it then finds its cell expired and raises.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;

use super::cell::ExchangeCell;
use crate::failpoint::failpoint;
use crate::host::Level;
use crate::pool::panic_message;
use crate::python::attach::data::HeapType;
use crate::python::attach::forked::log_of;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::Attached;
use crate::python::attach::token::{Obj, Token};
use crate::python::objects::raise::{Raised, runtime_error};

/// The memory of every object that the gateway hands to an application.
#[repr(C)]
pub(crate) struct Instance {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    /// For types that are shared by all requests there is no cell.
    cell: *const ExchangeCell,
    interpreter: *const Interpreter,
}

/// What a type is made of.
pub(crate) struct Blueprint {
    pub(crate) name: &'static CStr,
    pub(crate) doc: &'static CStr,
    pub(crate) call: Option<ffi::vectorcallfunc>,
    pub(crate) methods: &'static [ffi::PyMethodDef],
    pub(crate) iter: Option<ffi::getiterfunc>,
    pub(crate) next: Option<ffi::iternextfunc>,
}

impl HeapType {
    /// Makes the type. `methods` must end with a zeroed entry.
    pub(crate) fn new(token: Token<'_>, blueprint: &Blueprint) -> Result<Self, Raised> {
        // SAFETY: plain data; all-zero is how a members table ends.
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
        // All requests of an interpreter share the type: what one application sets on it would reach the others.
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
        // SAFETY: the spec is complete; name, doc and methods are static, the rest is copied.
        let object = unsafe { token.own(ffi::PyType_FromSpec(&mut spec)) }.ok_or(Raised)?;
        // Only the gateway makes instances: one made by Python code would point nowhere.
        // SAFETY: a type object that nobody else has seen yet.
        unsafe {
            let object = object.as_ptr().cast::<ffi::PyTypeObject>();
            (*object).tp_new = None;
            ffi::PyType_Modified(object);
        }
        Ok(Self { object: object.hold(), call: blueprint.call })
    }

    /// An instance for `cell`, or one that belongs to no request.
    pub(crate) fn instance<'py>(
        &self,
        token: Token<'py>,
        cell: Option<&Arc<ExchangeCell>>,
    ) -> Result<Obj<'py>, Raised> {
        // SAFETY: our own type, of Instance's size, without garbage collection; the header is initialised by Python
        // (type and reference count) and the rest right here.
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
    /// Gives the type what a dict of the bootstrap has, before any code of applications runs. What it has already stays. A
    /// base class cannot do it: from Python 3.14 on an immutable type has none that is mutable.
    pub(crate) fn add_attributes(&self, attributes: &Obj<'_>) -> Result<(), Raised> {
        let object = self.object.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: our own type, whose dict is there since PyType_FromSpec; Python is told that it has changed. No name has
        // a slot (`__len__`).
        unsafe {
            let result = ffi::PyDict_Merge((*object).tp_dict, attributes.as_ptr(), 0);
            ffi::PyType_Modified(object);
            if result < 0 { Err(Raised) } else { Ok(()) }
        }
    }

    /// An instance for the exchange of another instance.
    ///
    /// # Safety
    ///
    /// `object` is a live [`Instance`] that belongs to a request.
    pub(crate) unsafe fn instance_of<'py>(
        &self,
        token: Token<'py>,
        object: *mut ffi::PyObject,
    ) -> Result<Obj<'py>, Raised> {
        // SAFETY: the cell pointer came from Arc::into_raw and its count is held by `object`: a further Arc needs a
        // further count.
        let cell = unsafe {
            let cell = (*object.cast::<Instance>()).cell;
            Arc::increment_strong_count(cell);
            Arc::from_raw(cell)
        };
        self.instance(token, Some(&cell))
    }
}

/// The exchange that an instance belongs to, if any.
///
/// # Safety
///
/// `object` is a live [`Instance`], and the thread is attached.
unsafe fn cell<'a>(object: *mut ffi::PyObject) -> Option<&'a ExchangeCell> {
    // SAFETY: the pointer comes from Arc::into_raw and is given back in `dealloc` only.
    unsafe { (*object.cast::<Instance>()).cell.as_ref() }
}

/// Every entry from Python goes through here: a panic becomes a RuntimeError and an alert that has `name`, and the thread
/// is known to be attached while `work` runs. `failure` is what the slot returns when an exception is set.
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
    // SAFETY: Python calls us attached, and interpreters live to the end of the process.
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

/// Nobody else is there to tell.
fn report_panic(interpreter: &Interpreter, name: &str, message: &str) {
    log_of(&interpreter.log).log(Level::Alert, &format!("panic in {name}, called by Python: {message}"));
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference to an Instance is gone: its cell's count, its memory and its type's reference (heap
    // types are counted by their instances) are given back once, and interpreters live to the end of the process.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let Instance { cell, interpreter, .. } = &*object.cast::<Instance>();
        if !cell.is_null() {
            let cell = Arc::from_raw(*cell);
            // The last one drops what the host has given. No exception can leave from here.
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
