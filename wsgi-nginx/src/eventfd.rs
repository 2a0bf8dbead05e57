//! An eventfd that nginx's event loop watches: any thread or process that has it can wake the loop.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::bindings::{
    NGX_CLEAR_EVENT, NGX_LEVEL_EVENT, NGX_READ_EVENT, NGX_USE_CLEAR_EVENT, NGX_USE_EPOLL_EVENT, ngx_connection_t,
    ngx_cycle_t, ngx_event_actions, ngx_event_flags, ngx_event_t, ngx_free_connection, ngx_get_connection, ngx_uint_t,
};
use crate::ngx;

/// Called by nginx with the event of a descriptor that [`EventFd::watch`] has registered.
pub(crate) type Handler = unsafe extern "C" fn(*mut ngx_event_t);

/// An eventfd. Programs that the process starts do not inherit it.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: `eventfd` takes no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor has just been opened, and nothing else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Wakes the event loop that watches the eventfd, on any thread.
    pub(crate) fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` has the eight bytes that an eventfd takes. The counter stays far below its limit.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast::<c_void>(), one.len()) };
    }

    /// Makes nginx call `handler` after notifications. Returns the reason on failure.
    ///
    /// # Safety
    ///
    /// As for [`watch`].
    pub(crate) unsafe fn watch(&self, cycle: &mut ngx_cycle_t, handler: Handler) -> Result<(), String> {
        // SAFETY: as the caller promises.
        unsafe { watch(self.0.as_fd(), cycle, handler) }
    }
}

/// Makes nginx call `handler` when a descriptor of the process becomes readable. Returns the reason on failure. Repeats
/// `ngx_add_channel_event`, which nginx's headers for modules do not declare.
///
/// # Safety
///
/// The process is a worker whose events are initialised, `cycle` is its cycle, and the descriptor is never closed. `handler`
/// accepts the event.
pub(crate) unsafe fn watch(
    descriptor: BorrowedFd<'_>,
    cycle: &mut ngx_cycle_t,
    handler: Handler,
) -> Result<(), String> {
    // SAFETY: the descriptor is open, and the log is that of the cycle.
    let connection = unsafe { ngx_get_connection(descriptor.as_raw_fd(), cycle.log).as_mut() };
    let connection = connection.ok_or("nginx has no free connection for an eventfd, see worker_connections")?;
    connection.pool = cycle.pool;
    for event in [connection.read, connection.write] {
        // SAFETY: both events belong to the connection that nginx has just returned.
        let event = unsafe { &mut *event };
        event.log = cycle.log;
        // At a graceful exit nginx does not report channels as sockets that were left open.
        event.set_channel(1);
    }
    connection.read_event().handler = Some(handler);
    // With edge triggering each write is a separate event, and the counter need not be read.
    let flags = if is_edge_triggered() { NGX_CLEAR_EVENT } else { NGX_LEVEL_EVENT };
    // SAFETY: `add` is the function of nginx's event method, and the event has a handler.
    let added = unsafe { ngx_event_actions.add.map(|add| add(connection.read, NGX_READ_EVENT, flags)) };
    if added != Some(ngx::OK) {
        // SAFETY: nginx has just returned the connection, and nothing refers to it.
        unsafe { ngx_free_connection(connection) };
        return Err("nginx cannot add a descriptor to its event loop".to_owned());
    }
    Ok(())
}

/// Takes the notifications of an eventfd so far. Called first by its handler.
///
/// # Safety
///
/// `event` is that of a descriptor that [`EventFd::watch`] has registered.
pub(crate) unsafe fn notified(event: *mut ngx_event_t) {
    if is_edge_triggered() {
        return;
    }
    let mut count = [0u8; 8];
    // SAFETY: the event's data is its connection, and `count` has the eight bytes that an eventfd returns.
    unsafe {
        let connection: *mut ngx_connection_t = (*event).data.cast();
        libc::read((*connection).fd, count.as_mut_ptr().cast::<c_void>(), count.len());
    }
}

/// Whether nginx's event method reports changes only (`NGX_CLEAR_EVENT`).
fn is_edge_triggered() -> bool {
    const BOTH: ngx_uint_t = NGX_USE_CLEAR_EVENT | NGX_USE_EPOLL_EVENT;
    // SAFETY: set when the events were initialised.
    let flags = unsafe { ngx_event_flags };
    flags & BOTH == BOTH
}
