//! Child processes of applications, compared with those of a plain Python program.

use wsgi_harness::children::{APPLICATION, FUNCTIONS, Forked, IgnoredSignals, PROGRAMS, compare};

use crate::harness::{Mode, Nginx, Site, children, get, in_both_modes, kill, wait_for};

fn site(mode: Mode) -> Site {
    Site::new(mode).file("app.py", APPLICATION).location("/", "wsgi_pass app.py;")
}

/// Asserts that a worker's answers equal those of a plain program.
fn as_in_a_plain_program(nginx: &Nginx, ways: &[&str]) {
    compare(ways, Forked::Nothing, IgnoredSignals::Reset, |path| nginx.get(path).ok());
}

#[test]
fn programs_start_as_from_a_plain_python_program() {
    in_both_modes(|mode| as_in_a_plain_program(&site(mode).start(), &PROGRAMS));
}

#[test]
fn forked_and_spawned_processes_start_as_from_a_plain_python_program() {
    in_both_modes(|mode| as_in_a_plain_program(&site(mode).start(), &FUNCTIONS));
}

#[test]
fn an_application_in_a_sub_interpreter_starts_programs_and_spawns_processes() {
    let works = [
        "system",
        "popen",
        "popen_inherits",
        "popen_shell",
        "popen_session",
        "posix_spawn",
        "process_spawn",
        "ended_forkserver",
        "executor_spawn",
    ];
    in_both_modes(|mode| as_in_a_plain_program(&site(mode).http("wsgi_enable_subinterpreters on;").start(), &works));
}

/// Forks depending on its path, and answers with the exit status of the child.
const FORKS: &str = "
import os, sys
def outcome(path):
    if path.endswith('/exit'):
        sys.exit(7)
    if path.endswith('/message'):
        sys.exit('a message at the end')
    if path.endswith('/raise'):
        raise ValueError('raised by a child')
def ended(child):
    return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode()
class Result:
    def __init__(self, path):
        self.path, self.child, self.over = path, None, False
    def fork(self):
        self.child = os.fork()
        if self.child == 0:
            outcome(self.path)
        return self.child == 0
    def __iter__(self):
        if self.path.startswith('/iter/'):
            self.fork()
        return self
    def __len__(self):
        if self.path.startswith('/len/'):
            self.fork()
        return 2
    def __next__(self):
        if self.path.startswith('/next/') and self.child is None and self.fork():
            return b'block of the child'
        if self.over:
            raise StopIteration
        self.over = True
        return ended(self.child) if self.child is not None else b'closed'
    def close(self):
        if self.path.startswith('/close/') and not self.fork():
            print('closed with', ended(self.child).decode())
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path.startswith('/call/'):
        child = os.fork()
        if child == 0:
            outcome(path)
            return [b'answer of the child']
        start_response('200 OK', [])
        return [ended(child)]
    start_response('200 OK', [])
    return Result(path)
";

#[test]
fn a_forked_process_ends_where_its_code_comes_back_and_never_answers() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", FORKS).location("/", "wsgi_pass app.py;").start();
        let worker = nginx.worker();
        for place in ["call", "iter", "len", "next", "close"] {
            for (outcome, status) in [("return", "0"), ("exit", "7"), ("message", "1"), ("raise", "1")] {
                let path = format!("/{place}/{outcome}");
                let mut client = nginx.connect();
                client.send(get(&path));
                let text = client.response().ok();
                let expected = if place == "close" { "closed" } else { status };
                assert_eq!(text, expected, "{path}");
                // The child has sent nothing after the response.
                client.send(get("/none/"));
                assert_eq!(client.response().ok(), "closed", "behind {path}");
            }
        }
        for status in ["0", "7", "1"] {
            nginx.logged(&format!("closed with {status}"));
        }
        nginx.logged("by SystemExit with status 7");
        nginx.logged("a message at the end");
        nginx.logged("ValueError: raised by a child");
        let line = nginx.logged("the application has returned");
        assert!(line.contains(", forked by ") && line.contains("/app.py"), "{line}");
        assert_eq!(nginx.worker(), worker);
        assert!(children(worker).is_empty(), "left behind");
    });
}

#[test]
fn a_process_that_a_destructor_forks_ends_there_and_never_serves() {
    let source = "
import contextvars, gc, itertools, os, sys, threading
parent = os.getpid()
var = contextvars.ContextVar('var')
here = threading.local()
class D:
    def __init__(self, blocks=()):
        self.blocks = iter(blocks)
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks)
    def __del__(self):
        if os.getpid() != parent:
            return
        child = os.fork()
        if child == 0:
            return
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stderr.write(f'{self.name} ended with {status}\\n')
class Failure(Exception):
    pass
class List(list):
    pass
def make(name, blocks=()):
    d = D(blocks)
    d.name = name
    return d
def fail(name):
    failure = Failure()
    failure.d = make(name)
    return failure
def local(name):
    d = make(name)
    yield b'ok'
def application(environ, start_response):
    name = environ['PATH_INFO'][1:]
    headers = [('Content-Type', 'text/plain')]
    if name == 'headers':
        headers = List(headers)
        headers.d = make(name)
    elif name == 'failure':
        raise fail(name)
    start_response('200 OK', list(headers))
    del headers
    if name == 'environ':
        environ['d'] = make(name)
    elif name == 'context':
        var.set(make(name))
    elif name == 'thread':
        here.d = make(name)
    elif name == 'iterable':
        return make(name, [b'o', b'k'])
    elif name == 'unread':
        return make(name, itertools.repeat(bytes(10000)))
    elif name == 'local':
        return local(name)
    elif name == 'list':
        result = List([b'ok'])
        result.d = make(name)
        return result
    elif name == 'cycle':
        d = make(name)
        d.d = d
        del d
        environ['gc'] = type('Collects', (), {'__del__': lambda self: gc.collect()})()
    return [b'ok']
";
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;");
        let nginx = site.start();
        let worker = nginx.worker();
        for name in ["environ", "context", "iterable", "unread", "local", "list", "cycle", "headers", "failure"] {
            let mut client = nginx.connect();
            client.send(get(&format!("/{name}")));
            if name == "unread" {
                // The application must be running: a request whose client disconnects earlier is not started.
                assert_eq!(client.head().status, 200);
            } else {
                let status = if name == "failure" { 500 } else { 200 };
                assert_eq!(client.response().status, status, "{name}");
            }
            drop(client);
            nginx.logged(&format!("{name} ended with 0"));
            assert_eq!(nginx.get("/").ok(), "ok", "after {name}");
        }
        assert_eq!(nginx.log_lines("a forked process must end with os._exit()").len(), 9, "{}", nginx.log());
        assert_eq!(nginx.worker(), worker);
        assert!(children(worker).is_empty(), "left behind");
        // A thread of the pool ends with the worker, which destroys its values. The inline thread goes on to `exit`.
        assert_eq!(nginx.get("/thread").ok(), "ok");
        let log = nginx.stop();
        assert_eq!(log.matches("thread ended with 0").count(), usize::from(mode != Mode::Inline), "{log}");
    });
}

#[test]
fn a_process_that_is_forked_while_an_application_is_loaded_does_not_serve() {
    let load = "
import os
child = os.fork()
if child:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
def application(environ, start_response):
    start_response('200 OK', [])
    return [f'{os.getpid()} {status}'.encode()]
";
    let wrap = "
import os
status = None
def layer(application):
    global status
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return application
def application(environ, start_response):
    start_response('200 OK', [])
    return [f'{os.getpid()} {status}'.encode()]
";
    in_both_modes(|mode| {
        for (source, directives) in [
            (load, "wsgi_pass app;"),
            (load, "wsgi_pass app.py;\nwsgi_preload on;"),
            (wrap, "wsgi_pass app;\nwsgi_middleware app layer;"),
        ] {
            let site = Site::new(mode).file("app.py", source);
            let path = site.folder().display().to_string();
            let nginx = site.http(&format!("wsgi_python_path {path};")).location("/", directives).start();
            let worker = nginx.worker();
            assert_eq!(nginx.get("/").ok(), format!("{worker} 0"), "{directives}");
            assert_eq!(nginx.workers(), [worker]);
        }
    });
}

#[test]
fn objects_of_a_request_refuse_in_a_forked_process_and_print_goes_to_standard_error() {
    let source = "
import os
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        for use in (
            lambda: start_response('200 OK', []),
            lambda: environ['wsgi.input'].read(),
        ):
            try:
                use()
            except RuntimeError as error:
                print('child:', error)
        environ['wsgi.errors'].write('child: errors\\n')
        os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    start_response('200 OK', [])
    return [environ['wsgi.input'].read(), str(status).encode()]
";
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", source).location("/", "wsgi_pass app.py;").start();
        assert_eq!(nginx.post("/", b"body ").ok(), "body 3");
        for text in ["child: start_response(): this process was forked", "child: wsgi.input", "child: errors"] {
            nginx.logged(text);
        }
    });
}

/// Starts a program that keeps running, and answers without a Content-Length.
const LEAVES_ONE: &str = "
import os, subprocess
def application(environ, start_response):
    if environ['PATH_INFO'] == '/fork':
        child = os.fork()
        if child == 0:
            os.execv('/bin/sleep', ['sleep', '600'])
    else:
        child = os.posix_spawn('/bin/sleep', ['sleep', '600'], {})
    start_response('200 OK', [])
    yield str(child).encode()
";

#[test]
fn a_program_that_stays_holds_neither_the_client_nor_the_next_nginx() {
    in_both_modes(|mode| {
        for path in ["/fork", "/spawn"] {
            let mut nginx = Site::new(mode).file("app.py", LEAVES_ONE).location("/", "wsgi_pass app.py;").start();
            let mut client = nginx.connect();
            client.send(format!("GET {path} HTTP/1.0\r\n\r\n").into_bytes());
            // The end of the connection ends the answer.
            let answer = String::from_utf8(client.rest()).expect("text");
            let child: u32 = answer.rsplit('\n').next().expect("a line").parse().expect("a process");
            let port = nginx.port();
            nginx.signal(libc::SIGQUIT);
            assert!(nginx.wait().success());
            assert!(std::path::Path::new(&format!("/proc/{child}")).exists(), "the program has ended");
            let free = std::net::TcpListener::bind(("127.0.0.1", port));
            kill(child, libc::SIGKILL);
            free.unwrap_or_else(|error| panic!("{mode}, {path}: the address is in use: {error}"));
        }
    });
}

/// Returns the target of each descriptor of a process from 3 on, and whether it is closed on exec.
fn flags(process: u32) -> Vec<(String, bool)> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let folder = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process lives");
    let numbers = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let shown = numbers.filter(|number| *number >= 3).filter_map(|number| {
        let link = std::fs::read_link(format!("/proc/{process}/fd/{number}")).ok()?.display().to_string();
        let info = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        Some((link, u32::from_str_radix(flags, 8).expect("octal digits") & CLOSE_ON_EXEC != 0))
    });
    shown.collect()
}

#[test]
fn descriptors_of_nginx_are_closed_on_exec_in_workers_and_listening_sockets_stay_open_without_a_master() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        nginx.get("/system");
        let open: Vec<_> = flags(nginx.worker()).into_iter().filter(|(_, closed)| !closed).collect();
        // The connection of the last request may be closed or not; a connection accepted since is not marked yet.
        assert!(open.is_empty(), "{open:?}");

        let nginx = site(mode).without_master().start();
        // Two of them: the socket of the site, and the one by which the harness sees that nginx is ready. The
        // connection to the latter is about to close.
        let open = wait_for("the first connection to go", || {
            let open: Vec<_> = flags(nginx.worker()).into_iter().filter(|(_, closed)| !closed).collect();
            (open.len() <= 2).then_some(open)
        });
        assert!(open.len() == 2 && open.iter().all(|(link, _)| link.starts_with("socket:")), "{open:?}");
        let answer = nginx.get("/popen_inherits").ok();
        assert!(!answer.contains("anon_inode"), "{answer}");
    });
}

#[test]
fn a_binary_upgrade_hands_the_sockets_on() {
    in_both_modes(|mode| {
        let nginx = site(mode).start_in_background();
        let expected = nginx.get("/system").ok();
        let old = nginx.worker();
        nginx.upgrade();
        assert_eq!(nginx.get("/system").ok(), expected);
        assert_ne!(nginx.worker(), old);
    });
}

#[test]
fn a_program_cannot_read_the_request_body_from_a_descriptor() {
    let source = "
import os
def application(environ, start_response):
    own = [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3, 100) if os.path.lexists(f'/proc/self/fd/{fd}')]
    out = os.path.join(os.path.dirname(__file__), 'out')
    os.system(f'ls -l /proc/self/fd > {out}')
    start_response('200 OK', [])
    held = [path for path in own if 'client_body_temp' in path]
    return [f'{len(held) > 0} {\"client_body_temp\" in open(out).read()}'.encode()]
";
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", source)
            .http("wsgi_body_buffer_size 1k;\nclient_body_buffer_size 1k;")
            .location("/", "wsgi_pass app.py;")
            .start();
        assert_eq!(nginx.post("/", &[b'x'; 20_000]).ok(), "True False");
    });
}
