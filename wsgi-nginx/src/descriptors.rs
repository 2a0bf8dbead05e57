//! The descriptors of a worker that belong to nginx. Processes that applications start must not inherit them.
//!
//! Descriptors that are open before Python starts are nginx's: they get `FD_CLOEXEC` at once. Connections come and go;
//! they are looked up in nginx's table of connections before each start of a process. A forked process that runs no
//! other program closes both.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

use wsgi_core::host::ChildProcesses;

use crate::bindings::{ngx_connection_t, ngx_cycle_t, ngx_listening_t};

/// The lowest descriptor that is not one of the three standard streams.
const FIRST: RawFd = 3;

/// nginx's descriptors in this process.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// nginx's table of connections, which is neither moved nor freed while the process lives.
    connections: *const ngx_connection_t,
    count: usize,
    /// Sockets, epoll descriptors and eventfds that were open before Python started.
    early: Vec<Identity>,
    /// Sockets that nginx may pass to another binary: the listening sockets of a process without a master.
    handed_on: Vec<RawFd>,
}

// SAFETY: other threads only read the table, one aligned descriptor number at a time (`connections()`).
unsafe impl Send for Descriptors {}
// SAFETY: shared use only reads the table, one aligned descriptor number at a time (`connections()`).
unsafe impl Sync for Descriptors {}

/// A descriptor and the file it refers to. nginx closes listening sockets of a worker that quits, and their numbers are
/// then reused.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    descriptor: RawFd,
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl Descriptors {
    /// Sets `FD_CLOEXEC` on everything that is open except the standard streams. A process without a master (`single`)
    /// also keeps its listening sockets inheritable, since it passes them on itself in a binary upgrade. In a worker
    /// the flag does not affect the master.
    ///
    /// # Safety
    ///
    /// `cycle` is nginx's, in a process whose events are initialised, and only nginx has opened descriptors.
    pub(crate) unsafe fn of_nginx(cycle: *const ngx_cycle_t, single: bool) -> io::Result<Self> {
        // SAFETY: nginx's tables are complete once events are initialised.
        let (connections, count, listening) = unsafe {
            ((*cycle).connections.cast_const(), (*cycle).connection_n, (*cycle).listening.as_slice::<ngx_listening_t>())
        };
        let handed_on = if single { listening.iter().map(|socket| socket.fd).collect() } else { Vec::new() };
        let open = open_descriptors()?;
        for descriptor in open.iter().filter(|descriptor| !handed_on.contains(descriptor)) {
            close_on_exec(*descriptor);
        }
        let early = open.into_iter().filter_map(Identity::of_no_file).collect();
        Ok(Self { connections, count, early, handed_on })
    }

    /// Returns the descriptors of the connections that are open now. May be called on any thread.
    fn connections(&self) -> impl Iterator<Item = RawFd> {
        (0..self.count).filter_map(|index| {
            // SAFETY: `index` is within nginx's table. The event loop may write to the entry at the same time: the
            // number is an aligned word, which is read whole, before or after the change. nginx sets it to -1 before it
            // closes the descriptor, and no Python code runs between this read and the use of the number, so that no
            // application can have received the same number meanwhile.
            let descriptor = unsafe { ptr::read_volatile(&raw const (*self.connections.add(index)).fd) };
            (descriptor >= FIRST).then_some(descriptor)
        })
    }
}

impl ChildProcesses for Descriptors {
    fn before_start(&self) {
        for descriptor in self.connections().filter(|descriptor| !self.handed_on.contains(descriptor)) {
            close_on_exec(descriptor);
        }
    }

    fn after_fork(&self) {
        let early = self.early.iter().filter(|identity| identity.is_open()).map(|identity| identity.descriptor);
        let mut open: Vec<RawFd> = early.chain(self.connections()).collect();
        open.sort_unstable();
        open.dedup();
        for descriptor in open {
            // SAFETY: the descriptor is nginx's, in a forked process where nginx does not run.
            unsafe { libc::close(descriptor) };
        }
    }
}

impl Identity {
    /// Returns `None` for files (nginx's logs, to which a forked process may write) and for closed descriptors.
    fn of_no_file(descriptor: RawFd) -> Option<Self> {
        let (status, identity) = Self::look(descriptor)?;
        // epoll descriptors and eventfds have no file type.
        matches!(status.st_mode & libc::S_IFMT, libc::S_IFSOCK | 0).then_some(identity)
    }

    fn look(descriptor: RawFd) -> Option<(libc::stat, Self)> {
        let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: `fstat` accepts any number, open or not; all-zero is a valid `stat`.
        let status = unsafe {
            if libc::fstat(descriptor, status.as_mut_ptr()) != 0 {
                return None;
            }
            status.assume_init()
        };
        Some((status, Self { descriptor, device: status.st_dev, inode: status.st_ino }))
    }

    /// Whether the descriptor still refers to the same file.
    fn is_open(&self) -> bool {
        Self::look(self.descriptor).is_some_and(|(_, now)| now == *self)
    }
}

/// Returns the descriptors of this process, without the standard streams.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    // The directory's own descriptor is in the list; it is closed by the time the list is used.
    let names = fs::read_dir("/proc/self/fd")?;
    let numbers = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    Ok(numbers.filter(|descriptor| *descriptor >= FIRST).collect())
}

/// Sets `FD_CLOEXEC`. A descriptor that is no longer open needs nothing, so that an error is ignored.
pub(crate) fn close_on_exec(descriptor: RawFd) {
    // SAFETY: `fcntl` sets a flag of a descriptor, and accepts any number, open or not.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
}
