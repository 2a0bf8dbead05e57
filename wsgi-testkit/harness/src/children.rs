//! Child processes of an application: each way that Python has to start one, compared with a plain Python program.
//!
//! [`APPLICATION`] starts a process in the way that its path names and answers with one line: the signals that the process
//! blocks, ignores and handles, the descriptors of the server that it inherited, and how it ended when it was terminated.
//! [`compare`] runs the same code in a thread of a Python program, whose result is correct by definition.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// A script that starts processes in the ways of [`PROGRAMS`] and [`FUNCTIONS`]. `multiprocessing` pickles its functions.
pub const APPLICATION: &str = include_str!("children.py");

/// Ways to start another program.
pub const PROGRAMS: [&str; 12] = [
    "system",
    "popen",
    "popen_inherits",
    "popen_shell",
    "popen_preexec",
    "popen_session",
    "posix_spawn",
    "posix_spawnp",
    "spawnv",
    "spawnlp",
    "fork_exec",
    "pty_fork_exec",
];

/// Ways to start a Python process that runs a function: by `multiprocessing`, and by a bare fork.
pub const FUNCTIONS: [&str; 14] = [
    "fork",
    "pty_fork",
    "process_fork",
    "process_forkserver",
    "process_spawn",
    "ended_fork",
    "ended_forkserver",
    "ended_spawn",
    "pool_fork",
    "pool_forkserver",
    "pool_spawn",
    "executor_fork",
    "executor_forkserver",
    "executor_spawn",
];

/// Which descriptors of the server a forked process has, see [`compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// None: the host closes them in the child.
    Nothing,
    /// All that the server has open, as after a fork in a plain program.
    Everything,
}

/// How a server treats signals that it was started with as ignored: nohup, and shells without job control, make programs
/// ignore HUP, INT and QUIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredSignals {
    /// The server handles them, or restores their default.
    Reset,
    /// The server leaves them ignored, and so do its children.
    Inherited,
}

/// Sends a server that runs [`APPLICATION`] a request for each of `ways`, and panics unless each answer is that of a plain
/// program. `ask` takes a path, and returns the body of the answer.
#[track_caller]
pub fn compare(ways: &[&str], forked: Forked, signals: IgnoredSignals, ask: impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("plain_children.py");
    std::fs::write(&script, APPLICATION).expect("room for the script");
    let expected = plain(&script, ask("/python").trim(), ways, signals);
    let mut differences = String::new();
    for way in ways {
        let (mut answer, plain) = (ask(&format!("/{way}")).trim().to_owned(), &expected[*way]);
        let is_forked = *way == "fork" || way.ends_with("_fork");
        if is_forked && forked == Forked::Everything {
            answer = match (answer.split_once(" inherited: "), answer.split_once(" end: ")) {
                (Some((before, _)), Some((_, after))) => format!("{before} inherited: [] end: {after}"),
                _ => answer,
            };
        }
        if answer != *plain {
            differences += &format!("{way}:\n  {answer}\n  {plain} (a plain program)\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Returns the script's answer for each way when a thread of a plain program runs it.
fn plain(script: &Path, python: &str, ways: &[&str], signals: IgnoredSignals) -> BTreeMap<String, String> {
    const RESET: &str = "
import signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
";
    const PROGRAM: &str = "
import importlib.util, sys, threading
sys.path.insert(0, sys.argv[1])
name = sys.argv[2]
children = importlib.import_module(name)
def work():
    for way in sys.argv[3:]:
        print(way, children.run(way), flush=True)
thread = threading.Thread(target=work)
thread.start()
thread.join()
";
    let folder = script.parent().expect("a script in a folder");
    let name = script.file_stem().expect("a script with a name");
    let output = Command::new(python)
        .args(["-c", &(if signals == IgnoredSignals::Reset { RESET } else { "" }.to_owned() + PROGRAM)])
        .args([folder.as_os_str(), name])
        .args(ways)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {python}: {error}"));
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{python} ended with {}\n{text}\n{errors}", output.status);
    let answers = text.lines().filter_map(|line| line.split_once(' '));
    answers.map(|(way, answer)| (way.to_owned(), answer.to_owned())).collect()
}
