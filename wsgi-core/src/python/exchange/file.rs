//! `wsgi.file_wrapper` over a regular file, which the host sends by itself (PEP 3333, "Optional Platform-Specific File
//! Handling").

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;

use super::{Exchange, Stage};
use crate::error::Fault;
use crate::host::{ApplicationFile, Summary};
use crate::lock::rules;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::token::{Obj, Token};

impl Exchange {
    /// Returns whether the application returned a file wrapper. That sends no more than Content-Length bytes of its
    /// file, which is how an application sends a part.
    pub(super) fn sends_file(&self) -> bool {
        let Stage::Iterate { iterable, .. } = &self.stage else { return false };
        self.is_file_wrapper(iterable.as_ptr())
    }

    /// Returns whether a live object is a file wrapper.
    pub(super) fn is_file_wrapper(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: a live object, which keeps its type alive.
        let kind = unsafe { ffi::Py_TYPE(object) };
        kind.cast() == self.cell.interpreter.data().file_wrapper.as_ptr()
    }

    /// Returns the file that a file wrapper reads, from the position of its next read on. `None` if the host does not send
    /// files, or if the gateway must read it: it is not a regular file, its class changes the bytes, or it seems to be
    /// empty, like files of `/proc`.
    pub(super) fn file_of(&self, token: Token<'_>, wrapper: *mut ffi::PyObject) -> Option<ApplicationFile> {
        if !self.reply(token).ok()?.sink.as_ref().is_some_and(|sink| sink.sends_files()) {
            return None;
        }
        rules::no_lock("the file of a file wrapper is examined");
        let function = self.cell.interpreter.data().real_file.as_ptr();
        let (mut descriptor, mut position): (RawFd, i64) = (-1, -1);
        // SAFETY: live objects; a new reference results, or an exception. The format has an int and a long long.
        unsafe {
            let found =
                token.own(ffi::PyObject_CallFunctionObjArgs(function, wrapper, ptr::null_mut::<ffi::PyObject>()));
            end_if_forked(token, || self.name());
            let found = found.filter(|found| ffi::PyTuple_Check(found.as_ptr()) != 0);
            let is_read = found.is_some_and(|found| {
                ffi::PyArg_ParseTuple(found.as_ptr(), c"iL".as_ptr(), &raw mut descriptor, &raw mut position) != 0
            });
            if !is_read {
                // The read reports the error.
                ffi::PyErr_Clear();
                return None;
            }
        }
        let start = u64::try_from(position).ok()?;
        token.detached(|| part_of(descriptor, start))
    }

    /// Sends a file, and ends the response.
    pub(super) fn send_file(
        &mut self,
        token: Token<'_>,
        wrapper: Obj<'_>,
        part: ApplicationFile,
    ) -> Result<Summary, Fault> {
        self.stage = Stage::Iterate { iterable: wrapper.duplicate().hold(), iterator: wrapper.hold() };
        let mut reply = self.reply(token)?;
        if let Err(stop) = reply.check_writes().and_then(|()| reply.file(part)) {
            drop(reply);
            return Err(self.stopped(stop));
        }
        self.finish(reply)
    }
}

/// Returns the part of a regular file from `start` on.
fn part_of(descriptor: RawFd, start: u64) -> Option<ApplicationFile> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: the file object has just returned its descriptor. If another thread closes it, the duplicate is of another
    // file, or fails, as for any thread that closes a file that another one reads.
    let owned: OwnedFd = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned().ok()?;
    let file = File::from(owned);
    let found = file.metadata().ok()?;
    // A file without blocks on a disk may be made while it is read, and its length is no promise.
    let is_real = found.is_file() && found.blocks() > 0;
    let len = found.len().checked_sub(start).filter(|len| *len > 0 && is_real)?;
    Some(ApplicationFile { file: Arc::new(file), start, len })
}
