//! Tests of a pool with tasks whose steps the test controls.

mod endings;
mod limits;
mod nudges;
mod random;
mod turns;
mod waits;

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Builder, JoinHandle, ThreadId};
use std::time::Duration;

use super::{Limits, Overloaded, Pool, StackSize, Task, Threads, Ticket};

/// A hang fails the test after this time, which is enough for any loaded machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

type Step = Box<dyn FnMut(&mut Context<'_>) -> Poll<()> + Send>;

impl Task for Step {
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self(cx)
    }
}

/// A task, and whether it streams.
struct Streaming(Step, bool);

impl Task for Streaming {
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0(cx)
    }

    fn streams(&self) -> bool {
        self.1
    }
}

#[derive(Debug, PartialEq)]
enum Event {
    Started(ThreadId),
    Released(ThreadId),
    Panicked(String),
    CannotStart(StackSize, io::ErrorKind),
    WaitsForFirst,
    Ended(ThreadId),
}

/// Reports the calls of the pool, and starts at most `allowed` threads.
struct Observed {
    events: Sender<Event>,
    allowed: Arc<AtomicUsize>,
    /// Whether threads wait for tasks that are put first.
    patient: bool,
}

struct Guard(Sender<Event>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Ended(thread::current().id()));
    }
}

impl Threads for Observed {
    type Guard = Guard;

    fn start(&self) -> Guard {
        let _ = self.events.send(Event::Started(thread::current().id()));
        Guard(self.events.clone())
    }

    fn release(&self) {
        let _ = self.events.send(Event::Released(thread::current().id()));
    }

    fn panicked(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().unwrap_or(&"?");
        let _ = self.events.send(Event::Panicked((*text).to_owned()));
    }

    fn cannot_start(&self, stack: StackSize, error: &io::Error) {
        let _ = self.events.send(Event::CannotStart(stack, error.kind()));
    }

    fn waits_for_first(&self) -> Option<Duration> {
        self.patient.then(|| {
            let _ = self.events.send(Event::WaitsForFirst);
            WAIT_TIMEOUT
        })
    }

    fn spawn(&self, builder: Builder, body: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        let less = |allowed: usize| allowed.checked_sub(1);
        match self.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => builder.spawn(body),
            Err(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

struct Fixture {
    pool: Pool<Step>,
    events: Receiver<Event>,
    allowed: Arc<AtomicUsize>,
}

fn pool(permits: usize, max_threads: usize, queue: usize) -> Fixture {
    observed_pool(Limits::new(permits).max_threads(max_threads).queue(queue), false)
}

fn observed_pool(limits: Limits, patient: bool) -> Fixture {
    let (sender, events) = channel();
    let allowed = Arc::new(AtomicUsize::new(usize::MAX));
    let threads = Observed { events: sender, allowed: Arc::clone(&allowed), patient };
    Fixture { pool: Pool::new(limits, threads), events, allowed }
}

impl Fixture {
    fn submit(&self, step: impl FnMut(&mut Context<'_>) -> Poll<()> + Send + 'static) -> Ticket {
        self.try_submit(step).unwrap_or_else(|_| panic!("refused"))
    }

    fn try_submit(
        &self,
        step: impl FnMut(&mut Context<'_>) -> Poll<()> + Send + 'static,
    ) -> Result<Ticket, Overloaded<Step>> {
        self.pool.submit(Box::new(step))
    }

    /// Starts a task that holds a thread and a permit until released. It is running when this returns.
    fn run_held(&self) -> Held {
        let (release, gate) = channel();
        let (tell, thread) = channel();
        self.submit(move |_| {
            tell.send(thread::current().id()).unwrap();
            let _ = gate.recv();
            Poll::Ready(())
        });
        Held { thread: next(&thread), _release: release }
    }

    /// Starts a task that waits until woken. It is waiting, or about to, when this returns.
    fn park(&self) -> Parked {
        let (tell_waker, waker) = channel();
        let (tell, resumed) = channel();
        let mut begun = false;
        self.submit(move |cx| {
            if !std::mem::replace(&mut begun, true) {
                tell_waker.send((thread::current().id(), cx.waker().clone())).unwrap();
                return Poll::Pending;
            }
            tell.send(thread::current().id()).unwrap();
            Poll::Ready(())
        });
        let (thread, waker) = next(&waker);
        Parked { thread, waker, resumed }
    }

    /// Blocks until all tasks have been dropped. Threads are idle then, unless they release.
    fn quiet(&self) {
        while self.pool.in_flight() > 0 {
            thread::yield_now();
        }
    }

    fn shut_down(self) -> Vec<Event> {
        assert!(self.pool.shutdown(WAIT_TIMEOUT), "shutdown timed out");
        drop(self.pool);
        self.events.iter().collect()
    }
}

struct Held {
    thread: ThreadId,
    /// Releases the task when dropped.
    _release: Sender<()>,
}

struct Parked {
    thread: ThreadId,
    waker: Waker,
    resumed: Receiver<ThreadId>,
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(WAIT_TIMEOUT).expect("nothing happened")
}

fn count(events: &[Event], test: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| test(event)).count()
}

fn is_started(event: &Event) -> bool {
    matches!(event, Event::Started(_))
}

fn is_release(event: &Event) -> bool {
    matches!(event, Event::Released(_))
}

fn is_refusal(event: &Event) -> bool {
    *event == Event::CannotStart(StackSize::default(), io::ErrorKind::WouldBlock)
}

/// A step that sends `value` and ends.
fn told<T: Copy + Send + 'static>(
    tell: &Sender<T>,
    value: T,
) -> impl FnMut(&mut Context<'_>) -> Poll<()> + Send + use<T> {
    let tell = tell.clone();
    move |_| {
        tell.send(value).unwrap();
        Poll::Ready(())
    }
}
