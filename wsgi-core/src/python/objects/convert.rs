//! Conversion of values between Rust and Python.

use std::ffi::{CStr, CString};
use std::ptr;

use pyo3::ffi;

use super::raise::{Raised, fetch, runtime_error};
use crate::lock::rules;
use crate::protocol::record::escape;
use crate::python::attach::token::{Obj, Token};

impl<'py> Token<'py> {
    /// Returns an interned string.
    pub(crate) fn intern(self, text: &str) -> Result<Obj<'py>, Raised> {
        let text = CString::new(text).expect("a name without NUL");
        // SAFETY: a valid NUL-terminated string; a new reference results.
        unsafe { self.own(ffi::PyUnicode_InternFromString(text.as_ptr())) }.ok_or(Raised)
    }

    /// Returns a `str` whose code points are the bytes (latin-1).
    pub(crate) fn latin1(self, bytes: &[u8]) -> Result<Obj<'py>, Raised> {
        // SAFETY: pointer and length of one slice; a new reference results.
        unsafe { self.own(ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len(bytes), ptr::null())) }.ok_or(Raised)
    }

    /// Returns a `str` from UTF-8.
    pub(crate) fn text(self, text: &str) -> Result<Obj<'py>, Raised> {
        // SAFETY: pointer and length of one slice; a new reference results.
        unsafe { self.own(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), len(text.as_bytes()))) }.ok_or(Raised)
    }

    /// Returns a `str` for a file name, decoded with the file system's encoding.
    pub(crate) fn path(self, path: &std::path::Path) -> Result<Obj<'py>, Raised> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        // SAFETY: pointer and length of one slice; a new reference results.
        unsafe { self.own(ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), len(bytes))) }.ok_or(Raised)
    }

    /// Calls `function` with positional arguments.
    pub(crate) fn call(
        self,
        function: *mut ffi::PyObject,
        arguments: &[*mut ffi::PyObject],
    ) -> Result<Obj<'py>, Raised> {
        rules::no_lock("Python is called");
        // SAFETY: the caller keeps `function` and the arguments alive; a new reference results.
        unsafe { self.own(ffi::PyObject_Vectorcall(function, arguments.as_ptr(), arguments.len(), ptr::null_mut())) }
            .ok_or(Raised)
    }

    /// Returns an attribute by name.
    pub(crate) fn attribute(self, object: *mut ffi::PyObject, name: &CStr) -> Result<Obj<'py>, Raised> {
        rules::no_lock("an attribute is looked up");
        // SAFETY: `object` is alive; a new reference results.
        unsafe { self.own(ffi::PyObject_GetAttrString(object, name.as_ptr())) }.ok_or(Raised)
    }

    /// Returns an attribute whose name is known only at run time.
    pub(crate) fn attribute_named(self, object: *mut ffi::PyObject, name: &str) -> Result<Obj<'py>, Raised> {
        rules::no_lock("an attribute is looked up");
        let name = self.text(name)?;
        // SAFETY: live objects; a new reference results.
        unsafe { self.own(ffi::PyObject_GetAttr(object, name.as_ptr())) }.ok_or(Raised)
    }

    /// Returns the str at `index` of a tuple; `None` for None.
    pub(crate) fn item_text(self, tuple: &Obj<'_>, index: ffi::Py_ssize_t) -> Result<Option<String>, Raised> {
        // SAFETY: the item is borrowed from a live tuple. PyTuple_GetItem raises if it is no tuple or too short.
        unsafe {
            let item = ffi::PyTuple_GetItem(tuple.as_ptr(), index);
            if item.is_null() {
                return Err(Raised);
            }
            if item == ffi::Py_None() { Ok(None) } else { self.to_text(item).map(Some) }
        }
    }

    /// Returns the content of a `bytes` object; `None` for None.
    pub(crate) fn bytes_of(self, object: &Obj<'_>) -> Result<Option<Vec<u8>>, Raised> {
        // SAFETY: a live object. PyBytes_AsString raises if it is not `bytes`.
        unsafe {
            if object.as_ptr() == ffi::Py_None() {
                return Ok(None);
            }
            let data = ffi::PyBytes_AsString(object.as_ptr());
            if data.is_null() {
                return Err(Raised);
            }
            let size = usize::try_from(ffi::PyBytes_Size(object.as_ptr())).unwrap_or(0);
            Ok(Some(std::slice::from_raw_parts(data.cast::<u8>(), size).to_vec()))
        }
    }

    /// Clears the pending exception.
    pub(crate) fn clear_error(self) {
        // SAFETY: the token proves that the thread is attached.
        unsafe { ffi::PyErr_Clear() };
    }

    /// Returns a function of the bootstrap.
    pub(crate) fn helper(self, name: &CStr) -> Result<Obj<'py>, Raised> {
        let namespace = self.interpreter().data().bootstrap.as_ptr();
        // SAFETY: the namespace is a dict that lives as long as the interpreter; the item is borrowed.
        let item = unsafe { self.borrow(ffi::PyDict_GetItemString(namespace, name.as_ptr())) };
        item.ok_or_else(|| runtime_error(self, &format!("the gateway has no function {}", name.to_string_lossy())))
    }

    /// Returns the text of a `str`; lone surrogates become `\udcxx`.
    pub(crate) fn to_text(self, object: *mut ffi::PyObject) -> Result<String, Raised> {
        let mut size = 0;
        // SAFETY: `object` is alive, and caches its UTF-8 form.
        let utf8 = unsafe { ffi::PyUnicode_AsUTF8AndSize(object, &mut size) };
        if !utf8.is_null() {
            // SAFETY: the pointer leads to `size` bytes in `object`.
            let bytes = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), usize::try_from(size).unwrap_or(0)) };
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        // SAFETY: for other objects than str the call raises TypeError again; a str with lone surrogates is encoded
        // with escapes, and `encoded` is a live bytes object.
        unsafe {
            ffi::PyErr_Clear();
            let encoded = self
                .own(ffi::PyUnicode_AsEncodedString(object, c"utf-8".as_ptr(), c"backslashreplace".as_ptr()))
                .ok_or(Raised)?;
            let bytes = std::slice::from_raw_parts(
                ffi::PyBytes_AsString(encoded.as_ptr()).cast::<u8>(),
                usize::try_from(ffi::PyBytes_Size(encoded.as_ptr())).unwrap_or(0),
            );
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }

    /// Returns the pending exception as one line, `Type: message`, and clears it.
    pub(crate) fn take_error_line(self) -> String {
        fetch(self).map_or_else(|| "no exception set".to_owned(), |exception| self.error_line(&exception))
    }

    /// Returns an exception as one line, `Type: message`.
    pub(crate) fn error_line(self, exception: &Obj<'_>) -> String {
        rules::no_lock("an exception is shown");
        // SAFETY: a live exception; its type's name is a static or heap string that lives with the type.
        let name =
            unsafe { CStr::from_ptr((*ffi::Py_TYPE(exception.as_ptr())).tp_name) }.to_string_lossy().into_owned();
        // SAFETY: `exception` is alive; a new reference results.
        let text = unsafe { self.own(ffi::PyObject_Str(exception.as_ptr())) };
        match text.map(|text| self.to_text(text.as_ptr())) {
            Some(Ok(text)) if !text.is_empty() => escape(&format!("{name}: {text}")).into_owned(),
            _ => {
                // SAFETY: the token proves that the thread is attached.
                unsafe { ffi::PyErr_Clear() };
                escape(&name).into_owned()
            }
        }
    }
}

/// Returns the length of a slice as Python's signed type.
pub(crate) fn len(bytes: &[u8]) -> ffi::Py_ssize_t {
    // No slice is longer than `isize::MAX`.
    bytes.len() as ffi::Py_ssize_t
}

/// Returns the name of an object's type, for messages.
///
/// # Safety
///
/// `object` is alive.
pub(crate) unsafe fn type_name(object: *mut ffi::PyObject) -> String {
    // SAFETY: a live object has a type, and a type has a NUL-terminated name.
    unsafe { CStr::from_ptr((*ffi::Py_TYPE(object)).tp_name) }.to_string_lossy().into_owned()
}

/// Returns the object that `callable` names in a module: `callable`, or `object.attribute.callable`.
pub(crate) fn resolve<'py>(token: Token<'py>, module: &Obj<'py>, callable: &str) -> Result<Obj<'py>, Raised> {
    let mut parts = callable.split('.');
    let first = parts.next().unwrap_or_default();
    let mut object = token.attribute_named(module.as_ptr(), first)?;
    for part in parts {
        object = token.attribute_named(object.as_ptr(), part)?;
    }
    Ok(object)
}
