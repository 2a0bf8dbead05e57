//! What applications print, and what the bootstrap reports: text in pieces, logged line by line.
//!
//! Incomplete lines are kept per thread, so that the lines of two threads do not mix; they are logged when the
//! exchange that runs on the thread ends, or on flush.

use std::cell::{Cell, RefCell};
use std::ptr;

use pyo3::ffi;

use super::cell::ExchangeCell;
use super::heap_type::{Blueprint, HeapType, enter};
use super::lock::UnderWay;
use super::method::{method, sentinel};
use super::processes::log_of;
use super::raise::{Raised, type_error, value_error};
use super::token::{Obj, Token, new_ref};
use crate::host::Level;
use crate::record::{LineBuffer, Log};

const LEVELS: [(&str, Level); 4] =
    [("notice", Level::Notice), ("warn", Level::Warn), ("error", Level::Error), ("crit", Level::Crit)];

thread_local! {
    /// Borrowed while the host logs a line. A host that comes back into Python then, and prints, is refused.
    static LINES: RefCell<[LineBuffer; LEVELS.len()]> =
        RefCell::new(std::array::from_fn(|_| LineBuffer::new()));
    static DIRTY: Cell<bool> = const { Cell::new(false) };
    /// The exchange whose application this thread runs.
    static CURRENT: Cell<*const ExchangeCell> = const { Cell::new(ptr::null()) };
}

/// While it lives, what this thread prints goes to the log of `cell`'s request.
pub(super) struct Current<'a> {
    before: *const ExchangeCell,
    cell: &'a ExchangeCell,
}

impl<'a> Current<'a> {
    pub(super) fn new(cell: &'a ExchangeCell) -> Self {
        Self { before: CURRENT.replace(cell), cell }
    }
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        if DIRTY.replace(false) && flush(&self.cell.log).is_err() {
            // A line is being logged further up on the stack: the exchange around this one flushes.
            DIRTY.set(true);
        }
        CURRENT.set(self.before);
    }
}

/// `gateway.log(level, text)` and `gateway.flush()` of the bootstrap.
pub(super) fn log_object<'py>(token: Token<'py>) -> Result<Obj<'py>, Raised> {
    // The instance keeps its type alive.
    HeapType::new(token, &BLUEPRINT)?.instance(token, None)
}

const BLUEPRINT: Blueprint = Blueprint {
    name: c"wsgi_gateway.Log",
    doc: c"The error log of the server.",
    call: None,
    methods: &[
        method(c"log", log, c"log(level, text): logs each complete line of text"),
        method(c"flush", flush_lines, c"flush(): logs this thread's incomplete lines"),
        sentinel(),
    ],
    iter: None,
    next: None,
};

unsafe extern "C" fn log(
    object: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method of our type with `count` live arguments.
    unsafe {
        enter(object, "log.log", ptr::null_mut(), |token, _| {
            if count != 2 || ffi::PyUnicode_Check(*arguments) == 0 || ffi::PyUnicode_Check(*arguments.add(1)) == 0 {
                return Err(type_error(token, "log() takes a level and a text"));
            }
            let level = token.to_text(*arguments)?;
            let Some(index) = LEVELS.iter().position(|(name, _)| *name == level) else {
                return Err(value_error(token, "no such level"));
            };
            let text = token.to_text(*arguments.add(1))?;
            let level = LEVELS[index].1;
            let written = with_log(token, |log| {
                on_lines(|lines| log.write(level, &mut lines[index], &text, |log| token.wait_for(log)))
            });
            written.map_err(|held| held.raise(token, "writing to the error log"))?;
            DIRTY.set(true);
            Ok(new_ref(ffi::Py_None()))
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

/// The log of the request that this thread works for, else the process's.
fn with_log<T>(token: Token<'_>, work: impl FnOnce(&Log) -> T) -> T {
    // SAFETY: set by a `Current` that borrows the cell and is still on this thread's stack.
    match unsafe { CURRENT.get().as_ref() } {
        Some(cell) => work(log_of(&cell.log)),
        None => work(log_of(&token.interpreter().log)),
    }
}

fn flush(log: &Log) -> Result<(), UnderWay> {
    on_lines(|lines| {
        for (buffer, (_, level)) in lines.iter_mut().zip(LEVELS) {
            log.finish(level, buffer);
        }
    })
}

/// Runs `work`, which calls the host, with this thread's incomplete lines.
fn on_lines(work: impl FnOnce(&mut [LineBuffer; LEVELS.len()])) -> Result<(), UnderWay> {
    LINES.with(|lines| match lines.try_borrow_mut() {
        Ok(mut lines) => {
            work(&mut lines);
            Ok(())
        }
        Err(_) => Err(UnderWay),
    })
}
