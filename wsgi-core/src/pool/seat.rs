//! A thread of a pool: where it sleeps, what it does, and how the task on it is woken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

use super::roster::{Roster, Work};
use super::{Shared, Task, Threads, call};

/// One thread's place in the pool. It is also the waker of every task that runs there: a waker kept beyond its task can
/// at worst cause a further step of a later one.
pub(super) struct Seat<T: Task> {
    pool: Arc<Shared<T>>,
    pub(super) number: usize,
    /// The thread was given a permit, or is to leave.
    pub(super) signal: Condvar,
}

impl<T: Task> Seat<T> {
    pub(super) fn new(pool: &Arc<Shared<T>>, number: usize) -> Self {
        Self { pool: Arc::clone(pool), number, signal: Condvar::new() }
    }

    /// The whole life of the thread. It starts with a permit.
    pub(super) fn serve(self: Arc<Self>, threads: &impl Threads) {
        let guard = attempt(threads, || threads.start());
        let waker = Waker::from(Arc::clone(&self));
        let mut task_ended = false;
        while let Some(work) = self.next(task_ended) {
            task_ended = matches!(work, Work::Run(_));
            match work {
                Work::Run(task) => self.run(task, &mut Context::from_waker(&waker), threads),
                Work::Drain => {
                    attempt(threads, || threads.drain());
                }
            }
        }
        attempt(threads, || drop(guard));
        if self.pool.lock().leave(self.number) {
            self.pool.deserted.notify_all();
        }
    }

    /// Waits for work; none: the thread is to leave. The end of a task and the begin of the next are one lock.
    fn next(&self, task_ended: bool) -> Option<Work<T>> {
        let mut roster = self.pool.lock();
        roster.tasks -= usize::from(task_ended);
        loop {
            if let Some(work) = roster.work(self.number) {
                return Some(work);
            }
            call(roster.pass_on(&self.pool));
            roster.rest(self.number);
            roster = self.wait_while(roster, |roster| roster.is_idle(self.number));
            if roster.is_leaving(self.number) {
                return None;
            }
        }
    }

    fn run(&self, mut task: T, cx: &mut Context<'_>, threads: &impl Threads) {
        while attempt(threads, || task.advance(cx)).is_some_and(|step| step.is_pending()) {
            self.pause();
        }
        attempt(threads, move || drop(task));
    }

    /// Lets others run until the task was woken and has a permit again.
    fn pause(&self) {
        let mut roster = self.pool.lock();
        if roster.park(self.number) {
            call(roster.pass_on(&self.pool));
            roster = self.wait_while(roster, |roster| roster.is_parked(self.number));
            roster.resume(self.number);
        }
    }

    fn wait_while<'a>(
        &self,
        roster: MutexGuard<'a, Roster<T>>,
        condition: impl Fn(&Roster<T>) -> bool,
    ) -> MutexGuard<'a, Roster<T>> {
        self.signal.wait_while(roster, |roster| condition(roster)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Task> Wake for Seat<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let called = self.pool.lock().wake(self.number);
        call(called);
    }
}

/// Calls code of others; a panic is reported and gives `None`.
fn attempt<R>(threads: &impl Threads, code: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(panic) => {
            // Nothing is left to report a panic of the report to.
            let _ = catch_unwind(AssertUnwindSafe(|| threads.panicked(&*panic)));
            None
        }
    }
}
