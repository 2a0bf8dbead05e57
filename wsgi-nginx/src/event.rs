//! Sends tasks from other threads to the event loop, by a list and an eventfd that nginx watches.
//!
//! `ngx_notify` cannot be used: epoll keeps only one handler for it, which belongs to nginx's thread pool.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::time::Duration;

use wsgi_core::host::{ErrorLog, Leaf, Level};

use crate::bindings::{ngx_add_timer, ngx_cycle, ngx_cycle_t, ngx_event_t, ngx_log_t};
use crate::eventfd::{self, EventFd};
use crate::guard::guard_again;
use crate::log;
use crate::log_room::{self, LogRoom};
use crate::loop_cell::{LoopCell, on_loop_thread};

static PENDING: Leaf<Vec<LoopTask>> = Leaf::new(Vec::new());
static WAKE: OnceLock<EventFd> = OnceLock::new();

/// A request whose application thread has sent parts or log lines.
pub(crate) trait Deliver: Send + Sync {
    /// Passes them to nginx, on the loop's thread. Returns the bytes of log lines that were written.
    fn deliver(self: Arc<Self>) -> usize;
}

/// The functions that the event loop runs for tasks of the worker.
pub(crate) struct Tasks {
    /// Begins to retire this worker.
    pub(crate) retire: fn(),
    /// Returns memory of responses to Python.
    pub(crate) release: fn(),
    /// Stops counting a request of another worker.
    pub(crate) request_ended: fn(),
}

static TASKS: OnceLock<Tasks> = OnceLock::new();

/// A task for the event loop.
enum LoopTask {
    /// Deliver the parts and log lines of a request.
    Request(Arc<dyn Deliver>),
    /// Write a line that belongs to no request, and notify the sender, if any, once it is written.
    Log(Level, String, Option<SyncSender<()>>),
    /// Begin to retire this worker.
    Retire,
    /// Return memory of responses to Python.
    Release,
    /// A request of another worker has ended.
    Ended,
}

/// Makes the loop deliver the parts and log lines of a request.
pub(crate) fn announce(request: Arc<dyn Deliver>) {
    send(LoopTask::Request(request));
}

/// Makes the loop begin to retire this worker.
pub(crate) fn retire() {
    send(LoopTask::Retire);
}

/// Makes the loop stop counting a request of another worker.
pub(crate) fn request_ended() {
    send(LoopTask::Ended);
}

/// Returns a waker that makes the loop return memory of responses to Python.
pub(crate) fn release_waker() -> Waker {
    Waker::from(Arc::new(Release { _place: 0 }))
}

/// Has a field because the pointer of an `Arc` without content lies past the end of its memory, which LeakSanitizer
/// reports as a leak.
struct Release {
    _place: u8,
}

impl Wake for Release {
    fn wake(self: Arc<Self>) {
        send(LoopTask::Release);
    }
}

fn send(task: LoopTask) {
    let first = PENDING.with(|mail| {
        mail.push(task);
        mail.len() == 1
    });
    if first {
        ring();
    }
}

/// Wakes the loop.
fn ring() {
    if let Some(wake) = WAKE.get() {
        wake.notify();
    }
}

/// Opens the descriptor and makes nginx watch it. Returns the reason on failure. The loop runs `tasks` on request.
///
/// # Safety
///
/// The process is a worker whose events are initialised, and `cycle` is its cycle.
pub(crate) unsafe fn open(cycle: &mut ngx_cycle_t, tasks: Tasks) -> Result<(), String> {
    // A worker starts once, so both cells are empty.
    let _ = TASKS.set(tasks);
    let wake = EventFd::new().map_err(|error| format!("eventfd() failed: {error}"))?;
    let wake = WAKE.get_or_init(|| wake);
    // SAFETY: the events are initialised, as the caller promises, and the descriptor is never closed.
    unsafe { wake.watch(cycle, mail_arrived) }
}

/// Called by nginx with the event of the descriptor that [`open`] registered.
unsafe extern "C" fn mail_arrived(event: *mut ngx_event_t) {
    // SAFETY: nginx calls this with the event of the descriptor that `open` registered.
    guard_again("mail_arrived", || unsafe { empty_list(event) });
}

/// Runs the tasks in the list.
///
/// # Safety
///
/// `event` is that of the descriptor that [`open`] registered.
unsafe fn empty_list(event: *mut ngx_event_t) {
    // SAFETY: the event is that of an eventfd. Its notifications end before the list is taken: a task that is added in
    // between either finds the list empty and notifies again, or is taken along.
    unsafe {
        eventfd::notified(event);
        take_turn((*ngx_cycle).log);
    }
}

/// Bytes of log lines written per call of [`take_turn`], before the event loop continues. Writing them takes about a
/// millisecond.
const LINES_A_TURN: usize = 32 * 1024;

/// Runs the tasks in the list. After [`LINES_A_TURN`] bytes of log lines it leaves the others for the next event.
///
/// # Safety
///
/// The caller is on the loop's thread, and `log` is alive.
unsafe fn take_turn(log: *mut ngx_log_t) {
    let mut mail = PENDING.with(std::mem::take).into_iter();
    let (mut lines, mut of_worker) = (0, 0);
    for task in &mut mail {
        // SAFETY: this is the loop's thread, and the log is alive, as the caller promises.
        lines += unsafe { deliver(task, log, &mut of_worker) };
        if lines > LINES_A_TURN {
            break;
        }
    }
    leave(of_worker);
    if mail.len() > 0 {
        let rest: Vec<_> = mail.collect();
        PENDING.with(|mail| mail.splice(..0, rest).for_each(drop));
        ring();
    }
}

/// Runs all tasks in the list.
///
/// # Safety
///
/// As for [`take_turn`].
pub(crate) unsafe fn run_tasks(log: *mut ngx_log_t) {
    let mut of_worker = 0;
    for task in PENDING.with(std::mem::take) {
        // SAFETY: this is the loop's thread, and the log is alive, as the caller promises.
        unsafe { deliver(task, log, &mut of_worker) };
    }
    leave(of_worker);
}

/// Makes room for lines that belong to no request. Called once per turn, since it wakes all threads that wait for room.
fn leave(written: usize) {
    if written > 0 {
        WORKER_LINES.leave(written);
    }
}

/// Runs one task. Returns the bytes of log lines that were written, and adds those that belong to no request to
/// `of_worker`.
///
/// # Safety
///
/// As for [`take_turn`].
unsafe fn deliver(task: LoopTask, process_log: *mut ngx_log_t, of_worker: &mut usize) -> usize {
    match task {
        LoopTask::Request(request) => return request.deliver(),
        // A panic must not delay the tasks behind this one until the next event.
        LoopTask::Retire => guard_again("retire", || run(|tasks| tasks.retire)),
        LoopTask::Release => guard_again("release", || run(|tasks| tasks.release)),
        LoopTask::Ended => guard_again("request_ended", || run(|tasks| tasks.request_ended)),
        LoopTask::Log(level, text, written) => {
            let size = log_room::size(&text);
            *of_worker += size;
            // SAFETY: this is the loop's thread, and the log is alive, as the caller promises.
            unsafe { log::write(process_log, level, &text) };
            if let Some(written) = written {
                // The waiting thread may have given up.
                let _ = written.try_send(());
            }
            return size;
        }
    }
    0
}

fn run(task: impl Fn(&Tasks) -> fn()) {
    if let Some(tasks) = TASKS.get() {
        task(tasks)();
    }
}

/// The worker's error log, for lines that belong to no request.
///
/// A line of level crit or above may be the last output of a process (`os._exit`), so another thread that logs one
/// waits until it is written.
///
/// While the worker exits the loop runs no tasks, and each thread writes its lines itself.
pub(crate) struct WorkerLog;

/// Bytes of waiting lines that belong to no request.
static WORKER_LINES: LogRoom = LogRoom::new();

/// How long a thread waits for its line to be written while the loop is blocked.
const CRITICAL_LINE_TIMEOUT: Duration = Duration::from_secs(1);

impl ErrorLog for WorkerLog {
    fn log(&self, level: Level, text: &str) {
        // SAFETY: a worker has a cycle with a log. This is the loop's thread, or that thread does not use nginx during
        // the call (`if_stopped`).
        let write = || unsafe { log::write((*ngx_cycle).log, level, text) };
        if on_loop_thread() {
            return write();
        }
        if log_room::if_stopped(write) || WORKER_LINES.is_full() && write_without_the_loop(level, text) {
            return;
        }
        WORKER_LINES.enter(text);
        if level >= Level::Crit {
            let (sender, written) = sync_channel(1);
            send(LoopTask::Log(level, text.to_owned(), Some(sender)));
            let _ = written.recv_timeout(CRITICAL_LINE_TIMEOUT);
        } else {
            send(LoopTask::Log(level, text.to_owned(), None));
        }
    }

    fn is_full(&self) -> bool {
        !on_loop_thread() && WORKER_LINES.is_full()
    }

    fn wait_for_room(&self) {
        WORKER_LINES.wait();
    }
}

/// Writes a line to the worker's log on another thread, if the loop's thread runs an application or the worker exits,
/// and if all its logs are files. Returns whether it did.
pub(crate) fn write_without_the_loop(level: Level, text: &str) -> bool {
    // SAFETY: a worker has a cycle with a log. The line is written only if all its logs are files, and nginx's own
    // threads write to files, too.
    unsafe {
        let log = (*ngx_cycle).log;
        log::has_only_files(log) && log_room::if_away(|| log::write(log, level, text))
    }
}

/// Timer that keeps a worker from exiting gracefully while requests are open. nginx exits as soon as only cancelable
/// timers are left (`ngx_event_no_timers_left`), and a request that waits for its application has no timer.
///
/// Never dropped, since nginx's timers point to it.
pub(crate) struct Hold(&'static mut ngx_event_t);

// SAFETY: `LoopCell` gives access on the event loop's thread only.
unsafe impl Send for Hold {}

/// In milliseconds. nginx only checks that the timer is set; it expires in tests.
const HOLD_PERIOD: usize = if cfg!(debug_assertions) { 100 } else { 24 * 3600 * 1000 };

impl Hold {
    /// # Safety
    ///
    /// `log` outlives the process's last event, and nginx's timers are initialised.
    pub(crate) unsafe fn new(log: *mut ngx_log_t) -> LoopCell<Self> {
        let event = ngx_event_t::leaked(log, hold_expired);
        event.start_timer(HOLD_PERIOD);
        LoopCell::new(Self(event))
    }

    /// Sets whether the worker must stay.
    pub(crate) fn set(&mut self, stay: bool) {
        self.0.set_cancelable(u32::from(!stay));
    }
}

/// Called by nginx when the timer of [`Hold`] expires. Starts it again.
unsafe extern "C" fn hold_expired(event: *mut ngx_event_t) {
    // SAFETY: nginx calls this with the leaked event of `Hold`.
    guard_again("hold_expired", || unsafe { ngx_add_timer(event, HOLD_PERIOD) });
}
