//! Switching the GIL between interpreters, up to Python 3.12.
//!
//! A thread that waits for the GIL sets the `gil_drop_request` of the interpreter that it waits in, after the switch
//! interval. The thread that holds the GIL reads only the flag of the interpreter that it runs in, so that a loop in
//! one interpreter holds up all others until it ends. Here each interpreter has a requester: a thread that waits for
//! the GIL in this interpreter and releases it at once. Its wait sets the flag that the loop reads, and a thread of
//! another interpreter acquires the GIL. A monitor thread wakes the requesters while the process uses CPU time.
//!
//! A process with one interpreter starts none of these threads. Since Python 3.13 the flag belongs to the thread that
//! holds the GIL (`_Py_GIL_DROP_REQUEST_BIT`).

use std::io;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};
use std::thread::{self, Builder, Thread};
use std::time::{Duration, Instant};

use super::interpreter::Interpreter;
use super::thread::request_gil;
use crate::failpoint::failpoint;
use crate::host::Level;
use crate::lock::Leaf;
use crate::protocol::pool::panic_message;

/// Python's default (`sys.getswitchinterval()`), and the interval of the requests.
const SWITCH_INTERVAL: Duration = Duration::from_millis(5);
/// The longest interval at which the monitor reads the CPU time while requests are served.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(40);
/// The interval without requests: an application's background threads may compute then, too.
const IDLE_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Number of polls without CPU time after which the monitor is idle, about a second.
const POLLS_UNTIL_IDLE: u32 = 25;
/// Stack size of these threads. They run no application code, but a stack contains the thread-local variables of all
/// libraries, which may be large.
const STACK_SIZE: usize = 256 << 10;

static REQUESTERS: Leaf<Vec<Thread>> = Leaf::new(Vec::new());
static MONITOR: OnceLock<Thread> = OnceLock::new();
/// Whether the monitor polls at the idle interval.
static IDLE: AtomicBool = AtomicBool::new(false);

/// Called at the start of each exchange. Wakes the monitor if it is idle.
#[inline]
pub(crate) fn exchange_started() {
    if IDLE.load(Ordering::Relaxed) {
        wake_monitor();
    }
}

#[cold]
fn wake_monitor() {
    IDLE.store(false, Ordering::Relaxed);
    if let Some(monitor) = MONITOR.get() {
        monitor.unpark();
    }
}

/// Starts the requester of an interpreter that CPython has just created; the first time also the monitor, and the
/// requester of the main interpreter. Failures are logged.
pub(crate) fn add_interpreter(interpreter: &'static Interpreter) {
    static FIRST: Once = Once::new();
    let mut result = Ok(());
    FIRST.call_once(|| {
        result = spawn("wsgi-gil-monitor", monitor).and_then(|monitor| {
            MONITOR.get_or_init(|| monitor);
            spawn_requester(interpreter.main())
        });
    });
    if let Err(error) = result.and_then(|()| spawn_requester(interpreter)) {
        let name = interpreter.name().display();
        let text = format!(
            "cannot start a thread that switches the GIL for the interpreter \"{name}\": {error}; a computation in one \
             interpreter may hold up all others"
        );
        interpreter.log.log(Level::Error, &text);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    let handle = Builder::new().name(name.to_owned()).stack_size(STACK_SIZE).spawn(body)?;
    Ok(handle.thread().clone())
}

fn spawn_requester(interpreter: &'static Interpreter) -> io::Result<()> {
    let requester = spawn("wsgi-gil", move || {
        loop {
            thread::park();
            let result = catch_unwind(AssertUnwindSafe(|| {
                failpoint("gil_request");
                // A thread that has kept the GIL for the whole interval probably continues to compute.
                while duration_of(|| request_gil(interpreter)) >= SWITCH_INTERVAL {}
            }));
            if let Err(panic) = result {
                interpreter.log.log(Level::Alert, &format!("panic in gil_request: {}", panic_message(&*panic)));
            }
        }
    })?;
    REQUESTERS.with(|requesters| requesters.push(requester));
    Ok(())
}

fn duration_of(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The body of the monitor thread.
fn monitor() {
    let (mut cpu, mut time) = (cpu_time(), Instant::now());
    let (mut interval, mut idle_polls) = (SWITCH_INTERVAL, 0);
    loop {
        if idle_polls < POLLS_UNTIL_IDLE {
            thread::sleep(interval);
        } else {
            IDLE.store(true, Ordering::Relaxed);
            thread::park_timeout(IDLE_POLL_INTERVAL);
            let timed_out = IDLE.swap(false, Ordering::Relaxed);
            (interval, idle_polls) = (SWITCH_INTERVAL, if timed_out { POLLS_UNTIL_IDLE - 1 } else { 0 });
        }
        let last = (mem::replace(&mut cpu, cpu_time()), mem::replace(&mut time, Instant::now()));
        match CpuUse::of(cpu.saturating_sub(last.0), time.saturating_duration_since(last.1)) {
            CpuUse::High => {
                REQUESTERS.with(|requesters| requesters.iter().for_each(Thread::unpark));
                (interval, idle_polls) = (SWITCH_INTERVAL, 0);
            }
            CpuUse::Low => (interval, idle_polls) = (MAX_POLL_INTERVAL.min(interval * 2), 0),
            CpuUse::None => (interval, idle_polls) = (MAX_POLL_INTERVAL.min(interval * 2), idle_polls + 1),
        }
    }
}

/// The CPU time that the process has used between two polls.
#[derive(Debug, PartialEq)]
enum CpuUse {
    /// A thread may be computing. On a busy machine it gets a fraction of a processor.
    High,
    Low,
    /// No more than the monitor itself uses.
    None,
}

impl CpuUse {
    fn of(used: Duration, elapsed: Duration) -> Self {
        match used {
            _ if used * 8 > elapsed => Self::High,
            _ if used * 100 > elapsed => Self::Low,
            _ => Self::None,
        }
    }
}

/// The CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `clock_gettime` initialises `time` if it returns 0.
    unsafe {
        if libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) != 0 {
            return Duration::ZERO;
        }
        let time = time.assume_init();
        // The clock is not negative, and `tv_nsec` is below a second.
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_use_is_high_with_an_eighth_of_a_processor_and_none_with_the_monitor_alone() {
        let ms = Duration::from_millis;
        for used in [1, 5, 10] {
            assert_eq!(CpuUse::of(ms(used), ms(5)), CpuUse::High);
        }
        assert_eq!(CpuUse::of(ms(1), ms(40)), CpuUse::Low);
        for used in [0, 100, 300] {
            assert_eq!(CpuUse::of(Duration::from_micros(used), ms(40)), CpuUse::None);
        }
    }
}
