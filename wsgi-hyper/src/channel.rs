//! What lies between the thread of an application and the task that serves its client.
//!
//! The thread puts head and blocks in and waits while there are enough of them; the task takes them out. Either side
//! may end first: the thread by [`finish`](Channel::finish) or by giving up, the task by [`close`](Channel::close).

mod blocks;

use std::sync::{Arc, Condvar};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::response::Parts;
use wsgi_core::error::HostError;
use wsgi_core::lock::{Leaf, LeafGuard};

use blocks::Blocks;

/// The application is asked for further blocks while fewer bytes than this wait to be taken.
const ROOM: usize = 64 * 1024;

/// One response under way.
#[derive(Default)]
pub(crate) struct Channel {
    state: Leaf<State>,
    /// For a thread that blocks until everything is taken.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    blocks: Blocks,
    /// Bytes in `blocks`.
    waiting: usize,
    /// A thread blocks until they are taken. To signal one that does not is a system call for nothing.
    draining: bool,
    end: Option<End>,
    closed: Option<Closed>,
    /// What the client gets for its request body, if the application fails by that.
    blame: Option<StatusCode>,
    /// The task, when it waits for something to take.
    task: Option<Waker>,
    /// The exchange, when it waits for room.
    exchange: Option<Waker>,
    /// Whoever waits for the request body.
    reader: Option<Waker>,
}

/// What leaves first.
pub(crate) struct Head {
    pub(crate) parts: Parts,
    /// Bytes of body that are owed to the client; unknown where only the end tells.
    pub(crate) length: Option<u64>,
}

/// How the thread has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// In the middle of the body.
    Cut,
    /// Before the head: this is to be answered in its place.
    Failed(StatusCode),
}

/// Why the task takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client has all it was promised. What else comes is not needed.
    Satisfied,
    /// The client is gone, or nobody wants the answer any more.
    Gone,
}

/// The side of the thread.
impl Channel {
    /// Leaves with what comes next.
    pub(crate) fn send_head(&self, head: Head) -> Result<(), HostError> {
        self.put(false, |state| state.head = Some(head))
    }

    /// With `now` the task looks at once.
    pub(crate) fn send(&self, block: Bytes, now: bool) -> Result<(), HostError> {
        self.put(now, |state| {
            state.waiting += block.len();
            state.blocks.push(block);
        })
    }

    /// Sends a small block together with those before it that have not been taken. Nobody waits for more.
    pub(crate) fn join(&self, block: &[u8]) -> Result<(), HostError> {
        self.put(true, |state| {
            state.waiting += block.len();
            state.blocks.join(block);
        })
    }

    /// Has the task look at what is there.
    pub(crate) fn flush(&self) -> Result<(), HostError> {
        self.put(true, |_| ())
    }

    /// Nothing follows, and nothing is missing.
    pub(crate) fn finish(&self) -> Result<(), HostError> {
        self.put(true, |state| state.end = Some(End::Complete))
    }

    fn put(&self, now: bool, work: impl FnOnce(&mut State)) -> Result<(), HostError> {
        // What the client does not get is dropped with `work`, and so without the lock.
        let mut work = Some(work);
        let task = self.state.with(|state| match state.closed {
            Some(Closed::Gone) => Err(HostError::ClientGone),
            Some(Closed::Satisfied) => Ok(None),
            None => {
                if let Some(work) = work.take() {
                    work(state);
                }
                Ok(if now { state.task.take() } else { None })
            }
        });
        wake([task?, None]);
        Ok(())
    }

    /// Whether a further block may be produced.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), HostError>> {
        let mut task = None;
        let polled = self.poll(cx, |state| match state.closed {
            Some(Closed::Gone) => Looked::Ready(Err(HostError::ClientGone)),
            None if state.waiting >= ROOM => {
                // It has not been woken for blocks that were to leave with a later one.
                task = state.task.take().or(task.take());
                Looked::Wait(&mut state.exchange)
            }
            _ => Looked::Ready(Ok(())),
        });
        wake([task, None]);
        polled
    }

    /// Blocks until everything is taken; an error if nothing was for as long as `patience`.
    pub(crate) fn drain(&self, patience: Duration) -> Result<(), HostError> {
        let mut state = self.state.lock();
        loop {
            match state.closed {
                Some(Closed::Gone) => return Err(HostError::ClientGone),
                None if !state.blocks.is_empty() => {}
                _ => return Ok(()),
            }
            if let Some(task) = state.task.take() {
                drop(state);
                task.wake();
                state = self.state.lock();
                continue;
            }
            let before = state.waiting;
            state.draining = true;
            let timed_out;
            (state, timed_out) = state.wait_timeout(&self.taken, patience);
            state.draining = false;
            if timed_out && state.waiting == before {
                return Err(HostError::TimedOut);
            }
        }
    }

    /// The thread is done with a response whose head has been sent; what is missing will not come.
    pub(crate) fn cut(&self) {
        self.end(End::Cut);
    }

    /// The thread is done, and `status` is to be answered unless a head has been sent, or that of
    /// [the client's fault](Self::blame_client) if there is one.
    pub(crate) fn fail(&self, status: StatusCode) {
        let blame = self.state.with(|state| state.blame);
        self.end(End::Failed(blame.unwrap_or(status)));
    }

    /// The request body turned out to be malformed (400), or comes too slowly (408). The application may make something of
    /// that all the same.
    pub(crate) fn blame_client(&self, status: StatusCode) {
        self.state.with(|state| state.blame = Some(status));
    }

    /// The gateway does not wait for the thread any more. A response that is not complete is cut.
    pub(crate) fn abandon(&self) {
        self.end(End::Failed(StatusCode::SERVICE_UNAVAILABLE));
    }

    fn end(&self, end: End) {
        let task = self.state.with(|state| {
            state.end.get_or_insert(end);
            state.task.take()
        });
        wake([task, None]);
    }

    /// Notes whom to wake when the task closes; an error if it has.
    pub(crate) fn wait_with(&self, reader: &Waker) -> Result<(), HostError> {
        let reader = Some(reader.clone());
        let before = self.state.with(|state| match state.closed {
            Some(Closed::Gone) => Err(HostError::ClientGone),
            _ => Ok(std::mem::replace(&mut state.reader, reader)),
        });
        before.map(drop)
    }
}

/// The side of the task.
impl Channel {
    /// The head, or a status that stands for it.
    pub(crate) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Head, StatusCode>> {
        self.poll(cx, |state| match (state.head.take(), state.end) {
            (Some(head), _) => Looked::Ready(Ok(head)),
            (None, Some(End::Failed(status))) => Looked::Ready(Err(status)),
            _ => Looked::Wait(&mut state.task),
        })
    }

    /// The next block, `None` at the end.
    pub(crate) fn poll_block(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        let polled = self.poll(cx, |state| {
            let Some(block) = state.blocks.pop() else {
                return match state.end {
                    None => Looked::Wait(&mut state.task),
                    Some(End::Complete) => Looked::Ready(None),
                    Some(End::Cut | End::Failed(_)) => Looked::Ready(Some(Err(Cut(())))),
                };
            };
            state.waiting -= block.len();
            let exchange = if state.waiting < ROOM { state.exchange.take() } else { None };
            self.tell_drained(state);
            Looked::Ready(Some(Ok((block, exchange))))
        });
        polled.map_ok(|(block, exchange)| {
            wake([exchange, None]);
            block
        })
    }

    /// Whether the response is complete and taken.
    pub(crate) fn is_at_end(&self) -> bool {
        self.state.with(|state| state.end == Some(End::Complete) && state.blocks.is_empty())
    }

    /// Nothing is taken any more. Whoever waits on the other side goes on.
    pub(crate) fn close(&self, why: Closed) {
        let (wakers, _blocks) = self.state.with(|state| {
            state.closed.get_or_insert(why);
            state.waiting = 0;
            self.tell_drained(state);
            ([state.exchange.take(), state.reader.take()], std::mem::take(&mut state.blocks))
        });
        wake(wakers);
    }
}

impl Channel {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn tell_drained(&self, state: &State) {
        if state.draining {
            self.taken.notify_all();
        }
    }

    /// Looks at the state, and leaves the waker of `cx` where it is to wait. Wakers are cloned and dropped without the lock:
    /// they are code of who made them.
    fn poll<T>(&self, cx: &Context<'_>, mut look: impl FnMut(&mut State) -> Looked<'_, T>) -> Poll<T> {
        let mut waker: Option<Waker> = None;
        loop {
            let mut state: LeafGuard<'_, State> = self.state.lock();
            let place = match look(&mut state) {
                Looked::Ready(value) => return Poll::Ready(value),
                Looked::Wait(place) => place,
            };
            if place.as_ref().is_some_and(|present| present.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if waker.is_some() {
                let before = std::mem::replace(place, waker);
                drop(state);
                drop(before);
                return Poll::Pending;
            }
            drop(state);
            waker = Some(cx.waker().clone());
        }
    }
}

/// What a look at the state has found.
enum Looked<'a, T> {
    Ready(T),
    /// Nothing yet; where a waker waits for it.
    Wait(&'a mut Option<Waker>),
}

/// Wakers take locks of their own: ours is free again.
fn wake(wakers: [Option<Waker>; 2]) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

/// A response body that ended before its end: the application failed in the middle of it. A server closes the
/// connection, so that the client does not take what it has for whole.
#[derive(Debug)]
pub struct Cut(());

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the application failed in the middle of its response")
    }
}

impl std::error::Error for Cut {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::<Count>::default();
        (Arc::clone(&count), Waker::from(count))
    }

    fn head() -> Head {
        Head { parts: http::Response::new(()).into_parts().0, length: None }
    }

    fn take(channel: &Channel) -> Poll<Option<Result<Bytes, Cut>>> {
        channel.poll_block(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn head_blocks_and_end_of_a_list_wake_the_task_once() {
        let channel = Channel::new();
        let (wakes, waker) = counting();
        assert!(channel.poll_head(&mut Context::from_waker(&waker)).is_pending());
        channel.send_head(head()).unwrap();
        channel.send(Bytes::from_static(b"a"), false).unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        channel.finish().unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn blocks_that_the_task_was_not_woken_for_leave_when_the_thread_waits() {
        let waits: [fn(&Channel); 2] = [
            |channel| assert!(channel.poll_room(&mut Context::from_waker(Waker::noop())).is_pending()),
            |channel| assert!(matches!(channel.drain(Duration::ZERO), Err(HostError::TimedOut))),
        ];
        for wait in waits {
            let channel = Channel::new();
            let (wakes, waker) = counting();
            assert!(channel.poll_head(&mut Context::from_waker(&waker)).is_pending());
            channel.send_head(head()).unwrap();
            channel.send(vec![0; ROOM].into(), false).unwrap();
            assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
            wait(&channel);
            assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn room_comes_back_when_blocks_are_taken() {
        let channel = Channel::new();
        let (wakes, waker) = counting();
        let mut cx = Context::from_waker(&waker);
        channel.send(Bytes::from(vec![0; ROOM]), true).unwrap();
        assert!(channel.poll_room(&mut cx).is_pending());
        assert!(matches!(take(&channel), Poll::Ready(Some(Ok(block))) if block.len() == ROOM));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(channel.poll_room(&mut cx).is_ready());
    }

    #[test]
    fn small_blocks_that_nobody_has_taken_are_joined() {
        let channel = Channel::new();
        channel.join(b"a").unwrap();
        channel.join(b"b").unwrap();
        channel.send(Bytes::from_static(b"c"), true).unwrap();
        channel.join(b"d").unwrap();
        for expected in ["ab", "c", "d"] {
            assert!(matches!(take(&channel), Poll::Ready(Some(Ok(block))) if block == expected));
        }
        assert!(take(&channel).is_pending());
    }

    #[test]
    fn what_was_sent_before_a_failure_comes_before_its_error() {
        let channel = Channel::new();
        channel.send_head(head()).unwrap();
        channel.send(Bytes::from_static(b"a"), true).unwrap();
        channel.cut();
        channel.fail(StatusCode::INTERNAL_SERVER_ERROR);
        assert!(matches!(channel.poll_head(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))));
        assert!(matches!(take(&channel), Poll::Ready(Some(Ok(_)))));
        assert!(matches!(take(&channel), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_client_that_has_gone_is_told_to_everybody_who_waits() {
        let channel = Channel::new();
        let (wakes, waker) = counting();
        channel.send(Bytes::from(vec![0; ROOM]), true).unwrap();
        assert!(channel.poll_room(&mut Context::from_waker(&waker)).is_pending());
        channel.wait_with(&waker).unwrap();
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| channel.drain(Duration::MAX));
            channel.close(Closed::Gone);
            assert!(matches!(drained.join().unwrap(), Err(HostError::ClientGone)));
        });
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        assert!(matches!(channel.send(Bytes::new(), true), Err(HostError::ClientGone)));
        assert!(matches!(channel.wait_with(&waker), Err(HostError::ClientGone)));
    }

    #[test]
    fn nobody_is_bothered_with_what_a_satisfied_client_does_not_need() {
        let channel = Channel::new();
        channel.close(Closed::Satisfied);
        channel.send(Bytes::from(vec![0; ROOM]), true).unwrap();
        channel.drain(Duration::ZERO).unwrap();
        assert!(channel.poll_room(&mut Context::from_waker(Waker::noop())).is_ready());
        channel.finish().unwrap();
    }

    #[test]
    fn a_failure_by_a_malformed_or_slow_body_is_the_client_s() {
        for blame in [StatusCode::BAD_REQUEST, StatusCode::REQUEST_TIMEOUT] {
            let channel = Channel::new();
            channel.blame_client(blame);
            channel.fail(StatusCode::INTERNAL_SERVER_ERROR);
            let head = channel.poll_head(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(head, Poll::Ready(Err(status)) if status == blame));
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let channel = Channel::new();
        channel.send(Bytes::from_static(b"a"), true).unwrap();
        assert!(matches!(channel.drain(Duration::ZERO), Err(HostError::TimedOut)));
    }
}
