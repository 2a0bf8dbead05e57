//! How other threads reach the event loop: a list, and an eventfd that nginx watches.
//!
//! `ngx_notify` would not do: epoll keeps one handler for it, which nginx's own thread pool uses.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::time::Duration;

use wsgi_core::host::{ErrorLog, Level};
use wsgi_core::lock::Leaf;

use crate::bindings::{
    NGX_CLEAR_EVENT, NGX_LEVEL_EVENT, NGX_READ_EVENT, NGX_USE_CLEAR_EVENT, NGX_USE_EPOLL_EVENT, ngx_add_timer,
    ngx_connection_t, ngx_cycle, ngx_cycle_t, ngx_event_actions, ngx_event_flags, ngx_event_t, ngx_free_connection,
    ngx_get_connection, ngx_log_t, ngx_uint_t,
};
use crate::guard::guard_again;
use crate::log_room::{self, LogRoom};
use crate::loop_cell::{LoopCell, on_loop_thread};
use crate::{log, ngx};

static PENDING: Leaf<Vec<LoopTask>> = Leaf::new(Vec::new());
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// A request whose application's thread has sent something.
pub(crate) trait Deliver: Send + Sync {
    /// Passes it on to nginx, on the loop's thread. Returns the bytes of log lines that were written.
    fn deliver(self: Arc<Self>) -> usize;
}

/// What the worker does when the loop is asked for it.
pub(crate) struct Tasks {
    /// Makes way for another worker.
    pub(crate) retire: fn(),
    /// Gives memory of responses back to Python.
    pub(crate) release: fn(),
}

static TASKS: OnceLock<Tasks> = OnceLock::new();

/// Something for the loop.
enum LoopTask {
    /// A request has mail.
    Request(Arc<dyn Deliver>),
    /// A line that belongs to no request; who waits for it is told when it is written.
    Log(Level, String, Option<SyncSender<()>>),
    /// The worker is to make way for another one.
    Retire,
    /// Memory of responses is to be given back to Python.
    Release,
}

/// Has the loop empty the box of a request.
pub(crate) fn announce(request: Arc<dyn Deliver>) {
    send(LoopTask::Request(request));
}

/// Has the loop let this worker retire.
pub(crate) fn retire() {
    send(LoopTask::Retire);
}

/// A waker that has the loop give memory of responses back to Python.
pub(crate) fn release_waker() -> Waker {
    Waker::from(Arc::new(Release { _place: 0 }))
}

/// Not empty: the pointer of an `Arc` without content lies past the end of its memory, and a leak checker takes that for lost.
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
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight bytes, as an eventfd takes them. The counter does not come to its end.
    unsafe { libc::write(DESCRIPTOR.load(Ordering::Acquire), one.as_ptr().cast::<c_void>(), one.len()) };
}

/// Opens the descriptor and has nginx watch it; says what failed. `tasks` are run when the loop is asked for them.
///
/// # Safety
///
/// A worker whose events are initialised, with its cycle.
pub(crate) unsafe fn open(cycle: &mut ngx_cycle_t, tasks: Tasks) -> Result<(), String> {
    // A worker starts once.
    let _ = TASKS.set(tasks);
    // SAFETY: a plain system call.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(format!("eventfd() failed: {}", std::io::Error::last_os_error()));
    }
    DESCRIPTOR.store(descriptor, Ordering::Release);
    // The rest is `ngx_add_channel_event`, which nginx's headers for modules leave out.
    // SAFETY: a descriptor that is open, and the cycle's log.
    let connection = unsafe { ngx_get_connection(descriptor, cycle.log).as_mut() };
    let connection = connection.ok_or("nginx has no connection left for it, see worker_connections")?;
    connection.pool = cycle.pool;
    for event in [connection.read, connection.write] {
        // SAFETY: the events of a connection that was just made.
        let event = unsafe { &mut *event };
        event.log = cycle.log;
        // A graceful exit does not report channels as sockets left open.
        event.set_channel(1);
    }
    connection.read_event().handler = Some(mail_arrived);
    // Each write is an event of its own then, and the counter need not be read.
    let flags = if is_edge_triggered() { NGX_CLEAR_EVENT } else { NGX_LEVEL_EVENT };
    // SAFETY: the function of nginx's event method, and an event with a handler.
    let added = unsafe { ngx_event_actions.add.map(|add| add(connection.read, NGX_READ_EVENT, flags)) };
    if added != Some(ngx::OK) {
        // SAFETY: the connection that nginx has just given, which nothing refers to.
        unsafe { ngx_free_connection(connection) };
        return Err("nginx cannot watch it".to_owned());
    }
    Ok(())
}

/// Whether nginx's event method reports changes only (`NGX_CLEAR_EVENT`).
fn is_edge_triggered() -> bool {
    const BOTH: ngx_uint_t = NGX_USE_CLEAR_EVENT | NGX_USE_EPOLL_EVENT;
    // SAFETY: set when the events were initialised.
    let flags = unsafe { ngx_event_flags };
    flags & BOTH == BOTH
}

/// Called by nginx with the event of the descriptor that [`open`] registered.
unsafe extern "C" fn mail_arrived(event: *mut ngx_event_t) {
    // SAFETY: nginx calls this with the event of our own descriptor.
    guard_again("mail_arrived", || unsafe { empty_list(event) });
}

/// Empties the list.
///
/// # Safety
///
/// `event` is that of the descriptor that [`open`] registered.
unsafe fn empty_list(event: *mut ngx_event_t) {
    // SAFETY: the event's data is its connection; eight bytes, as an eventfd gives them. Reading comes before taking:
    // what is added in between finds the list empty or is taken along.
    unsafe {
        if !is_edge_triggered() {
            let mut count = [0u8; 8];
            let connection: *mut ngx_connection_t = (*event).data.cast();
            libc::read((*connection).fd, count.as_mut_ptr().cast::<c_void>(), count.len());
        }
        take_turn((*ngx_cycle).log);
    }
}

/// So many bytes of log lines in a turn, then the event loop goes on. It takes about a millisecond to write them.
const LINES_A_TURN: usize = 32 * 1024;

/// Delivers the tasks in the list. After [`LINES_A_TURN`] bytes of log lines it leaves the others for the next turn.
///
/// # Safety
///
/// This is the loop's thread, and `log` is alive.
unsafe fn take_turn(log: *mut ngx_log_t) {
    let mut mail = PENDING.with(std::mem::take).into_iter();
    let (mut lines, mut of_worker) = (0, 0);
    for task in &mut mail {
        // SAFETY: the loop's thread, and a log that is alive, as the caller promises.
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

/// Delivers all tasks in the list.
///
/// # Safety
///
/// As for [`take_turn`].
pub(crate) unsafe fn drain(log: *mut ngx_log_t) {
    let mut of_worker = 0;
    for task in PENDING.with(std::mem::take) {
        // SAFETY: the loop's thread, and a log that is alive, as the caller promises.
        unsafe { deliver(task, log, &mut of_worker) };
    }
    leave(of_worker);
}

/// Makes room for further lines that belong to no request. Once a turn: it wakes all threads that wait for it.
fn leave(written: usize) {
    if written > 0 {
        WORKER_LINES.leave(written);
    }
}

/// Returns the bytes of log lines that were written. Those of lines that belong to no request are added to `of_worker`.
///
/// # Safety
///
/// As for [`take_turn`].
unsafe fn deliver(task: LoopTask, process_log: *mut ngx_log_t, of_worker: &mut usize) -> usize {
    match task {
        LoopTask::Request(request) => return request.deliver(),
        // A panic here must not keep the tasks behind it until the next event.
        LoopTask::Retire => guard_again("retire", || run(|tasks| tasks.retire)),
        LoopTask::Release => guard_again("release", || run(|tasks| tasks.release)),
        LoopTask::Log(level, text, written) => {
            let size = log_room::size(&text);
            *of_worker += size;
            // SAFETY: the loop's thread, and a log that is alive, as the caller promises.
            unsafe { log::write(process_log, level, &text) };
            if let Some(written) = written {
                // The thread that waited may have given up.
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

/// The worker's own error log, for lines that belong to no request.
///
/// A line of level crit and above may be the last thing a process says (`os._exit`): another thread that logs one waits
/// until it is written.
///
/// At the end of the worker no mail is delivered, and each thread writes its lines itself.
pub(crate) struct WorkerLog;

/// For lines of threads that work for no request.
static WORKER_LINES: LogRoom = LogRoom::new();

/// How long a thread waits for its line to be written, should the loop be held up.
const CRITICAL_LINE_TIMEOUT: Duration = Duration::from_secs(1);

impl ErrorLog for WorkerLog {
    fn log(&self, level: Level, text: &str) {
        // SAFETY: a worker has a cycle with a log. This is the loop's thread, or that thread uses nothing of nginx.
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

/// Writes a line to the worker's log on another thread, if the loop's thread runs an application or is at its end; else
/// returns false.
pub(crate) fn write_without_the_loop(level: Level, text: &str) -> bool {
    // SAFETY: a worker has a cycle with a log. Files are written to as nginx's own threads do; the function asks for nothing
    // else.
    unsafe {
        let log = (*ngx_cycle).log;
        log::has_only_files(log) && log_room::if_away(|| log::write(log, level, text))
    }
}

/// Keeps a worker that is told to quit from exiting while requests are open: nginx exits as soon as only cancelable
/// timers are left (`ngx_event_no_timers_left`), and a request that waits for its application has no timer.
///
/// nginx's timers point to it: it is never dropped.
pub(crate) struct Hold(&'static mut ngx_event_t);

// SAFETY: only touched through the loop's cell.
unsafe impl Send for Hold {}

/// In milliseconds. Never reached in practice, the timer is only looked at; tests reach it.
const HOLD_PERIOD: usize = if cfg!(feature = "failpoints") { 100 } else { 24 * 3600 * 1000 };

impl Hold {
    /// # Safety
    ///
    /// `log` outlives the process's last event, and nginx's timers are initialised.
    pub(crate) unsafe fn new(log: *mut ngx_log_t) -> LoopCell<Self> {
        // SAFETY: all-zero is how nginx starts its events.
        let event: &'static mut ngx_event_t = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        let pointer: *mut ngx_event_t = event;
        // SAFETY: an event of our own, at an address that stays.
        unsafe {
            (*pointer).log = log;
            (*pointer).handler = Some(hold_expired);
            // Log handlers of nginx's debug build look for a connection behind an event.
            (*pointer).data = pointer.cast();
            (*pointer).set_cancelable(1);
            ngx_add_timer(pointer, HOLD_PERIOD);
        }
        LoopCell::new(Self(event))
    }

    /// Whether the worker must stay.
    pub(crate) fn set(&mut self, stay: bool) {
        self.0.set_cancelable(u32::from(!stay));
    }
}

/// Called by nginx with the event of [`Hold`], which only holds a worker that is about to exit.
unsafe extern "C" fn hold_expired(event: *mut ngx_event_t) {
    // SAFETY: nginx calls this with our own timer's event.
    guard_again("hold_expired", || unsafe { ngx_add_timer(event, HOLD_PERIOD) });
}
