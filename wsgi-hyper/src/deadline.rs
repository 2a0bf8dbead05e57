//! Deadlines of tasks on any runtime, with or without timers: a separate thread wakes the tasks.

use std::collections::BTreeMap;
use std::sync::Condvar;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use wsgi_core::host::Leaf;

/// A time at which a task is woken.
pub(crate) struct Deadline {
    key: Key,
    registered: bool,
}

/// Unique, and ordered by time.
type Key = (Instant, u64);

/// The wakers by their deadlines. The first deadline starts the thread.
static WAKERS: Leaf<Wakers> = Leaf::new(Wakers { all: BTreeMap::new(), numbered: 0, has_thread: false });

/// Notified when a deadline is earlier than all others.
static EARLIER: Condvar = Condvar::new();

struct Wakers {
    all: BTreeMap<Key, Waker>,
    /// Number of deadlines created so far.
    numbered: u64,
    has_thread: bool,
}

impl Deadline {
    pub(crate) fn new(time: Instant) -> Self {
        let number = WAKERS.with(|wakers| {
            wakers.numbered += 1;
            wakers.numbered
        });
        Self { key: (time, number), registered: false }
    }

    /// Whether the time has come. Otherwise `cx` is woken at that time.
    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.key.0 {
            return Poll::Ready(());
        }
        self.registered = true;
        let waker = cx.waker().clone();
        let (_before, is_first, is_new) = WAKERS.with(|wakers| {
            let before = wakers.all.insert(self.key, waker);
            let is_first = wakers.all.first_key_value().is_some_and(|(key, _)| *key == self.key);
            (before, is_first, !std::mem::replace(&mut wakers.has_thread, true))
        });
        if is_new && thread::Builder::new().name("wsgi-deadlines".to_owned()).spawn(wake_all).is_err() {
            // The next deadline tries again to start the thread. This task is woken only by its client.
            WAKERS.with(|wakers| wakers.has_thread = false);
        }
        if is_first {
            EARLIER.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if self.registered {
            drop(WAKERS.with(|wakers| wakers.all.remove(&self.key)));
        }
    }
}

fn wake_all() {
    let mut wakers = WAKERS.lock();
    loop {
        let now = Instant::now();
        wakers = match wakers.all.first_key_value().map(|(key, _)| *key) {
            None => wakers.wait(&EARLIER),
            Some((time, _)) if time > now => wakers.wait_timeout(&EARLIER, time - now).0,
            Some(_) => {
                let first = wakers.all.pop_first();
                drop(wakers);
                if let Some((_, waker)) = first {
                    waker.wake();
                }
                WAKERS.lock()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    struct Tell(Sender<&'static str>, &'static str);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(self.1);
        }
    }

    #[test]
    fn deadlines_wake_in_the_order_of_their_times_and_not_when_they_are_dropped() {
        let (sender, woken) = channel();
        let now = Instant::now();
        let in_ms = |ms, name| {
            let mut deadline = Deadline::new(now + Duration::from_millis(ms));
            let waker = Waker::from(Arc::new(Tell(sender.clone(), name)));
            assert!(deadline.poll_passed(&mut Context::from_waker(&waker)).is_pending());
            deadline
        };
        let (_later, dropped, mut first) = (in_ms(400, "later"), in_ms(300, "dropped"), in_ms(200, "first"));
        drop(dropped);
        let long = Duration::from_secs(20);
        assert_eq!(woken.recv_timeout(long), Ok("first"));
        assert!(first.poll_passed(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(woken.recv_timeout(long), Ok("later"));
    }
}
