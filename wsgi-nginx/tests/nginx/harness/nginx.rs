//! A running nginx.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Instant;

use super::processes::{children, kill};
use super::site::Site;
use super::{Client, Response, WAIT_TIMEOUT, request, wait_for};

/// A running nginx. Dropping it stops nginx and checks its error log.
pub(crate) struct Nginx {
    pub(super) site: Site,
    master: Child,
    stopped: bool,
    judged: bool,
}

impl Nginx {
    pub(super) fn start(site: Site) -> Self {
        let output = File::create(site.path("output")).expect("a file for nginx's output");
        let errors = output.try_clone().expect("a second handle");
        let master = site
            .command(&site.log_path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("nginx can be started");
        let mut nginx = Self { site, master, stopped: false, judged: false };
        nginx.wait_until_ready();
        nginx
    }

    fn wait_until_ready(&mut self) {
        let path = self.site.ready_path();
        wait_for("nginx to serve", || {
            if let Some(status) = self.master.try_wait().expect("the master can be waited for") {
                self.stopped = true;
                panic!("nginx ended at once with {status}\n{}{}", self.log(), self.output());
            }
            UnixStream::connect(&path).ok()
        });
        let mut probe = UnixStream::connect(&path).expect("nginx listens");
        probe.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a time-out");
        probe.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("nginx listens");
        probe.read_exact(&mut [0; 12]).expect("a worker answers");
    }

    /// Returns the port of the scenario's server.
    pub(crate) fn port(&self) -> u16 {
        self.site.port()
    }

    /// Returns a path below the directory of the site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(("127.0.0.1", self.port())).expect("nginx listens"))
    }

    /// Opens a connection that holds about `size` bytes that were not read.
    pub(crate) fn connect_with_receive_buffer(&self, size: libc::c_int) -> Client {
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: self.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
            sin_zero: [0; 8],
        };
        // SAFETY: the pointers and sizes are those of live values. The option applies to a socket that is not connected,
        // before its peer learns of the size. The descriptor is new.
        let stream = unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
            assert!(socket >= 0, "no socket");
            let length = size_of_val(&size) as libc::socklen_t;
            let set = libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, (&raw const size).cast(), length);
            assert_eq!(set, 0);
            let length = size_of_val(&address) as libc::socklen_t;
            assert_eq!(libc::connect(socket, (&raw const address).cast(), length), 0, "nginx listens");
            TcpStream::from_raw_fd(socket)
        };
        Client::new(stream)
    }

    /// Sends one request on a new connection.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(&request("GET", path, "Connection: close\r\n", b""))
    }

    /// Sends one request with a body on a new connection.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Response {
        self.send(&request("POST", path, "Connection: close\r\n", body))
    }

    /// Sends these bytes on a new connection and reads one response.
    pub(crate) fn send(&self, bytes: &[u8]) -> Response {
        let mut client = self.connect();
        client.send(bytes);
        client.response()
    }

    /// Returns the error log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.site.log_path()).unwrap_or_default()).into_owned()
    }

    /// Returns nginx's output from before it opened the log.
    fn output(&self) -> String {
        std::fs::read_to_string(self.site.path("output")).unwrap_or_default()
    }

    /// Returns the lines of the error log that contain `text`.
    pub(crate) fn log_lines(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Waits for a line of the error log that contains `text`, and returns it.
    pub(crate) fn logged(&self, text: &str) -> String {
        wait_for(&format!("the log line {text:?}"), || self.log_lines(text).into_iter().next())
    }

    /// Sends a signal to the master.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        kill(self.master.id(), signal);
    }

    /// Returns the process ids of the workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children(self.master.id())
    }

    /// Returns the process id of the only worker, or of the single process.
    pub(crate) fn worker(&self) -> u32 {
        self.workers().first().copied().unwrap_or(self.master.id())
    }

    /// Reloads the configuration, and waits until the old workers have exited and the new ones serve.
    pub(crate) fn reload(&mut self) {
        let old = self.workers();
        self.signal(libc::SIGHUP);
        wait_for("the old worker to go", || {
            let now = self.workers();
            (!now.is_empty() && now.iter().all(|worker| !old.contains(worker))).then_some(())
        });
        self.wait_until_ready();
    }

    /// Changes the site's configuration file; see [`reload`](Self::reload).
    pub(crate) fn change(&mut self, from: &str, to: &str) {
        let path = self.site.configuration_path();
        let text = std::fs::read_to_string(&path).expect("nginx.conf");
        assert!(text.contains(from), "nothing to change: {from:?} is not in nginx.conf");
        std::fs::write(path, text.replace(from, to)).expect("write nginx.conf");
    }

    /// Stops nginx and returns its complete error log.
    pub(crate) fn stop(mut self) -> String {
        self.end();
        self.log()
    }

    /// Waits until the master has exited, after a signal.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait_for("nginx to end", || self.master.try_wait().expect("the master can be waited for"));
        self.stopped = true;
        status
    }

    fn end(&mut self) {
        self.judged = true;
        let mut problems = self.shut_down();
        problems.extend(self.forbidden_lines());
        if std::thread::panicking() {
            eprintln!("error log of nginx:\n{}{}", self.log(), self.output());
            problems.iter().for_each(|problem| eprintln!("{problem}"));
        } else {
            assert!(problems.is_empty(), "{}\nin the error log:\n{}{}", problems.join("\n"), self.log(), self.output());
        }
    }

    /// Lets open requests finish, for a limited time. Kills the remaining processes and reports them.
    fn shut_down(&mut self) -> Vec<String> {
        if std::mem::replace(&mut self.stopped, true) {
            return Vec::new();
        }
        self.signal(libc::SIGQUIT);
        let end = Instant::now() + WAIT_TIMEOUT;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.master.try_wait() {
                return if status.success() { Vec::new() } else { vec![format!("nginx ended with {status}")] };
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let workers = self.workers();
        let _ = self.master.kill();
        let _ = self.master.wait();
        workers.iter().for_each(|worker| kill(*worker, libc::SIGKILL));
        vec!["nginx had to be killed: it did not end after SIGQUIT".to_owned()]
    }

    fn forbidden_lines(&self) -> Vec<String> {
        let log = self.log() + &self.output();
        // AddressSanitizer warns when an application's allocation fails.
        log.lines()
            .filter(|line| !line.contains("AddressSanitizer failed to allocate"))
            .filter(|line| is_report(line) || FORBIDDEN.iter().any(|mark| line.contains(mark)))
            .filter(|line| !self.site.expected.iter().any(|text| line.contains(text.as_str())))
            .map(|line| format!("unexpected: {line}"))
            .collect()
    }
}

/// Marks of lines that fail a test which did not expect them.
const FORBIDDEN: [&str; 4] = ["[alert]", "[emerg]", "Sanitizer", "panicked at"];

/// Whether a line belongs to a report of valgrind (which runs in quiet mode) or a sanitizer: `==PROCESS== ...`.
fn is_report(line: &str) -> bool {
    line.strip_prefix("==")
        .and_then(|rest| rest.split_once("=="))
        .is_some_and(|(process, _)| !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if !self.judged || std::thread::panicking() {
            self.end();
        }
    }
}
