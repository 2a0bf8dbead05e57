//! Events for the thread of a received request, from its relay and its log.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar};
use std::task::Wake;
use std::time::Duration;

use crate::host::{ErrorLog, Level};
use crate::lock::Leaf;
use crate::protocol::record::Log;
use crate::protocol::transfer::Outcome;

pub(super) enum Event {
    /// Parts of the response have come.
    Parts,
    Line(Level, String),
    /// The application has ended.
    Over(Outcome),
}

/// The waker of the relay.
pub(super) struct Notify(pub(super) Sender<Event>);

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        // The thread has ended if this fails.
        let _ = self.0.send(Event::Parts);
    }
}

/// The log is full while more bytes than this have not been sent.
const MOST: usize = 32 * 1024;

/// How long a thread waits at most for lines to be sent.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The log of the request.
pub(super) struct Lines {
    sender: Sender<Event>,
    /// Bytes of lines that have not been sent.
    pending: Leaf<usize>,
    signal: Condvar,
    /// The log of this process, for lines that cannot be sent.
    later: Log,
}

impl Lines {
    pub(super) fn new(sender: Sender<Event>, later: Log) -> Self {
        Self { sender, pending: Leaf::new(0), signal: Condvar::new(), later }
    }

    /// Called when a line of this length has been taken from the channel.
    pub(super) fn sent(&self, length: usize) {
        self.pending.with(|pending| *pending = pending.saturating_sub(length));
        self.signal.notify_all();
    }

    /// Logs a line that cannot be sent in time.
    pub(super) fn log_later(&self, level: Level, text: &str) {
        self.later.forward(level, text);
    }
}

impl ErrorLog for Lines {
    fn log(&self, level: Level, text: &str) {
        // The process may be about to end.
        if level >= Level::Crit {
            return self.log_later(level, text);
        }
        self.pending.with(|pending| *pending += text.len());
        if self.sender.send(Event::Line(level, text.to_owned())).is_err() {
            self.sent(text.len());
            self.log_later(level, text);
        }
    }

    fn is_full(&self) -> bool {
        self.pending.with(|pending| *pending > MOST)
    }

    fn wait_for_room(&self) {
        let _ = self.pending.lock().wait_timeout_while(&self.signal, TIMEOUT, |pending| *pending > MOST);
    }
}
