//! Random tasks, checked against the invariants of a pool.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use proptest::prelude::*;

use super::super::{Limits, Overloaded, Pool, StackSize, Task, Threads, stream_ended, without_permit};

/// The end of one step of a task.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Waits, and wakes itself before it returns `Pending`.
    WokenBefore,
    /// Waits, and is woken by another thread, before or after it returns `Pending`.
    WokenByAnother,
    /// As `WokenByAnother`, with two wakes.
    WokenTwice,
    Panics,
    IsReady,
}

/// The behaviour of a task within its steps.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Waits in the middle of each step.
    waits: bool,
    streams: bool,
    /// Calls `stream_ended` after its first step.
    ends_stream: bool,
}

fn habits() -> impl Strategy<Value = Habits> {
    any::<[bool; 3]>().prop_map(|[waits, streams, ends_stream]| Habits { waits, streams, ends_stream })
}

fn script() -> impl Strategy<Value = Vec<End>> {
    let waits = prop_oneof![Just(End::WokenBefore), Just(End::WokenByAnother), Just(End::WokenTwice)];
    let ends = prop_oneof![4 => Just(End::IsReady), 1 => Just(End::Panics)];
    (prop::collection::vec(waits, 0..5), ends).prop_map(|(mut script, end)| {
        script.push(end);
        script
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..5usize, 1..9usize, prop_oneof![0..4usize, Just(1000)]).prop_map(|(permits, max_threads, queue)| Limits {
        permits,
        max_threads,
        queue,
        ..Limits::new(permits)
    })
}

#[derive(Default)]
struct Counts {
    running: AtomicUsize,
    most_running: AtomicUsize,
    begun: AtomicUsize,
    most_begun: AtomicUsize,
    dropped: AtomicUsize,
    astray: AtomicUsize,
    panics: AtomicUsize,
    releases: AtomicUsize,
    threads: AtomicUsize,
    load: AtomicUsize,
    most_load: AtomicUsize,
    wrong_loads: AtomicUsize,
}

impl Counts {
    fn enter(now: &AtomicUsize, most: &AtomicUsize) {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }
}

struct Scripted {
    habits: Habits,
    script: std::vec::IntoIter<End>,
    counts: Arc<Counts>,
    /// Sends wakers to a thread that wakes them.
    wakes: Sender<Waker>,
    thread: Option<ThreadId>,
}

impl Task for Scripted {
    fn streams(&self) -> bool {
        self.habits.streams
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let counts = Arc::clone(&self.counts);
        let here = thread::current().id();
        match self.thread {
            None => {
                self.thread = Some(here);
                Counts::enter(&counts.begun, &counts.most_begun);
            }
            Some(thread) if thread == here => {}
            Some(_) => _ = counts.astray.fetch_add(1, Ordering::SeqCst),
        }
        Counts::enter(&counts.running, &counts.most_running);
        thread::yield_now();
        if self.habits.waits {
            counts.running.fetch_sub(1, Ordering::SeqCst);
            without_permit(thread::yield_now);
            Counts::enter(&counts.running, &counts.most_running);
        }
        if self.habits.ends_stream {
            stream_ended();
        }
        let end = self.script.next();
        let wakes = match end {
            Some(End::WokenBefore) => {
                cx.waker().wake_by_ref();
                0
            }
            Some(End::WokenByAnother) => 1,
            Some(End::WokenTwice) => 2,
            _ => 0,
        };
        for _ in 0..wakes {
            self.wakes.send(cx.waker().clone()).unwrap();
        }
        counts.running.fetch_sub(1, Ordering::SeqCst);
        match end {
            Some(End::IsReady) => Poll::Ready(()),
            Some(End::Panics) => std::panic::panic_any(Expected),
            Some(_) => Poll::Pending,
            None => unreachable!("a further step after the end"),
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        match self.thread {
            Some(thread) if thread != thread::current().id() => _ = self.counts.astray.fetch_add(1, Ordering::SeqCst),
            Some(_) => _ = self.counts.begun.fetch_sub(1, Ordering::SeqCst),
            None => {}
        }
        self.counts.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// The payload of an intended panic.
struct Expected;

struct Counted(Arc<Counts>);

impl Threads for Counted {
    type Guard = Present;

    fn start(&self) -> Present {
        self.0.threads.fetch_add(1, Ordering::SeqCst);
        Present(Arc::clone(&self.0))
    }

    fn release(&self) {
        self.0.releases.fetch_add(1, Ordering::SeqCst);
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        assert!(panic.is::<Expected>());
        self.0.panics.fetch_add(1, Ordering::SeqCst);
    }

    fn cannot_start(&self, _stack: StackSize, error: &io::Error) {
        panic!("the system refuses a thread: {error}");
    }

    fn load_changed(&self, before: usize, now: usize) {
        let known = self.0.load.swap(now, Ordering::SeqCst);
        self.0.wrong_loads.fetch_add(usize::from(known != before || before == now), Ordering::SeqCst);
        self.0.most_load.fetch_max(now, Ordering::SeqCst);
    }
}

struct Present(Arc<Counts>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.threads.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Suppresses the output of intended panics.
fn quieten_expected_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Expected>() {
                usual(info);
            }
        }));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_no_limit_is_exceeded(
        limits in limits(),
        scripts in prop::collection::vec((script(), habits()), 1..60),
        submitters in 1..4usize,
        withdrawals in prop::collection::vec(any::<bool>(), 8),
        nudges in 0..4usize,
    ) {
        quieten_expected_panics();
        let counts = Arc::new(Counts::default());
        let pool = Pool::new(limits, Counted(Arc::clone(&counts)));
        let (wakes, wanted) = channel::<Waker>();
        let total = scripts.len();
        let refused = AtomicUsize::new(0);
        let panics_not_run = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| wanted.into_iter().for_each(Waker::wake));
            for part in scripts.chunks(total.div_ceil(submitters)) {
                let (wakes, pool, counts, refused, panics_not_run) = (wakes.clone(), &pool, &counts, &refused, &panics_not_run);
                let mut withdrawals = withdrawals.iter().cycle();
                scope.spawn(move || for (script, habits) in part {
                    let task = Scripted {
                        habits: *habits,
                        script: script.clone().into_iter(),
                        counts: Arc::clone(counts),
                        wakes: wakes.clone(),
                        thread: None,
                    };
                    let not_run = match pool.submit(task) {
                        Ok(ticket) if withdrawals.next() == Some(&true) => pool.withdraw(ticket),
                        Ok(_) => None,
                        Err(Overloaded::QueueFull(task)) => {
                            refused.fetch_add(1, Ordering::SeqCst);
                            Some(task)
                        }
                        Err(Overloaded::NoThread(_) | Overloaded::ShuttingDown(_)) => unreachable!(),
                    };
                    if let Some(task) = not_run {
                        let panics = matches!(task.script.as_slice().last(), Some(End::Panics));
                        panics_not_run.fetch_add(usize::from(panics), Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..nudges {
                pool.nudge();
                thread::yield_now();
            }
            drop(wakes);
        });
        // The tasks hold the senders that keep the waking thread alive, so all tasks are gone.
        prop_assert!(pool.shutdown(Duration::from_secs(60)));
        prop_assert_eq!(pool.in_flight(), 0);
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        let panicking = scripts.iter().filter(|(script, _)| matches!(script.last(), Some(End::Panics))).count();
        prop_assert_eq!(count(&counts.dropped), total);
        prop_assert_eq!(count(&counts.begun), 0);
        prop_assert_eq!(count(&counts.panics), panicking - count(&panics_not_run));
        prop_assert_eq!(count(&counts.astray), 0);
        prop_assert_eq!(count(&counts.threads), 0);
        prop_assert_eq!((count(&counts.load), count(&counts.wrong_loads)), (0, 0));
        prop_assert!(count(&counts.most_load) >= count(&counts.most_running));
        prop_assert!(count(&counts.most_running) <= limits.permits);
        prop_assert!(count(&counts.most_begun) <= limits.max_threads);
        prop_assert!(count(&counts.releases) <= nudges);
        prop_assert!(nudges == 0 || count(&counts.releases) > 0);
        prop_assert!(limits.queue < total || count(&refused) == 0);
    }
}
