//! The host's handle to an exchange that runs on a thread of the pool.

use std::sync::Arc;

use super::engine::Engine;
use crate::host::Level;
use crate::protocol::pool::Ticket;
use crate::python::exchange::cell::ExchangeCell;

/// A handle to an exchange, for use on other threads.
#[derive(Clone)]
pub struct ExchangeHandle {
    pub(super) cell: Arc<ExchangeCell>,
    /// The engine in whose pool the exchange waits for a thread.
    pub(super) engine: &'static Engine,
    pub(super) ticket: Ticket,
    /// Whether the request has no body, or a complete one of at most [`SMALL_BODY`] bytes.
    pub(super) has_small_body: bool,
}

/// The largest body that is transferred to another process: it is in memory with nginx's usual buffers, and takes little time to
/// copy.
pub(super) const SMALL_BODY: u64 = 64 * 1024;

impl ExchangeHandle {
    /// Cancels the exchange, because the client has disconnected or the host gives up: the iterable is closed as soon
    /// as possible. An exchange that has not begun leaves the queue, and the host's objects are dropped before this
    /// returns. Never blocks, and does not need the GIL.
    pub fn cancel(&self) {
        self.cell.cancel();
        if !self.cell.has_begun()
            && let Some(pool) = &self.engine.pool
        {
            drop(pool.withdraw(self.ticket));
        }
    }

    /// Returns whether a thread has begun the exchange. It may have begun a moment before this returns true.
    pub fn has_begun(&self) -> bool {
        self.cell.has_begun()
    }

    /// Writes a line to the log of the exchange, also when it has ended.
    pub fn log(&self, level: Level, text: &str) {
        self.cell.log.log(level, text);
    }

    /// Returns whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }
}

impl std::fmt::Debug for ExchangeHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ExchangeHandle").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
