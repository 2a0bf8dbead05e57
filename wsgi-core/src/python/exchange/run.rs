//! The only code that calls, iterates and closes an application.

use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pyo3::ffi;

use super::cell::ExchangeCell;
use super::reply::{Next, Reply, Stop};
use super::{Exchange, Stage};
use crate::error::Fault;
use crate::host::{BodyInterest, Flush, Summary};
use crate::lock::rules;
use crate::python::application::loader::Application;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::lock::PartGuard;
use crate::python::attach::token::{Held, Obj, Token};
use crate::python::objects::convert::type_name;
use crate::python::objects::raise::Raised;

/// Number of items after which other threads may run Python. An iterator written in C that yields empty items would
/// otherwise keep the GIL.
const ITEMS_ATTACHED: usize = 256;

/// Limit of empty items that an iterable may yield after its body is complete, with inline execution, where the thread
/// has other work.
const EMPTY_ITEMS_INLINE: usize = 10_000;

impl Exchange {
    /// Calls the application, and completes the response if it returned a list or tuple.
    pub(super) fn call(&mut self, token: Token<'_>) -> Result<Option<Summary>, Fault> {
        let Stage::Call { environ, found } = std::mem::replace(&mut self.stage, Stage::Over) else { return Ok(None) };
        let environ = environ.ok_or(Fault::Application)?;
        if self.cell.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        let cell = &self.cell;
        let application = cell.location.application(token, &cell.log, found).map_err(|Raised| Fault::Application)?;
        // Environ is the only object of this request: its context is still empty.
        cell.interpreter.freezing.settle(token, &[environ.as_ptr()]);
        if cell.location.is_retiring() {
            // The client may repeat the request, which then reaches the new version in the process that takes over.
            self.reply(token)?.refresh = true;
        }
        let result = call_application(token, cell, &application, &environ);
        end_if_forked(token, || self.name());
        drop(environ.attach(token));
        self.application = Some(application);
        let iterable = result.map_err(|Raised| self.escaped(token, "exception in"))?;
        self.begin_iteration(token, iterable)
    }

    pub(super) fn begin_iteration(&mut self, token: Token<'_>, iterable: Obj<'_>) -> Result<Option<Summary>, Fault> {
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
        if self.is_file_wrapper(object)
            && let Some(part) = self.file_of(token, object)
        {
            return self.send_file(token, iterable, part).map(Some);
        }
        if wrong {
            // SAFETY: a live object.
            let kind = unsafe { type_name(object) };
            return Err(self.violation(&format!(
                "returned {kind} instead of an iterable of bytes (PEP 3333, The Application/Framework Side)"
            )));
        }
        rules::no_lock("the iterable is asked for its iterator");
        // SAFETY: a live object; a new reference results.
        let iterator = unsafe { token.own(ffi::PyObject_GetIter(object)) };
        end_if_forked(token, || self.name());
        let Some(iterator) = iterator else {
            let fault = self.raised(token, "cannot iterate over the result of");
            // An object that is not iterable may still have a close().
            self.stage = Stage::Iterate { iterable: iterable.duplicate().hold(), iterator: iterable.hold() };
            return Err(fault);
        };
        // Before the lock is taken, because this may run Python code.
        let single = length(token, object, || self.name()) == Some(1);
        let released = self.reply(token).and_then(|mut reply| {
            // The single block is the rest of the body: its length is known when it arrives (see `iterate`).
            reply.single = single && reply.response.collected() == 0;
            // The application has returned: send the blocks that were held back.
            let released = reply.release(Flush::Now);
            drop(reply);
            released.map_err(|stop| self.stopped(stop))
        });
        if let Err(fault) = released {
            self.stage = Stage::Iterate { iterable: iterable.hold(), iterator: iterator.hold() };
            return Err(fault);
        }
        self.stage = Stage::Iterate { iterable: iterable.hold(), iterator: iterator.hold() };
        Ok(None)
    }

    /// Sends a complete list of blocks: head, blocks and end together, with a Content-Length.
    pub(super) fn send_list(&mut self, token: Token<'_>, list: &Obj<'_>) -> Result<Summary, Fault> {
        let object = list.as_ptr();
        // Before the list is read: waiting for this lock lets other threads run, which may change the list.
        let mut guard = self.reply(token)?;
        if guard.response.head_sent()
            && let Err(stop) = guard.check_writes()
        {
            drop(guard);
            return Err(self.stopped(stop));
        }
        // SAFETY: an exact list or tuple. From here to the end of the loop below the GIL is kept and no Python code
        // runs.
        let blocks = unsafe { Blocks::of(object) };
        let (count, mut total) = (blocks.len(), 0);
        for index in 0..count {
            let block = blocks.get(index);
            // SAFETY: a live object.
            if unsafe { ffi::PyBytes_Check(block) } == 0 {
                drop(guard);
                return Err(self.not_bytes(block));
            }
            // SAFETY: a bytes object.
            total += unsafe { ffi::PyBytes_Size(block) } as u64;
        }
        let reply = &mut *guard;
        reply.response.declare_total(total);
        if let Err(short) = reply.response.check_total() {
            drop(guard);
            return Err(self.stopped(Stop::Protocol(short)));
        }
        reply.declare_blocks(count as usize, total);
        for index in 0..count {
            // SAFETY: a bytes object, as was checked above.
            match unsafe { reply.item(token, blocks.get(index), Flush::Later) } {
                Ok(Next::End) => break,
                Ok(Next::Ask | Next::Complete) => {}
                Err(stop) => {
                    drop(guard);
                    return Err(self.stopped(stop));
                }
            }
        }
        self.finish(guard)
    }

    pub(super) fn iterate(&mut self, token: Token<'_>, cx: &mut Context<'_>) -> Poll<Result<Summary, Fault>> {
        let mut items = 0_usize;
        while let Stage::Iterate { iterator, .. } = &self.stage {
            items += 1;
            if items.is_multiple_of(ITEMS_ATTACHED) && let_others_run(token).is_err() {
                return Poll::Ready(Err(self.escaped(token, "exception while iterating over the result of")));
            }
            if self.cell.is_cancelled() {
                return Poll::Ready(Err(Fault::Cancelled));
            }
            let interest = ready!(self.reply(token)?.poll_ready(cx));
            match interest {
                Ok(BodyInterest::Wanted) => {}
                // The host does not want the body: the response ends here.
                Ok(BodyInterest::Unwanted) => return Poll::Ready(self.finish_unwanted(token)),
                Err(stop) => return Poll::Ready(Err(self.stopped(stop))),
            }
            rules::no_lock("the iterable is asked for a block");
            // SAFETY: a live iterator; a new reference, or null at the end or with an exception.
            let block = unsafe { token.own(ffi::PyIter_Next(iterator.as_ptr())) };
            end_if_forked(token, || self.name());
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
                let mut reply = self.reply(token)?;
                // The iterable may have called `write` and caught its exception.
                reply.check_writes().and_then(|()| {
                    // SAFETY: a bytes object, as was just checked.
                    let len = unsafe { ffi::PyBytes_Size(block.as_ptr()) } as usize;
                    if std::mem::take(&mut reply.single) {
                        reply.response.declare_total(len as u64);
                    }
                    let flush = reply.flush_for(len, self.cell.location.settings());
                    // SAFETY: a live bytes object.
                    unsafe { reply.item(token, block.as_ptr(), flush) }
                })
            };
            match outcome {
                Ok(Next::Ask) => {}
                Ok(Next::End) => break,
                // A file wrapper may be used to send a part of a file.
                Ok(Next::Complete) if self.sends_file() => break,
                Ok(Next::Complete) => {
                    // Finish first: a client that disconnects after the last byte has all of it.
                    let result = self.reply(token).and_then(|reply| self.finish(reply));
                    self.run_out(token);
                    return Poll::Ready(result);
                }
                Err(stop) => return Poll::Ready(Err(self.stopped(stop))),
            }
        }
        Poll::Ready(self.reply(token).and_then(|reply| self.finish(reply)))
    }

    /// Asks an iterable for further blocks after its body is complete by its Content-Length, so that the code of a
    /// generator after its last `yield` runs, as on other servers. The client has its response, and may have
    /// disconnected.
    ///
    /// Empty items are dropped. The first non-empty item ends the iteration: "once enough data has been sent to meet
    /// the content length, the server should stop iterating" (PEP 3333, "Handling the Content-Length Header"). Errors
    /// are logged and do not change the response.
    fn run_out(&self, token: Token<'_>) {
        let Stage::Iterate { iterator, .. } = &self.stage else { return };
        let limit = if self.cell.interpreter.inline_thread.is_some() { EMPTY_ITEMS_INLINE } else { usize::MAX };
        for items in 1..=limit {
            if items.is_multiple_of(ITEMS_ATTACHED) && let_others_run(token).is_err() {
                self.raised(token, "exception while iterating over the result of");
                return;
            }
            rules::no_lock("the iterable is asked for a block");
            // SAFETY: a live iterator; a new reference, or null at the end or with an exception.
            let block = unsafe { token.own(ffi::PyIter_Next(iterator.as_ptr())) };
            end_if_forked(token, || self.name());
            let Some(block) = block else {
                // SAFETY: attached.
                if !unsafe { ffi::PyErr_Occurred() }.is_null() {
                    self.raised(token, "exception while iterating over the result of");
                }
                return;
            };
            // SAFETY: a live object.
            if unsafe { ffi::PyBytes_Check(block.as_ptr()) } == 0 {
                self.not_bytes(block.as_ptr());
                return;
            }
            // SAFETY: a bytes object, as was just checked.
            let excess = unsafe { ffi::PyBytes_Size(block.as_ptr()) };
            if excess > 0 {
                return self.complain_of_excess(excess as u64);
            }
        }
    }

    /// Ends the response after the iterable is exhausted or has given enough blocks.
    pub(super) fn finish(&self, mut reply: PartGuard<'_, Reply>) -> Result<Summary, Fault> {
        if let Err(stop) = reply.check_writes() {
            drop(reply);
            return Err(self.stopped(stop));
        }
        let excess = reply.excess;
        if excess > 0 && !self.sends_file() {
            // Before the end, after which the host may free the request that the log line belongs to.
            self.complain_of_excess(excess);
        }
        let outcome = reply.end();
        drop(reply);
        outcome.map_err(|stop| self.stopped(stop))
    }

    fn complain_of_excess(&self, excess: u64) {
        self.complain(&format!(
            "produced at least {excess} bytes beyond its Content-Length; they were not sent \
             (PEP 3333, Handling the Content-Length Header)"
        ));
    }

    pub(super) fn finish_unwanted(&mut self, token: Token<'_>) -> Result<Summary, Fault> {
        let outcome = self.reply(token)?.end_unwanted();
        outcome.map_err(|stop| self.stopped(stop))
    }

    /// Calls `close()` of the iterable once, in every case (PEP 3333, "Specification Details").
    pub(super) fn close(&mut self, token: Token<'_>) {
        let Stage::Iterate { iterable, iterator } = std::mem::replace(&mut self.stage, Stage::Over) else { return };
        drop(iterator);
        let Some(_entered) = self.enter_context(token) else { return };
        rules::no_lock("the iterable is closed");
        let name = token.interpreter().data().close.as_ptr();
        // SAFETY: live objects; new references result.
        unsafe {
            let close = token.own(ffi::PyObject_GetAttr(iterable.as_ptr(), name));
            end_if_forked(token, || self.name());
            let Some(close) = close else {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
                    self.raised(token, "exception while looking up close() of the result of");
                } else {
                    ffi::PyErr_Clear();
                }
                return;
            };
            let closed = token.own(ffi::PyObject_CallNoArgs(close.as_ptr()));
            end_if_forked(token, || self.name());
            if closed.is_none() {
                self.raised(token, "exception in close() of the result of");
            }
        }
    }
}

/// Releases the GIL if another thread has requested it for the switch interval. Runs bytecode for that: a thread that
/// detached and attached at once would get the GIL back before the other thread has woken up. Fails if an exception was
/// sent to this thread.
#[cold]
fn let_others_run(token: Token<'_>) -> Result<(), Raised> {
    token.call(token.helper(c"let_others_run")?.as_ptr(), &[]).map(drop)
}

/// Borrowed access to the items of an exact list or tuple.
struct Blocks {
    object: *mut ffi::PyObject,
    is_list: bool,
}

impl Blocks {
    /// # Safety
    ///
    /// `object` is an exact list or tuple that does not change as long as the result is used: the GIL is kept, and no
    /// Python code runs.
    unsafe fn of(object: *mut ffi::PyObject) -> Self {
        // SAFETY: a live object.
        Self { object, is_list: unsafe { ffi::PyList_CheckExact(object) } != 0 }
    }

    #[inline]
    fn len(&self) -> ffi::Py_ssize_t {
        // SAFETY: an exact list or tuple.
        unsafe { if self.is_list { ffi::PyList_GET_SIZE(self.object) } else { ffi::PyTuple_GET_SIZE(self.object) } }
    }

    /// Returns the item at an index below the length.
    #[inline]
    fn get(&self, index: ffi::Py_ssize_t) -> *mut ffi::PyObject {
        debug_assert!(index < self.len());
        // SAFETY: an exact list or tuple that has this index.
        unsafe {
            match self.is_list {
                true => ffi::PyList_GET_ITEM(self.object, index),
                false => ffi::PyTuple_GET_ITEM(self.object, index),
            }
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
    // The free word in front lets a bound method put its self there (PY_VECTORCALL_ARGUMENTS_OFFSET).
    let mut arguments = [ptr::null_mut(), environ.as_ptr(), start_response.as_ptr()];
    rules::no_lock("the application is called");
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

/// Returns `len(object)` if its type supports that (PEP 3333, "Handling the Content-Length Header"). `name` names the
/// application.
fn length(token: Token<'_>, object: *mut ffi::PyObject, name: impl FnOnce() -> String) -> Option<ffi::Py_ssize_t> {
    // SAFETY: a live object; its type's tables are static or live with the type.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let sequence = (*kind).tp_as_sequence.as_ref().is_some_and(|table| table.sq_length.is_some());
        let mapping = (*kind).tp_as_mapping.as_ref().is_some_and(|table| table.mp_length.is_some());
        if !sequence && !mapping {
            return None;
        }
        let length = ffi::PyObject_Size(object);
        end_if_forked(token, name);
        if length < 0 {
            token.clear_error();
            return None;
        }
        Some(length)
    }
}
