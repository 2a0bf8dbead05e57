//! Threads that load an application.

use std::cell::Cell;

use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::signals;
use crate::python::attach::token::Token;

thread_local! {
    /// Number of applications that this thread is loading: one application may load another.
    static LOADING: Cell<u32> = const { Cell::new(0) };
}

/// Marks this thread as loading an application until dropped.
pub(crate) struct LoadsApplication<'a>(&'a Interpreter);

impl<'py> LoadsApplication<'py> {
    pub(crate) fn new(token: Token<'py>) -> Self {
        LOADING.set(LOADING.get() + 1);
        Self(token.interpreter())
    }
}

/// Returns whether this thread loads an application.
pub(crate) fn is_loading() -> bool {
    LOADING.get() > 0
}

impl Drop for LoadsApplication<'_> {
    fn drop(&mut self) {
        LOADING.set(LOADING.get() - 1);
        signals::unblock(self.0);
    }
}
