//! The gateway of a process: Python started, and the two ways of running applications in it.

use std::any::Any;
use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::cell::ExchangeCell;
use super::exchange::{Exchange, ExchangeHandle, Summary};
use super::heap_type::panic_message;
use super::interpreter::Interpreter;
use super::location::Location;
use super::runtime::{self, PythonSettings};
use super::start::{Setup, set_up};
use super::thread::{self, Attached};
use super::{environ, report};
use crate::error::{Fault, StartError};
use crate::host::{ErrorLog, HostParts, Level, RequestView};
use crate::pool::{Limits, Overloaded, Pool, Task, Threads};
use crate::snapshot::RequestSnapshot;

/// How a host runs applications.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewaySettings {
    /// Which Python.
    pub python: PythonSettings,
    /// On which threads.
    pub mode: Mode,
    /// `wsgi.multiprocess`: whether other processes may run the same application.
    pub multiprocess: bool,
    /// Signals that belong to the host: `signal.signal` warns and leaves them alone.
    pub reserved_signals: Vec<c_int>,
    /// An exit status that the host does not recover from: `os._exit` with it becomes 1.
    pub fatal_exit_status: Option<c_int>,
}

/// Where application code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the host's own thread, the one that starts the gateway: the fastest way for applications that never wait.
    Inline,
    /// On threads of a pool; the host's thread never waits for Python.
    Threads(Limits),
}

impl GatewaySettings {
    /// Everything else as for a single process that owns its signals.
    pub fn new(mode: Mode) -> Self {
        Self {
            python: PythonSettings::default(),
            mode,
            multiprocess: false,
            reserved_signals: Vec::new(),
            fatal_exit_status: None,
        }
    }
}

/// What a host does at the end of an exchange on a thread.
pub type Done = Box<dyn FnOnce(Result<Summary, Fault>) + Send>;

/// CPython in this process, serving WSGI applications.
///
/// There is one per process, and it stays until the process ends: [`shutdown`](Self::shutdown) lets applications end
/// in an orderly way but does not finalise Python, which is not safe while threads are alive.
pub struct Gateway {
    interpreter: &'static Interpreter,
    pool: Option<Arc<Pool<Job>>>,
}

impl Gateway {
    /// Starts Python. Call it once, in the process that serves (after any fork), on the thread that will call
    /// [`begin`](Self::begin) when the mode is [`Mode::Inline`]. Blocks for 10 to 30 ms.
    pub fn start(settings: &GatewaySettings, log: Arc<dyn ErrorLog>) -> Result<Self, StartError> {
        let inline_thread = matches!(settings.mode, Mode::Inline).then(thread::this_thread);
        runtime::start(&settings.python, &*log)?;
        let interpreter: &'static Interpreter = Box::leak(Box::new(Interpreter::new(log, inline_thread)));
        let setup = Setup {
            python: &settings.python,
            multithread: matches!(settings.mode, Mode::Threads(limits) if limits.permits > 1),
            multiprocess: settings.multiprocess,
            reserved_signals: &settings.reserved_signals,
            fatal_exit_status: settings.fatal_exit_status,
        };
        let result = {
            // SAFETY: the thread that started Python holds the GIL.
            let entered = unsafe { Attached::assume(interpreter) };
            let token = entered.token();
            set_up(token, interpreter, &setup).map_err(|_| StartError::Setup(token.take_error_line()))
        };
        // SAFETY: as above, and nothing has attached through `thread` yet.
        unsafe { thread::adopt_starting_thread() };
        result?;
        let pool = match settings.mode {
            Mode::Inline => None,
            Mode::Threads(limits) => Some(start_pool(interpreter, limits)),
        };
        Ok(Self { interpreter, pool })
    }

    /// Attaches this thread to Python until the result is dropped; waits for the GIL. A host that runs inline holds it
    /// over one event, so that what happens inside attaches for free; between events threads of the application run.
    pub fn attach(&self) -> Attached<'_> {
        Attached::new(self.interpreter)
    }

    /// Begins to answer a request on this thread ([`Mode::Inline`]). Nothing is sent before the first
    /// [`Exchange::advance`], which also reports what went wrong here.
    pub fn begin<R: RequestView>(&self, at: &Arc<Location>, request: &R, parts: HostParts) -> Exchange {
        Exchange::new(request, Exchange::cell(self.interpreter, at, request.method() == b"HEAD", parts))
    }

    /// Has a thread of the pool answer a request ([`Mode::Threads`]). Never blocks and needs no Python. `done` runs on
    /// that thread, after the sink was dropped; it is not called when the request is refused here.
    pub fn dispatch(
        &self,
        at: &Arc<Location>,
        request: RequestSnapshot,
        parts: HostParts,
        done: Done,
    ) -> Result<ExchangeHandle, Refused> {
        let Some(pool) = &self.pool else { return Err(Refused::Inline) };
        let cell = Exchange::cell(self.interpreter, at, request.method() == b"HEAD", parts);
        let handle = ExchangeHandle::new(&cell);
        let job = Job { step: Step::Begin { request, cell }, done: Some(done) };
        match pool.submit(job) {
            Ok(()) => Ok(handle),
            Err(refused) => {
                let (mut job, refused) = match refused {
                    Overloaded::QueueFull(job) => (job, Refused::QueueFull),
                    Overloaded::ShuttingDown(job) => (job, Refused::ShuttingDown),
                };
                job.done = None;
                Err(refused)
            }
        }
    }

    /// Loads an application before its first request: at once when inline, else on a thread of the pool. A failure is
    /// in the log, and the first request tries again.
    pub fn preload(&self, at: &Arc<Location>) {
        match &self.pool {
            None => preload(self.interpreter, at),
            Some(pool) => {
                // A pool that refuses is full of requests, which load it themselves.
                let _ = pool.submit(Job { step: Step::Preload(self.interpreter, Arc::clone(at)), done: None });
            }
        }
    }

    /// Exchanges that are queued or running on the pool.
    pub fn in_flight(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.in_flight())
    }

    /// Lets the pool's exchanges and the application's threads end, each bounded by `within`, runs what was registered
    /// with `atexit`, and flushes. Afterwards this thread keeps Python to itself, so that none of its threads runs
    /// while the process exits. Call it last, on the thread that started the gateway.
    pub fn shutdown(&self, within: Duration) {
        let end = Instant::now() + within;
        if let Some(pool) = &self.pool
            && !pool.shutdown(within)
        {
            self.interpreter.log.log(Level::Warn, "applications still running at exit are abandoned");
        }
        let attached = Attached::new(self.interpreter);
        let token = attached.token();
        let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
        let ended = token.helper(c"shutdown").and_then(|shutdown| {
            // SAFETY: attached; a new reference results.
            let seconds = unsafe { token.own(pyo3::ffi::PyFloat_FromDouble(left)) }.ok_or(super::raise::Raised)?;
            let ended = token.call(shutdown.as_ptr(), &[seconds.as_ptr()])?;
            // SAFETY: a live object.
            Ok(unsafe { pyo3::ffi::PyObject_IsTrue(ended.as_ptr()) } == 1)
        });
        match ended {
            Ok(true) => {}
            Ok(false) => {
                self.interpreter.log.log(Level::Warn, "threads of the application still running at exit are abandoned");
            }
            Err(_) => report::pending(token, &*self.interpreter.log, "exception at exit"),
        }
        std::mem::forget(attached);
    }
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// As many requests wait for a thread as may wait.
    #[error("too many requests are waiting for a thread")]
    QueueFull,
    /// The gateway is being shut down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// The gateway has no threads: it runs inline.
    #[error("the gateway runs applications inline")]
    Inline,
}

fn start_pool(interpreter: &'static Interpreter, limits: Limits) -> Arc<Pool<Job>> {
    let pool = Arc::new(Pool::new(limits, PythonThreads { interpreter }));
    let weak = Arc::downgrade(&pool);
    interpreter.on_release(move || {
        if let Some(pool) = weak.upgrade() {
            pool.nudge();
        }
    });
    pool
}

/// What threads of the pool do besides exchanges.
struct PythonThreads {
    interpreter: &'static Interpreter,
}

impl Threads for PythonThreads {
    type Guard = ThreadGuard;

    fn start(&self) -> ThreadGuard {
        ThreadGuard { interpreter: self.interpreter }
    }

    fn drain(&self) {
        // Attaching releases what waits to be released.
        drop(Attached::new(self.interpreter));
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        let message = panic_message(panic);
        self.interpreter.log.log(Level::Alert, &format!("panic in an application thread: {message}"));
    }

    fn spawn(&self, builder: Builder, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        // Signals are the host's, and it waits for them on threads of its own.
        thread::with_signals_blocked(|| builder.spawn(body))
    }
}

fn preload(interpreter: &'static Interpreter, location: &Location) {
    let found = location.look();
    let attached = Attached::new(interpreter);
    // The failure is in the log.
    let _ = location.application(attached.token(), &*interpreter.log, found);
}

/// Takes a thread's Python state down with the thread.
struct ThreadGuard {
    interpreter: &'static Interpreter,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        {
            let attached = Attached::new(self.interpreter);
            environ::forget(attached.token());
        }
        thread::retire(self.interpreter);
    }
}

/// What a pool thread does for one request.
struct Job {
    step: Step,
    done: Option<Done>,
}

enum Step {
    Begin { request: RequestSnapshot, cell: Arc<ExchangeCell> },
    Run(Exchange),
    Preload(&'static Interpreter, Arc<Location>),
    Over,
}

// SAFETY: an exchange stays on the thread that began it (a task runs on one thread for its whole life); what travels
// before that is Send by itself.
unsafe impl Send for Job {}

impl Task for Job {
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut exchange = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Begin { request, cell } => Exchange::new(&request, Arc::clone(&cell)),
            Step::Run(exchange) => exchange,
            Step::Preload(interpreter, location) => {
                preload(interpreter, &location);
                return Poll::Ready(());
            }
            Step::Over => return Poll::Ready(()),
        };
        match exchange.advance(cx) {
            Poll::Pending => {
                self.step = Step::Run(exchange);
                Poll::Pending
            }
            Poll::Ready(result) => {
                drop(exchange);
                self.finish(result);
                Poll::Ready(())
            }
        }
    }
}

impl Job {
    fn finish(&mut self, result: Result<Summary, Fault>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Step::Begin { cell, .. } = &self.step {
            cell.abandon();
        }
        self.finish(Err(Fault::Cancelled));
    }
}
