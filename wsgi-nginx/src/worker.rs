//! The module in a worker process: starts and stops Python, and counts open requests.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use wsgi_core::config::Mode;
use wsgi_core::host::Level;
use wsgi_core::python::{Gateway, GatewaySettings, Location};

use crate::bindings::{
    NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_cycle_t, ngx_event_t, ngx_open_file_t, ngx_process, ngx_terminate,
};
use crate::conf::{self, MainConf};
use crate::descriptors::Descriptors;
use crate::event::{self, Hold, Tasks, WorkerLog};
use crate::guard::guard_again;
use crate::load::Transfers;
use crate::loop_cell::{Loop, LoopCell, claim_loop_thread};
use crate::retire::{Retirement, Turn};
use crate::{load, log, log_room, shares, umask};

/// How long a worker that quits waits for applications that still run, and for their threads.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for a worker that terminates (SIGTERM, SIGINT): its master kills workers after a second.
const TERMINATE_TIMEOUT: Duration = Duration::from_millis(500);

/// nginx's own signals: the master's commands, and the signals that nginx handles or ignores in its workers.
const RESERVED_SIGNALS: [c_int; 12] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGALRM,
    libc::SIGIO,
    libc::SIGCHLD,
    libc::SIGSYS,
    libc::SIGPIPE,
];

/// Exit status after which a master does not replace a worker: for nginx it is a fatal error.
const FATAL_EXIT_STATUS: c_int = 2;

/// State of a worker in which Python runs.
pub(crate) struct Worker {
    pub(crate) gateway: Gateway,
    pub(crate) inline: bool,
    /// All locations with applications, in the same order in all workers.
    pub(crate) locations: &'static [Arc<Location>],
    open: LoopCell<Open>,
    /// Set if a location has `wsgi_reload_mechanism process`.
    retirement: Option<LoopCell<Retirement>>,
}

/// The open requests of the worker.
struct Open {
    count: usize,
    hold: LoopCell<Hold>,
}

/// Contains `None` if Python did not start.
static WORKER: OnceLock<Option<Worker>> = OnceLock::new();

/// Returns the worker, if Python runs in it.
pub(crate) fn running() -> Option<&'static Worker> {
    WORKER.get()?.as_ref()
}

/// Counts a request that has an exchange. On the loop's thread.
#[inline(always)]
pub(crate) fn request_began(lp: &Loop) {
    count(lp, |open| open.count += 1);
}

/// Stops counting a request that has been destroyed.
#[inline(always)]
pub(crate) fn request_ended(lp: &Loop) {
    count(lp, |open| open.count -= 1);
}

#[inline(always)]
fn count(lp: &Loop, change: impl FnOnce(&mut Open)) {
    if let Some(worker) = running() {
        worker.open.with(lp, |open| {
            let before = open.count;
            change(open);
            if (before == 0) != (open.count == 0) {
                open.hold.with(lp, |hold| hold.set(open.count > 0));
                if open.count == 0
                    && let Some(retirement) = &worker.retirement
                {
                    retirement.with(lp, Retirement::idle);
                }
            }
        });
    }
}

/// Releases blocks of responses that were dropped on a thread that is not attached to Python.
fn release() {
    if let Some(worker) = running() {
        let _away = log_room::Away::new();
        worker.gateway.release();
    }
}

/// Counts a request of another worker, until [`other_ended`] is called.
#[cold]
pub(crate) fn other_began(lp: &Loop) {
    request_began(lp);
}

#[cold]
fn other_ended() {
    request_ended(&Loop::enter());
}

/// Begins to retire the worker, since a script has changed. On the loop's thread.
fn retire() {
    load::retire();
    with_retirement(Retirement::begin);
}

/// Called by nginx when the timer of a worker that retires has expired.
unsafe extern "C" fn retirement_due(_event: *mut ngx_event_t) {
    guard_again("retirement_due", || with_retirement(Retirement::due));
}

fn with_retirement(work: impl FnOnce(&mut Retirement, usize)) {
    if let Some(worker) = running()
        && let Some(retirement) = &worker.retirement
    {
        let lp = &Loop::enter();
        let requests = worker.open.with(lp, |open| open.count);
        retirement.with(lp, |retirement| work(retirement, requests));
    }
}

/// Starts Python if a location serves an application (`init_process`). A failure is logged in one line, and every
/// request is answered with 500. If the module returned an error, nginx would not replace the worker, and clients would
/// wait for ever.
///
/// # Safety
///
/// nginx calls this in the process that serves requests, with its events initialised.
pub(crate) unsafe fn start(cycle: *mut ngx_cycle_t, transfers: Transfers) {
    // SAFETY: nginx has set its global variable before, and does not change it later.
    let process = unsafe { ngx_process };
    let single = process == NGX_PROCESS_SINGLE;
    if !single && process != NGX_PROCESS_WORKER {
        return;
    }
    // SAFETY: the configuration of the cycle has been read.
    let Some(main) = (unsafe { conf::main_of(cycle) }) else { return };
    if main.locations.is_empty() {
        return;
    }
    conf::set_serving();
    claim_loop_thread();
    umask::apply();
    // nginx's SIGCHLD handler would reap the application's child processes, and `subprocess` would report every failure
    // as a success. nginx ignores SIGSYS, because some systems lack calls that it uses; every program that an
    // application starts would inherit that.
    // SAFETY: `SIG_DFL` is a valid disposition of both signals, and Python, which could change it, does not run yet.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGSYS, libc::SIG_DFL);
    }
    // SAFETY: this is the process that serves requests, with its events initialised, as the caller promises.
    let worker = match unsafe { launch(&mut *cycle, main, single, transfers) } {
        Ok(worker) => Some(worker),
        Err(trouble) => {
            // SAFETY: the cycle's log is alive, and this is the loop's thread.
            unsafe { log::write((*cycle).log, Level::Emerg, &format!("{trouble}; wsgi locations answer 500")) };
            None
        }
    };
    // Python starts once in a process.
    let worker = WORKER.get_or_init(|| worker);
    if let Some(worker) = worker {
        for (location, _) in main.locations.iter().filter(|(_, preload)| *preload) {
            let _away = log_room::Away::new();
            worker.gateway.preload(location);
        }
    }
}

/// # Safety
///
/// As for [`start`].
unsafe fn launch(
    cycle: &mut ngx_cycle_t,
    main: &'static MainConf,
    single: bool,
    transfers: Transfers,
) -> Result<Worker, String> {
    let mode = main.process.mode();
    // SAFETY: events are initialised, as the caller promises.
    unsafe { load::start(cycle, main, transfers) };
    // SAFETY: events are initialised, as the caller promises.
    unsafe { event::open(cycle, Tasks { retire, release, request_ended: other_ended }) }
        .map_err(|trouble| format!("cannot start Python: cannot wake the event loop: {trouble}"))?;
    let mut settings = GatewaySettings::from(&main.process);
    settings.multiprocess = !single;
    settings.reserved_signals = RESERVED_SIGNALS.to_vec();
    settings.fatal_exit_status = Some(FATAL_EXIT_STATUS);
    // SAFETY: events are initialised, and Python has not been started.
    let descriptors = unsafe { Descriptors::of_nginx(cycle, single) }
        .map_err(|error| format!("cannot start Python: cannot list the descriptors of nginx: {error}"))?;
    settings.child_processes = Some(Arc::new(descriptors));
    settings.release = Some(event::release_waker());
    settings.load = load::requests::observer();
    let gateway = Gateway::start(&settings, Arc::new(WorkerLog)).map_err(|error| error.to_string())?;
    // SAFETY: timers are initialised, and the cycle's log lives as long as the worker.
    let hold = unsafe { Hold::new(cycle.log) };
    let turn = main.shared.get().filter(|_| main.retires).map(|shared| Turn(shared.turn()));
    let retirement = turn.map(|turn| Retirement::new(turn, main.process.retire_delay(), cycle.log, retirement_due));
    let open = LoopCell::new(Open { count: 0, hold });
    if let Mode::Threads(limits) = mode {
        shares::start(&limits);
    }
    load::serve();
    let locations = main.locations.iter().map(|(location, _)| Arc::clone(location)).collect::<Vec<_>>().leak();
    Ok(Worker { locations, gateway, inline: mode == Mode::Inline, open, retirement })
}

/// Shuts applications and Python down (`exit_process`).
///
/// # Safety
///
/// nginx calls this last, on the loop's thread.
pub(crate) unsafe fn stop(cycle: *mut ngx_cycle_t) {
    let Some(worker) = running() else { return };
    // SAFETY: a global variable of nginx, which only this thread changes.
    let terminates = unsafe { ngx_terminate } != 0;
    if let Some(retirement) = &worker.retirement {
        retirement.with(&Loop::enter(), |retirement| retirement.end());
    }
    load::end();
    // `shutdown` may end the process, so that pending log lines are written before.
    // SAFETY: this is the loop's thread; the log lives as long as the cycle.
    unsafe {
        event::run_tasks((*cycle).log);
        flush_logs(cycle);
    }
    log_room::with_loop_stopped(|| worker.gateway.shutdown(if terminates { TERMINATE_TIMEOUT } else { QUIT_TIMEOUT }));
    // SAFETY: this is the loop's thread; the log lives as long as the cycle.
    unsafe { event::run_tasks((*cycle).log) };
}

/// Flushes log files that have a buffer, as nginx does when it destroys a cycle (`ngx_conf_flush_files`).
///
/// # Safety
///
/// `cycle` is nginx's, and the caller is on the loop's thread.
unsafe fn flush_logs(cycle: *mut ngx_cycle_t) {
    // SAFETY: each part of nginx's list has `nelts` files, and the `next` of the last part is null. The functions
    // belong to the modules that have opened the files.
    unsafe {
        let mut part = &raw const (*cycle).open_files.part;
        while let Some(files) = part.as_ref() {
            let first: *mut ngx_open_file_t = files.elts.cast();
            for number in 0..files.nelts {
                let file = first.add(number);
                if let Some(flush) = (*file).flush {
                    flush(file, (*cycle).log);
                }
            }
            part = files.next;
        }
    }
}
