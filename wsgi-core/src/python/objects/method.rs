//! Method tables of heap types.

use std::ffi::{CStr, c_int};

use pyo3::ffi;

/// A method that takes positional arguments only.
pub(crate) type FastCallFn =
    unsafe extern "C" fn(*mut ffi::PyObject, *mut *mut ffi::PyObject, ffi::Py_ssize_t) -> *mut ffi::PyObject;

/// Returns one entry of a method table.
pub(crate) const fn method(name: &'static CStr, function: FastCallFn, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
        ml_flags: ffi::METH_FASTCALL as c_int,
        ml_doc: doc.as_ptr(),
    }
}

/// Returns the entry that ends a method table.
pub(crate) const fn sentinel() -> ffi::PyMethodDef {
    ffi::PyMethodDef::zeroed()
}
