//! The host's hold on an exchange that a thread of the pool runs.

use std::sync::Arc;

use super::engine::Engine;
use crate::pool::Ticket;
use crate::python::exchange::cell::ExchangeCell;

/// A way to reach an exchange from other threads.
#[derive(Clone)]
pub struct ExchangeHandle {
    cell: Arc<ExchangeCell>,
    /// Where it waits for a thread.
    engine: &'static Engine,
    ticket: Ticket,
}

impl ExchangeHandle {
    pub(crate) fn new(cell: Arc<ExchangeCell>, engine: &'static Engine, ticket: Ticket) -> Self {
        Self { cell, engine, ticket }
    }

    /// The client has gone, or the host gives up: the iterable is closed at the next opportunity. An exchange that has not
    /// begun leaves the queue, and the objects of the host are dropped here, before this returns. Never blocks, and needs no
    /// Python.
    pub fn cancel(&self) {
        self.cell.cancel();
        if !self.cell.has_begun()
            && let Some(pool) = &self.engine.pool
        {
            drop(pool.withdraw(self.ticket));
        }
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.cell.is_cancelled()
    }
}

impl std::fmt::Debug for ExchangeHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ExchangeHandle").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
