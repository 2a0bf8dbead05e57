//! How a worker makes way for a successor (`wsgi_reload_mechanism process`).
//!
//! nginx's master starts a new worker when one has exited, not before, and a worker cannot ask it for one. So a worker
//! that is to be replaced goes on accepting until it has no request under way, or `wsgi_retire_delay` is over; then it
//! sends itself SIGQUIT, finishes, and exits. Connections that come meanwhile wait in the listening sockets, which the
//! master keeps open. Only one worker of an instance is away at a time: its process id stands in memory that all share.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use wsgi_core::host::Level;
use wsgi_core::reload::WorkerControl;

use crate::bindings::{NGX_PROCESS_SINGLE, ngx_add_timer, ngx_del_timer, ngx_event_t, ngx_log_t, ngx_process};
use crate::loop_cell::LoopCell;
use crate::{event, log};

/// Whether this worker has been asked to make way.
static ASKED: AtomicBool = AtomicBool::new(false);

/// How soon a worker looks again whether it is its turn, in milliseconds.
const TURN_INTERVAL: usize = 50;

/// nginx as the host that replaces processes.
pub(crate) struct NginxControl;

impl WorkerControl for NginxControl {
    fn retire(&self) -> io::Result<()> {
        // SAFETY: set before the worker's first event, and never again.
        if unsafe { ngx_process } == NGX_PROCESS_SINGLE {
            return Err(io::Error::other("nginx runs without a master process, which would start another one"));
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

/// A number that the workers of a configuration share: the process id of the one that is making way, or 0.
pub(crate) struct Turn(NonNull<AtomicI32>);

impl Turn {
    /// Made in the master, before it starts workers; `None` without memory.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: new memory, shared with processes that are forked later; zeroed by the system.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<AtomicI32>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED { None } else { NonNull::new(memory.cast()).map(Self) }
    }

    fn holder(&self) -> &AtomicI32 {
        // SAFETY: mapped until this is dropped; an atomic is what other processes may change.
        unsafe { self.0.as_ref() }
    }

    /// Takes the turn, unless a worker that is alive has it.
    fn take(&self, own: i32) -> bool {
        let free = |holder| self.holder().compare_exchange(holder, own, Ordering::AcqRel, Ordering::Acquire);
        match free(0) {
            Ok(_) => true,
            Err(holder) if holder == own => true,
            // A worker that has crashed gives nothing back.
            Err(holder) => !is_alive(holder) && free(holder).is_ok(),
        }
    }

    /// Gives it back, if it is ours.
    fn give_back(&self, own: i32) {
        // Otherwise it is another one's.
        let _ = self.holder().compare_exchange(own, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, with this length.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<AtomicI32>()) };
    }
}

/// A worker on its way out.
pub(crate) struct Retirement {
    turn: &'static Turn,
    delay: Duration,
    stage: Stage,
    /// nginx's timers point to it: it is never dropped.
    timer: &'static mut ngx_event_t,
}

// SAFETY: only touched through the loop's cell.
unsafe impl Send for Retirement {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Another worker is away.
    Waiting,
    /// It is our turn: until there is no request, or the time is over.
    Draining,
    /// nginx has been told.
    Leaving,
}

impl Retirement {
    /// # Safety
    ///
    /// `log` outlives the process's last event, and nginx's timers are initialised. `due` may be called with any event.
    pub(crate) unsafe fn new(
        turn: &'static Turn,
        delay: Duration,
        log: *mut ngx_log_t,
        due: unsafe extern "C" fn(*mut ngx_event_t),
    ) -> LoopCell<Self> {
        // SAFETY: all-zero is how nginx starts its events.
        let timer: &'static mut ngx_event_t = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        timer.log = log;
        timer.handler = Some(due);
        // Log handlers of nginx's debug build look for a connection behind an event.
        timer.data = ptr::from_mut(timer).cast();
        // A worker that is told to exit anyway does not wait for it.
        timer.set_cancelable(1);
        LoopCell::new(Self { turn, delay, stage: Stage::Serving, timer })
    }

    /// The worker was asked to make way.
    pub(crate) fn begin(&mut self, requests: usize) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Waiting;
            self.go_on(requests);
        }
    }

    /// The timer has expired.
    pub(crate) fn due(&mut self, requests: usize) {
        match self.stage {
            Stage::Waiting => self.go_on(requests),
            Stage::Draining => self.leave(requests),
            Stage::Serving | Stage::Leaving => {}
        }
    }

    /// There is no request under way.
    pub(crate) fn idle(&mut self) {
        if self.stage == Stage::Draining {
            self.leave(0);
        }
    }

    /// Gives the turn to the next worker; this one ends.
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
        // SAFETY: our own event, on the loop's thread.
        unsafe { ngx_add_timer(self.timer, milliseconds) };
    }

    fn leave(&mut self, requests: usize) {
        self.stage = Stage::Leaving;
        // SAFETY: our own event, on the loop's thread; the log lives as long as the process.
        unsafe {
            if self.timer.timer_set() != 0 {
                ngx_del_timer(self.timer);
            }
            let text = format!(
                "a script has changed: this worker sends itself SIGQUIT and makes way for another one, \
                 {requests} requests under way"
            );
            log::write(self.timer.log, Level::Notice, &text);
            libc::kill(own_pid(), libc::SIGQUIT);
        }
    }
}

fn is_alive(process: i32) -> bool {
    // SAFETY: signal 0 only asks.
    unsafe { libc::kill(process, 0) == 0 }
}

fn own_pid() -> i32 {
    // SAFETY: always succeeds.
    unsafe { libc::getpid() }
}
