//! One request and its response under way: the only place where an application is called, iterated and closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, ready};

use pyo3::ffi;

use super::cell::ExchangeCell;
use super::environ;
use super::heap_type::panic_message;
use super::interpreter::Interpreter;
use super::loader::Application;
use super::location::Location;
use super::raise::Raised;
use super::reply::Reply;
use super::report;
use super::stdio::Current;
use super::thread::Attached;
use super::token::{Held, Obj, Token};
use super::types::type_name;
use crate::config::Flag;
use crate::error::{Fault, HostError, ProtocolError};
use crate::host::{BodyInterest, Flush, HostParts, Level, RequestView};
use crate::input::Input;
use crate::reload::Version;
use crate::response::{HeadAt, Response};

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

/// What became of a complete exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Status code that was sent.
    pub status: u16,
    /// Bytes of body that the host took.
    pub body_bytes: u64,
}

/// A way to reach an exchange from other threads.
#[derive(Clone)]
pub struct ExchangeHandle {
    cell: Arc<ExchangeCell>,
}

impl ExchangeHandle {
    pub(super) fn new(cell: &Arc<ExchangeCell>) -> Self {
        Self { cell: Arc::clone(cell) }
    }

    /// The client has gone, or the host gives up: the iterable is closed at the next opportunity. Never blocks, and
    /// needs no Python.
    pub fn cancel(&self) {
        self.cell.cancel();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }
}

impl Exchange {
    /// Reads the request and prepares the call. The caller is attached or gets attached here.
    pub(super) fn new<R: RequestView>(request: &R, cell: Arc<ExchangeCell>) -> Self {
        let attached = Attached::new(cell.interpreter);
        let token = attached.token();
        let environ =
            match environ::build(token, &cell.location, request).and_then(|environ| add_streams(environ, &cell)) {
                Ok(environ) => Some(environ.hold()),
                Err(Raised) => {
                    report::pending(token, &*cell.log, "cannot make environ");
                    None
                }
            };
        drop(attached);
        Self { cell, application: None, context: None, stage: Stage::Call { environ, found: None } }
    }

    /// One that could not begin for want of its interpreter, which is in the log.
    pub(super) fn failed(cell: Arc<ExchangeCell>) -> Self {
        Self { cell, application: None, context: None, stage: Stage::Call { environ: None, found: None } }
    }

    /// Makes the cell that the host's handle and the application's objects share.
    pub(super) fn cell(
        interpreter: &'static Interpreter,
        location: &Arc<Location>,
        head_request: bool,
        parts: HostParts,
    ) -> Arc<ExchangeCell> {
        let HostParts { body, sink, log } = parts;
        let head_at = match location.settings().is_on(Flag::OptimizeSendHeaders) {
            true => HeadAt::FirstItem,
            false => HeadAt::FirstBlock,
        };
        let response = Response::new(head_request, head_at);
        Arc::new(ExchangeCell::new(interpreter, Arc::clone(location), log, response, sink, body.map(Input::new)))
    }

    /// A handle for the host's side.
    pub fn handle(&self) -> ExchangeHandle {
        ExchangeHandle::new(&self.cell)
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
        if let Stage::Call { found, .. } = &mut self.stage {
            *found = cell.location.look();
        }
        let attached = Attached::new(cell.interpreter);
        let token = attached.token();
        let current = Current::new(&cell);
        let result = catch_unwind(AssertUnwindSafe(|| self.in_context(token, cx))).unwrap_or_else(|panic| {
            cell.log.log(Level::Alert, &format!("panic while running an application: {}", panic_message(&*panic)));
            Poll::Ready(Err(Fault::Application))
        });
        if result.is_ready() {
            self.close(token);
            drop(current);
            cell.expire(token);
            drop(self.context.take().map(|context| context.attach(token)));
        }
        result
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

    fn enter_context<'py>(&mut self, token: Token<'py>) -> Option<EnteredContext<'py>> {
        if self.context.is_none() {
            // SAFETY: attached; a new reference results.
            match unsafe { token.own(ffi::PyContext_CopyCurrent()) } {
                Some(context) => self.context = Some(context.hold()),
                None => {
                    report::pending(token, &*self.cell.log, "cannot copy the context");
                    return None;
                }
            }
        }
        let context = self.context.as_ref()?.as_ptr();
        // SAFETY: a live context object that is not entered: one exchange runs on one thread.
        if unsafe { ffi::PyContext_Enter(context) } < 0 {
            report::pending(token, &*self.cell.log, "cannot enter the context");
            return None;
        }
        // SAFETY: the context is alive; the guard needs a reference of its own.
        unsafe { token.borrow(context) }.map(|context| EnteredContext { context })
    }

    /// Calls the application, and answers at once if it returned a list or tuple.
    fn call(&mut self, token: Token<'_>) -> Result<Option<Summary>, Fault> {
        let Stage::Call { environ, found } = std::mem::replace(&mut self.stage, Stage::Over) else { return Ok(None) };
        let environ = environ.ok_or(Fault::Application)?;
        if self.cell.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        let cell = &self.cell;
        let application = cell.location.application(token, &*cell.log, found).map_err(|Raised| Fault::Application)?;
        if cell.location.is_retiring() {
            // The client may ask again, and get the new version from the process that takes over.
            cell.reply(token).refresh = true;
        }
        let result = call_application(token, cell, &application, &environ);
        drop(environ.attach(token));
        self.application = Some(application);
        let iterable = result.map_err(|Raised| self.escaped(token, "exception in"))?;
        self.begin_iteration(token, iterable)
    }

    fn begin_iteration(&mut self, token: Token<'_>, iterable: Obj<'_>) -> Result<Option<Summary>, Fault> {
        let object = iterable.as_ptr();
        // SAFETY: a live object.
        let (list, wrong) = unsafe {
            (
                ffi::PyList_CheckExact(object) != 0 || ffi::PyTuple_CheckExact(object) != 0,
                ffi::PyBytes_Check(object) != 0 || ffi::PyUnicode_Check(object) != 0 || object == ffi::Py_None(),
            )
        };
        if list {
            return self.send_list(token, &iterable).map(Some);
        }
        if wrong {
            // SAFETY: a live object.
            let kind = unsafe { type_name(object) };
            return Err(self.violation(&format!(
                "returned {kind} instead of an iterable of bytes (PEP 3333, The Application/Framework Side)"
            )));
        }
        // SAFETY: a live object; a new reference results.
        let iterator = unsafe { token.own(ffi::PyObject_GetIter(object)) };
        let Some(iterator) = iterator else {
            let fault = self.raised(token, "cannot iterate over what was returned by");
            // What cannot be iterated may still want to be closed.
            self.stage = Stage::Iterate { iterable: iterable.duplicate().hold(), iterator: iterable.hold() };
            return Err(fault);
        };
        // Before the lock is taken: this may run Python code.
        let single = length(token, object) == Some(1);
        let released = {
            let mut reply = self.cell.reply(token);
            // The single block is the rest of the body: its length is known as soon as it is there (see `iterate`).
            reply.single = single && reply.response.collected() == 0;
            // What was written waits for the application no longer.
            reply.release(Flush::Now)
        };
        if let Err(stop) = released {
            let fault = self.stopped(stop);
            self.stage = Stage::Iterate { iterable: iterable.hold(), iterator: iterator.hold() };
            return Err(fault);
        }
        self.stage = Stage::Iterate { iterable: iterable.hold(), iterator: iterator.hold() };
        Ok(None)
    }

    /// All blocks are there: head, blocks and end leave in one go, with a Content-Length.
    fn send_list(&mut self, token: Token<'_>, list: &Obj<'_>) -> Result<Summary, Fault> {
        let object = list.as_ptr();
        // First of all: waiting for it lets other threads run, which may change the list.
        let mut guard = self.cell.reply(token);
        // SAFETY: an exact list or tuple; each item is borrowed while nothing can change the list: from here to the end of
        // the loop below the GIL is kept and no Python code runs.
        unsafe {
            let is_list = ffi::PyList_CheckExact(object) != 0;
            let size = || if is_list { ffi::PyList_GET_SIZE(object) } else { ffi::PyTuple_GET_SIZE(object) };
            let item = |index| {
                if is_list { ffi::PyList_GET_ITEM(object, index) } else { ffi::PyTuple_GET_ITEM(object, index) }
            };
            let mut total = 0;
            for index in 0..size() {
                let block = item(index);
                if ffi::PyBytes_Check(block) == 0 {
                    drop(guard);
                    return Err(self.not_bytes(block));
                }
                total += ffi::PyBytes_Size(block) as u64;
            }
            let reply = &mut *guard;
            reply.response.declare_total(total);
            if let Err(short) = reply.response.check_total() {
                drop(guard);
                return Err(self.stopped(Stop::Protocol(short)));
            }
            reply.declare_blocks(size() as usize);
            let mut index = 0;
            let mut outcome = Ok(());
            while index < size() && outcome.is_ok() {
                outcome = reply.item(token, item(index), Flush::Later).map(|last| {
                    index = if last { ffi::Py_ssize_t::MAX } else { index + 1 };
                });
            }
            match outcome {
                Ok(()) => self.finish(guard),
                Err(stop) => {
                    drop(guard);
                    Err(self.stopped(stop))
                }
            }
        }
    }

    fn iterate(&mut self, token: Token<'_>, cx: &mut Context<'_>) -> Poll<Result<Summary, Fault>> {
        let settings = self.cell.location.settings();
        let joined = settings.is_on(Flag::OutputBuffering).then(|| settings.write_buffer_size());
        while let Stage::Iterate { iterator, .. } = &self.stage {
            if self.cell.is_cancelled() {
                return Poll::Ready(Err(Fault::Cancelled));
            }
            if let Some(fault) = self.failed_write(token) {
                return Poll::Ready(Err(fault));
            }
            let interest = {
                let mut reply = self.cell.reply(token);
                match reply.sink.as_mut() {
                    Some(sink) => ready!(sink.poll_ready(cx)),
                    None => Err(HostError::ClientGone),
                }
            };
            match interest {
                Ok(BodyInterest::Wanted) => {}
                // Nobody reads the body: it ends here.
                Ok(BodyInterest::Unwanted) => return Poll::Ready(self.finish_unwanted(token)),
                Err(error) => return Poll::Ready(Err(self.host_failed(error))),
            }
            // SAFETY: a live iterator; a new reference, or null at the end or with an exception.
            let block = unsafe { token.own(ffi::PyIter_Next(iterator.as_ptr())) };
            let Some(block) = block else {
                // SAFETY: attached.
                if !unsafe { ffi::PyErr_Occurred() }.is_null() {
                    return Poll::Ready(Err(self.escaped(token, "exception while iterating over the result of")));
                }
                break;
            };
            // SAFETY: a live object.
            if unsafe { ffi::PyBytes_Check(block.as_ptr()) } == 0 {
                let fault = self.not_bytes(block.as_ptr());
                return Poll::Ready(Err(fault));
            }
            let outcome = {
                let mut reply = self.cell.reply(token);
                // SAFETY: a bytes object, as was just checked.
                let len = unsafe { ffi::PyBytes_Size(block.as_ptr()) } as usize;
                if std::mem::take(&mut reply.single) {
                    reply.response.declare_total(len as u64);
                }
                let flush = joined.map_or(Flush::Now, |limit| reply.join(len, limit));
                // SAFETY: as above.
                unsafe { reply.item(token, block.as_ptr(), flush) }
            };
            match outcome {
                Ok(false) => {}
                Ok(true) => break,
                Err(stop) => return Poll::Ready(Err(self.stopped(stop))),
            }
        }
        Poll::Ready(self.finish(self.cell.reply(token)))
    }

    /// The iterable is exhausted, or as much of it as is needed has been sent.
    fn finish(&self, mut reply: MutexGuard<'_, Reply>) -> Result<Summary, Fault> {
        let (failure, outcome, excess) = match reply.failure.take() {
            Some(failure) => (Some(failure), Err(Stop::Host(HostError::ClientGone)), 0),
            None => (None, reply.end(), reply.excess),
        };
        drop(reply);
        if let Some(failure) = failure {
            return Err(write_fault(failure));
        }
        if excess > 0 && !self.sends_file() {
            self.complain(&format!(
                "produced at least {excess} bytes beyond its Content-Length; they were not sent \
                 (PEP 3333, Handling the Content-Length Header)"
            ));
        }
        outcome.map_err(|stop| self.stopped(stop))
    }

    /// Whether a file wrapper is what was returned. That sends no more than Content-Length of its file, as PEP 3333 has it
    /// ("Optional Platform-Specific File Handling"): it is how an application sends a part.
    fn sends_file(&self) -> bool {
        let Stage::Iterate { iterable, .. } = &self.stage else { return false };
        // SAFETY: a live object, which keeps its type alive.
        let kind = unsafe { ffi::Py_TYPE(iterable.as_ptr()) };
        kind.cast() == self.cell.interpreter.data().file_wrapper.as_ptr()
    }

    fn finish_unwanted(&mut self, token: Token<'_>) -> Result<Summary, Fault> {
        let outcome = self.cell.reply(token).end_unwanted();
        outcome.map_err(|stop| self.stopped(stop))
    }

    fn failed_write(&self, token: Token<'_>) -> Option<Fault> {
        self.cell.reply(token).failure.take().map(write_fault)
    }

    /// Calls `close()` of the iterable, once, whatever happened before (PEP 3333, "Specification Details").
    fn close(&mut self, token: Token<'_>) {
        let Stage::Iterate { iterable, iterator } = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        drop(iterator);
        let Some(_entered) = self.enter_context(token) else { return };
        let name = token.interpreter().data().close.as_ptr();
        // SAFETY: live objects; new references result.
        unsafe {
            let Some(close) = token.own(ffi::PyObject_GetAttr(iterable.as_ptr(), name)) else {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
                    self.raised(token, "exception while looking up close() of the result of");
                } else {
                    ffi::PyErr_Clear();
                }
                return;
            };
            if token.own(ffi::PyObject_CallNoArgs(close.as_ptr())).is_none() {
                self.raised(token, "exception in close() of the result of");
            }
        }
    }

    /// Logs the pending exception, unless it is what a write has raised because of the client: passing that on is no fault
    /// of the application's.
    fn escaped(&self, token: Token<'_>, what: &str) -> Fault {
        let mut reply = self.cell.reply(token);
        let kind = match reply.failure.as_deref() {
            // SAFETY: statics of the running interpreter.
            Some(HostError::ClientGone) => Some(unsafe { ffi::PyExc_BrokenPipeError }),
            // SAFETY: as above.
            Some(HostError::TimedOut) => Some(unsafe { ffi::PyExc_TimeoutError }),
            Some(HostError::Io(_)) | None => None,
        };
        // SAFETY: attached, with an exception pending; to compare it with a built-in type runs no Python code.
        let failure = match kind.is_some_and(|kind| unsafe { ffi::PyErr_ExceptionMatches(kind) } != 0) {
            true => reply.failure.take(),
            false => None,
        };
        drop(reply);
        let Some(failure) = failure else { return self.raised(token, what) };
        token.clear_error();
        self.host_failed(Arc::into_inner(failure).unwrap_or(HostError::ClientGone))
    }

    /// Logs the pending exception.
    fn raised(&self, token: Token<'_>, what: &str) -> Fault {
        report::pending(token, &*self.cell.log, &format!("{what} {}", self.name()));
        Fault::Application
    }

    fn violation(&self, what: &str) -> Fault {
        self.complain(what);
        Fault::Application
    }

    fn complain(&self, what: &str) {
        self.cell.log.log(Level::Error, &format!("{} {what}", self.name()));
    }

    fn name(&self) -> String {
        self.cell.location.target().to_string()
    }

    fn not_bytes(&self, block: *mut ffi::PyObject) -> Fault {
        // SAFETY: the caller holds a reference.
        let kind = unsafe { type_name(block) };
        self.violation(&format!("produced a block of type {kind} instead of bytes (PEP 3333, A Note On String Types)"))
    }

    fn host_failed(&self, error: HostError) -> Fault {
        self.cell.log.log(Level::Info, &format!("response of {} not sent: {error}", self.name()));
        Fault::Host(error)
    }

    fn stopped(&self, stop: Stop) -> Fault {
        match stop {
            Stop::Protocol(error) => self.violation(&format!("broke the protocol: {error}")),
            Stop::Host(error) => self.host_failed(error),
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
        self.stage = Stage::Over;
        drop(current);
        cell.expire(attached.token());
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
        set(&data.input_key, data.types.input.instance(token, Some(cell))?)?;
    }
    Ok(environ)
}

/// What a failed write that was reported to the application means for the exchange.
fn write_fault(failure: Arc<HostError>) -> Fault {
    Fault::Host(Arc::into_inner(failure).unwrap_or(HostError::ClientGone))
}

/// Why a response ended before its time.
pub(super) enum Stop {
    Protocol(ProtocolError),
    Host(HostError),
}

/// The context that code of the request runs in, until dropped.
struct EnteredContext<'py> {
    context: Obj<'py>,
}

impl Drop for EnteredContext<'_> {
    fn drop(&mut self) {
        // SAFETY: entered on this thread, and left in reverse order. A pending exception must survive the call.
        unsafe {
            debug_assert!(ffi::PyErr_Occurred().is_null());
            ffi::PyContext_Exit(self.context.as_ptr());
        }
    }
}

fn call_application<'py>(
    token: Token<'py>,
    cell: &Arc<ExchangeCell>,
    application: &Application,
    environ: &Held,
) -> Result<Obj<'py>, Raised> {
    let types = &token.interpreter().data().types;
    let start_response = types.start_response.instance(token, Some(cell))?;
    // One free word in front lets a bound method put its self there (PY_VECTORCALL_ARGUMENTS_OFFSET).
    let mut arguments = [ptr::null_mut(), environ.as_ptr(), start_response.as_ptr()];
    // SAFETY: callable and arguments are alive; a new reference results.
    unsafe {
        token.own(ffi::PyObject_Vectorcall(
            application.callable.as_ptr(),
            arguments.as_mut_ptr().add(1),
            2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            ptr::null_mut(),
        ))
    }
    .ok_or(Raised)
}

/// `len(object)` where its type has one at all (PEP 3333, "Handling the Content-Length Header").
fn length(token: Token<'_>, object: *mut ffi::PyObject) -> Option<ffi::Py_ssize_t> {
    // SAFETY: a live object; its type's tables are static or live with the type.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let sequence = (*kind).tp_as_sequence.as_ref().is_some_and(|table| table.sq_length.is_some());
        let mapping = (*kind).tp_as_mapping.as_ref().is_some_and(|table| table.mp_length.is_some());
        if !sequence && !mapping {
            return None;
        }
        let length = ffi::PyObject_Size(object);
        if length < 0 {
            token.clear_error();
            return None;
        }
        Some(length)
    }
}
