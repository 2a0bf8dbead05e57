//! Floor 4: one request and its response under way.
//!
//! An [`Exchange`] calls the application (`run`) in a `context` that belongs to the request. The objects that the
//! application gets (`types`) share a `cell`, which has the response side (`reply`) and the request body. `blame`
//! attributes a failure to the application, the host or the client.

mod blame;
pub(crate) mod cell;
mod context;
pub(crate) mod environ;
mod file;
pub(crate) mod heap_type;
pub(crate) mod reply;
mod run;
pub(crate) mod stdio;
pub(crate) mod types;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::ffi;

use crate::config::Flag;
use crate::error::Fault;
use crate::host::{HostParts, Level, RequestView, Summary};
use crate::protocol::input::Input;
use crate::protocol::pool::panic_message;
use crate::protocol::record::Log;
use crate::protocol::reload::Version;
use crate::protocol::response::{HeadAt, Response};
use crate::python::application::loader::Application;
use crate::python::application::location::Location;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::signals;
use crate::python::attach::thread::Attached;
use crate::python::attach::token::{Held, Obj, Token};
use crate::python::objects::raise::Raised;
use crate::python::objects::report;
use cell::ExchangeCell;
use stdio::Current;

/// A request that is being answered.
///
/// [`advance`](Self::advance) runs the application until the response is complete or the host cannot take more.
/// Dropping the exchange earlier closes the application's iterable.
pub struct Exchange {
    cell: Arc<ExchangeCell>,
    /// Kept to the end, so that a reload does not free the code in use.
    application: Option<Arc<Application>>,
    /// The request's own copy of the context variables (PEP 567), entered whenever its code runs.
    context: Option<Held>,
    stage: Stage,
    /// Whether the interpreter counts this exchange as under way.
    under_way: bool,
}

enum Stage {
    /// The application has not been called. Without environ, an earlier step has failed and was logged.
    Call {
        environ: Option<Held>,
        /// Version of the script, if the location needs it.
        found: Option<Version>,
    },
    /// The application has returned an iterable, whose blocks are pulled one by one.
    Iterate {
        iterable: Held,
        iterator: Held,
    },
    Over,
}

impl Exchange {
    /// Reads the request and prepares the call of the application. Attaches the thread unless it is attached. `found`
    /// is the version of the application's file ([`Location::stamp_now`]).
    pub(super) fn new<R: RequestView>(request: &R, cell: Arc<ExchangeCell>, found: Option<Version>) -> Self {
        let attached = Attached::new(cell.interpreter);
        let token = attached.token();
        let environ =
            match environ::build(token, &cell.location, request).and_then(|environ| add_streams(environ, &cell)) {
                Ok(environ) => Some(environ.hold()),
                Err(Raised) => {
                    report::pending(token, &cell.log, "cannot make environ");
                    None
                }
            };
        cell.interpreter.freezing.begin(token);
        #[cfg(not(Py_3_13))]
        crate::python::attach::gil_switch::exchange_started();
        // The garbage collector may have run a destructor, which may have forked.
        end_if_forked(token, || "an application".to_owned());
        drop(attached);
        Self { cell, application: None, context: None, stage: Stage::Call { environ, found }, under_way: true }
    }

    /// Creates an exchange whose interpreter failed to start (already logged).
    pub(super) fn failed(cell: Arc<ExchangeCell>) -> Self {
        let stage = Stage::Call { environ: None, found: None };
        Self { cell, application: None, context: None, stage, under_way: false }
    }

    /// Creates the cell that the host's handle and the application's objects share.
    #[inline(always)]
    pub(super) fn cell(
        interpreter: &'static Interpreter,
        location: &Arc<Location>,
        head_request: bool,
        parts: HostParts,
    ) -> Arc<ExchangeCell> {
        let HostParts { body, sink, log, .. } = parts;
        let log = Log::new(log);
        let head_at = match location.settings().is_on(Flag::OptimizeSendHeaders) {
            true => HeadAt::FirstItem,
            false => HeadAt::FirstBlock,
        };
        let response = Response::new(head_request, head_at);
        Arc::new(ExchangeCell::new(interpreter, Arc::clone(location), log, response, sink, body.map(Input::new)))
    }

    /// Attaches this thread to the interpreter of the exchange; see [`Gateway::attach`](super::Gateway::attach).
    pub fn attach(&self) -> Attached<'static> {
        Attached::new(self.cell.interpreter)
    }

    /// Runs application code until the response is complete (`Ready`), or until the host's sink must be waited for
    /// (`Pending`; `cx` is woken then). The details of a fault are in the log already.
    ///
    /// Blocks for as long as the application runs. Always call it on the same thread.
    pub fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<Summary, Fault>> {
        let cell = Arc::clone(&self.cell);
        let attached = Attached::new(cell.interpreter);
        let token = attached.token();
        let current = Current::new(&cell);
        let result = catch_unwind(AssertUnwindSafe(|| self.in_context(token, cx))).unwrap_or_else(|panic| {
            cell.log.log(Level::Alert, &format!("panic while running an application: {}", panic_message(&*panic)));
            Poll::Ready(Err(Fault::Application))
        });
        signals::unblock(cell.interpreter);
        if result.is_ready() {
            self.close(token);
            drop(current);
            // Destructors run from here on: of the iterable, of environ, of values of the context.
            end_if_forked(token, || self.name());
            let fault = match &result {
                Poll::Ready(Err(fault)) => Some(fault),
                _ => None,
            };
            cell.expire(token, fault);
            drop(self.context.take().map(|context| context.attach(token)));
            self.end(token);
        }
        end_if_forked(token, || self.name());
        result
    }

    /// Ends the count of the exchange, after all its objects were released but those that the application has kept.
    fn end(&mut self, token: Token<'_>) {
        if std::mem::take(&mut self.under_way) {
            self.cell.interpreter.freezing.end(token);
        }
    }

    fn in_context(&mut self, token: Token<'_>, cx: &mut Context<'_>) -> Poll<Result<Summary, Fault>> {
        let Some(_entered) = self.enter_context(token) else { return Poll::Ready(Err(Fault::Application)) };
        if matches!(self.stage, Stage::Call { .. })
            && let Some(result) = self.call(token).transpose()
        {
            return Poll::Ready(result);
        }
        match self.iterate(token, cx) {
            Poll::Pending => {
                self.cell.wait_with(cx.waker());
                if self.cell.is_cancelled() { Poll::Ready(Err(Fault::Cancelled)) } else { Poll::Pending }
            }
            ready => ready,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Over) && !self.cell.is_live() {
            return;
        }
        let cell = Arc::clone(&self.cell);
        let attached = Attached::new(cell.interpreter);
        let current = Current::new(&cell);
        self.close(attached.token());
        signals::unblock(cell.interpreter);
        self.stage = Stage::Over;
        drop(current);
        end_if_forked(attached.token(), || self.name());
        cell.expire(attached.token(), None);
        drop(self.context.take());
        self.end(attached.token());
        end_if_forked(attached.token(), || self.name());
    }
}

/// Adds the objects of one request to environ.
fn add_streams<'py>(environ: Obj<'py>, cell: &Arc<ExchangeCell>) -> Result<Obj<'py>, Raised> {
    let token = environ.token();
    let data = token.interpreter().data();
    let set = |key: &Held, value: Obj<'py>| {
        // SAFETY: a new dict and live objects.
        let result = unsafe { ffi::PyDict_SetItem(environ.as_ptr(), key.as_ptr(), value.as_ptr()) };
        if result < 0 { Err(Raised) } else { Ok(()) }
    };
    set(&data.errors_key, data.types.errors.instance(token, Some(cell))?)?;
    if cell.has_input() {
        let body = cell.input(token).map_err(|held| held.raise(token, "wsgi.input"))?;
        let is_seekable = body.as_ref().is_some_and(|body| body.length().is_some());
        drop(body);
        let kind = if is_seekable { &data.types.seekable_input } else { &data.types.input };
        set(&data.input_key, kind.instance(token, Some(cell))?)?;
    }
    Ok(environ)
}
