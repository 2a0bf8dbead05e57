//! A thread of a pool: its loop, its sleep, and the waker of its tasks.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Weak};
use std::task::{Context, Wake, Waker};

use super::roster::{Roster, Work};
use super::wait::{Hold, held_by_this_thread};
use super::{Locked, Shared, Task, Threads, call};

/// One thread's place in the pool. It is also the waker of every task that runs there: a waker kept beyond its task can at
/// worst cause a further step of a later task.
pub(super) struct Seat<T: Task> {
    /// Weak, because hosts may keep wakers for any time.
    pool: Weak<Shared<T>>,
    pub(super) number: usize,
    /// Signalled when the thread gets a permit, or must leave.
    pub(super) signal: Condvar,
}

impl<T: Task> Seat<T> {
    pub(super) fn new(pool: &Arc<Shared<T>>, number: usize) -> Self {
        Self { pool: Arc::downgrade(pool), number, signal: Condvar::new() }
    }
}

impl<T: Task> Wake for Seat<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(pool) = self.pool.upgrade() {
            let called = pool.lock().wake(self.number);
            call(called);
        }
    }
}

/// State of a seat's thread while it runs a task.
struct Held<T: Task> {
    pool: Arc<Shared<T>>,
    number: usize,
    /// Whether the task has a place for tasks that stream.
    place: Cell<bool>,
}

impl<T: Task> Hold for Held<T> {
    fn give_permit_back(&self) -> bool {
        let mut roster = self.pool.lock();
        if !roster.go_away(self.number) {
            return false;
        }
        let called = roster.pass_on(&self.pool);
        let failure = roster.start_failure.take();
        drop(roster);
        call(called);
        self.pool.report(failure);
        true
    }

    fn take_permit_again(&self) {
        let mut roster = self.pool.lock();
        if roster.come_back(self.number) {
            let seat = roster.seat(self.number);
            roster = roster.wait_while(&seat.signal, |roster| roster.is_parked(self.number));
            roster.resume_within_step(self.number);
        }
    }

    fn give_place_back(&self) {
        if !self.place.take() {
            return;
        }
        let mut roster = self.pool.lock();
        roster.queued.give_place_back();
        let called = roster.use_free_permit(&self.pool);
        let failure = roster.start_failure.take();
        drop(roster);
        call(called);
        self.pool.report(failure);
    }
}

/// The code of a seat's thread.
pub(super) struct Worker<T: Task, H> {
    pub(super) pool: Arc<Shared<T>>,
    pub(super) seat: Arc<Seat<T>>,
    pub(super) threads: Arc<H>,
}

impl<T: Task, H: Threads> Worker<T, H> {
    /// Runs the thread from start to end. It starts with a permit.
    pub(super) fn serve(self) {
        let guard = self.attempt(|| self.threads.start());
        let waker = Waker::from(Arc::clone(&self.seat));
        let held = Rc::new(Held { pool: Arc::clone(&self.pool), number: self.seat.number, place: Cell::new(false) });
        let holding = held_by_this_thread(Rc::clone(&held) as Rc<dyn Hold>);
        let mut task_ended = false;
        while let Some(work) = self.next(task_ended, &held) {
            task_ended = matches!(work, Work::Run { .. });
            match work {
                Work::Run { task, streams } => {
                    held.place.set(streams);
                    self.run(task, &mut Context::from_waker(&waker));
                }
                Work::Drain => {
                    self.attempt(|| self.threads.release());
                }
            }
        }
        drop(holding);
        self.attempt(|| drop(guard));
        if self.pool.lock().leave(self.seat.number) {
            self.pool.deserted.notify_all();
        }
    }

    /// Blocks until there is work; `None` if the thread must leave. Ending a task and beginning the next take the lock once.
    fn next(&self, task_ended: bool, held: &Held<T>) -> Option<Work<T>> {
        let number = self.seat.number;
        let mut roster = self.pool.lock();
        roster.tasks -= usize::from(task_ended);
        if held.place.take() {
            roster.queued.give_place_back();
        }
        if task_ended && roster.has_queued() {
            drop(roster);
            let wait = self.attempt(|| self.threads.waits_for_first()).flatten();
            roster = self.pool.lock();
            if let Some(time) = wait
                && !roster.has_first()
            {
                roster.expect_first();
                roster = roster.wait_timeout_while(&self.pool.first, time, |roster| !roster.queued.has_first());
                roster.stop_expecting();
            }
        }
        loop {
            if let Some(work) = roster.work(number) {
                return Some(work);
            }
            call(roster.pass_on(&self.pool));
            roster.rest(number);
            roster = self.report(roster);
            roster = self.sleep_while(roster, |roster| roster.is_idle(number));
            if roster.is_leaving(number) {
                return None;
            }
        }
    }

    fn run(&self, mut task: T, cx: &mut Context<'_>) {
        while self.attempt(|| task.advance(cx)).is_some_and(|step| step.is_pending()) {
            self.pause();
        }
        self.attempt(|| drop(task));
    }

    /// Lets other tasks run until the task is woken and has a permit again.
    fn pause(&self) {
        let number = self.seat.number;
        let mut roster = self.pool.lock();
        if roster.park(number) {
            call(roster.pass_on(&self.pool));
            roster = self.report(roster);
            roster = self.sleep_while(roster, |roster| roster.is_parked(number));
            roster.resume(number);
        }
    }

    /// If a thread could not be started just now, reports why, without the lock.
    fn report<'a>(&'a self, mut roster: Locked<'a, T>) -> Locked<'a, T> {
        let Some(error) = roster.start_failure.take() else { return roster };
        drop(roster);
        self.pool.report(Some(error));
        self.pool.lock()
    }

    fn sleep_while<'a>(&self, roster: Locked<'a, T>, condition: impl Fn(&Roster<T>) -> bool) -> Locked<'a, T> {
        roster.wait_while(&self.seat.signal, |roster| condition(roster))
    }

    /// Calls code from outside of the pool; a panic is reported and gives `None`.
    fn attempt<R>(&self, code: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(code)) {
            Ok(value) => Some(value),
            Err(panic) => {
                // A panic of the report itself cannot be reported.
                let _ = catch_unwind(AssertUnwindSafe(|| self.threads.panicked(&*panic)));
                None
            }
        }
    }
}
