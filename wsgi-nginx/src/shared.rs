//! Memory, eventfds and mailboxes that the workers of a configuration share. The master makes them before it starts the workers.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicI32;

use wsgi_core::protocol::Slot;

use crate::eventfd::EventFd;
use crate::mailbox::Mailbox;

/// The memory, and the eventfds. Workers that the master starts later inherit both.
pub(crate) struct Shared {
    head: NonNull<Head>,
    workers: usize,
    eventfds: Vec<EventFd>,
    mailboxes: Vec<Mailbox>,
}

/// The beginning of the memory. The slots follow.
#[repr(C, align(64))]
struct Head {
    turn: AtomicI32,
}

// SAFETY: the memory consists of atomics, and is unmapped when the only owner is dropped.
unsafe impl Send for Shared {}
// SAFETY: the memory consists of atomics.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps the memory for this number of workers.
    pub(crate) fn new(workers: usize) -> io::Result<Self> {
        // SAFETY: new memory, zeroed by the system and shared with processes that are forked later.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length(workers),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        match NonNull::new(memory.cast()) {
            Some(head) if memory != libc::MAP_FAILED => {
                Ok(Self { head, workers, eventfds: Vec::new(), mailboxes: Vec::new() })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Opens an eventfd and a mailbox for each worker: three descriptors. Fails if they would leave too few for the two that
    /// nginx opens when it starts a worker.
    pub(crate) fn open_descriptors(&mut self) -> io::Result<()> {
        let eventfds = self.for_each_worker(EventFd::new)?;
        let mailboxes = self.for_each_worker(Mailbox::new)?;
        drop(self.for_each_worker(UnixDatagram::pair)?);
        (self.eventfds, self.mailboxes) = (eventfds, mailboxes);
        Ok(())
    }

    fn for_each_worker<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<Vec<T>> {
        (0..self.workers).map(|_| open()).collect()
    }

    /// Returns the mailbox of a worker, if they have been opened.
    pub(crate) fn mailbox(&self, worker: usize) -> Option<&Mailbox> {
        self.mailboxes.get(worker)
    }

    /// Returns the process id of the worker that retires, or 0.
    pub(crate) fn turn(&self) -> &AtomicI32 {
        // SAFETY: the memory is mapped until this is dropped, and all processes access it only as an atomic.
        unsafe { &self.head.as_ref().turn }
    }

    /// Returns a slot for each worker.
    pub(crate) fn slots(&self) -> &[Slot] {
        // SAFETY: the slots are behind the head, and memory of zeros is valid. The memory is mapped until this is dropped,
        // and all processes access it only as atomics.
        unsafe { slice::from_raw_parts(self.head.add(1).cast().as_ptr(), self.workers) }
    }

    /// Returns the eventfd of a worker, if they have been opened.
    pub(crate) fn eventfd(&self, worker: usize) -> Option<&EventFd> {
        self.eventfds.get(worker)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, with this length.
        unsafe { libc::munmap(self.head.as_ptr().cast(), length(self.workers)) };
    }
}

fn length(workers: usize) -> usize {
    size_of::<Head>() + workers * size_of::<Slot>()
}
