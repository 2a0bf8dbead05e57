//! Child processes of `multiprocessing` at the end of a worker.

use std::time::{Duration, Instant};

use crate::harness::{Mode, Nginx, Site, in_both_modes, wait_for};

/// Keeps child processes of the kind and start method in its first line, and answers with their process ids.
const KEEPS: &str = "
import multiprocessing, os, signal, time
from concurrent.futures import ProcessPoolExecutor
context = multiprocessing.get_context(METHOD)
kept = None
def work(number):
    time.sleep(0.05)
    return os.getpid()
def ignore():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def stay(queue, ignores):
    if ignores:
        ignore()
    queue.put(os.getpid())
    time.sleep(600)
def start():
    global kept
    if KIND == 'executor':
        kept = ProcessPoolExecutor(2, mp_context=context)
        return set(kept.map(work, range(8)))
    if KIND == 'busy':
        kept = ProcessPoolExecutor(1, mp_context=context)
        processes = {kept.submit(work, 0).result()}
        kept.submit(time.sleep, 600)
        return processes
    if KIND.startswith('pool'):
        kept = context.Pool(2, ignore if KIND == 'pool ignores' else None)
        return set(kept.map(work, range(8)))
    queue = context.Queue()
    kept = context.Process(target=stay, args=(queue, KIND == 'process ignores'))
    kept.start()
    return {queue.get()}
def application(environ, start_response):
    processes = {os.getpid()} | start()
    start_response('200 OK', [])
    return [' '.join(map(str, processes)).encode()]
";

fn keeps(mode: Mode, kind: &str, method: &str) -> (Nginx, Vec<u32>) {
    let source = format!("KIND, METHOD = {kind:?}, {method:?}\n{KEEPS}");
    let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
    let processes = nginx.get("/").ok().split(' ').map(|number| number.parse().expect("a process")).collect();
    (nginx, processes)
}

/// Asserts that all processes end within `within` of `since`.
fn end_within(processes: &[u32], since: Instant, within: Duration, what: &str) {
    wait_for(&format!("the end of all processes, {what}"), || {
        processes.iter().all(|process| !std::path::Path::new(&format!("/proc/{process}")).exists()).then_some(())
    });
    let elapsed = since.elapsed();
    assert!(elapsed < within, "{what}: {elapsed:?}");
}

const SOON: Duration = Duration::from_secs(4);

#[test]
fn a_worker_that_is_to_end_ends_with_the_pools_of_its_applications() {
    in_both_modes(|mode| {
        for (kind, method, signal) in [
            ("executor", "fork", libc::SIGHUP),
            ("executor", "spawn", libc::SIGQUIT),
            ("executor", "forkserver", libc::SIGHUP),
            ("pool", "fork", libc::SIGQUIT),
            ("pool", "forkserver", libc::SIGHUP),
            ("executor", "fork", libc::SIGTERM),
            ("pool", "spawn", libc::SIGTERM),
        ] {
            let (mut nginx, processes) = keeps(mode, kind, method);
            let begin = Instant::now();
            nginx.signal(signal);
            end_within(&processes, begin, SOON, &format!("{kind}, {method}, signal {signal}"));
            if signal != libc::SIGHUP {
                assert!(nginx.wait().success());
            }
        }
    });
}

#[test]
fn children_that_do_not_end_are_terminated_and_those_that_ignore_it_are_killed() {
    in_both_modes(|mode| {
        for (kind, signal, within) in [
            ("process", libc::SIGQUIT, 8),
            ("process ignores", libc::SIGHUP, 10),
            ("busy", libc::SIGQUIT, 10),
            ("pool ignores", libc::SIGQUIT, 10),
            ("process", libc::SIGTERM, 3),
            ("process ignores", libc::SIGTERM, 3),
            ("busy", libc::SIGTERM, 3),
        ] {
            let (mut nginx, processes) = keeps(mode, kind, "fork");
            let begin = Instant::now();
            nginx.signal(signal);
            end_within(&processes, begin, Duration::from_secs(within), &format!("{kind}, signal {signal}"));
            if signal != libc::SIGHUP {
                assert!(nginx.wait().success());
            }
        }
    });
}
