//! Tasks of pool threads: requests, preloads, and the release of references.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::fault_stack::FaultStack;
use crate::error::Fault;
use crate::failpoint::failpoint;
use crate::host::RequestSnapshot;
use crate::host::{Done, Level, Summary};
use crate::protocol::pool::{Limits, Pool, StackSize, Task, Threads, panic_message};
use crate::python::application::location::Location;
use crate::python::attach::interpreter::Interpreter;
use crate::python::attach::thread::{self, Attached};
use crate::python::exchange::Exchange;
use crate::python::exchange::cell::ExchangeCell;
use crate::python::exchange::environ;

pub(crate) fn start_pool(interpreter: &'static Interpreter, limits: Limits) -> Arc<Pool<Job>> {
    let pool = Arc::new(Pool::new(limits, PythonThreads { interpreter }));
    let weak = Arc::downgrade(&pool);
    interpreter.on_release(move || {
        if let Some(pool) = weak.upgrade() {
            pool.nudge();
        }
    });
    pool
}

/// Callbacks of the pool about its threads.
struct PythonThreads {
    interpreter: &'static Interpreter,
}

impl Threads for PythonThreads {
    type Guard = ThreadGuard;

    fn start(&self) -> ThreadGuard {
        failpoint("thread_start");
        let stack = self.interpreter.setup.fault_handler.then(FaultStack::new).flatten();
        ThreadGuard { interpreter: self.interpreter, _stack: stack }
    }

    fn release(&self) {
        failpoint("thread_release");
        // Attaching releases the references that wait for that.
        drop(Attached::new(self.interpreter));
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        let message = panic_message(panic);
        self.interpreter.log.log(Level::Alert, &format!("panic in an application thread: {message}"));
    }

    fn cannot_start(&self, stack: StackSize, error: &io::Error) {
        let name = self.interpreter.name().display();
        let text = format!(
            "cannot start a thread with a stack of {stack} for applications in the interpreter \"{name}\": {error}; lower \
             \"wsgi_thread_stack_size\" or max= of \"wsgi_threads\", or raise the limit of the process that it has reached \
             (number of processes and threads, address space)"
        );
        self.interpreter.log.log(Level::Error, &text);
    }

    fn waits_for_first(&self) -> Option<Duration> {
        self.interpreter.setup.load.as_ref()?.waits_for_older()
    }

    fn load_changed(&self, before: usize, now: usize) {
        if let Some(load) = &self.interpreter.setup.load {
            load.load_changed(before, now);
        }
    }
}

/// Loads an application; failures are logged.
pub(crate) fn preload(interpreter: &'static Interpreter, location: &Location) {
    if interpreter.ensure(&interpreter.log).is_err() {
        return;
    }
    let found = location.stamp_now();
    let attached = Attached::new(interpreter);
    let _ = location.application(attached.token(), &interpreter.log, found);
    interpreter.freezing.settle(attached.token(), &[]);
}

/// Deletes a thread's Python state when the thread ends.
struct ThreadGuard {
    interpreter: &'static Interpreter,
    _stack: Option<FaultStack>,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        failpoint("thread_end");
        if self.interpreter.is_ready() {
            let attached = Attached::new(self.interpreter);
            environ::forget(attached.token());
        }
        thread::retire(self.interpreter);
    }
}

/// A task of a pool thread: one request or one preload.
pub(crate) struct Job {
    pub(crate) step: Step,
    pub(crate) done: Option<Done>,
    /// Whether the request's body may still have to come from the client.
    pub(crate) streams: bool,
}

pub(crate) enum Step {
    Begin { request: RequestSnapshot, cell: Arc<ExchangeCell> },
    Run(Exchange),
    Preload(&'static Interpreter, Arc<Location>),
    Over,
}

// SAFETY: a task runs on one thread for its whole life, so that an exchange stays on the thread that began it; all
// other fields are Send.
unsafe impl Send for Job {}

impl Task for Job {
    fn streams(&self) -> bool {
        self.streams
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (mut exchange, attached) = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Begin { request, cell } => {
                cell.begin();
                let unbegun = Unbegun(&cell);
                failpoint("job");
                if let Err(fault) = cell.interpreter.ensure(&cell.log) {
                    std::mem::forget(unbegun);
                    cell.abandon(Some(&fault));
                    self.finish(Err(fault));
                    return Poll::Ready(());
                }
                // Before the thread attaches, because this is a system call.
                let found = cell.location.stamp_now();
                // Attached once for both steps: between them other threads could take the GIL and keep it.
                let attached = Attached::new(cell.interpreter);
                let exchange = Exchange::new(&request, Arc::clone(&cell), found);
                std::mem::forget(unbegun);
                (exchange, attached)
            }
            Step::Run(exchange) => {
                let attached = exchange.attach();
                (exchange, attached)
            }
            Step::Preload(interpreter, location) => {
                preload(interpreter, &location);
                return Poll::Ready(());
            }
            Step::Over => return Poll::Ready(()),
        };
        let result = exchange.advance(cx);
        drop(attached);
        match result {
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
        let fault = match &self.step {
            Step::Begin { cell, .. } => {
                cell.abandon(Some(&Fault::Cancelled));
                Fault::Cancelled
            }
            Step::Run(_) | Step::Preload(..) => Fault::Cancelled,
            // Still `Over` while `done` is set: the step panicked.
            Step::Over => Fault::Application,
        };
        // Drops the host's objects before `done` is called.
        self.step = Step::Over;
        self.finish(Err(fault));
    }
}

/// Abandons the cell if creating the exchange panics.
struct Unbegun<'a>(&'a ExchangeCell);

impl Drop for Unbegun<'_> {
    fn drop(&mut self) {
        self.0.abandon(Some(&Fault::Application));
    }
}
