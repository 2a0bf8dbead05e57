//! What the event loop and the application's thread share about one request, from its begin to its end.

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

/// The two sides of one request.
pub(crate) struct HandOver {
    /// That of `output`, to be read without a borrow: null when the request is over.
    request: AtomicPtr<Request>,
    /// nginx's side.
    pub(crate) output: LoopCell<Output>,
    /// Who runs the application.
    pub(crate) run: LoopCell<Run>,
    /// From the application's thread, if it has one.
    pub(crate) relay: Option<Relay>,
    /// Its place among the requests of its connection, where it needs one: few do.
    place: OnceLock<Place>,
    /// For lines of the application's threads in it.
    pub(crate) lines: Lines,
    /// Whether it counts among the requests under way in this worker.
    counted: LoopCell<bool>,
    own: Weak<Self>,
}

/// Where the exchange of a request is.
pub(crate) enum Run {
    /// It waits for its next turn on the event loop.
    Inline(Exchange),
    /// It has its turn now, further down on the stack.
    InlineRunning,
    /// It runs on a thread, or waits for one.
    Threads(ExchangeHandle),
    /// It does not exist as yet: the request waits for a place among those of its connection. This end of the relay is for the
    /// thread that it gets.
    Waiting(RelaySink),
    Over,
}

// SAFETY: reached on the event loop's thread only (`LoopCell`), and `Over` by the time another thread drops it.
unsafe impl Send for Run {}

impl HandOver {
    pub(crate) fn new(output: Output, relay: Option<Relay>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            request: AtomicPtr::new(output.request()),
            output: LoopCell::new(output),
            run: LoopCell::new(Run::Over),
            relay,
            place: OnceLock::new(),
            lines: Lines::new(),
            counted: LoopCell::new(false),
            own: own.clone(),
        })
    }

    /// Counts the request among those that are under way, until it is closed.
    pub(crate) fn count(&self, lp: &Loop) {
        self.counted.with(lp, |counted| *counted = true);
        worker::request_began(lp);
    }

    /// Whether the request of this record may have a thread. If not, it is in line for a place.
    pub(crate) fn enter(&self, req: &mut Req<'_>) -> bool {
        // SAFETY: the place is given up when the request is over.
        if let Some(place) = unsafe { Place::enter(req) } {
            let _ = self.place.set(place);
        }
        self.is_placed()
    }

    /// Whether the request has not got a thread.
    pub(crate) fn is_waiting(&self, lp: &Loop) -> bool {
        self.run.with(lp, |run| matches!(run, Run::Waiting(_)))
    }

    /// The request, unless it is over.
    pub(crate) fn request<'lp>(&self, lp: &'lp mut Loop) -> Option<Req<'lp>> {
        let request = self.request.load(Ordering::Relaxed);
        // SAFETY: a request that is not null is alive: `close` takes it away before nginx destroys it.
        (!request.is_null()).then(|| unsafe { Req::new(lp, request) })
    }

    /// Whether the request has its turn.
    pub(crate) fn is_placed(&self) -> bool {
        self.place.get().is_none_or(Place::is_placed)
    }

    /// The exchange is over, and so other requests of the connection may have a thread. Called more than once.
    #[inline]
    pub(crate) fn leave(&self, lp: &Loop) {
        if let Some(place) = self.place.get() {
            place.give_up(lp);
        }
    }

    /// The connection of the request, unless that is over.
    pub(crate) fn connection(&self, lp: &mut Loop) -> Option<*mut ngx_connection_t> {
        self.request(lp).map(|req| req.connection)
    }

    /// Nothing that the application still sends reaches nginx.
    pub(crate) fn close_relay(&self, closed: Closed) {
        if let Some(relay) = &self.relay {
            relay.close(closed);
        }
    }

    /// Ends the exchange, and nothing that the application still sends reaches nginx. Returns the request, if it was not over
    /// already. After a panic it may be called again, and goes on with what is left to do.
    pub(crate) fn close<'lp>(&self, lp: &'lp mut Loop, closed: Closed) -> Option<Req<'lp>> {
        self.close_relay(closed);
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
        // An inline exchange closes the result of the application here, where nothing is borrowed. One that has its turn
        // further up on the stack notices there.
        match run {
            Run::Inline(exchange) => {
                let _away = log_room::Away::new();
                drop(exchange);
            }
            run => drop(run),
        }
        // SAFETY: alive: nginx destroys it after its callback, or when the caller gives the exchange's count back.
        (!request.is_null()).then(|| unsafe { Req::new(lp, request) })
    }
}

/// The waker of the relay: the loop is to take what the application's thread has sent.
impl Wake for HandOver {
    fn wake(self: Arc<Self>) {
        event::announce(self);
    }
}

/// The request's error log. Lines of other threads are written by the loop, which knows the request's context.
impl ErrorLog for HandOver {
    fn log(&self, level: Level, text: &str) {
        if on_loop_thread() {
            if let Some(req) = self.request(&mut Loop::enter()) {
                req.name_in_log();
                return req.log(level, text);
            }
            // SAFETY: the loop's thread, and a worker has a cycle with a log.
            unsafe { log::write((*ngx_cycle).log, level, text) };
        } else if level >= Level::Crit {
            event::WorkerLog.log(level, text);
        } else if !(self.lines.room.is_full() && event::write_without_the_loop(level, text)) {
            if self.lines.push(level, text.to_owned())
                && let Some(own) = self.own.upgrade()
            {
                event::announce(own);
            }
        }
    }

    fn is_full(&self) -> bool {
        !on_loop_thread() && self.lines.room.is_full()
    }

    fn wait_for_room(&self) {
        self.lines.room.wait();
    }
}
