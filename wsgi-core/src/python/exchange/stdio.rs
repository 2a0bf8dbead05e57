//! Output of applications and messages of the bootstrap: text in pieces, logged line by line.
//!
//! Incomplete lines are kept per thread, so that the lines of two threads do not mix; they are logged when the
//! exchange that runs on the thread ends, when the thread ends, or on flush.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::ffi;

use super::cell::ExchangeCell;
use super::heap_type::{Blueprint, enter};
use crate::host::Level;
use crate::protocol::record::{LineBuffer, Log};
use crate::python::attach::data::HeapType;
use crate::python::attach::forked::log_of;
use crate::python::attach::lock::UnderWay;
use crate::python::attach::token::{Obj, Token, new_ref};
use crate::python::objects::method::{method, sentinel};
use crate::python::objects::raise::{Raised, type_error, value_error};
use crate::python::objects::text::Text;

const LEVELS: [Level; 4] = [Level::Notice, Level::Warn, Level::Error, Level::Crit];

thread_local! {
    /// Borrowed while the host logs a line. A print is refused if the host calls back into Python meanwhile.
    static LINES: RefCell<Lines> = RefCell::new(Lines::default());
    static DIRTY: Cell<bool> = const { Cell::new(false) };
    /// The exchange whose application this thread runs.
    static CURRENT: Cell<*const ExchangeCell> = const { Cell::new(ptr::null()) };
}

/// The incomplete lines of a thread.
#[derive(Default)]
struct Lines {
    of_levels: [LineBuffer; LEVELS.len()],
    /// Log for the incomplete lines when a thread ends that serves no request.
    log: Option<Log>,
}

impl Lines {
    fn finish(&mut self, log: &Log) {
        for (buffer, level) in self.of_levels.iter_mut().zip(LEVELS) {
            log.finish(level, buffer);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            // A panic would end the process, since thread-locals are being destroyed; the host's may be destroyed
            // already.
            let _ = catch_unwind(AssertUnwindSafe(|| self.finish(log_of(&log))));
        }
    }
}

/// Sends output of this thread to the log of `cell`'s request until dropped.
pub(crate) struct Current<'a> {
    before: *const ExchangeCell,
    cell: &'a ExchangeCell,
}

impl<'a> Current<'a> {
    pub(crate) fn new(cell: &'a ExchangeCell) -> Self {
        Self { before: CURRENT.replace(cell), cell }
    }
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        if DIRTY.replace(false) && flush(&self.cell.log).is_err() {
            // A line is being logged further up on the stack: the outer exchange will flush.
            DIRTY.set(true);
        }
        CURRENT.set(self.before);
    }
}

/// Creates the object behind `gateway.write(level, data)` and `gateway.flush()` of the bootstrap.
pub(crate) fn log_object<'py>(token: Token<'py>) -> Result<Obj<'py>, Raised> {
    // The instance keeps its type alive.
    HeapType::new(token, &BLUEPRINT)?.instance(token, None)
}

const BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.Log",
    doc: c"The error log of the server.",
    call: None,
    methods: &[
        method(c"write", write, c"write(level, data) -> number of bytes: logs each complete line of UTF-8"),
        method(c"flush", flush_lines, c"flush(): logs this thread's incomplete lines"),
        sentinel(),
    ],
    iter: None,
    next: None,
};

unsafe extern "C" fn write(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type with `count` live arguments.
    unsafe {
        enter(object, "log.write", ptr::null_mut(), |token, _| {
            if count != 2 {
                return Err(type_error(token, "write() takes exactly one argument"));
            }
            let level = token.to_text(*arguments)?;
            let Some(index) = LEVELS.iter().position(|known| known.name() == level) else {
                return Err(value_error(token, "no such level"));
            };
            let level = LEVELS[index];
            let bytes = Text::of_bytes(*arguments.add(1))?;
            let written =
                with_log(token, |log| on_lines(|lines| bytes.write(token, log, level, &mut lines.of_levels[index])));
            written.map_err(|held| held.raise(token, "writing to the error log"))?;
            DIRTY.set(true);
            bytes.length(token)
        })
    }
}

unsafe extern "C" fn flush_lines(
    object: *mut ffi::PyObject,
    _arguments: *mut *mut ffi::PyObject,
    _count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type.
    unsafe {
        enter(object, "log.flush_lines", ptr::null_mut(), |token, _| {
            with_log(token, flush).map_err(|held| held.raise(token, "flushing the error log"))?;
            Ok(new_ref(ffi::Py_None()))
        })
    }
}

/// Runs `work` with the log of the request that this thread serves, else with the log of the process.
fn with_log(token: Token<'_>, work: impl FnOnce(&Log) -> Result<(), UnderWay>) -> Result<(), UnderWay> {
    // SAFETY: null, or set by a `Current` that borrows the cell and is still on this thread's stack.
    if let Some(cell) = unsafe { CURRENT.get().as_ref() } {
        return work(log_of(&cell.log));
    }
    let log = &token.interpreter().log;
    on_lines(|lines| {
        lines.log.get_or_insert_with(|| log.clone());
    })?;
    work(log_of(log))
}

fn flush(log: &Log) -> Result<(), UnderWay> {
    on_lines(|lines| lines.finish(log))
}

/// Runs `work`, which calls the host, with this thread's incomplete lines. Fails within another such call.
fn on_lines(work: impl FnOnce(&mut Lines)) -> Result<(), UnderWay> {
    LINES.with(|lines| match lines.try_borrow_mut() {
        Ok(mut lines) => {
            work(&mut lines);
            Ok(())
        }
        Err(_) => Err(UnderWay),
    })
}
