//! The processes of nginx: signals, children, connections.

use std::collections::BTreeSet;

use wsgi_testkit::wait_for;

/// Sends a signal to a process that this test started.
pub(crate) fn kill(process: u32, signal: libc::c_int) {
    // SAFETY: `kill` touches no memory.
    unsafe { libc::kill(process as libc::pid_t, signal) };
}

/// Stops a process that this test started, until `SIGCONT`. Returns when it has stopped.
pub(crate) fn pause(process: u32) {
    kill(process, libc::SIGSTOP);
    wait_for("the process to stop", || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it is there");
        stat.rsplit(") ").next()?.starts_with('T').then_some(())
    });
}

/// Returns the living child processes of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let parent = parent.to_string();
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| {
            // `pid (name) state ppid ...`; the name may contain any character.
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            fields.next() != Some("Z") && fields.next() == Some(parent.as_str())
        })
        .collect()
}

/// Returns how many connections of clients a process has accepted.
pub(crate) fn connections(process: u32, port: u16) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the worker is there");
    let open: BTreeSet<String> = folder
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|path| Some(path.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let local = format!(":{port:04X}");
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // 0A is the state of a listening socket.
    sockets.filter(|socket| socket[1].ends_with(&local) && socket[3] != "0A" && open.contains(socket[9])).count()
}
