//! Applications that switch stacks (greenlet) within calls of the gateway, so that these calls end in another order than they
//! began.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use wsgi_core::config::Mode;
use wsgi_core::host::Level;
use wsgi_core::python::GatewaySettings;
use wsgi_harness::frameworks::environment;
use wsgi_testkit::{Host, WAIT_TIMEOUT, get, post};

/// Each path runs two stacks alternately: the first one to enter a call of the gateway is the first one to leave it.
const APPLICATION: &str = "
import gc, threading, weakref
from greenlet import greenlet, getcurrent

def interleaved(first, second):
    '''Runs first(pause) as far as its pause, then second(pause) as far as that, then the rest of either.'''
    results = []
    def stack(work):
        here = getcurrent().parent
        results.append(work(lambda: here.switch()))
    stacks = [greenlet(lambda work=work: stack(work)) for work in (first, second)]
    for round in range(2):
        for one in stacks:
            one.switch()
    assert all(one.dead for one in stacks) and len(results) == 2, results
    return results

class Index:
    def __init__(self, pause): self.pause = pause
    def __index__(self):
        self.pause()
        return 3

class Destroyed:
    def __init__(self, pause): self.pause = pause
    def __del__(self): self.pause()

def lines(pause, *more):
    yield 'a line\\n'
    pause()
    yield 'another\\n'

def works(environ, write):
    errors, body = environ['wsgi.errors'], environ['wsgi.input']
    def destroyed(pause):
        # Given up by the gateway, within writelines.
        def holding():
            yield 'held\\n'
            kept = Destroyed(pause)
            del kept
            yield 'and gone\\n'
        errors.writelines(holding())
    return {
        'writelines': lambda pause: errors.writelines(lines(pause)),
        'index': lambda pause: body.read(Index(pause)),
        'destroyed': destroyed,
        'blocks': lambda pause: (write(bytes(50_000)), errors.writelines(lines(pause)), write(bytes(50_000))),
    }

class Result:
    '''Blocks that change stacks when they are made, and again in their destructors.'''
    def __init__(self, environ, write):
        self.works = works(environ, write)
        self.other = None
    def __iter__(self):
        first, second = self.works['writelines'], self.works['destroyed']
        for _ in range(3):
            interleaved(first, second)
            yield bytes(50_000)
    def close(self):
        interleaved(self.works['writelines'], self.works['writelines'])
    def __del__(self):
        other = greenlet(lambda: getcurrent().parent.switch())
        other.switch()
        other.switch()

def application(environ, start_response):
    write = start_response('200 OK', [])
    path = environ['PATH_INFO'].strip('/')
    if path == 'plain':
        return [bytes(50_000)]
    if path == 'result':
        return Result(environ, write)
    first, second, where = path.split('-')
    available = works(environ, write)
    run = lambda: interleaved(available[first], available[second])
    if where == 'here':
        run()
    else:
        failed = []
        def there():
            try:
                run()
            except BaseException as error:
                failed.append(error)
        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
    return iter([bytes(50_000)])
";

const WORKS: [&str; 4] = ["writelines", "index", "destroyed", "blocks"];

/// Runs all combinations with a gateway in this mode.
pub(crate) fn changes_of_stacks_leave_python_usable(mode: Mode) {
    let mut settings = GatewaySettings::new(mode);
    settings.python.home = Some(environment());
    let host: &'static Host = Box::leak(Box::new(Host::start(&settings)));
    let app = host.app(APPLICATION);
    // With inline execution, other threads cannot use the objects of a request.
    let places: &[&str] = if mode == Mode::Inline { &["here"] } else { &["here", "there"] };
    let (done, ended) = channel();
    let asking = thread::spawn(move || {
        let mut paths = vec!["/result".to_owned()];
        for place in places {
            for first in WORKS {
                paths.extend(WORKS.iter().map(|second| format!("/{first}-{second}-{place}")));
            }
        }
        for path in &paths {
            let response = host.send(&app, post(path, "a body of some length"));
            let log = response.log_text(Level::Error);
            let complaint = log.lines().find(|line| !["a line", "another", "held", "and gone"].contains(line));
            assert!(response.is_complete() && complaint.is_none(), "{path}: {response:?}");
            // On several threads of the gateway at the same time: all of them can attach and detach.
            thread::scope(|scope| {
                let answers: Vec<_> = (0..4).map(|_| scope.spawn(|| host.send(&app, get("/plain")))).collect();
                for answer in answers {
                    let answer = answer.join().expect("an answer");
                    assert_eq!(answer.body().len(), 50_000, "after {path}: {answer:?}");
                }
            });
        }
        let rest = host.log();
        assert!(rest.iter().all(|line| line.level <= Level::Notice), "{rest:?}");
        let _ = done.send(());
    });
    match ended.recv_timeout(4 * WAIT_TIMEOUT) {
        Err(RecvTimeoutError::Timeout) => panic!("Python does not run any more"),
        _ => asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}
