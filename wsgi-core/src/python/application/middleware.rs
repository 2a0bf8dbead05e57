//! Middleware: callables that take an application and return another one.

use pyo3::ffi;

use crate::config::Layer;
use crate::python::attach::token::{Obj, Token};
use crate::python::objects::convert::resolve;
use crate::python::objects::raise::Raised;

/// One layer of middleware around an application (PEP 3333, "Middleware: Components that Play Both Sides").
///
/// `wrap` is called once for each application, and again after a reload.
pub trait Middleware: Send + Sync {
    /// Returns the name for log lines.
    fn name(&self) -> String;

    /// Returns the callable that replaces `application`. Runs attached to Python, in the interpreter of the
    /// application.
    fn wrap<'py>(&self, application: Callable<'py>) -> Result<Callable<'py>, MiddlewareError>;
}

/// Why a middleware could not be applied. The request is answered with 500, and the next request tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MiddlewareError {
    /// A Python exception, which is pending on this thread.
    #[error("exception in Python")]
    Raised,
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

/// A Python object that can be called while the thread is attached for `'py`.
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

    /// Returns the object as a borrowed reference.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Replaces the object with `object`, which belongs to the same interpreter; `None` if `object` is null.
    ///
    /// # Safety
    ///
    /// `object` is null or a reference that the caller owns.
    pub unsafe fn replaced_by(self, object: *mut ffi::PyObject) -> Option<Self> {
        // SAFETY: `object` is null or a reference that the caller owned and gives away.
        unsafe { self.0.token().own(object) }.map(Self)
    }

    /// Imports `module` and returns its `attribute`, which may have dots.
    pub fn import(&self, module: &str, attribute: &str) -> Result<Self, MiddlewareError> {
        let token = self.0.token();
        import(token, module, attribute).map(Self).map_err(|Raised| MiddlewareError::Raised)
    }

    /// Calls the object with one argument.
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

/// A middleware that is named by its Python callable (`wsgi_middleware`).
pub struct PythonMiddleware {
    layer: Layer,
}

impl PythonMiddleware {
    /// Creates the middleware for `layer`, one argument of the directive.
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
