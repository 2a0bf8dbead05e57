//! Shares the load of the workers: a worker whose permits are taken leaves new connections to a worker with less load.
//!
//! The rules are in [`wsgi_core::protocol::Workers`]. This file reports the load of this worker to them, calls them before
//! nginx accepts a connection, and applies the result to nginx's [listening sockets](crate::listeners).

pub(crate) mod arrivals;
pub(crate) mod inline;
pub(crate) mod requests;

use std::collections::VecDeque;
use std::sync::OnceLock;

use wsgi_core::config::{Flag, Mode};
use wsgi_core::host::Level;
use wsgi_core::protocol::{Placement, State, Workers};

use crate::bindings::{
    ngx_current_msec, ngx_cycle, ngx_cycle_t, ngx_event_accept, ngx_event_t, ngx_exiting, ngx_worker,
};
use crate::conf::MainConf;
use crate::eventfd;
use crate::guard::{guard, guard_again};
use crate::listeners;
use crate::log;
use crate::loop_cell::{Loop, LoopCell};
use crate::mailbox::Mailbox;
use crate::retire::is_alive;
use crate::shared::Shared;

/// How often a paused worker checks whether another worker accepts connections, in milliseconds. The check matters if the called
/// worker is killed, stopped or blocked.
const CHECK_INTERVAL: usize = 250;

/// Time between two checks if a connection waits at the first one, in milliseconds. If it waits at the second one, too, no
/// other worker accepts it.
const SUSPICION: usize = 10;

/// How long a worker accepts all connections after others have not accepted one, in milliseconds.
const ACCEPTS_ANYWAY: u64 = 1000;

/// The load of this worker, and its view of the others. Unset if workers do not share their load.
static LOAD: OnceLock<Load> = OnceLock::new();

struct Load {
    transfers: Transfers,
    shared: &'static Shared,
    own: usize,
    inline: bool,
    /// Whether requests that wait are transferred. With several interpreters a worker with a free permit may have none for the
    /// application of the request.
    transfers_requests: bool,
    workers: Workers<'static>,
    state: LoopCell<Events>,
}

struct Events {
    /// Accepted connections whose first request is not known yet: nginx's number of each, and the time until which it counts.
    arrivals: VecDeque<(u64, u64)>,
    /// Time at which the last application that blocked the event loop has returned.
    blocked_until: u64,
    /// Whether a connection waited in a listening socket at the last check.
    suspects: bool,
    /// The time until which the worker accepts connections whatever its load.
    accepts_until: u64,
    /// Its timer is set while the worker is paused or exhausted.
    check: &'static mut ngx_event_t,
    /// Posted when the worker may have a free permit again.
    resume: &'static mut ngx_event_t,
}

// SAFETY: only accessed through the `LoopCell`, on the loop's thread.
unsafe impl Send for Events {}

/// Functions for requests that another worker answers, see [`transfer`](crate::transfer).
#[derive(Clone, Copy)]
pub(crate) struct Transfers {
    /// Transfers a waiting request to a worker that has asked for it, and others to workers with free permits.
    pub(crate) give: fn(&mut Loop, Option<usize>),
    /// Called by nginx when another worker has transferred a request.
    pub(crate) received: eventfd::Handler,
}

/// Begins to take part, in the state of a worker that starts.
///
/// # Safety
///
/// The process is a worker whose events are initialised, and `cycle` is its cycle.
pub(crate) unsafe fn start(cycle: &mut ngx_cycle_t, main: &'static MainConf, transfers: Transfers) {
    // SAFETY: nginx sets it before the worker's first event.
    let own = unsafe { ngx_worker };
    let Some(shared) = main.shared.get() else { return };
    let (Some(eventfd), Some(mailbox)) = (shared.eventfd(own), shared.mailbox(own)) else { return };
    // SAFETY: the events are initialised, as the caller promises, and the configuration of a worker is never dropped.
    let watched = unsafe { eventfd.watch(cycle, called).and_then(|()| mailbox.watch(cycle, transfers.received)) };
    if let Err(trouble) = watched {
        let text = format!("this worker does not share the load of the others: {trouble}");
        // SAFETY: the cycle's log, on the loop's thread.
        unsafe { log::write(cycle.log, Level::Warn, &text) };
        return;
    }
    let mode = main.process.mode();
    let workers = Workers::new(shared.slots(), own, mode);
    workers.enter(std::process::id());
    let events = Events {
        arrivals: VecDeque::new(),
        blocked_until: 0,
        suspects: false,
        accepts_until: 0,
        check: ngx_event_t::leaked(cycle.log, check_due),
        resume: ngx_event_t::leaked(cycle.log, resume_if_free),
    };
    // A worker starts once, so that the cell is unset.
    let _ = LOAD.set(Load {
        transfers,
        shared,
        own,
        inline: mode == Mode::Inline,
        transfers_requests: main.locations.iter().all(|(at, _)| !at.settings().is_on(Flag::Subinterpreters)),
        workers,
        state: LoopCell::new(events),
    });
    // SAFETY: the events are initialised, as the caller promises.
    unsafe { listeners::intercept(cycle, &main.addresses, accept_event, arrivals::connection_accepted) };
}

/// Called when Python has started.
pub(crate) fn serve() {
    if let Some(load) = LOAD.get() {
        load.workers.set_state(State::Serving);
    }
}

/// Called when this worker begins to retire: others are to accept connections from now on.
pub(crate) fn retire() {
    if let Some(load) = LOAD.get() {
        load.workers.set_state(State::Retiring);
        load.carry_out(&Loop::enter(), load.workers.offered(now()), false);
    }
}

/// Called when this worker ends.
pub(crate) fn end() {
    let Some(load) = LOAD.get() else { return };
    if let Some(Placement::PassOn { to, wake }) = load.workers.leave(now()) {
        // This worker accepts no more, whatever the last decision.
        let _ = load.call(to, wake);
    }
    // Requests whose streams are closed stay in their workers.
    while load.shared.mailbox(load.own).and_then(Mailbox::receive).is_some() {}
}

/// The present time of nginx's clock.
fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the structure. The clock of `ngx_monotonic_time`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

impl Load {
    /// Carries out a decision. After a call (`is_called`) the kernel may have woken another worker for a connection that this
    /// one has to see. Returns whether nginx may accept now.
    fn carry_out(&self, lp: &Loop, placement: Placement, is_called: bool) -> bool {
        match placement {
            Placement::Accept => {
                if is_called {
                    listeners::stop(accept_event);
                }
                listeners::start(accept_event);
                true
            }
            Placement::PassOn { to, wake } => {
                listeners::stop(accept_event);
                self.state.with(lp, Events::start_check);
                match self.call(to, wake) {
                    Placement::PassOn { .. } => false,
                    Placement::Accept => self.carry_out(lp, Placement::Accept, is_called),
                }
            }
        }
    }

    /// Calls a worker, and further ones until one will look. Returns the last decision.
    fn call(&self, mut to: usize, mut wake: bool) -> Placement {
        loop {
            if wake {
                self.wake(to);
            }
            match self.workers.look_again(to, now()) {
                Some(Placement::PassOn { to: next, wake: wake_next }) => (to, wake) = (next, wake_next),
                Some(Placement::Accept) => return Placement::Accept,
                None => return Placement::PassOn { to, wake },
            }
        }
    }

    fn wake(&self, worker: usize) {
        if let Some(eventfd) = self.shared.eventfd(worker) {
            eventfd.notify();
        }
    }

    /// Makes the loop resume behind its present events, if the worker has a free permit then. Not at once: the caller may be
    /// within `ngx_event_accept`.
    fn post_resume(&self, lp: &Loop) {
        self.state.with(lp, |events| events.resume.post());
    }

    /// Whether this worker accepts connections for a time because no other worker has accepted one lately.
    fn accepts_anyway(&self, now: u64) -> bool {
        let accepts = self.state.with(&Loop::enter(), |events| now < events.accepts_until);
        if accepts {
            self.workers.resume();
        }
        accepts
    }
}

impl Events {
    /// Sets the timer of a paused worker.
    fn start_check(&mut self) {
        let now = now();
        let arrival = self.arrivals.back().map_or(0, |(_, until)| until.saturating_sub(now));
        let interval = match arrival {
            _ if self.suspects => SUSPICION,
            0 => CHECK_INTERVAL,
            arrival => arrival as usize,
        };
        self.check.stop_timer();
        self.check.start_timer(interval);
    }
}

/// Called by nginx when a connection waits in a listening socket.
unsafe extern "C" fn accept_event(event: *mut ngx_event_t) {
    guard("accept_event", (), || {
        // SAFETY: nginx calls this with the event of a listening socket. `ngx_event_accept` handles all of these events,
        // and a timer, which means that nginx had no descriptors left.
        unsafe {
            if (*event).timedout() != 0 || may_accept() {
                ngx_event_accept(event);
                // nginx tries again after a time if it has no descriptors left.
                note_exhaustion((*event).timer_set() != 0 || (*ngx_cycle).free_connection_n == 0);
            }
        }
    });
}

/// Notes whether this worker can accept connections. If not, another one is called for those that wait.
fn note_exhaustion(is_exhausted: bool) {
    if let Some(load) = LOAD.get()
        && load.workers.set_exhausted(is_exhausted)
        && is_exhausted
    {
        load.state.with(&Loop::enter(), Events::start_check);
        if let Placement::PassOn { to, wake } = load.workers.offered(now()) {
            let _ = load.call(to, wake);
        }
        // Its sockets stay as nginx has left them.
        load.workers.resume();
    }
}

/// Decides whether this worker accepts a connection. If not, the event loop no longer waits for connections.
fn may_accept() -> bool {
    let Some(load) = LOAD.get() else { return true };
    let (now, was_paused) = (now(), load.workers.is_paused());
    load.keep_arrivals(&Loop::enter(), now);
    // Before the decision, which would call another worker.
    if !load.workers.is_free(now) && load.accepts_anyway(now) {
        return true;
    }
    match load.workers.offered(now) {
        Placement::Accept if !was_paused => true,
        placement => load.carry_out(&Loop::enter(), placement, false),
    }
}

impl Load {
    /// Decides again, for a paused worker.
    fn reconsider(&self) {
        self.carry_out(&Loop::enter(), self.workers.offered(now()), false);
    }
}

/// Called by nginx when another worker, or a thread of this one, has called this worker.
unsafe extern "C" fn called(event: *mut ngx_event_t) {
    guard_again("called", || {
        // SAFETY: nginx calls this with the event of an eventfd.
        unsafe { eventfd::notified(event) };
        let Some(load) = LOAD.get() else { return };
        // SAFETY: a variable of nginx, which only this thread changes.
        if unsafe { ngx_exiting } != 0 {
            load.workers.set_state(State::Draining);
        }
        if let Some(by) = load.workers.was_asked() {
            (load.transfers.give)(&mut Loop::enter(), Some(by));
        }
        if load.workers.was_called() {
            load.carry_out(&Loop::enter(), load.workers.offered(now()), true);
        }
    });
}

/// Called by nginx when the timer of a worker that is paused or exhausted has expired.
unsafe extern "C" fn check_due(_event: *mut ngx_event_t) {
    guard_again("check_due", || {
        let Some(load) = LOAD.get() else { return };
        if load.workers.is_exhausted() {
            // SAFETY: nginx's cycle, on the loop's thread.
            let is_exhausted =
                unsafe { (*ngx_cycle).free_connection_n == 0 } || listeners::lack_descriptors(accept_event);
            load.workers.set_exhausted(is_exhausted);
            load.state.with(&Loop::enter(), Events::start_check);
        }
        if !load.workers.is_paused() {
            load.state.with(&Loop::enter(), |events| events.suspects = false);
            return;
        }
        let (lp, now, waits) = (&Loop::enter(), now(), listeners::have_backlog(accept_event));
        let suspected = load.state.with(lp, |events| std::mem::replace(&mut events.suspects, waits));
        if waits && suspected {
            // The worker that was called has not accepted for a while: this one does, whatever its load.
            load.state.with(lp, |events| (events.suspects, events.accepts_until) = (false, now + ACCEPTS_ANYWAY));
            load.workers.resume();
            listeners::start(accept_event);
        } else if load.workers.should_resume(now, |process| is_alive(process as libc::pid_t)) {
            load.reconsider();
        } else {
            load.state.with(lp, Events::start_check);
        }
    });
}

/// Called by nginx behind other events, after this worker may have got a free permit.
unsafe extern "C" fn resume_if_free(_event: *mut ngx_event_t) {
    guard_again("resume_if_free", || {
        let Some(load) = LOAD.get() else { return };
        load.end_arrivals(&Loop::enter(), now());
        if load.workers.is_paused() && load.workers.is_free(now()) {
            load.reconsider();
        }
    });
}

/// nginx's clock, which all its processes share: milliseconds, as of the present turn of the event loop.
pub(crate) fn now() -> u64 {
    // SAFETY: read on the loop's thread, which changes it.
    unsafe { ngx_current_msec as u64 }
}
