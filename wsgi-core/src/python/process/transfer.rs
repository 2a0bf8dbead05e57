//! Requests that one process answers for another: a request that waits for a permit in a busy process runs in a process with a
//! free permit. The response comes back over a stream, and the process with the client sends it.
//!
//! Each side uses a thread ([`couriers`]) that waits for the stream, never runs Python and holds no permit. The
//! [messages](crate::protocol::transfer) are the calls of sink and log, so that the client cannot tell the difference.

mod events;
mod receiving;
mod sending;

use std::os::unix::net::UnixStream;
use std::sync::Arc;

pub use receiving::PartsForTransfer;
use receiving::{Ended, Receiving};
use sending::Sending;

use super::couriers::{self, Stream};
use super::gateway::Gateway;
use super::handle::ExchangeHandle;
use super::job::Step;
use crate::python::application::location::Location;

impl ExchangeHandle {
    /// Whether the request may be [transferred](Self::transfer): it waits in this process, and its body has arrived and is not
    /// larger than 64 KiB.
    pub fn can_transfer(&self) -> bool {
        !self.cell.has_begun() && !self.cell.is_moving() && self.has_small_body
    }

    /// Sends a request that [has not begun](Self::can_transfer) to another process, over `stream`, and its response to the sink
    /// of the request. The other end of the stream belongs to [`Gateway::answer`] of that process, which runs the same program, and
    /// has the same `locations` in the same order.
    ///
    /// Returns false if the request stays here, because it has begun meanwhile, or because too many requests are under way
    /// between processes. Never blocks. If the other process does not respond, or has no free permit, the request gets its place in
    /// the queue of this process again, and can be transferred again. If that process ends while it answers, the response fails.
    pub fn transfer(&self, locations: &[Arc<Location>], stream: UnixStream) -> bool {
        let (Some(pool), true) = (&self.engine.pool, self.can_transfer()) else { return false };
        let is_own = |location: &Arc<Location>| Arc::ptr_eq(location, &self.cell.location);
        let Some(location) = locations.iter().position(is_own) else { return false };
        let Some(stream) = Stream::new(stream) else { return false };
        let Some(mut job) = pool.withdraw(self.ticket) else { return false };
        let done = job.done.take();
        let Step::Begin { request, cell } = std::mem::replace(&mut job.step, Step::Over) else { return false };
        drop(job);
        cell.set_moving(true);
        let sending = Sending::new(location as u64, request, self.clone(), done, stream);
        couriers::submit(&self.engine.interpreter.log, Box::new(sending));
        true
    }
}

impl Gateway {
    /// Answers the request that [`ExchangeHandle::transfer`] of another process sends over `stream`, if a permit is free.
    /// Never blocks. `ended` is called on any thread when the request is over, also if it has been refused.
    pub fn answer(
        &'static self,
        stream: UnixStream,
        locations: &'static [Arc<Location>],
        parts: PartsForTransfer,
        ended: impl FnOnce() + Send + 'static,
    ) {
        let ended = Ended::new(Box::new(ended));
        if let Some(stream) = Stream::new(stream) {
            let receiving = Receiving::new(self, locations, stream, parts, ended);
            couriers::submit(self.log(), Box::new(receiving));
        }
    }
}
