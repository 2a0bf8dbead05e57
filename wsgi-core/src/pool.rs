//! Threads for application code: few that run at a time, more that wait for their clients, and an end to the queue.
//!
//! A *permit* allows one task to run; a *thread* is the stack a task stays on from its first step to its last, so that
//! thread-locals and database connections remain its own. A task that waits (for a client that reads slowly) keeps its
//! thread and hands back its permit, between two steps or [in the middle of one](without_permit). What finds no permit waits
//! in a bounded queue, and what finds no room there is given back to the caller.
//!
//! Tasks that [stream](Task::streams) may wait in the middle of a step for as long as their clients like. Half of the threads
//! are not for them, so that they cannot occupy all: those that come when the other half is taken wait in a queue of their own.
//!
//! The pool knows nothing of Python: what a thread needs before its first task and after its last is in [`Threads`].

mod queue;
mod roster;
mod seat;
mod shares;
mod stack;
#[cfg(test)]
mod tests;
mod wait;

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar};
use std::task::{Context, Poll};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

pub use queue::Ticket;
use roster::Roster;
use seat::{Seat, Worker};
pub use shares::Shares;
pub use stack::StackSize;
pub use wait::{stream_ended, without_permit};

use crate::lock::{Leaf, LeafGuard};

/// The message of a panic, from its payload; `"no message"` if it has none.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The size of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks that may run at a time; at least one.
    pub permits: usize,
    /// Threads that may exist, and so tasks that may be running or waiting between two steps; at least one.
    pub max_threads: usize,
    /// Tasks that may wait for their first step; as many again that [stream](Task::streams).
    pub queue: usize,
    /// The stack of each thread.
    pub stack: StackSize,
}

impl Limits {
    /// So many permits, and what suits most programs besides: up to 256 threads, or one for each permit, a queue of 1024,
    /// and stacks of the default size.
    pub fn new(permits: usize) -> Self {
        Self { permits, max_threads: permits.max(256), queue: 1024, stack: StackSize::default() }
    }
}

/// Something to be done in steps, all of them on one thread.
pub trait Task: Send + 'static {
    /// Does the next step. `Pending` hands the permit to another task until `cx` is woken, from any thread and also
    /// during this call; as with futures there may be a further call without reason. `Ready` or a panic ends the task,
    /// which is then dropped on its thread.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether a step may wait for a client, [without a permit](without_permit). Asked once, by [`Pool::submit`].
    fn streams(&self) -> bool {
        false
    }
}

/// What happens on the threads of a pool besides tasks.
///
/// Except for [`spawn`](Self::spawn) nothing is called under a lock, and a panic is reported like that of a task.
pub trait Threads: Send + Sync + 'static {
    /// What a thread holds for its life. It is dropped on that thread, as the last thing there.
    type Guard;

    /// Runs first on each new thread.
    fn start(&self) -> Self::Guard;

    /// Runs after [`Pool::nudge`] on a thread that is between two tasks, in place of one: it holds a permit.
    fn drain(&self);

    /// A task, or another method here, panicked with this payload. The thread lives on.
    fn panicked(&self, panic: &(dyn Any + Send));

    /// No thread could be started, with a stack of this size: tasks wait for the threads that exist, and are refused if there
    /// are none. Called once, and again only after a thread has been started since.
    fn cannot_start(&self, stack: StackSize, error: &io::Error);

    /// Starts a thread that runs `body`. Called by whoever submits or runs tasks, under the lock of the pool, which it
    /// must not use.
    fn spawn(&self, builder: Builder, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        builder.spawn(body)
    }
}

/// A pool refused a task. Nothing of it has run.
#[derive(Debug)]
pub enum Overloaded<T> {
    /// As many tasks wait as may wait.
    QueueFull(T),
    /// There is no thread, and none can be started.
    NoThread(T),
    /// [`Pool::shutdown`] has been called.
    ShuttingDown(T),
}

/// Threads that run tasks of type `T`, started when they are needed and kept until [`shutdown`](Self::shutdown).
///
/// Dropping it refuses nothing that was taken: the threads finish all tasks and end, and nobody waits for them.
pub struct Pool<T: Task> {
    shared: Arc<Shared<T>>,
}

impl<T: Task> Pool<T> {
    /// A pool without threads as yet.
    pub fn new(limits: Limits, threads: impl Threads) -> Self {
        let shared = Shared {
            threads: Box::new(Arc::new(threads)),
            queue: limits.queue,
            stack: limits.stack,
            roster: Leaf::new(Roster::new(limits)),
            deserted: Condvar::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Hands over a task. Never waits for one; may start a thread. The result finds the task again while it is queued.
    pub fn submit(&self, task: T) -> Result<Ticket, Overloaded<T>> {
        let mut roster = self.shared.lock();
        if roster.closing {
            return Err(Overloaded::ShuttingDown(task));
        }
        let streams = task.streams();
        if streams && !roster.queued.has_place() && roster.queued.aside() >= self.shared.queue {
            return Err(Overloaded::QueueFull(task));
        }
        let ticket = roster.queued.push(task, streams);
        let called = roster.use_free_permit(&self.shared);
        let no_thread = roster.live == 0;
        if (no_thread || roster.waiting() > self.shared.queue)
            && let Some(task) = roster.queued.take(ticket)
        {
            let failure = roster.start_failure.take();
            drop(roster);
            call(called);
            self.shared.report(failure);
            return Err(if no_thread { Overloaded::NoThread(task) } else { Overloaded::QueueFull(task) });
        }
        roster.tasks += 1;
        let failure = roster.start_failure.take();
        // Under the lock, which the thread needs first of all: where it takes the place of the caller on its processor, it
        // gives that back at once, and finds more than one task when its turn comes. nginx with one thread takes 4 % less CPU
        // per request that way (nine alternating pairs), and wsgi-hyper on one processor more than that (`scripts/bench hop`).
        call(called);
        drop(roster);
        self.shared.report(failure);
        Ok(ticket)
    }

    /// Takes a task out of the queue; `None` if its first step has begun. The caller drops it.
    pub fn withdraw(&self, ticket: Ticket) -> Option<T> {
        self.shared.lock().withdraw(ticket)
    }

    /// Has [`Threads::drain`] run soon: at once on an idle thread if a permit is free, else when the next task ends or
    /// waits. Starts a thread only if no task is running that will end. Many calls before it runs are one.
    pub fn nudge(&self) {
        let mut roster = self.shared.lock();
        if roster.nudged || roster.closing {
            return;
        }
        roster.nudged = true;
        let called = roster.use_free_permit(&self.shared);
        let failure = roster.start_failure.take();
        drop(roster);
        call(called);
        self.shared.report(failure);
    }

    /// Whether a task that [streams](Task::streams) would wait in a queue of its own now, because such tasks have half of the
    /// threads.
    pub fn is_full_of_streams(&self) -> bool {
        !self.shared.lock().queued.has_place()
    }

    /// Tasks that were taken and have not been dropped: queued, running and waiting.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().tasks
    }

    /// Refuses further tasks, and waits for those that were taken and for the threads, at most `within`. Whether all
    /// have ended; if not, they go on, and another call waits for them again.
    pub fn shutdown(&self, within: Duration) -> bool {
        let mut roster = self.shared.lock();
        roster.close();
        let (mut roster, _) = roster.wait_timeout_while(&self.shared.deserted, within, |roster| roster.live > 0);
        let all = roster.live == 0;
        let gone = roster.gone();
        drop(roster);
        for thread in gone {
            // A thread catches its panics; what may be left is in the destructors of thread-locals.
            let _ = thread.join();
        }
        all
    }
}

impl<T: Task> Drop for Pool<T> {
    fn drop(&mut self) {
        self.shared.lock().close();
    }
}

/// What a pool shares with its threads.
struct Shared<T: Task> {
    threads: Box<dyn Spawn<T>>,
    queue: usize,
    stack: StackSize,
    /// Held for a few instructions, or while a thread is started.
    roster: Leaf<Roster<T>>,
    /// The last thread has left.
    deserted: Condvar,
}

impl<T: Task> Shared<T> {
    fn lock(&self) -> LeafGuard<'_, Roster<T>> {
        self.roster.lock()
    }

    /// Reports why a thread could not be started. Called without the lock.
    fn report(&self, failure: Option<io::Error>) {
        if let Some(error) = failure {
            self.threads.cannot_start(self.stack, &error);
        }
    }
}

fn call<T: Task>(seat: Option<Arc<Seat<T>>>) {
    if let Some(seat) = seat {
        seat.signal.notify_one();
    }
}

/// `Threads` without its guard, which only the thread itself needs to know.
trait Spawn<T: Task>: Send + Sync {
    fn spawn(&self, pool: Arc<Shared<T>>, seat: Arc<Seat<T>>) -> io::Result<JoinHandle<()>>;

    fn cannot_start(&self, stack: StackSize, error: &io::Error);
}

impl<T: Task, H: Threads> Spawn<T> for Arc<H> {
    fn spawn(&self, pool: Arc<Shared<T>>, seat: Arc<Seat<T>>) -> io::Result<JoinHandle<()>> {
        // Rust's own default is 2 MiB.
        let builder = Builder::new().name(format!("wsgi-{}", seat.number + 1)).stack_size(pool.stack.bytes());
        let worker = Worker { pool, seat, threads: Arc::clone(self) };
        H::spawn(self, builder, Box::new(|| worker.serve()))
    }

    fn cannot_start(&self, stack: StackSize, error: &io::Error) {
        // A panic of the report is dropped: it cannot be reported either.
        let _ = catch_unwind(AssertUnwindSafe(|| H::cannot_start(self, stack, error)));
    }
}
