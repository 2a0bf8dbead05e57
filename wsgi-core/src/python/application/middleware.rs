//! What stands around an application: callables that take one and give another.

use pyo3::ffi;

use crate::config::Layer;
use crate::python::attach::token::{Obj, Token};
use crate::python::objects::convert::resolve;
use crate::python::objects::raise::Raised;

/// One layer of the stack around an application (PEP 3333, "Middleware: Components that Play Both Sides").
///
/// It is asked once for each application that it is put around, and again after a reload.
pub trait Middleware: Send + Sync {
    /// What log lines call it.
    fn name(&self) -> String;

    /// Makes what stands in place of `application`. Runs attached to Python, in the interpreter of the application.
    fn wrap<'py>(&self, application: Callable<'py>) -> Result<Callable<'py>, MiddlewareError>;
}

/// Why there is no middleware. Requests are answered with 500, and the next one tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiddlewareError {
    /// A Python exception, which is set on this thread.
    #[error("exception in Python")]
    Raised,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A Python object that can be called, on the thread that is attached for `'py`.
pub struct Callable<'py>(Obj<'py>);

impl<'py> Callable<'py> {
    pub(crate) fn new(object: Obj<'py>) -> Self {
        Self(object)
    }

    pub(crate) fn object(&self) -> &Obj<'py> {
        &self.0
    }

    pub(crate) fn into_object(self) -> Obj<'py> {
        self.0
    }

    /// The object, borrowed.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Another object of the same interpreter in its place; `None` if `object` is null.
    ///
    /// # Safety
    ///
    /// `object` is null or a reference that the caller owns.
    pub unsafe fn replaced_by(self, object: *mut ffi::PyObject) -> Option<Self> {
        // SAFETY: null or a reference that is ours from here on.
        unsafe { self.0.token().own(object) }.map(Self)
    }

    /// `attribute`, which may have dots, of a module that Python imports.
    pub fn import(&self, module: &str, attribute: &str) -> Result<Self, MiddlewareError> {
        let token = self.0.token();
        import(token, module, attribute).map(Self).map_err(|Raised| MiddlewareError::Raised)
    }

    /// Calls it with one argument.
    pub fn call(&self, argument: &Self) -> Result<Self, MiddlewareError> {
        let result = self.0.token().call(self.as_ptr(), &[argument.as_ptr()]);
        result.map(Self).map_err(|Raised| MiddlewareError::Raised)
    }
}

fn import<'py>(token: Token<'py>, module: &str, attribute: &str) -> Result<Obj<'py>, Raised> {
    let name = token.text(module)?;
    let module = token.call(token.helper(c"import_module")?.as_ptr(), &[name.as_ptr()])?;
    resolve(token, &module, attribute)
}

/// A middleware by the name of a Python callable (`wsgi_middleware`).
pub struct PythonMiddleware {
    layer: Layer,
}

impl PythonMiddleware {
    /// The one that a directive names.
    pub fn new(layer: Layer) -> Self {
        Self { layer }
    }
}

impl Middleware for PythonMiddleware {
    fn name(&self) -> String {
        self.layer.to_string()
    }

    fn wrap<'py>(&self, application: Callable<'py>) -> Result<Callable<'py>, MiddlewareError> {
        application.import(&self.layer.module, &self.layer.callable)?.call(&application)
    }
}
