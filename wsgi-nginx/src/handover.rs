//! State of one request that the event loop and the application's thread share, from its start to its end.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Wake;

use wsgi_core::host::{ErrorLog, Level};
use wsgi_core::python::{Exchange, ExchangeHandle};
use wsgi_core::relay::{Closed, Relay, RelaySink};

use crate::bindings::{ngx_connection_t, ngx_cycle};
use crate::chain::Output;
use crate::event;
use crate::lines::Lines;
use crate::log;
use crate::log_room;
use crate::loop_cell::{Loop, LoopCell, on_loop_thread};
use crate::ngx::Request;
use crate::req::Req;
use crate::shares::Place;
use crate::worker;

/// State that both sides of a request share.
pub(crate) struct HandOver {
    /// The request of `output`, readable without a borrow. Null after [`close`](HandOver::close).
    request: AtomicPtr<Request>,
    /// The response, as far as it was passed to nginx.
    pub(crate) output: LoopCell<Output>,
    /// State of the exchange.
    pub(crate) run: LoopCell<Run>,
    /// Parts from the application's thread. `None` with inline execution, and after a close.
    pub(crate) relay: LoopCell<Option<Relay>>,
    /// The place among the requests of the connection. Unset for most requests, which need none.
    place: OnceLock<Place>,
    /// Log lines of the application's threads.
    pub(crate) lines: Lines,
    /// Whether the request is counted as under way in this worker.
    counted: LoopCell<bool>,
    own: Weak<Self>,
}

/// State of the exchange of a request.
pub(crate) enum Run {
    /// The exchange waits for its next turn on the event loop.
    Inline(Exchange),
    /// The exchange is running on the event loop, in an outer call.
    InlineRunning,
    /// The exchange runs on a thread, or waits for one.
    Threads(ExchangeHandle),
    /// The exchange has not started: the request waits for a place among those of its connection. The sink is for the
    /// thread that will run it.
    Waiting(RelaySink),
    /// The exchange has failed. The response is cut when its client has taken the blocks before the failure.
    Failed,
    Over,
}

// SAFETY: `LoopCell` gives access on the event loop's thread only. The value is `Over` when another thread drops it.
unsafe impl Send for Run {}

impl HandOver {
    pub(crate) fn new(output: Output, relay: Option<Relay>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            request: AtomicPtr::new(output.request()),
            output: LoopCell::new(output),
            run: LoopCell::new(Run::Over),
            relay: LoopCell::new(relay),
            place: OnceLock::new(),
            lines: Lines::new(),
            counted: LoopCell::new(false),
            own: own.clone(),
        })
    }

    /// Counts the request as under way until it is closed.
    pub(crate) fn count(&self, lp: &Loop) {
        self.counted.with(lp, |counted| *counted = true);
        worker::request_began(lp);
    }

    /// Whether the request may have a thread. If not, it is queued for a place.
    pub(crate) fn enter(&self, req: &mut Req<'_>) -> bool {
        // SAFETY: `close` gives up the place before nginx destroys the request.
        if let Some(place) = unsafe { Place::enter(req) } {
            let _ = self.place.set(place);
        }
        self.is_placed()
    }

    /// Whether the request waits for a permit.
    pub(crate) fn waits(&self, lp: &Loop) -> bool {
        self.run.with(lp, |run| matches!(run, Run::Threads(handle) if !handle.has_begun()))
    }

    /// Whether another worker may answer the request.
    pub(crate) fn can_transfer(&self, lp: &Loop) -> bool {
        self.run.with(lp, |run| matches!(run, Run::Threads(handle) if handle.can_transfer()))
    }

    /// Whether the request waits for a place, and so has no thread.
    pub(crate) fn is_waiting(&self, lp: &Loop) -> bool {
        self.run.with(lp, |run| matches!(run, Run::Waiting(_)))
    }

    /// Returns the request, unless it is closed.
    pub(crate) fn request<'lp>(&self, lp: &'lp mut Loop) -> Option<Req<'lp>> {
        let request = self.request.load(Ordering::Relaxed);
        // SAFETY: a request that is not null is alive: `close` sets null before nginx destroys it.
        (!request.is_null()).then(|| unsafe { Req::new(lp, request) })
    }

    /// Whether the request has its place, or needs none.
    pub(crate) fn is_placed(&self) -> bool {
        self.place.get().is_none_or(Place::is_placed)
    }

    /// Gives up the place, so that other requests of the connection may have a thread. Does nothing after the first
    /// call.
    #[inline]
    pub(crate) fn leave(&self, lp: &Loop) {
        if let Some(place) = self.place.get() {
            place.give_up(lp);
        }
    }

    /// Returns the connection of the request, unless the request is closed.
    pub(crate) fn connection(&self, lp: &mut Loop) -> Option<*mut ngx_connection_t> {
        self.request(lp).map(|req| req.connection)
    }

    /// Closes the relay: nothing more that the application sends reaches nginx.
    pub(crate) fn close_relay(&self, lp: &Loop, closed: Closed) {
        // Freed here: this thread has allocated it, and allocates the next one from the same memory.
        if let Some(relay) = self.relay.with(lp, Option::take) {
            relay.close(closed);
        }
    }

    /// Ends the exchange, and closes the relay. Returns the request, unless it was closed before. May be called again
    /// after a panic, and then does the remaining work.
    pub(crate) fn close<'lp>(&self, lp: &'lp mut Loop, closed: Closed) -> Option<Req<'lp>> {
        self.close_relay(lp, closed);
        let run = self.run.with(lp, |run| std::mem::replace(run, Run::Over));
        if let Run::Threads(handle) = &run {
            handle.cancel();
        }
        if self.counted.with(lp, std::mem::take) {
            worker::request_ended(lp);
        }
        self.leave(lp);
        let request = self.output.with(lp, Output::close);
        self.request.store(ptr::null_mut(), Ordering::Relaxed);
        // An inline exchange closes the application's iterable here, where nothing is borrowed. An exchange that is
        // running in an outer call notices the close there.
        match run {
            Run::Inline(exchange) => {
                let _away = log_room::Away::new();
                drop(exchange);
            }
            run => drop(run),
        }
        // SAFETY: the request is alive: nginx destroys it after its callback, or when the caller returns the count of
        // the exchange.
        (!request.is_null()).then(|| unsafe { Req::new(lp, request) })
    }
}

/// Waker of the relay: makes the loop take the parts that the application's thread has sent.
impl Wake for HandOver {
    fn wake(self: Arc<Self>) {
        event::announce(self);
    }
}

/// The request's error log. The event loop writes the lines of other threads, because only it can use the request's log
/// context.
impl ErrorLog for HandOver {
    fn log(&self, level: Level, text: &str) {
        if on_loop_thread() {
            if let Some(req) = self.request(&mut Loop::enter()) {
                req.name_in_log();
                return req.log(level, text);
            }
            // SAFETY: this is the loop's thread, and a worker has a cycle with a log.
            unsafe { log::write((*ngx_cycle).log, level, text) };
        } else if level >= Level::Crit {
            event::WorkerLog.log(level, text);
        } else if self.lines.room.is_full() && event::write_without_the_loop(level, text) {
            // The line is in the log.
        } else if self.lines.push(level, text.to_owned())
            && let Some(own) = self.own.upgrade()
        {
            event::announce(own);
        }
    }

    fn is_full(&self) -> bool {
        !on_loop_thread() && self.lines.room.is_full()
    }

    fn wait_for_room(&self) {
        self.lines.room.wait();
    }
}
