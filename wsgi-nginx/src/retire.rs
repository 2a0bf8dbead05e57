//! Replacement of a worker by a new process (`wsgi_reload_mechanism process`).
//!
//! nginx's master starts a new worker only when one has exited, and a worker cannot ask for one. So a worker that is to
//! be replaced goes on accepting until it has no open request, or `wsgi_retire_delay` is over; then it sends itself
//! SIGQUIT, finishes, and exits. Connections that arrive meanwhile wait in the listening sockets, which the master
//! keeps open. Only one worker of an instance is away at a time: its process id is in memory that all workers share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use wsgi_core::host::{Level, WorkerControl};

use crate::bindings::{NGX_PROCESS_SINGLE, ngx_event_t, ngx_log_t, ngx_process};
use crate::loop_cell::LoopCell;
use crate::{event, log};

/// Whether this worker has been asked to retire.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Interval between attempts to take the turn, in milliseconds.
const TURN_INTERVAL: usize = 50;

/// nginx as a host that replaces processes.
pub(crate) struct NginxControl;

impl WorkerControl for NginxControl {
    fn retire(&self) -> io::Result<()> {
        // SAFETY: nginx sets it before the worker's first event, and never again.
        if unsafe { ngx_process } == NGX_PROCESS_SINGLE {
            return Err(io::Error::other("nginx runs without a master process, which would start a new worker"));
        }
        if !ASKED.swap(true, Ordering::Relaxed) {
            event::retire();
        }
        Ok(())
    }

    fn is_retiring(&self) -> bool {
        ASKED.load(Ordering::Relaxed)
    }
}

/// A lock that the workers of a configuration share: the process id of the worker that is retiring, or 0.
#[derive(Clone, Copy)]
pub(crate) struct Turn(pub(crate) &'static AtomicI32);

impl Turn {
    /// Takes the turn, unless another live worker has it.
    fn take(&self, own: i32) -> bool {
        let free = |holder| self.0.compare_exchange(holder, own, Ordering::AcqRel, Ordering::Acquire);
        match free(0) {
            Ok(_) => true,
            Err(holder) if holder == own => true,
            // A worker that has crashed does not return the turn.
            Err(holder) => !is_alive(holder) && free(holder).is_ok(),
        }
    }

    /// Returns the turn, if this process has it.
    fn give_back(&self, own: i32) {
        // An error means that another worker has the turn.
        let _ = self.0.compare_exchange(own, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The state of a worker that may be asked to retire.
pub(crate) struct Retirement {
    turn: Turn,
    delay: Duration,
    stage: Stage,
    /// nginx's timer tree points to it: it is never dropped.
    timer: &'static mut ngx_event_t,
}

// SAFETY: only accessed through the `LoopCell`, on the loop's thread.
unsafe impl Send for Retirement {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Another worker has the turn.
    Waiting,
    /// This worker has the turn, and waits until there is no request, or the delay is over.
    Draining,
    /// The worker has sent itself SIGQUIT.
    Leaving,
}

impl Retirement {
    /// `log` outlives the process's last event, and nginx's timers are initialised. `due` accepts any event.
    pub(crate) fn new(
        turn: Turn,
        delay: Duration,
        log: *mut ngx_log_t,
        due: unsafe extern "C" fn(*mut ngx_event_t),
    ) -> LoopCell<Self> {
        let timer = ngx_event_t::leaked(log, due);
        LoopCell::new(Self { turn, delay, stage: Stage::Serving, timer })
    }

    /// Begins to retire. Called when a script asks for a new process.
    pub(crate) fn begin(&mut self, requests: usize) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Waiting;
            self.go_on(requests);
        }
    }

    /// Continues after the timer has expired.
    pub(crate) fn due(&mut self, requests: usize) {
        match self.stage {
            Stage::Waiting => self.go_on(requests),
            Stage::Draining => self.leave(requests),
            Stage::Serving | Stage::Leaving => {}
        }
    }

    /// Continues when there is no open request.
    pub(crate) fn idle(&mut self) {
        if self.stage == Stage::Draining {
            self.leave(0);
        }
    }

    /// Returns the turn to the other workers. Called when this worker ends.
    pub(crate) fn end(&self) {
        self.turn.give_back(own_pid());
    }

    fn go_on(&mut self, requests: usize) {
        if !self.turn.take(own_pid()) {
            return self.wait(TURN_INTERVAL);
        }
        self.stage = Stage::Draining;
        if requests == 0 {
            return self.leave(0);
        }
        self.wait(usize::try_from(self.delay.as_millis()).unwrap_or(usize::MAX >> 1));
    }

    fn wait(&mut self, milliseconds: usize) {
        self.timer.start_timer(milliseconds);
    }

    fn leave(&mut self, requests: usize) {
        self.stage = Stage::Leaving;
        self.timer.stop_timer();
        let text = format!(
            "a script has changed: this worker sends itself SIGQUIT and will be replaced by a new one, {requests} requests \
             under way"
        );
        // SAFETY: the log lives as long as the process, and this is the loop's thread.
        unsafe {
            log::write(self.timer.log, Level::Notice, &text);
            libc::kill(own_pid(), libc::SIGQUIT);
        }
    }
}

/// Whether a process has this id. A zombie counts.
pub(crate) fn is_alive(process: i32) -> bool {
    // SAFETY: signal 0 only checks whether the process exists.
    unsafe { libc::kill(process, 0) == 0 }
}

fn own_pid() -> i32 {
    // SAFETY: `getpid` always succeeds.
    unsafe { libc::getpid() }
}
