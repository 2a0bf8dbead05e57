//! Which descriptors of the worker belong to nginx, and how they are kept from processes that applications start.
//!
//! What is open before Python starts is nginx's: it is closed when another program is run, from the beginning. Connections
//! come and go; they are found in nginx's table of connections whenever a process is about to be started. A forked process
//! that runs no other program closes both.

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
    /// nginx's table of connections, which stays where it is as long as the process lives.
    connections: *const ngx_connection_t,
    count: usize,
    /// Sockets, epoll and eventfds from before Python's start.
    early: Vec<Identity>,
    /// Sockets that nginx may hand on to another binary: those of a process without a master.
    handed_on: Vec<RawFd>,
}

// SAFETY: the table is only read, one descriptor number at a time; see `connections()`.
unsafe impl Send for Descriptors {}
// SAFETY: as above.
unsafe impl Sync for Descriptors {}

/// A descriptor, and what it refers to: nginx closes listening sockets of a worker that quits, and the number is taken by
/// somebody else then.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    descriptor: RawFd,
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl Descriptors {
    /// Sets `FD_CLOEXEC` on everything that is open but standard streams; where `single`, also but listening sockets: such a
    /// process hands them on itself when it is told to upgrade its binary. In a worker the flag does not concern the master.
    ///
    /// # Safety
    ///
    /// `cycle` is nginx's, in a process whose events are initialised, and nothing but nginx has opened descriptors.
    pub(crate) unsafe fn of_nginx(cycle: *const ngx_cycle_t, single: bool) -> io::Result<Self> {
        // SAFETY: nginx's tables, which are complete once events are initialised.
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

    /// Descriptors of the connections that are open now. Also called beside the event loop.
    fn connections(&self) -> impl Iterator<Item = RawFd> {
        (0..self.count).filter_map(|index| {
            // SAFETY: an entry of nginx's table. The event loop may be writing to it: the number is an aligned word, which is
            // read whole, as it was or as it is. nginx sets it to -1 before it closes the descriptor, and no Python code runs
            // between this look and the use of it, so that no application can have got the same number meanwhile.
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
            // SAFETY: nginx's, in a process where nginx does not go on.
            unsafe { libc::close(descriptor) };
        }
    }
}

impl Identity {
    /// `None` for files (nginx's logs, which a forked process may write to), and for what is not open.
    fn of_no_file(descriptor: RawFd) -> Option<Self> {
        let (status, identity) = Self::look(descriptor)?;
        // epoll and eventfds have no type.
        matches!(status.st_mode & libc::S_IFMT, libc::S_IFSOCK | 0).then_some(identity)
    }

    fn look(descriptor: RawFd) -> Option<(libc::stat, Self)> {
        let mut status = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: asks about a descriptor, open or not; all-zero is a valid result.
        let status = unsafe {
            if libc::fstat(descriptor, status.as_mut_ptr()) != 0 {
                return None;
            }
            status.assume_init()
        };
        Some((status, Self { descriptor, device: status.st_dev, inode: status.st_ino }))
    }

    /// Whether the descriptor still is what it was.
    fn is_open(&self) -> bool {
        Self::look(self.descriptor).is_some_and(|(_, now)| now == *self)
    }
}

/// Descriptors of this process, without the standard streams.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    // The folder itself is among them; it is closed when it has been read.
    let names = fs::read_dir("/proc/self/fd")?;
    let numbers = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    Ok(numbers.filter(|descriptor| *descriptor >= FIRST).collect())
}

/// Where the descriptor has been closed meanwhile, there is nothing to do.
pub(crate) fn close_on_exec(descriptor: RawFd) {
    // SAFETY: sets a flag of a descriptor, open or not.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
}
