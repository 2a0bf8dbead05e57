//! The context variables of a request (PEP 567).

use pyo3::ffi;

use super::Exchange;
use crate::python::attach::token::{Obj, Token};
use crate::python::objects::report;

impl Exchange {
    pub(super) fn enter_context<'py>(&mut self, token: Token<'py>) -> Option<EnteredContext<'py>> {
        if self.context.is_none() {
            // SAFETY: attached; the call returns a new reference.
            match unsafe { token.own(ffi::PyContext_CopyCurrent()) } {
                Some(context) => self.context = Some(context.hold()),
                None => {
                    report::pending(token, &self.cell.log, "cannot copy the context");
                    return None;
                }
            }
        }
        let context = self.context.as_ref()?.as_ptr();
        // SAFETY: a live context object that is not entered: one exchange runs on one thread.
        if unsafe { ffi::PyContext_Enter(context) } < 0 {
            report::pending(token, &self.cell.log, "cannot enter the context");
            return None;
        }
        // SAFETY: the context is alive, and the guard gets another reference to it.
        unsafe { token.borrow(context) }.map(|context| EnteredContext { context })
    }
}

/// A context that code of the request runs in until this is dropped.
pub(super) struct EnteredContext<'py> {
    context: Obj<'py>,
}

impl Drop for EnteredContext<'_> {
    fn drop(&mut self) {
        // SAFETY: entered on this thread, and exited in reverse order. No exception is pending that the call could
        // replace.
        unsafe {
            debug_assert!(ffi::PyErr_Occurred().is_null());
            ffi::PyContext_Exit(self.context.as_ptr());
        }
    }
}
