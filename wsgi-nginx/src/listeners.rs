//! nginx's listening sockets: those of servers that have an application, and whether the event loop waits for connections to
//! them.
//!
//! nginx moves its array of sockets, and empties it when the worker ends, so that each function walks it again. Sockets with
//! `reuseport` belong to one worker, and sockets of QUIC also carry existing connections: both are left alone.

use wsgi_core::host::Level;

use crate::bindings::{
    NGX_DISABLE_EVENT, NGX_EXCLUSIVE_EVENT, NGX_READ_EVENT, ngx_cycle, ngx_cycle_t, ngx_event_accept,
    ngx_event_actions, ngx_event_t, ngx_http_conf_addr_t, ngx_http_conf_port_t, ngx_http_core_main_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_init_connection, ngx_inet_get_port, ngx_listening_t, ngx_use_exclusive_accept,
    sockaddr, socklen_t,
};
use crate::eventfd::Handler;
use crate::{log, ngx};

/// nginx's type of the function for an accepted connection.
pub(crate) type Accepted = unsafe extern "C" fn(*mut crate::bindings::ngx_connection_t);

/// The addresses of servers that have an application.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Vec<Address>);

/// A socket address: its bytes, and its port (0 for a Unix socket).
#[derive(Debug, PartialEq, Eq)]
struct Address {
    bytes: Vec<u8>,
    port: u16,
}

impl Address {
    /// # Safety
    ///
    /// `address` points to an address of this length.
    unsafe fn new(address: *mut sockaddr, length: socklen_t) -> Self {
        // SAFETY: the address is valid, as the caller promises.
        let (bytes, port) =
            unsafe { (std::slice::from_raw_parts(address.cast::<u8>(), length as usize), ngx_inet_get_port(address)) };
        Self { bytes: bytes.to_vec(), port }
    }

    fn is_of_family(&self, other: &Self) -> bool {
        self.bytes.first_chunk::<2>() == other.bytes.first_chunk::<2>()
    }
}

impl Addresses {
    /// Returns the addresses of `servers`. Called at the end of the `http` block.
    pub(crate) fn of(servers: &[*mut ngx_http_core_srv_conf_t], core: &ngx_http_core_main_conf_t) -> Self {
        // SAFETY: null, or nginx's array of ports, each with an array of addresses, each with an array of servers.
        let ports: &[ngx_http_conf_port_t] = unsafe { core.ports.as_ref().map_or(&[], |ports| ports.as_slice()) };
        let mut addresses = Vec::new();
        for port in ports {
            // SAFETY: nginx's array of the addresses of a port.
            for address in unsafe { port.addrs.as_slice::<ngx_http_conf_addr_t>() } {
                // SAFETY: nginx's array of the servers of an address.
                let own = unsafe { address.servers.as_slice::<*mut ngx_http_core_srv_conf_t>() };
                if own.iter().any(|server| servers.contains(server)) {
                    // SAFETY: nginx has parsed the address.
                    addresses.push(unsafe { Address::new(address.opt.sockaddr, address.opt.socklen) });
                }
            }
        }
        Self(addresses)
    }

    /// Whether a socket accepts connections to one of the addresses. A socket for all addresses of the machine also has
    /// those with the same port, unless they have a socket each.
    fn include(&self, socket: &ngx_listening_t) -> bool {
        // SAFETY: a listening socket has an address.
        let own = unsafe { Address::new(socket.sockaddr, socket.socklen) };
        let same = |other: &Address| {
            *other == own || socket.wildcard() != 0 && other.port == own.port && other.is_of_family(&own)
        };
        socket.type_ == libc::SOCK_STREAM && self.0.iter().any(same)
    }

    /// Returns the first of the sockets with `reuseport`, as text.
    pub(crate) fn with_reuseport(&self, cycle: &ngx_cycle_t) -> Option<String> {
        // SAFETY: nginx's array of sockets.
        let sockets: &[ngx_listening_t] = unsafe { cycle.listening.as_slice() };
        let found = sockets.iter().find(|socket| socket.reuseport() != 0 && self.include(socket))?;
        // SAFETY: a string of the configuration.
        Some(String::from_utf8_lossy(unsafe { ngx::bytes(&found.addr_text) }).into_owned())
    }
}

/// Replaces the functions that nginx calls for a connection in a listening socket and for an accepted connection. The new
/// functions call [`accept`] and `ngx_http_init_connection`.
///
/// # Safety
///
/// `cycle` is that of a worker whose events are initialised. Both functions accept nginx's arguments.
pub(crate) unsafe fn intercept(cycle: &ngx_cycle_t, addresses: &Addresses, waiting: Handler, accepted: Accepted) {
    // SAFETY: as the caller promises.
    for socket in unsafe { sockets(cycle) } {
        // SAFETY: null, or the connection of a socket that this worker has.
        let Some(connection) = (unsafe { socket.connection.as_mut() }) else { continue };
        let event = connection.read_event();
        let is_own = socket.reuseport() == 0 && addresses.include(socket);
        let is_usual = is(event.handler, ngx_event_accept) && socket.handler.is_some_and(is_http);
        if is_own && is_usual {
            event.handler = Some(waiting);
            socket.handler = Some(accepted);
        }
    }
}

fn is_http(handler: Accepted) -> bool {
    std::ptr::fn_addr_eq(handler, ngx_http_init_connection as Accepted)
}

fn is(handler: Option<Handler>, function: Handler) -> bool {
    handler.is_some_and(|handler| std::ptr::fn_addr_eq(handler, function))
}

/// Makes the event loop wait for connections to all intercepted sockets.
pub(crate) fn start(waiting: Handler) {
    each(waiting, |event| {
        // SAFETY: the function of nginx's event method, for the event of a listening socket.
        unsafe {
            if event.active() == 0
                && let Some(add) = ngx_event_actions.add
            {
                let flags = if ngx_use_exclusive_accept != 0 { NGX_EXCLUSIVE_EVENT } else { 0 };
                if add(event, NGX_READ_EVENT, flags) != ngx::OK {
                    log::write((*ngx_cycle).log, Level::Alert, "nginx cannot add a listening socket to its event loop");
                }
            }
        }
    });
}

/// Makes the event loop stop waiting for connections to them. Not called within `ngx_event_accept`, which deletes the event
/// again (`ngx_reorder_accept_events`).
pub(crate) fn stop(waiting: Handler) {
    each(waiting, |event| {
        // SAFETY: the function of nginx's event method, for the event of a listening socket, which is active.
        unsafe {
            if event.active() != 0
                && let Some(delete) = ngx_event_actions.del
                && delete(event, NGX_READ_EVENT, NGX_DISABLE_EVENT) != ngx::OK
            {
                let text = "nginx cannot remove a listening socket from its event loop";
                log::write((*ngx_cycle).log, Level::Alert, text);
            }
        }
    });
}

/// Whether a connection waits in an intercepted socket. Does not block.
pub(crate) fn have_backlog(waiting: Handler) -> bool {
    let mut polled = Vec::new();
    each(waiting, |event| {
        // SAFETY: the event of a listening socket, whose data is its connection.
        let fd = unsafe { (*event.data.cast::<crate::bindings::ngx_connection_t>()).fd };
        polled.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    });
    // SAFETY: an array of this length.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) > 0 }
}

/// Whether nginx waits for free descriptors before it accepts again (`ngx_event_accept` after `EMFILE`).
pub(crate) fn lack_descriptors(waiting: Handler) -> bool {
    let mut waits = false;
    each(waiting, |event| waits |= event.timer_set() != 0);
    waits
}

/// Calls `work` with the event of each intercepted socket.
fn each(waiting: Handler, mut work: impl FnMut(&mut ngx_event_t)) {
    // SAFETY: a worker's cycle, on the loop's thread.
    for socket in unsafe { sockets(&*ngx_cycle) } {
        // SAFETY: null, or the connection of a socket that this worker has.
        if let Some(connection) = unsafe { socket.connection.as_mut() } {
            let event = connection.read_event();
            if is(event.handler, waiting) {
                work(event);
            }
        }
    }
}

/// # Safety
///
/// The caller is on the loop's thread and makes no other reference to the sockets.
unsafe fn sockets<'a>(cycle: &ngx_cycle_t) -> &'a mut [ngx_listening_t] {
    let sockets = &cycle.listening;
    if sockets.nelts == 0 {
        return &mut [];
    }
    // SAFETY: nginx's array has this number of sockets, and the caller has the only reference.
    unsafe { std::slice::from_raw_parts_mut(sockets.elts.cast(), sockets.nelts) }
}
