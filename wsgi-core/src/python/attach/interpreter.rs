//! One Python interpreter: its types, names and helpers, and the references that are to be released in it.

use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::ffi;

use super::data::Data;
use super::forked::end_if_forked;
use super::lock::Loading;
use super::token::Token;
use crate::host::LoadObserver;
use crate::lock::Leaf;
use crate::protocol::record::Log;

/// An interpreter, from its start to the end of the process. The main one starts with Python, others when they are
/// first needed (see [`ensure`](Self::ensure)).
pub(crate) struct Interpreter {
    kind: Kind,
    /// Settings of the bootstrap and of every environ.
    pub(crate) setup: Arc<Setup>,
    /// Log for lines that belong to no request.
    pub(crate) log: Log,
    /// With inline execution: the only thread that may call back into an exchange, from
    /// [`this_thread`](super::thread::this_thread). That thread outlives the gateway, so its id is not reused.
    pub(crate) inline_thread: Option<usize>,
    /// CPython's interpreter state; null before the start.
    state: AtomicPtr<ffi::PyInterpreterState>,
    /// Held while the interpreter is started.
    pub(crate) starting: Loading<()>,
    data: OnceLock<Data>,
    /// Bookkeeping for `gc.freeze()`.
    pub(crate) freezing: Freezing,
    releases: Leaf<Vec<NonNull<ffi::PyObject>>>,
    has_releases: AtomicBool,
    nudge: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

// SAFETY: the pointers in `releases` are followed only while attached; `data` is written once, while attached, and is
// read-only afterwards.
unsafe impl Send for Interpreter {}
// SAFETY: `releases` is behind a lock; the other fields are atomics, locks, or read-only once they are set.
unsafe impl Sync for Interpreter {}

/// Kind of an interpreter.
pub(crate) enum Kind {
    Main,
    /// For the applications of one script or module.
    Dedicated {
        name: PathBuf,
        main: &'static Interpreter,
    },
}

/// Settings of the bootstrap and of the environ, the same for every interpreter.
pub(crate) struct Setup {
    /// Folders that are put in front of `sys.path`.
    pub(crate) path: Vec<PathBuf>,
    pub(crate) multithread: bool,
    pub(crate) multiprocess: bool,
    pub(crate) reserved_signals: Vec<c_int>,
    pub(crate) fatal_exit_status: Option<c_int>,
    pub(crate) fault_handler: bool,
    pub(crate) terminal: bool,
    pub(crate) load: Option<Arc<dyn LoadObserver>>,
}

/// Number of exchanges under way in an interpreter, and whether a freeze is wanted. Changed with the GIL held, so that
/// relaxed loads and stores suffice, which cost no more than plain ones.
#[derive(Default)]
pub(crate) struct Freezing {
    pub(crate) under_way: AtomicUsize,
    pub(crate) wanted: AtomicU8,
}

impl Interpreter {
    pub(crate) fn new(kind: Kind, setup: Arc<Setup>, log: Log, inline_thread: Option<usize>) -> Self {
        Self {
            kind,
            setup,
            log,
            inline_thread,
            state: AtomicPtr::default(),
            starting: Loading::default(),
            data: OnceLock::new(),
            freezing: Freezing::default(),
            releases: Leaf::default(),
            has_releases: AtomicBool::new(false),
            nudge: OnceLock::new(),
        }
    }

    pub(crate) fn is_main(&self) -> bool {
        matches!(self.kind, Kind::Main)
    }

    /// The main interpreter of the process.
    pub(crate) fn main(&'static self) -> &'static Self {
        match self.kind {
            Kind::Main => self,
            Kind::Dedicated { main, .. } => main,
        }
    }

    /// Returns `main`, or the path of the script or the name of the module that it is for.
    pub(crate) fn name(&self) -> &Path {
        match &self.kind {
            Kind::Main => Path::new("main"),
            Kind::Dedicated { name, .. } => name,
        }
    }

    /// Returns CPython's interpreter state; null before the start.
    pub(crate) fn state(&self) -> *mut ffi::PyInterpreterState {
        self.state.load(Ordering::Acquire)
    }

    pub(crate) fn set_state(&self, state: *mut ffi::PyInterpreterState) {
        self.state.store(state, Ordering::Release);
    }

    /// Returns whether it can run applications.
    pub(crate) fn is_ready(&self) -> bool {
        self.data.get().is_some()
    }

    /// Sets the objects. Called once, before the first request.
    pub(crate) fn complete(&self, data: Data) {
        assert!(self.data.set(data).is_ok(), "an interpreter is completed once");
    }

    pub(crate) fn data(&self) -> &Data {
        self.data.get().expect("interpreter is complete before it serves")
    }

    /// Sets the callback that makes some thread attach soon when references are to be released.
    pub(crate) fn on_release(&self, nudge: impl Fn() + Send + Sync + 'static) {
        assert!(self.nudge.set(Box::new(nudge)).is_ok(), "set once");
    }

    /// Takes over a reference from a thread that is not attached.
    pub(crate) fn release_later(&self, reference: NonNull<ffi::PyObject>) {
        let was_empty = self.releases.with(|releases| {
            releases.push(reference);
            self.has_releases.store(true, Ordering::Release);
            releases.len() == 1
        });
        if was_empty && let Some(nudge) = self.nudge.get() {
            nudge();
        }
    }

    /// Returns whether references are to be released.
    pub(crate) fn has_releases(&self) -> bool {
        self.has_releases.load(Ordering::Acquire)
    }

    /// Releases the references that other threads have left.
    #[inline]
    pub(crate) fn release_now(&self, token: Token<'_>) {
        if self.has_releases() {
            self.release_all(token);
        }
    }

    #[inline(never)]
    fn release_all(&self, token: Token<'_>) {
        let references = self.releases.with(|releases| {
            self.has_releases.store(false, Ordering::Release);
            std::mem::take(releases)
        });
        for reference in references {
            // SAFETY: the list owned the reference, and the token proves that this thread is attached. No lock is held:
            // a destructor may run any Python code.
            unsafe { ffi::Py_DECREF(reference.as_ptr()) };
        }
        end_if_forked(token, || "an application".to_owned());
    }
}
