//! Threads for application code: few run at a time, more wait for their clients, and the queue is bounded.
//!
//! A *permit* allows one task to run; a *thread* is the stack that a task stays on from its first step to its last, so that
//! thread-locals and database connections remain its own. A task that waits (for a client that reads slowly) keeps its thread
//! and gives its permit to another task, between two steps or [in the middle of one](without_permit). A task that finds no
//! free permit waits in a bounded queue; if the queue is full, it is returned to the caller.
//!
//! Tasks that [stream](Task::streams) may wait in the middle of a step for any time that a client takes. They may use only
//! half of the threads, so that they cannot occupy all: further ones wait in a separate queue.
//!
//! The pool does not know Python: [`Threads`] does what a thread needs before its first task and after its last.

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
use std::ops::{Deref, DerefMut};
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

/// Returns the message of a panic from its payload; `"no message"` if it has none.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// The size of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Tasks that may run at the same time; at least one.
    pub permits: usize,
    /// Limit of threads, and so of tasks that are running or waiting between two steps; at least one.
    pub max_threads: usize,
    /// Limit of tasks that wait for their first step; the same limit applies to those that [stream](Task::streams),
    /// separately.
    pub queue: usize,
    /// Size of the stack of each thread.
    pub stack: StackSize,
}

/// ```
/// # use wsgi_core::config::Limits;
/// let limits = Limits::new(2).max_threads(64).queue(256);
/// assert_eq!((limits.permits, limits.max_threads, limits.queue), (2, 64, 256));
/// ```
impl Limits {
    /// `permits` permits, and defaults for the rest: up to 256 threads, or one for each permit, a queue of 1024, and stacks
    /// of the default size.
    pub fn new(permits: usize) -> Self {
        Self { permits, max_threads: permits.max(256), queue: 1024, stack: StackSize::default() }
    }

    /// Sets the limit of threads.
    pub fn max_threads(mut self, number: usize) -> Self {
        self.max_threads = number;
        self
    }

    /// Sets the limit of tasks that wait for their first step.
    pub fn queue(mut self, length: usize) -> Self {
        self.queue = length;
        self
    }

    /// Sets the size of each thread's stack.
    pub fn stack(mut self, size: StackSize) -> Self {
        self.stack = size;
        self
    }
}

/// Work that is done in steps, all of them on one thread.
pub trait Task: Send + 'static {
    /// Does the next step. `Pending` gives the permit to another task until `cx` is woken, from any thread and also during
    /// this call; as with futures, there may be further calls without a wake. `Ready` or a panic ends the task, which is then
    /// dropped on its thread.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether a step may wait for a client [without a permit](without_permit). Called once, by [`Pool::submit`].
    fn streams(&self) -> bool {
        false
    }
}

/// Hooks that run on the threads of a pool, besides tasks.
///
/// Except for [`spawn`](Self::spawn), no lock is held during these calls, and a panic is reported like that of a task.
pub trait Threads: Send + Sync + 'static {
    /// State that a thread holds for its lifetime. It is dropped on that thread, as the last action there.
    type Guard;

    /// Runs first on each new thread.
    fn start(&self) -> Self::Guard;

    /// Runs after [`Pool::nudge`] on a thread between two tasks, which holds a permit.
    fn release(&self);

    /// Called when a task, or another method here, panicked with this payload. The thread continues.
    fn panicked(&self, panic: &(dyn Any + Send));

    /// Called when no thread could be started, with a stack of this size: tasks wait for the existing threads, and are
    /// refused if there are none. Called once, and again only after a thread has been started since.
    fn cannot_start(&self, stack: StackSize, error: &io::Error);

    /// Called on a thread between two tasks, while others are queued. With a result the thread waits for so long, with its
    /// permit, for a task that is [put first](Pool::submit_first).
    fn waits_for_first(&self) -> Option<Duration> {
        None
    }

    /// Called when the number of tasks that run with a permit or wait for one has changed, under the lock of the pool: it must
    /// return at once, and must not use the pool.
    fn load_changed(&self, before: usize, now: usize) {
        let _ = (before, now);
    }

    /// Starts a thread that runs `body`. Called by any thread that submits or runs tasks, under the lock of the pool, so it
    /// must not use the pool.
    fn spawn(&self, builder: Builder, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        builder.spawn(body)
    }
}

/// A task that the pool refused. It has not run.
#[derive(Debug)]
pub enum Overloaded<T> {
    /// The queue is full.
    QueueFull(T),
    /// There is no thread, and none can be started.
    NoThread(T),
    /// [`Pool::shutdown`] has been called.
    ShuttingDown(T),
}

/// The place of a task in the queue.
enum Place {
    Last,
    First,
    Of(Ticket),
}

/// Threads that run tasks of type `T`, started when they are needed and kept until [`shutdown`](Self::shutdown).
///
/// Dropping the pool cancels no task: the threads finish all tasks and end, without being joined.
pub struct Pool<T: Task> {
    shared: Arc<Shared<T>>,
}

impl<T: Task> Pool<T> {
    /// Creates a pool without threads.
    pub fn new(limits: Limits, threads: impl Threads) -> Self {
        let shared = Shared {
            threads: Box::new(Arc::new(threads)),
            queue: limits.queue,
            stack: limits.stack,
            roster: Leaf::new(Roster::new(limits)),
            deserted: Condvar::new(),
            first: Condvar::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a task. Never blocks for a task to end; may start a thread. The result can withdraw the task while it is queued.
    pub fn submit(&self, task: T) -> Result<Ticket, Overloaded<T>> {
        self.add(task, Place::Last)
    }

    /// Adds a task that runs at once: with a free permit, or on a thread that [waits for it](Threads::waits_for_first). The queue
    /// counts as full if there is neither. The task does not [stream](Task::streams).
    pub fn submit_first(&self, task: T) -> Result<Ticket, Overloaded<T>> {
        self.add(task, Place::First)
    }

    /// Puts a task that was [withdrawn](Self::withdraw) back to its place in the queue, even if that is full. The task does not
    /// [stream](Task::streams).
    pub fn put_back(&self, task: T, ticket: Ticket) -> Result<Ticket, Overloaded<T>> {
        self.add(task, Place::Of(ticket))
    }

    #[inline(always)]
    fn add(&self, task: T, place: Place) -> Result<Ticket, Overloaded<T>> {
        let mut roster = self.shared.lock();
        if roster.closing {
            return Err(Overloaded::ShuttingDown(task));
        }
        let streams = task.streams();
        if streams && !roster.queued.has_place() && roster.queued.aside() >= self.shared.queue {
            return Err(Overloaded::QueueFull(task));
        }
        let (ticket, limit) = match place {
            Place::Last => (roster.queued.push(task, streams), self.shared.queue),
            Place::Of(ticket) => (roster.queued.put_back(task, ticket), usize::MAX),
            Place::First => {
                self.shared.first.notify_one();
                let limit = if roster.is_first_expected() { usize::MAX } else { 0 };
                (roster.queued.push_first(task), limit)
            }
        };
        let called = roster.use_free_permit(&self.shared);
        let no_thread = roster.live == 0;
        if (no_thread || roster.waiting() > limit)
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
        // Called under the lock, which the woken thread needs first: if that thread preempts the caller, it gives the
        // processor back at once, and finds several tasks when it runs next. nginx with one thread takes 4 % less CPU per
        // request that way (nine alternating pairs), and wsgi-hyper on one processor saves more than that
        // (`scripts/measure/bench hop`).
        call(called);
        drop(roster);
        self.shared.report(failure);
        Ok(ticket)
    }

    /// Removes a task from the queue; `None` if its first step has begun. The caller drops it.
    pub fn withdraw(&self, ticket: Ticket) -> Option<T> {
        self.shared.lock().withdraw(ticket)
    }

    /// Makes [`Threads::release`] run soon: at once on an idle thread if a permit is free, else when the next task ends or
    /// waits. Starts a thread only if no running task will end. Several calls before it runs count as one.
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

    /// Whether a task that [streams](Task::streams) would have to wait in the separate queue now, because such tasks use half
    /// of the threads.
    pub fn is_full_of_streams(&self) -> bool {
        !self.shared.lock().queued.has_place()
    }

    /// Returns the number of tasks that were accepted and have not been dropped: queued, running and waiting.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().tasks
    }

    /// Refuses further tasks, and blocks until the accepted ones and the threads have ended, at most `within`. Returns
    /// whether all have ended; if not, they continue, and another call waits for them again.
    pub fn shutdown(&self, within: Duration) -> bool {
        let mut roster = self.shared.lock();
        roster.close();
        let mut roster = roster.wait_timeout_while(&self.shared.deserted, within, |roster| roster.live > 0);
        let all = roster.live == 0;
        let gone = roster.gone();
        drop(roster);
        for thread in gone {
            // A thread catches its panics, except those in destructors of thread-locals.
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

/// State that a pool shares with its threads.
struct Shared<T: Task> {
    threads: Box<dyn Spawn<T>>,
    queue: usize,
    stack: StackSize,
    /// Held for a few instructions, or while a thread is started.
    roster: Leaf<Roster<T>>,
    /// Signalled when the last thread has ended.
    deserted: Condvar,
    /// Signalled when a task was put first.
    first: Condvar,
}

impl<T: Task> Shared<T> {
    fn lock(&self) -> Locked<'_, T> {
        Locked { roster: Some(self.roster.lock()), threads: &*self.threads }
    }

    /// Reports why a thread could not be started. Called without the lock.
    fn report(&self, failure: Option<io::Error>) {
        if let Some(error) = failure {
            self.threads.cannot_start(self.stack, &error);
        }
    }
}

/// The locked roster. Reports the load before it releases the lock.
struct Locked<'a, T: Task> {
    /// `None` only while `wait` moves the guard.
    roster: Option<LeafGuard<'a, Roster<T>>>,
    threads: &'a dyn Spawn<T>,
}

impl<T: Task> Locked<'_, T> {
    /// Releases the lock and sleeps until `signal` is notified and `condition` no longer holds.
    fn wait_while(mut self, signal: &Condvar, condition: impl Fn(&Roster<T>) -> bool) -> Self {
        self.report_load();
        self.roster = self.roster.take().map(|roster| roster.wait_while(signal, |roster| condition(roster)));
        self
    }

    /// Like [`wait_while`](Self::wait_while), for at most `within`.
    fn wait_timeout_while(
        mut self,
        signal: &Condvar,
        within: Duration,
        condition: impl Fn(&Roster<T>) -> bool,
    ) -> Self {
        self.report_load();
        let roster = self.roster.take();
        self.roster = roster.map(|roster| roster.wait_timeout_while(signal, within, |roster| condition(roster)).0);
        self
    }

    #[inline]
    fn report_load(&mut self) {
        let now = self.load();
        if now != self.reported {
            let before = std::mem::replace(&mut self.reported, now);
            self.threads.load_changed(before, now);
        }
    }
}

impl<T: Task> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.report_load();
    }
}

impl<T: Task> Deref for Locked<'_, T> {
    type Target = Roster<T>;

    #[inline]
    fn deref(&self) -> &Roster<T> {
        self.roster.as_ref().expect("set except within `wait_while`")
    }
}

impl<T: Task> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Roster<T> {
        self.roster.as_mut().expect("set except within `wait_while`")
    }
}

fn call<T: Task>(seat: Option<Arc<Seat<T>>>) {
    if let Some(seat) = seat {
        seat.signal.notify_one();
    }
}

/// `Threads` without its guard type, which only the thread itself uses.
trait Spawn<T: Task>: Send + Sync {
    fn spawn(&self, pool: Arc<Shared<T>>, seat: Arc<Seat<T>>) -> io::Result<JoinHandle<()>>;

    fn cannot_start(&self, stack: StackSize, error: &io::Error);

    fn load_changed(&self, before: usize, now: usize);
}

impl<T: Task, H: Threads> Spawn<T> for Arc<H> {
    fn spawn(&self, pool: Arc<Shared<T>>, seat: Arc<Seat<T>>) -> io::Result<JoinHandle<()>> {
        // Rust's default is 2 MiB.
        let builder = Builder::new().name(format!("wsgi-{}", seat.number + 1)).stack_size(pool.stack.bytes());
        let worker = Worker { pool, seat, threads: Arc::clone(self) };
        H::spawn(self, builder, Box::new(|| worker.serve()))
    }

    fn cannot_start(&self, stack: StackSize, error: &io::Error) {
        // A panic of the report is dropped: it cannot be reported.
        let _ = catch_unwind(AssertUnwindSafe(|| H::cannot_start(self, stack, error)));
    }

    fn load_changed(&self, before: usize, now: usize) {
        H::load_changed(self, before, now);
    }
}
