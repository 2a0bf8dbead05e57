//! The host's handle to an exchange that runs on a thread of the pool.

use std::sync::Arc;

use super::engine::Engine;
use crate::protocol::pool::Ticket;
use crate::python::exchange::cell::ExchangeCell;

/// A handle to an exchange, for use on other threads.
#[derive(Clone)]
pub struct ExchangeHandle {
    cell: Arc<ExchangeCell>,
    /// The engine in whose pool the exchange waits for a thread.
    engine: &'static Engine,
    ticket: Ticket,
}

impl ExchangeHandle {
    pub(crate) fn new(cell: Arc<ExchangeCell>, engine: &'static Engine, ticket: Ticket) -> Self {
        Self { cell, engine, ticket }
    }

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
