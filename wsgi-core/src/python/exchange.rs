//! Floor 4: one request and its response under way.
//!
//! An [`Exchange`] calls the application (`run`) in a `context` of its own. The objects that it hands to the application (`types`)
//! share a `cell`, which has the response side (`reply`) and the request body. `blame` decides whose fault a failure is.

mod blame;
pub(crate) mod cell;
mod context;
pub(crate) mod environ;
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
use crate::host::{HostParts, Level, RequestView};
use crate::input::Input;
use crate::pool::panic_message;
use crate::python::application::loader::Application;
use crate::python::application::location::Location;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::signals;
use crate::python::attach::thread::Attached;
use crate::python::attach::token::{Held, Obj, Token};
use crate::python::objects::raise::Raised;
use crate::python::objects::report;
use crate::record::Log;
use crate::reload::Version;
use crate::response::{HeadAt, Response};
use cell::ExchangeCell;
use reply::Summary;
use stdio::Current;

/// A request that is being answered.
///
/// [`advance`](Self::advance) runs the application until the response is complete or the host cannot take more. Drop it
/// earlier and the application's iterable is closed.
pub struct Exchange {
    cell: Arc<ExchangeCell>,
    /// Kept to the end: a reload meanwhile must not take the code away.
    application: Option<Arc<Application>>,
    /// The request's own copy of the context variables (PEP 567), entered whenever its code runs.
    context: Option<Held>,
    stage: Stage,
    /// Its interpreter counts it.
    under_way: bool,
}

enum Stage {
    /// The application has not been called. No environ: making it failed and is logged.
    Call {
        environ: Option<Held>,
        /// The version of the script, where that is of interest.
        found: Option<Version>,
    },
    /// It has returned an iterable, which is asked for one block after the other.
    Iterate {
        iterable: Held,
        iterator: Held,
    },
    Over,
}

impl Exchange {
    /// Reads the request and prepares the call. Attaches the thread, unless it is attached. `found` is the version of the
    /// application's file ([`Location::stamp_now`]).
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
        // The garbage collector may have called a destructor.
        end_if_forked(token, || "an application".to_owned());
        drop(attached);
        Self { cell, application: None, context: None, stage: Stage::Call { environ, found }, under_way: true }
    }

    /// One that could not begin for want of its interpreter, which is in the log.
    pub(super) fn failed(cell: Arc<ExchangeCell>) -> Self {
        let stage = Stage::Call { environ: None, found: None };
        Self { cell, application: None, context: None, stage, under_way: false }
    }

    /// Makes the cell that the host's handle and the application's objects share.
    pub(super) fn cell(
        interpreter: &'static Interpreter,
        location: &Arc<Location>,
        head_request: bool,
        parts: HostParts,
    ) -> Arc<ExchangeCell> {
        let HostParts { body, sink, log } = parts;
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

    /// Runs application code until the response is complete (`Ready`), or until the host's sink wants to be waited for
    /// (`Pending`; `cx` is woken then). Everything worth knowing about a fault is in the log already.
    ///
    /// Blocks for as long as the application does. Always call it on the same thread.
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

    /// Nothing of the request is left but what the application has kept.
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

/// The objects of environ that belong to one request.
fn add_streams<'py>(environ: Obj<'py>, cell: &Arc<ExchangeCell>) -> Result<Obj<'py>, Raised> {
    let token = environ.token();
    let data = token.interpreter().data();
    let set = |key: &Held, value: Obj<'py>| {
        // SAFETY: a dict of our own and live objects.
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
