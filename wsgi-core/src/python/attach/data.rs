//! The Python objects of an interpreter that the request path uses without a lookup.

use pyo3::ffi;

use super::token::Held;

/// The objects of one interpreter, created at its start.
pub(crate) struct Data {
    pub(crate) types: Types,
    /// Interned `"close"`.
    pub(crate) close: Held,
    /// Interned keys of environ.
    pub(crate) input_key: Held,
    pub(crate) errors_key: Held,
    pub(crate) script_key: Held,
    pub(crate) callable_key: Held,
    /// `b""`
    pub(crate) empty_bytes: Held,
    /// The type that serves as `wsgi.file_wrapper`.
    pub(crate) file_wrapper: Held,
    /// Finds the file that such an object reads.
    pub(crate) real_file: Held,
    /// Namespace of the bootstrap.
    pub(crate) bootstrap: Held,
    /// Entries of every environ that depend on no request.
    pub(crate) environ: Vec<(Held, Held)>,
}

/// The gateway's types of one interpreter.
pub(crate) struct Types {
    pub(crate) start_response: HeapType,
    pub(crate) write: HeapType,
    pub(crate) input: HeapType,
    /// `wsgi.input` of a body that can be read again.
    pub(crate) seekable_input: HeapType,
    pub(crate) errors: HeapType,
    /// `wsgi.input` of every request without a body.
    pub(crate) empty_input: Held,
}

/// A heap type in one interpreter.
pub(crate) struct HeapType {
    pub(crate) object: Held,
    pub(crate) call: Option<ffi::vectorcallfunc>,
}
