//! Hides the objects of loaded applications from the garbage collector (`gc.freeze`) while no request is under way.
//!
//! `gc.freeze()` takes every object that exists, also those of requests, whose cycles would then never be collected.
//! Freezing therefore waits until no exchange of the interpreter is under way but the caller's, which loads the
//! application.

use std::sync::atomic::Ordering;

use pyo3::ffi;

use crate::python::attach::interpreter::Freezing;
use crate::python::attach::token::Token;
use crate::python::objects::raise::Raised;
use crate::python::objects::report;

/// An application was loaded and is to be frozen.
const LOADED: u8 = 1;
/// The application replaces an earlier version, whose objects can be collected.
const AGAIN: u8 = 2;

impl Freezing {
    /// Counts an exchange that begins.
    pub(crate) fn begin(&self, _token: Token<'_>) {
        self.under_way.store(self.under_way.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Ends the count of an exchange whose objects were released, and freezes if that is wanted.
    #[inline]
    pub(crate) fn end(&self, token: Token<'_>) {
        self.under_way.store(self.under_way.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        self.settle(token, &[]);
    }

    /// Requests a freeze after an application was loaded, for the first time or `again`.
    pub(crate) fn want(&self, _token: Token<'_>, again: bool) {
        let wanted = LOADED | if again { AGAIN } else { 0 };
        self.wanted.store(self.wanted.load(Ordering::Relaxed) | wanted, Ordering::Relaxed);
    }

    /// Freezes if that is wanted and no exchange is under way but the caller's, whose objects are `own`.
    #[inline]
    pub(crate) fn settle(&self, token: Token<'_>, own: &[*mut ffi::PyObject]) {
        if self.wanted.load(Ordering::Relaxed) != 0 && self.is_quiet(own) {
            self.freeze(token, own);
        }
    }

    fn is_quiet(&self, own: &[*mut ffi::PyObject]) -> bool {
        self.under_way.load(Ordering::Relaxed) == usize::from(!own.is_empty())
    }

    #[cold]
    fn freeze(&self, token: Token<'_>, own: &[*mut ffi::PyObject]) {
        let wanted = self.wanted.swap(0, Ordering::Relaxed);
        let frozen = collect(token, wanted & AGAIN != 0).and_then(|()| {
            // Destructors may have let other threads run, which may have begun exchanges.
            if self.is_quiet(own) {
                return freeze_all_but(token, own);
            }
            self.want(token, wanted & AGAIN != 0);
            Ok(())
        });
        if let Err(Raised) = frozen {
            report::pending(token, &token.interpreter().log, "cannot freeze the garbage collector");
        }
    }
}

fn collect(token: Token<'_>, again: bool) -> Result<(), Raised> {
    // SAFETY: the singletons live as long as Python.
    let again = unsafe { if again { ffi::Py_True() } else { ffi::Py_False() } };
    token.call(token.helper(c"collect")?.as_ptr(), &[again]).map(drop)
}

/// Freezes all objects that the garbage collector tracks, except `own`. No other thread runs meanwhile.
fn freeze_all_but(token: Token<'_>, own: &[*mut ffi::PyObject]) -> Result<(), Raised> {
    let freeze = token.helper(c"freeze")?;
    // SAFETY: live objects. The function returns 0 for types without garbage collection.
    let tracked = |object: &&*mut ffi::PyObject| unsafe { ffi::PyObject_GC_IsTracked(**object) != 0 };
    let own: Vec<_> = own.iter().filter(tracked).copied().collect();
    // SAFETY: the filter has left tracked objects only.
    own.iter().for_each(|object| unsafe { ffi::PyObject_GC_UnTrack(object.cast()) });
    // `gc.freeze` is a C function that runs no Python code.
    let frozen = token.call(freeze.as_ptr(), &[]);
    // SAFETY: the objects were tracked before, so they are complete.
    own.iter().for_each(|object| unsafe { ffi::PyObject_GC_Track(object.cast()) });
    frozen.map(drop)
}
