//! Child processes of applications, compared with those of a plain Python program, with the Python of this build.

use std::sync::{Mutex, PoisonError};

use wsgi_harness::children::{APPLICATION, FUNCTIONS, Forked, IgnoredSignals, PROGRAMS, compare};
use wsgi_testkit::{Host, get};

/// Held by each test, because applications fork: a thread of another test may hold the lock of a module that it imports, which
/// no thread of the new process would release.
static FORKS: Mutex<()> = Mutex::new(());

#[test]
fn child_processes_start_as_from_a_plain_python_program() {
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let host = Host::shared();
    let app = host.app(APPLICATION);
    let ask = |path: &str| host.send(&app, get(path)).text();
    compare(&[&PROGRAMS[..], &FUNCTIONS].concat(), Forked::Everything, IgnoredSignals::Inherited, ask);
}

#[test]
fn a_forked_process_ends_with_the_status_that_python_computes() {
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let host = Host::shared();
    let app = host.app(
        "
import os, sys
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        # Not on the standard error of the tests.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        exec(environ['QUERY_STRING'].replace('+', ' '))
        return [b'answer of the child']
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    start_response('200 OK', [])
    return [str(status).encode()]
",
    );
    for (code, status) in [
        ("pass", "0"),
        ("sys.exit()", "0"),
        ("sys.exit(258)", "2"),
        ("sys.exit(-1)", "255"),
        ("sys.exit(2**70)", "255"),
        ("sys.exit(-2**63)", "0"),
        ("sys.exit('text')", "1"),
        ("raise+KeyboardInterrupt", "1"),
        ("1/0", "1"),
        ("start_response('200+OK',[])", "1"),
        ("os._exit(9)", "9"),
    ] {
        assert_eq!(host.send(&app, get(&format!("/?{code}"))).text(), status, "{code}");
    }
}

#[test]
fn a_pickle_of_a_script_that_is_not_loaded_gets_a_hint() {
    let _alone = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
    let host = Host::shared();
    let app =
        host.app("import pickle\ndef application(*_):\n    pickle.loads(b'c_wsgi_0123456789abcdef\\nname\\n.')\n");
    let response = host.send(&app, get("/"));
    let log = response.log_text(wsgi_core::host::Level::Error);
    assert!(log.contains("in a module on wsgi_python_path, not in the script"), "{log}");
}
