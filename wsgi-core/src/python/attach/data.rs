//! The Python objects of an interpreter that the way of a request uses without a lookup.

use pyo3::ffi;

use super::token::Held;

/// The objects of one interpreter, made at its start.
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
    /// The type that `wsgi.file_wrapper` is.
    pub(crate) file_wrapper: Held,
    /// The bootstrap's namespace.
    pub(crate) bootstrap: Held,
    /// What every environ holds, request or not.
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

/// A type of one interpreter.
pub(crate) struct HeapType {
    pub(crate) object: Held,
    pub(crate) call: Option<ffi::vectorcallfunc>,
}
