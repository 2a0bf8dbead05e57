//! Lines of the error log that wait for the event loop, because only it can use their request's log context.

use wsgi_core::host::{Leaf, Level};

use crate::log_room::{self, LogRoom};

/// Waiting log lines of one request, written by its application's threads.
pub(crate) struct Lines {
    pub(crate) room: LogRoom,
    waiting: Leaf<Vec<(Level, String)>>,
}

impl Lines {
    pub(crate) const fn new() -> Self {
        Self { room: LogRoom::new(), waiting: Leaf::new(Vec::new()) }
    }

    /// Adds a line. Returns whether no other line waits.
    pub(crate) fn push(&self, level: Level, text: String) -> bool {
        // Counted before it is added: `take` skips the list while the count is zero.
        self.room.enter(&text);
        self.waiting.with(|waiting| {
            waiting.push((level, text));
            waiting.len() == 1
        })
    }

    /// Takes all lines, and makes room for further ones. Called on the loop's thread, once per turn, since it wakes all
    /// threads that wait for room. Returns the lines and the bytes that they count.
    pub(crate) fn take(&self) -> (Vec<(Level, String)>, usize) {
        if self.room.is_empty() {
            return (Vec::new(), 0);
        }
        let lines = self.waiting.replace(Vec::new());
        let bytes = lines.iter().map(|(_, text)| log_room::size(text)).sum();
        if bytes > 0 {
            self.room.leave(bytes);
        }
        (lines, bytes)
    }
}
