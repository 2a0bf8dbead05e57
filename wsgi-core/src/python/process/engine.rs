//! An engine: an interpreter and the threads that run applications in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use pyo3::ffi;

use super::job::{Job, start_pool};
use crate::config::{Flag, Mode, Target};
use crate::failpoint::failpoint;
use crate::host::Level;
use crate::lock::Leaf;
use crate::protocol::pool::{Pool, panic_message};
use crate::python::application::location::Location;
use crate::python::attach::forked::end_if_forked;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::Attached;
use crate::python::objects::raise::Raised;
use crate::python::objects::report;

/// An interpreter and its pool of threads.
///
/// Its threads serve no other interpreter: a thread has one Python thread state as long as it lives, and extension
/// modules find that one with `PyGILState_Ensure`.
pub(crate) struct Engine {
    pub(crate) interpreter: &'static Interpreter,
    /// `None` with inline execution.
    pub(crate) pool: Option<Arc<Pool<Job>>>,
}

/// All engines, also after their gateway was dropped: reachable from a static, so that LeakSanitizer does not report
/// them.
static ENGINES: Leaf<Vec<&'static Engine>> = Leaf::new(Vec::new());

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Engine").field(&self.interpreter.name()).finish()
    }
}

impl Engine {
    /// Creates an engine, which is never freed: it lives until the process ends, like its interpreter. Pass it to
    /// [`keep`](Self::keep). Starts no thread yet. With inline execution `release` is woken when references are to be
    /// released.
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

    /// Makes a new engine reachable. Not part of [`new`](Self::new), which may run with a lock held.
    pub(crate) fn keep(&'static self) {
        ENGINES.with(|engines| engines.push(self));
    }

    /// Waits for the application's threads for at most `within`, then runs the functions registered with `atexit`, and
    /// flushes.
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
            end_if_forked(token, || "an application at exit".to_owned());
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

/// Returns the name of a location's dedicated interpreter, if it has one: its script path or module; the callable does
/// not matter.
pub(crate) fn dedicated_name(location: &Location) -> Option<PathBuf> {
    let settings = location.settings();
    let own = settings.is_on(Flag::Subinterpreters) && !settings.is_on(Flag::MainInterpreter);
    own.then(|| match location.target() {
        Target::Script { path, .. } => path.clone(),
        Target::Module { name, .. } => name.into(),
    })
}
