//! Lines of the error log that wait for the event loop, which knows the context of their request.

use wsgi_core::host::Level;
use wsgi_core::lock::Leaf;

use crate::log_room::{self, LogRoom};

/// The lines of one request that its application's threads have made.
pub(crate) struct Lines {
    pub(crate) room: LogRoom,
    waiting: Leaf<Vec<(Level, String)>>,
}

impl Lines {
    pub(crate) const fn new() -> Self {
        Self { room: LogRoom::new(), waiting: Leaf::new(Vec::new()) }
    }

    /// Adds a line. Returns whether it is the first one that waits.
    pub(crate) fn push(&self, level: Level, text: String) -> bool {
        // Before it is added: where nothing is counted, nothing waits.
        self.room.enter(&text);
        self.waiting.with(|waiting| {
            waiting.push((level, text));
            waiting.len() == 1
        })
    }

    /// Takes all lines, and makes room for further ones. On the loop's thread, once a turn: it wakes all threads that wait for
    /// room. Returns the lines and the bytes that they count.
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
