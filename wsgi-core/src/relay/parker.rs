//! A thread that sleeps until a waker is called.

use std::sync::{Arc, Condvar};
use std::task::Wake;
use std::time::Duration;

use crate::lock::Leaf;

/// Lets a thread wait for something that is polled: `Waker::from(parker)` wakes the thread that sleeps in
/// [`park`](Self::park).
#[derive(Debug, Default)]
pub struct Parker {
    woken: Leaf<bool>,
    signal: Condvar,
}

impl Parker {
    /// Blocks until the waker is called, or returns at once if it was called since the last `park`. Returns false after
    /// `timeout`; [`Duration::MAX`] is no timeout. The thread must not be attached to Python.
    pub fn park(&self, timeout: Duration) -> bool {
        let (mut woken, _) = self.woken.lock().wait_timeout_while(&self.signal, timeout, |woken| !*woken);
        std::mem::take(&mut *woken)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.woken.with(|woken| *woken = true);
        self.signal.notify_one();
    }
}
