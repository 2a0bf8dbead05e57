//! Attributes the failures of an exchange to the application, the host or the client, which determines the log line and
//! the answer.

use std::sync::Arc;

use pyo3::ffi;

use super::Exchange;
use super::reply::{Reply, Stop};
use crate::error::{Fault, HostError};
use crate::host::Level;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::lock::{PartGuard, UnderWay};
use crate::python::attach::token::Token;
use crate::python::objects::convert::type_name;
use crate::python::objects::report;

impl Exchange {
    /// Locks the response side. Fails if the application has left a call for this request unfinished, which holds the
    /// lock.
    ///
    /// A process that the application has forked exits here, also if a destructor has forked it.
    #[inline]
    pub(super) fn reply(&self, token: Token<'_>) -> Result<PartGuard<'_, Reply>, Fault> {
        end_if_forked(token, || self.name());
        self.cell
            .reply(token)
            .map_err(|UnderWay| self.violation("has left a call of start_response or write unfinished"))
    }

    /// Logs the pending exception, unless a write has raised it because of the client: the application may let it
    /// propagate.
    pub(super) fn escaped(&self, token: Token<'_>, what: &str) -> Fault {
        let Ok(mut reply) = self.cell.reply(token) else { return self.raised(token, what) };
        let kind = match reply.failure.as_deref() {
            // SAFETY: a static of the running interpreter.
            Some(HostError::ClientGone) => Some(unsafe { ffi::PyExc_BrokenPipeError }),
            // SAFETY: a static of the running interpreter.
            Some(HostError::TimedOut) => Some(unsafe { ffi::PyExc_TimeoutError }),
            Some(HostError::Io(_)) | None => None,
        };
        // SAFETY: attached, with an exception pending. Comparing it with a built-in type runs no Python code.
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
    pub(super) fn raised(&self, token: Token<'_>, what: &str) -> Fault {
        report::pending(token, &self.cell.log, &format!("{what} {}", self.name()));
        Fault::Application
    }

    pub(super) fn violation(&self, what: &str) -> Fault {
        self.complain(what);
        Fault::Application
    }

    pub(super) fn complain(&self, what: &str) {
        self.cell.log.log(Level::Error, &format!("{} {what}", self.name()));
    }

    pub(super) fn name(&self) -> String {
        self.cell.location.target().to_string()
    }

    pub(super) fn not_bytes(&self, block: *mut ffi::PyObject) -> Fault {
        // SAFETY: the caller holds a reference to `block`.
        let kind = unsafe { type_name(block) };
        self.violation(&format!("produced a block of type {kind} instead of bytes (PEP 3333, A Note On String Types)"))
    }

    pub(super) fn host_failed(&self, error: HostError) -> Fault {
        let level = match error {
            HostError::ClientGone | HostError::TimedOut => Level::Info,
            // A failure of the server: no memory, a full disk.
            HostError::Io(_) => Level::Error,
        };
        self.cell.log.log(level, &format!("response of {} not sent: {error}", self.name()));
        Fault::Host(error)
    }

    pub(super) fn stopped(&self, stop: Stop) -> Fault {
        match stop {
            Stop::Protocol(error) => self.violation(&format!("broke the protocol: {error}")),
            Stop::Host(error) => self.host_failed(error),
            Stop::FailedWrite(error) => Fault::Host(Arc::into_inner(error).unwrap_or(HostError::ClientGone)),
        }
    }
}
