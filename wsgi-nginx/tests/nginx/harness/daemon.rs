//! An nginx that runs in the background like a service: `daemon on`.

use std::net::TcpStream;
use std::process::Stdio;

use super::processes::{children, kill};
use super::site::Site;
use super::{Client, Response, get, wait_for};

/// An nginx in the background. Dropping this ends it, and also an nginx that has replaced it.
pub(crate) struct Daemon {
    site: Site,
}

impl Site {
    /// Starts nginx, and waits until it serves in the background.
    pub(crate) fn start_in_background(mut self) -> Daemon {
        self.daemon = true;
        self.write_configuration();
        let mut command = self.command(&self.log_path());
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("nginx can be started").success(), "nginx has not started");
        let daemon = Daemon { site: self };
        daemon.worker();
        daemon
    }
}

impl Daemon {
    pub(crate) fn get(&self, path: &str) -> Response {
        let mut client = Client::new(TcpStream::connect(("127.0.0.1", self.site.port())).expect("nginx listens"));
        client.send(get(path));
        client.response()
    }

    /// Returns the process id of the master.
    pub(crate) fn master(&self) -> u32 {
        wait_for("the master's process id", || {
            std::fs::read_to_string(self.site.path("nginx.pid")).ok()?.trim().parse().ok()
        })
    }

    /// Returns the process id of the only worker.
    pub(crate) fn worker(&self) -> u32 {
        wait_for("a worker", || children(self.master()).first().copied())
    }

    /// Reloads the configuration, and waits for the new worker.
    pub(crate) fn reload(&self) {
        let old = self.worker();
        kill(self.master(), libc::SIGHUP);
        wait_for("the old worker to go", || {
            let now = children(self.master());
            (!now.is_empty() && !now.contains(&old)).then_some(())
        });
    }

    /// Upgrades the binary (`USR2`), and waits until the old nginx has exited.
    pub(crate) fn upgrade(&self) {
        let old = self.master();
        kill(old, libc::SIGUSR2);
        wait_for("the new master", || {
            (self.site.path("nginx.pid.oldbin").exists() && self.master() != old).then_some(())
        });
        self.worker();
        kill(old, libc::SIGQUIT);
        wait_for("the old master to go", || is_over(old).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let master = self.master();
        let workers = children(master);
        kill(master, libc::SIGQUIT);
        wait_for("nginx to end", || (is_over(master) && workers.iter().all(|worker| is_over(*worker))).then_some(()));
        let log = std::fs::read_to_string(self.site.log_path()).unwrap_or_default();
        if std::thread::panicking() {
            eprintln!("error log of nginx:\n{log}");
        } else {
            assert!(!log.contains("[alert]") && !log.contains("[emerg]"), "{log}");
        }
    }
}

/// Whether a process has ended, or is a zombie: its parent, which would reap it, has exited before.
fn is_over(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().next().map(str::to_owned));
    state.is_none_or(|state| state == "Z" || state == "X")
}
