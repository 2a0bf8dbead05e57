//! Where applications run: an interpreter, with the threads that belong to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use pyo3::ffi;

use super::job::{Job, start_pool};
use crate::config::{Flag, Target};
use crate::failpoint::failpoint;
use crate::host::Level;
use crate::lock::Leaf;
use crate::pool::{Limits, Pool, panic_message};
use crate::python::application::location::Location;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::Attached;
use crate::python::objects::raise::Raised;
use crate::python::objects::report;

/// Where application code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the host's own thread, the one that starts the gateway: the fastest way for applications that never wait.
    Inline,
    /// On threads of a pool; the host's thread never waits for Python.
    Threads(Limits),
}

/// An interpreter and what runs in it.
///
/// Its threads serve no other one: a thread has one Python thread state as long as it lives, which is the one that an
/// extension module finds with `PyGILState_Ensure`.
pub(crate) struct Engine {
    pub(crate) interpreter: &'static Interpreter,
    /// None when inline.
    pub(crate) pool: Option<Arc<Pool<Job>>>,
}

/// All there are, also when their gateway is gone: within reach, so that a leak checker tells them from what was lost.
static ENGINES: Leaf<Vec<&'static Engine>> = Leaf::new(Vec::new());

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Engine").field(&self.interpreter.name()).finish()
    }
}

impl Engine {
    /// Never freed: it lives to the end of the process, as its interpreter does, and is to be [kept](Self::keep). No thread
    /// is started as yet. Inline, `release` is woken when references wait to be released.
    pub(crate) fn new(interpreter: Interpreter, mode: Mode, release: Option<&Waker>) -> &'static Self {
        let interpreter: &'static Interpreter = Box::leak(Box::new(interpreter));
        let pool = match mode {
            Mode::Inline => {
                if let Some(waker) = release.cloned() {
                    interpreter.on_release(move || waker.wake_by_ref());
                }
                None
            }
            Mode::Threads(limits) => Some(start_pool(interpreter, limits)),
        };
        Box::leak(Box::new(Self { interpreter, pool }))
    }

    /// Puts a new one within reach. Not part of [`new`](Self::new), which may run under a lock.
    pub(crate) fn keep(&'static self) {
        ENGINES.with(|engines| engines.push(self));
    }

    /// Waits for the application's threads, at most `within`; then runs what was registered with `atexit`, and flushes.
    pub(crate) fn end(&self, within: Duration) {
        let log = &self.interpreter.log;
        let ending = || {
            failpoint("exit");
            self.run_down(within);
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(ending)) {
            log.log(Level::Alert, &format!("panic at exit: {}", panic_message(&*panic)));
        }
    }

    fn run_down(&self, within: Duration) {
        let log = &self.interpreter.log;
        let attached = Attached::new(self.interpreter);
        let token = attached.token();
        let ended = token.helper(c"shutdown").and_then(|shutdown| {
            // SAFETY: attached; a new reference results.
            let seconds = unsafe { token.own(ffi::PyFloat_FromDouble(within.as_secs_f64())) }.ok_or(Raised)?;
            let ended = token.call(shutdown.as_ptr(), &[seconds.as_ptr()]);
            end_if_forked(token, || "an application at its end".to_owned());
            let ended = ended?;
            // SAFETY: a live object.
            Ok(unsafe { ffi::PyObject_IsTrue(ended.as_ptr()) } == 1)
        });
        match ended {
            Ok(true) => {}
            Ok(false) => log.log(Level::Warn, "threads of the application still running at exit are abandoned"),
            Err(Raised) => report::pending(token, log, "exception at exit"),
        }
    }
}

/// What the interpreter of its own is called that a location asks for: the script or module, whatever the callable.
pub(crate) fn dedicated_name(location: &Location) -> Option<PathBuf> {
    let settings = location.settings();
    let own = settings.is_on(Flag::Subinterpreters) && !settings.is_on(Flag::MainInterpreter);
    own.then(|| match location.target() {
        Target::Script { path, .. } => path.clone(),
        Target::Module { name, .. } => name.into(),
    })
}
