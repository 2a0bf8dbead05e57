//! The mutable state of a pool, under one lock, with all transitions of its threads.
//!
//! | stage   | holds a permit | ends when                                                                       |
//! |---------|----------------|---------------------------------------------------------------------------------|
//! | Called  | yes            | the thread has woken up, and has released references if requested: Running                  |
//! | Running | yes            | the task waits: Parked, or Due if it was woken meanwhile; no work left: Idle    |
//! | Away    | no             | the wait within the step is over: Running if a permit is free, else Due         |
//! | Parked  | no             | the task is woken: Running if a permit is free, else Due                        |
//! | Due     | no             | it gets a permit: Running                                                       |
//! | Idle    | no             | it gets a permit: Called                                                        |
//! | Leaving | no             | its guard is dropped: Gone                                                      |
//!
//! A permit is free only while no thread can use it: no thread is Due, and for each queued task a thread has been called, or
//! there is no thread to call. A called thread takes the first task of the queue at the time it runs. If another thread has
//! taken that task, it finds nothing and gives the permit back: that costs a wake for nothing, but no task ever waits for a
//! thread that is still waking up.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::queue::{Queue, Ticket};
use super::seat::Seat;
use super::{Limits, Shared, Task};

/// The state of a pool.
pub(super) struct Roster<T: Task> {
    permits: usize,
    max_threads: usize,
    /// Number of permits that no thread holds.
    free: usize,
    /// Tasks before their first step.
    pub(super) queued: Queue<T>,
    /// Due threads, in the order of their wakes.
    woken: VecDeque<usize>,
    /// Idle threads. The thread that became idle last is at the end, and used first: its caches are warmest.
    idle: Vec<usize>,
    /// Number of threads that are Called.
    called: usize,
    /// One entry for every thread that was ever started; threads end only at shutdown.
    seats: Vec<Entry<T>>,
    /// Number of threads that are not Gone.
    pub(super) live: usize,
    /// Number of tasks accepted and not dropped.
    pub(super) tasks: usize,
    /// Whether the last attempt to start a thread failed.
    cannot_start: bool,
    /// The error of the first such attempt, until it is reported.
    pub(super) start_failure: Option<io::Error>,
    /// Whether a call of `Threads::release` is requested.
    pub(super) nudged: bool,
    /// Whether further tasks are refused.
    pub(super) closing: bool,
    /// The [load](Self::load) that was reported last.
    pub(super) reported: usize,
    /// The number of tasks that may be put first, because a thread waits for each.
    expected: usize,
}

struct Entry<T: Task> {
    seat: Arc<Seat<T>>,
    stage: Stage,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Called,
    /// `woken`: the task was woken during its step, so it must not wait when it returns `Pending`.
    Running {
        woken: bool,
    },
    /// `woken`: as for Running.
    Away {
        woken: bool,
    },
    Parked,
    Due,
    Idle,
    Leaving,
    Gone,
}

/// The next work of a thread with a permit.
pub(super) enum Work<T> {
    Run {
        task: T,
        /// Whether the task has a place, to be given back.
        streams: bool,
    },
    Drain,
}

impl<T: Task> Roster<T> {
    pub(super) fn new(limits: Limits) -> Self {
        let permits = limits.permits.max(1);
        let max_threads = limits.max_threads.max(1);
        Self {
            permits,
            max_threads,
            free: permits,
            // The other half is for tasks that do not wait for their clients within a step.
            queued: Queue::new((max_threads / 2).max(1)),
            woken: VecDeque::new(),
            idle: Vec::new(),
            called: 0,
            seats: Vec::new(),
            live: 0,
            tasks: 0,
            cannot_start: false,
            start_failure: None,
            nudged: false,
            closing: false,
            reported: 0,
            expected: 0,
        }
    }

    /// Whether tasks are queued, and no task that has begun waits for a permit.
    pub(super) fn has_queued(&self) -> bool {
        self.waiting() > 0 && self.woken.is_empty()
    }

    /// Whether the next task was put first.
    pub(super) fn has_first(&self) -> bool {
        self.queued.has_first()
    }

    /// Notes that a thread begins to wait for a task that is put first.
    pub(super) fn expect_first(&mut self) {
        self.expected += 1;
    }

    /// Notes that a thread no longer waits, if no task has come for it.
    pub(super) fn stop_expecting(&mut self) {
        if !self.queued.has_first() {
            self.expected = self.expected.saturating_sub(1);
        }
    }

    /// Whether a thread waits for a task that is put first. That thread takes the task.
    pub(super) fn is_first_expected(&mut self) -> bool {
        let is_expected = self.expected > 0;
        self.expected -= usize::from(is_expected);
        is_expected
    }

    /// Returns the number of tasks that hold a permit or wait for one.
    pub(super) fn load(&self) -> usize {
        (self.permits - self.free) + self.woken.len() + self.waiting()
    }

    /// Returns the number of queued tasks that no thread has been called for.
    pub(super) fn waiting(&self) -> usize {
        self.queued.len().saturating_sub(self.called)
    }

    /// Uses a free permit, if there is one, for a waiting task; returns the thread to wake.
    pub(super) fn use_free_permit(&mut self, pool: &Arc<Shared<T>>) -> Option<Arc<Seat<T>>> {
        self.free = self.free.checked_sub(1)?;
        self.pass_on(pool)
    }

    /// Gives the caller's permit to a task that has begun, else to a thread for a queued one, else frees it; returns the
    /// thread to wake.
    pub(super) fn pass_on(&mut self, pool: &Arc<Shared<T>>) -> Option<Arc<Seat<T>>> {
        if let Some(number) = self.woken.pop_front() {
            return Some(self.summon(number, Stage::Running { woken: false }));
        }
        let task = self.waiting() > 0;
        let release = self.nudged && self.called == 0 && !self.closing;
        if task || release {
            if let Some(number) = self.idle.pop() {
                self.called += 1;
                return Some(self.summon(number, Stage::Called));
            }
            // Other running threads will release when their tasks end.
            if (task || self.free + 1 == self.permits) && self.start_thread(pool) {
                return None;
            }
        }
        self.free += 1;
        None
    }

    fn start_thread(&mut self, pool: &Arc<Shared<T>>) -> bool {
        if self.live >= self.max_threads {
            return false;
        }
        let seat = Arc::new(Seat::new(pool, self.seats.len()));
        // The new thread takes the lock before anything else, so it finds its entry.
        let thread = match pool.threads.spawn(Arc::clone(pool), Arc::clone(&seat)) {
            Ok(thread) => thread,
            Err(error) => {
                if !std::mem::replace(&mut self.cannot_start, true) {
                    self.start_failure = Some(error);
                }
                return false;
            }
        };
        self.cannot_start = false;
        self.seats.push(Entry { seat, stage: Stage::Called, thread: Some(thread) });
        self.called += 1;
        self.live += 1;
        true
    }

    /// Wakes the task of thread `number`; returns the thread to wake.
    pub(super) fn wake(&mut self, number: usize) -> Option<Arc<Seat<T>>> {
        match self.seats[number].stage {
            Stage::Running { .. } => self.turn(number, Stage::Running { woken: true }),
            Stage::Away { .. } => self.turn(number, Stage::Away { woken: true }),
            Stage::Parked => match self.free.checked_sub(1) {
                Some(free) => {
                    self.free = free;
                    return Some(self.summon(number, Stage::Running { woken: false }));
                }
                None => self.fall_due(number),
            },
            // The task was woken before, or the waker outlived its task.
            Stage::Called | Stage::Due | Stage::Idle | Stage::Leaving | Stage::Gone => {}
        }
        None
    }

    /// The task of thread `number` returned `Pending`. Returns whether the thread must give up its permit.
    pub(super) fn park(&mut self, number: usize) -> bool {
        match self.seats[number].stage {
            Stage::Running { woken: true } if self.woken.is_empty() => {
                self.resume(number);
                return false;
            }
            Stage::Running { woken: true } => self.fall_due(number),
            _ => self.turn(number, Stage::Parked),
        }
        true
    }

    /// The task of thread `number` is about to wait within its step. Returns whether the caller has a permit to pass on.
    pub(super) fn go_away(&mut self, number: usize) -> bool {
        let Stage::Running { woken } = self.seats[number].stage else { return false };
        self.turn(number, Stage::Away { woken });
        true
    }

    /// The task of thread `number` continues its step. Returns whether the thread must sleep until it has a permit.
    pub(super) fn come_back(&mut self, number: usize) -> bool {
        let Stage::Away { woken } = self.seats[number].stage else { return false };
        match self.free.checked_sub(1) {
            Some(free) => {
                self.free = free;
                self.turn(number, Stage::Running { woken });
                false
            }
            None => {
                self.fall_due(number);
                true
            }
        }
    }

    /// The task of thread `number` has waited within its step, and may have been woken for its next step meanwhile.
    pub(super) fn resume_within_step(&mut self, number: usize) {
        self.turn(number, Stage::Running { woken: true });
    }

    /// Whether a thread waits for a permit to continue.
    #[cfg(test)]
    pub(super) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    pub(super) fn is_parked(&self, number: usize) -> bool {
        matches!(self.seats[number].stage, Stage::Parked | Stage::Due)
    }

    /// The task of thread `number` is about to take its next step, which handles all wakes so far.
    pub(super) fn resume(&mut self, number: usize) {
        self.turn(number, Stage::Running { woken: false });
    }

    /// Returns the next work of thread `number`, which holds a permit; `None` if there is none.
    pub(super) fn work(&mut self, number: usize) -> Option<Work<T>> {
        let called = self.seats[number].stage == Stage::Called;
        if self.woken.is_empty() && std::mem::take(&mut self.nudged) {
            // After the release it comes back for a task, so it counts as called for one.
            if !called {
                self.turn(number, Stage::Called);
                self.called += 1;
            }
            return Some(Work::Drain);
        }
        if called {
            self.called -= 1;
        }
        self.resume(number);
        if !self.woken.is_empty() {
            return None;
        }
        self.queued.pop().map(|(task, streams)| Work::Run { task, streams })
    }

    /// Removes a queued task. A thread that was called for it finds nothing, as if another thread had taken it.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<T> {
        let task = self.queued.take(ticket)?;
        self.tasks -= 1;
        if self.closing && self.queued.is_empty() {
            self.dismiss_idle();
        }
        Some(task)
    }

    /// Thread `number` has passed on its permit and found no work: it becomes idle, or leaves.
    pub(super) fn rest(&mut self, number: usize) {
        if self.closing && self.queued.is_empty() {
            self.turn(number, Stage::Leaving);
            self.dismiss_idle();
        } else {
            self.turn(number, Stage::Idle);
            self.idle.push(number);
        }
    }

    pub(super) fn is_idle(&self, number: usize) -> bool {
        self.seats[number].stage == Stage::Idle
    }

    pub(super) fn is_leaving(&self, number: usize) -> bool {
        self.seats[number].stage == Stage::Leaving
    }

    /// Refuses further tasks: threads leave as soon as the queue is empty.
    pub(super) fn close(&mut self) {
        self.closing = true;
        if self.queued.is_empty() {
            self.dismiss_idle();
        }
    }

    fn dismiss_idle(&mut self) {
        while let Some(number) = self.idle.pop() {
            self.summon(number, Stage::Leaving).signal.notify_one();
        }
    }

    /// Thread `number` ends. Returns whether it was the last one.
    pub(super) fn leave(&mut self, number: usize) -> bool {
        self.turn(number, Stage::Gone);
        self.live -= 1;
        self.live == 0
    }

    /// Returns the threads that have ended and not been joined.
    pub(super) fn gone(&mut self) -> Vec<JoinHandle<()>> {
        let gone = self.seats.iter_mut().filter(|entry| entry.stage == Stage::Gone);
        gone.filter_map(|entry| entry.thread.take()).collect()
    }

    pub(super) fn seat(&self, number: usize) -> Arc<Seat<T>> {
        Arc::clone(&self.seats[number].seat)
    }

    fn fall_due(&mut self, number: usize) {
        self.turn(number, Stage::Due);
        self.woken.push_back(number);
    }

    fn turn(&mut self, number: usize, stage: Stage) {
        self.seats[number].stage = stage;
    }

    /// As `turn`, for a sleeping thread. Returns its seat, to be woken.
    fn summon(&mut self, number: usize, stage: Stage) -> Arc<Seat<T>> {
        self.turn(number, stage);
        self.seat(number)
    }
}
