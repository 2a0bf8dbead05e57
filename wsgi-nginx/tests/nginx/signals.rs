//! Applications that use nginx's signals.

use crate::harness::{Mode, Site, in_both_modes};

/// Makes the call that the path names, and answers with the exception that it raises.
const CALLS: &str = "
import asyncio, faulthandler, os, signal, threading, time
def handler(*arguments):
    pass
def limit():
    signal.signal(signal.SIGALRM, handler)
def on_another_thread(call):
    raised = []
    def run():
        try:
            call()
        except ValueError as error:
            raised.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
async def with_loop():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, handler)
CALLS = {
    '/alarm': limit,
    '/term': lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    '/thread': lambda: on_another_thread(limit),
    '/interrupt': lambda: signal.siginterrupt(signal.SIGHUP, False),
    '/faulthandler': lambda: faulthandler.register(signal.SIGUSR1),
    '/asyncio': lambda: asyncio.run(with_loop()),
    '/asyncio-alone': lambda: asyncio.run(asyncio.sleep(0)),
    '/mask': lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP}),
}
def application(environ, start_response):
    start_response('200 OK', [])
    try:
        CALLS[environ['PATH_INFO']]()
    except (ValueError, RuntimeError) as error:
        return [f'{type(error).__name__}: {error}'.encode()]
    return [b'nothing raised']
";

fn site(mode: Mode) -> Site {
    Site::new(mode).file("app.py", CALLS).location("/", "wsgi_pass app.py;")
}

#[test]
fn a_handler_for_a_signal_of_the_server_raises_in_a_request() {
    in_both_modes(|mode| {
        let nginx = site(mode).start();
        let python = "ValueError: signal only works in main thread of the main interpreter";
        let ours = "the signal belongs to the server";
        for path in ["/alarm", "/term"] {
            let text = nginx.get(path).ok();
            match mode {
                Mode::Inline => {
                    assert!(text.starts_with("ValueError: signal.signal(") && text.contains(ours), "{text}")
                }
                // The message of Python 3.9 is shorter.
                Mode::Threads(_) => assert!(text.starts_with("ValueError") && python.starts_with(&*text), "{text}"),
            }
        }
        let text = nginx.get("/thread").ok();
        assert!(python.starts_with(&*text), "{text}");
        for (path, call) in
            [("/interrupt", "signal.siginterrupt(SIGHUP)"), ("/faulthandler", "faulthandler.register(SIGUSR1)")]
        {
            let text = nginx.get(path).ok();
            assert!(text.starts_with(&format!("ValueError: {call}")) && text.contains(ours), "{text}");
        }
        let text = nginx.get("/asyncio").ok();
        assert!(text.starts_with("ValueError") || text.starts_with("RuntimeError"), "{text}");
        assert_eq!(nginx.get("/asyncio-alone").ok(), "nothing raised");
        assert!(nginx.log_lines(") ignored").is_empty());
    });
}

#[test]
fn signals_that_an_application_blocks_still_reach_nginx() {
    in_both_modes(|mode| {
        let mut nginx = site(mode).start();
        assert_eq!(nginx.get("/mask").ok(), "nothing raised");
        if mode == Mode::Inline {
            nginx.logged("left signals of the server blocked");
        }
        // nginx's master sends commands through a channel, not by signals, so the test reads the worker's signal mask.
        let status = std::fs::read_to_string(format!("/proc/{}/status", nginx.worker())).expect("a worker");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a line").trim();
        assert!(blocked.chars().all(|digit| digit == '0'), "{blocked}");
        nginx.signal(libc::SIGQUIT);
        assert!(nginx.wait().success());
    });
}

#[test]
fn a_handler_for_a_signal_of_the_server_is_a_warning_while_an_application_is_loaded_and_at_its_end() {
    let library = "
import faulthandler, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.siginterrupt(signal.SIGQUIT, False)
faulthandler.register(signal.SIGUSR1)
";
    let source = "
import atexit, signal
import library
def layer(application):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return application
def at_end():
    # Elsewhere than in its main thread Python would refuse.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print('has come to its end')
atexit.register(at_end)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'loaded']
";
    in_both_modes(|mode| {
        let site = Site::new(mode).file("library.py", library).file("app.py", source);
        let path = site.folder().display().to_string();
        let nginx = site
            .http(&format!("wsgi_python_path {path};"))
            .location("/", "wsgi_pass app;\nwsgi_middleware app layer;")
            .start();
        assert_eq!(nginx.get("/").ok(), "loaded");
        for (call, line) in [
            ("signal.signal(SIGTERM)", "library.py:3"),
            ("signal.siginterrupt(SIGQUIT)", "library.py:4"),
            ("faulthandler.register(SIGUSR1)", "library.py:5"),
            ("signal.signal(SIGHUP)", "app.py:5"),
        ] {
            let warning = nginx.logged(&format!("{call} ignored"));
            assert!(warning.contains("[warn]") && warning.contains(line), "{warning}");
        }
        let log = nginx.stop();
        assert!(log.contains("signal.signal(SIGINT) ignored") && log.contains("has come to its end"), "{log}");
    });
}
