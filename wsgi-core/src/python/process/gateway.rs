//! The gateway of a process: starts Python, and runs applications inline or on threads.

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use pyo3::ffi;

use super::couriers;
use super::engine::{Engine, dedicated_name};
use super::exit::{self, remaining};
use super::handle::{ExchangeHandle, SMALL_BODY};
use super::job::{Job, Step, preload};
use super::preflight::PythonSettings;
use super::processes;
use super::runtime;
use super::start::set_up;
use crate::config::{Mode, ProcessSettings};
use crate::error::StartError;
use crate::host::{ChildProcesses, ErrorLog, HostParts, Level, LoadObserver, RequestSnapshot, RequestView, Shutdown};
use crate::lock::Leaf;
use crate::protocol::pool::{Overloaded, Pool, Ticket};
use crate::protocol::record::Log;
use crate::python::application::location::Location;
use crate::python::attach::interpreter::{Interpreter, Kind, Setup};
use crate::python::attach::signals;
use crate::python::attach::thread::{self, Attached};
use crate::python::exchange::Exchange;

/// Settings of a [`Gateway`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewaySettings {
    /// The Python to run.
    pub python: PythonSettings,
    /// The threads that run applications.
    pub mode: Mode,
    /// `wsgi.multiprocess`: whether other processes may run the same application.
    pub multiprocess: bool,
    /// Signals that belong to the host: `signal.signal` raises for them; while an application is loaded and at exit it
    /// logs a warning and ignores the call.
    pub reserved_signals: Vec<c_int>,
    /// An exit status from which the host does not recover: `os._exit` replaces it by 1.
    pub fatal_exit_status: Option<c_int>,
    /// Whether a crash writes a Python traceback of each thread to descriptor 2 (Python's module `faulthandler`). An
    /// application may redirect the tracebacks to another file, and cannot disable them.
    pub fault_handler: bool,
    /// Whether `sys.stdin` and `sys.stdout` are the descriptors 0 and 1, so that `input()`, `breakpoint()` and `pdb`
    /// work on the terminal of a development server. Otherwise `sys.stdin` is empty, and printed text goes to the log.
    pub terminal: bool,
    /// The host's callbacks for processes that applications start.
    pub child_processes: Option<Arc<dyn ChildProcesses>>,
    /// With [`Mode::Threads`]: receives the load of the pools.
    pub load: Option<Arc<dyn LoadObserver>>,
    /// With [`Mode::Inline`]: woken on any thread when blocks of responses were dropped without the GIL. The next
    /// request frees their memory, or [`Gateway::release`], which the host calls then.
    pub release: Option<Waker>,
}

impl GatewaySettings {
    /// Returns settings for a single process that owns its signals; crashes are reported.
    pub fn new(mode: Mode) -> Self {
        Self {
            python: PythonSettings::default(),
            mode,
            multiprocess: false,
            reserved_signals: Vec::new(),
            fatal_exit_status: None,
            fault_handler: true,
            terminal: false,
            child_processes: None,
            load: None,
            release: None,
        }
    }
}

/// Takes the settings from the operator's directives, and the host's settings from [`GatewaySettings::new`].
impl From<&ProcessSettings> for GatewaySettings {
    fn from(process: &ProcessSettings) -> Self {
        let python = PythonSettings {
            home: process.home().map(Into::into),
            executable: process.executable().map(Into::into),
            optimize: process.optimize(),
            path: process.path(),
        };
        Self { python, ..Self::new(process.mode()) }
    }
}

/// The number of the main interpreter.
const MAIN: usize = 0;

/// CPython in this process, for WSGI applications.
///
/// There is one per process, until the process ends: [`shutdown`](Self::shutdown) lets applications end in an orderly
/// way but does not finalise Python, which is not safe while threads are alive.
pub struct Gateway {
    mode: Mode,
    release: Option<Waker>,
    main: &'static Engine,
    /// Dedicated interpreters, with the script's path or the module's name. Their numbers begin at 1, and none is
    /// removed.
    dedicated: Leaf<Vec<(PathBuf, &'static Engine)>>,
    on_shutdown: Leaf<Vec<Weak<dyn Shutdown>>>,
}

impl Gateway {
    /// Starts Python. Call it once, in the process that serves requests (after any fork); with [`Mode::Inline`] on the
    /// thread that will call [`begin`](Self::begin). Blocks for 10 to 30 ms.
    pub fn start(settings: &GatewaySettings, log: Arc<dyn ErrorLog>) -> Result<Self, StartError> {
        let (mode, log) = (settings.mode, Log::new(log));
        let inline_thread = matches!(mode, Mode::Inline).then(thread::this_thread);
        runtime::start(&settings.python, &log)?;
        if mode == Mode::Inline {
            signals::keep_open(&settings.reserved_signals);
        }
        let setup = Setup {
            path: settings.python.path.clone(),
            multithread: matches!(mode, Mode::Threads(limits) if limits.permits > 1),
            multiprocess: settings.multiprocess,
            reserved_signals: settings.reserved_signals.clone(),
            fatal_exit_status: settings.fatal_exit_status,
            fault_handler: settings.fault_handler,
            terminal: settings.terminal,
            load: settings.load.clone(),
        };
        let release = settings.release.clone();
        let main =
            Engine::new(Interpreter::new(Kind::Main, Arc::new(setup), log, inline_thread), mode, release.as_ref());
        main.keep();
        // SAFETY: Python has been started.
        main.interpreter.set_state(unsafe { ffi::PyInterpreterState_Main() });
        let result = {
            // SAFETY: the thread that started Python holds the GIL.
            let entered = unsafe { Attached::assume(main.interpreter) };
            let token = entered.token();
            processes::watch(token, settings.child_processes.clone(), main.interpreter.log.clone())
                .and_then(|()| set_up(token))
                .map_err(|_| StartError::Setup(token.take_error_line()))
        };
        // SAFETY: the thread that started Python holds the GIL, and nothing has attached through `thread` yet.
        unsafe { thread::adopt_starting_thread(main.interpreter) };
        result?;
        Ok(Self { mode, release, main, dedicated: Leaf::default(), on_shutdown: Leaf::default() })
    }

    /// Attaches this thread to the interpreter of an application until the result is dropped; waits for the GIL. A host
    /// with inline execution keeps the result during one event, so that attaching within the event costs nothing;
    /// between events threads of the application run.
    pub fn attach(&self, at: &Location) -> Attached<'static> {
        let engine = self.engine(at);
        // An interpreter that is not started yet is attached to later, where it is first used.
        let engine = if std::ptr::eq(engine, self.main) || engine.interpreter.is_ready() { engine } else { self.main };
        Attached::new(engine.interpreter)
    }

    /// Begins to answer a request on this thread ([`Mode::Inline`]). Sends nothing before the first
    /// [`Exchange::advance`], which also reports a failure of this call.
    pub fn begin<R: RequestView>(&self, at: &Arc<Location>, request: &R, parts: HostParts) -> Exchange {
        let interpreter = self.engine(at).interpreter;
        let head_request = request.method() == b"HEAD";
        if !interpreter.is_ready() && interpreter.ensure(&Log::new(Arc::clone(&parts.log))).is_err() {
            return Exchange::failed(Exchange::cell(self.main.interpreter, at, head_request, parts));
        }
        Exchange::new(request, Exchange::cell(interpreter, at, head_request, parts), at.stamp_now())
    }

    /// Lets a thread of the pool answer a request ([`Mode::Threads`]): a [`RequestView`], which is copied, or a copy that exists
    /// already. Never blocks, and does not need the GIL.
    pub fn dispatch(
        &self,
        at: &Arc<Location>,
        request: impl Into<RequestSnapshot>,
        parts: HostParts,
    ) -> Result<ExchangeHandle, Refused> {
        self.add(at, request.into(), parts, Pool::submit)
    }

    /// Like [`dispatch`](Self::dispatch), in front of the requests that wait.
    pub(super) fn dispatch_first(
        &self,
        at: &Arc<Location>,
        request: RequestSnapshot,
        parts: HostParts,
    ) -> Result<ExchangeHandle, Refused> {
        self.add(at, request, parts, Pool::submit_first)
    }

    #[inline(always)]
    fn add(
        &self,
        at: &Arc<Location>,
        request: RequestSnapshot,
        mut parts: HostParts,
        submit: impl FnOnce(&Pool<Job>, Job) -> Result<Ticket, Overloaded<Job>>,
    ) -> Result<ExchangeHandle, Refused> {
        let engine = self.engine(at);
        let Some(pool) = &engine.pool else { return Err(Refused::Inline) };
        let body = parts.body.as_ref();
        let streams = body.is_some_and(|body| body.streams());
        let has_small_body = body.is_none_or(|body| body.length().is_some_and(|length| length <= SMALL_BODY));
        let done = parts.done.take();
        let cell = Exchange::cell(engine.interpreter, at, request.method() == b"HEAD", parts);
        let job = Job { step: Step::Begin { request, cell: Arc::clone(&cell) }, done, streams };
        match submit(pool, job) {
            Ok(ticket) => Ok(ExchangeHandle { cell, engine, ticket, has_small_body }),
            Err(refused) => {
                let (mut job, refused) = match refused {
                    Overloaded::QueueFull(job) => (job, Refused::QueueFull),
                    Overloaded::NoThread(job) => (job, Refused::NoThread),
                    Overloaded::ShuttingDown(job) => (job, Refused::ShuttingDown),
                };
                (job.step, job.done) = (Step::Over, None);
                // The returned error informs the host.
                cell.abandon(None);
                Err(refused)
            }
        }
    }

    /// Loads an application before its first request: at once with inline execution, else on a thread of the pool. A
    /// failure is logged, and the first request tries again.
    pub fn preload(&self, at: &Arc<Location>) {
        let engine = self.engine(at);
        match &engine.pool {
            None => preload(engine.interpreter, at),
            Some(pool) => {
                // A pool that refuses is full of requests, which load the application themselves.
                let _ = pool.submit(Job {
                    step: Step::Preload(engine.interpreter, Arc::clone(at)),
                    done: None,
                    streams: false,
                });
            }
        }
    }

    /// Frees the memory of blocks that were dropped without the GIL. Call it with inline execution, on the host's
    /// thread; it waits for the GIL if there is something to free. With threads, the pool does this.
    pub fn release(&self) {
        for engine in self.engines() {
            if engine.interpreter.has_releases() {
                drop(Attached::new(engine.interpreter));
            }
        }
    }

    /// Returns whether a further request whose body [streams](crate::host::BodySource::streams) would wait for others
    /// of that kind, because these use all threads that they may have. In that case a host can wait for more of the
    /// body before it dispatches the request, which has to wait anyway.
    pub fn is_full_of_streams(&self, at: &Location) -> bool {
        self.engine(at).pool.as_ref().is_some_and(|pool| pool.is_full_of_streams())
    }

    /// Returns the number of exchanges that are queued or running on threads.
    pub fn in_flight(&self) -> usize {
        self.engines().iter().filter_map(|engine| engine.pool.as_ref()).map(|pool| pool.in_flight()).sum()
    }

    /// Registers a part of the host whose [`Shutdown::abandoned`] is called when [`shutdown`](Self::shutdown) no longer
    /// waits for exchanges on threads. Otherwise the client of an abandoned exchange would wait forever.
    pub fn on_shutdown(&self, part: &Arc<impl Shutdown + 'static>) {
        let part: Weak<dyn Shutdown> = Arc::downgrade(part) as _;
        let _gone: Vec<_> = self.on_shutdown.with(|parts| {
            let gone = parts.extract_if(.., |part| part.strong_count() == 0).collect();
            parts.push(part);
            gone
        });
    }

    /// Waits for exchanges on threads and for threads of applications, at most `within`, then runs the functions that
    /// applications have registered with `atexit`, at most `within` again, and flushes. Returns within a second after
    /// that; no thread runs Python afterwards. Call it last: with inline execution on the thread that started the
    /// gateway, with threads on any thread.
    ///
    /// An exchange whose response is read by a task ends when that task runs. On a runtime with a single thread the
    /// task does not run while this function blocks; use `wsgi_hyper::shutdown` there.
    ///
    /// Code that runs longer is abandoned, with a warning in the log. With threads this function then returns. If C
    /// code holds the GIL forever (a regular expression that backtracks, a loop of an extension), it makes a later
    /// `exit` end the process without exit handlers and C++ destructors. With inline execution it cannot return, since
    /// the applications run on this thread: it ends the process by `_exit` with status 0.
    pub fn shutdown(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let engines = self.engines();
        let pools: Vec<_> = engines.iter().filter_map(|engine| engine.pool.as_ref()).collect();
        // All pools stop taking requests before the wait for the first one.
        for pool in &pools {
            pool.shutdown(Duration::ZERO);
        }
        let running = pools.iter().filter(|pool| !pool.shutdown(remaining(deadline))).count();
        if running > 0 {
            self.main.interpreter.log.log(Level::Warn, "applications still running at exit are abandoned");
        }
        couriers::shutdown(remaining(deadline));
        let parts = self.on_shutdown.with(|parts| parts.clone());
        parts.iter().filter_map(Weak::upgrade).for_each(|part| part.abandoned());
        let own = engines
            .into_iter()
            .filter(|engine| !engine.interpreter.is_main() && engine.interpreter.is_ready())
            .collect();
        match self.mode {
            Mode::Inline => exit::end_inline(self.main, own, deadline, within),
            Mode::Threads(limits) => {
                exit::end_on_threads(self.main, own, deadline, within, limits.stack);
                self.main.interpreter.log.flush();
            }
        }
    }

    /// Returns the engine that runs an application.
    #[inline(always)]
    fn engine(&self, at: &Location) -> &'static Engine {
        match at.interpreter(|| self.choose_interpreter(at)) {
            MAIN => self.main,
            number => self.dedicated.with(|own| own[number - 1].1),
        }
    }

    /// Returns the number of the interpreter for a location, and creates its engine if none has that name.
    #[cold]
    fn choose_interpreter(&self, at: &Location) -> usize {
        let Some(name) = dedicated_name(at) else { return MAIN };
        let mut new = None;
        let number = self.dedicated.with(|own| {
            if let Some(index) = own.iter().position(|(other, _)| *other == name) {
                return index + 1;
            }
            let engine = self.new_engine(name.clone());
            new = Some(engine);
            own.push((name, engine));
            own.len()
        });
        new.into_iter().for_each(Engine::keep);
        number
    }

    fn new_engine(&self, name: PathBuf) -> &'static Engine {
        let main = self.main.interpreter;
        let kind = Kind::Dedicated { name, main };
        let (setup, log) = (Arc::clone(&main.setup), main.log.clone());
        Engine::new(Interpreter::new(kind, setup, log, main.inline_thread), self.mode, self.release.as_ref())
    }

    /// Returns the log of the process.
    pub(super) fn log(&self) -> &Log {
        &self.main.interpreter.log
    }

    fn engines(&self) -> Vec<&'static Engine> {
        self.dedicated.with(|own| [self.main].into_iter().chain(own.iter().map(|(_, engine)| *engine)).collect())
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The queue of requests that wait for a thread is full.
    #[error("too many requests are waiting for a thread")]
    QueueFull,
    /// There is no thread, and the system refuses to start one; a line of the gateway's log has the reason.
    #[error("cannot start a thread")]
    NoThread,
    /// The gateway is being shut down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// The gateway has no threads: it runs applications inline.
    #[error("the gateway runs applications inline")]
    Inline,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Lines;
    use crate::protocol::pool::{Limits, StackSize};

    #[test]
    fn settings_are_what_the_directives_say() {
        let settings = |lines: &[&str]| {
            GatewaySettings::from(&Lines::new(lines, "/srv".as_ref()).expect("valid directives").process)
        };
        let given = settings(&[
            "wsgi_threads 3 max=7",
            "wsgi_thread_stack_size 1m",
            "wsgi_python_optimize 1",
            "wsgi_python_path /",
        ]);
        let stack = StackSize::new(1 << 20).expect("an allowed size");
        assert_eq!(given.mode, Mode::Threads(Limits { permits: 3, max_threads: 7, queue: 1024, stack }));
        assert_eq!((given.python.optimize, given.python.path), (Some(1), vec![PathBuf::from("/")]));
        assert_eq!(settings(&["wsgi_threads 0"]).mode, Mode::Inline);
        assert_eq!(settings(&[]).mode, Mode::Threads(Limits::new(1)));
    }
}
