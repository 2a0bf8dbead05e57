//! Places in the pool for requests that share their connection with others (HTTP/2, HTTP/3), on the event loop's thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use wsgi_core::pool::{Limits, Shares};

use crate::bindings::{ngx_connection_t, ngx_post_event, ngx_posted_next_events};
use crate::loop_cell::{Loop, LoopCell};
use crate::ngx::{Request, multiplexed};

/// The places of all connections of this worker; none with inline execution.
static PLACES: OnceLock<LoopCell<Shares<Key, Waiter>>> = OnceLock::new();

/// Called in a worker with threads before its first request.
pub(crate) fn start(limits: &Limits) {
    // A worker starts once.
    let _ = PLACES.set(LoopCell::new(Shares::new(limits.share())));
}

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// nginx's number of it, which the connections that it makes up for streams of HTTP/2 have from the real one.
    Http2(u64),
    /// Its TLS, to which the connections that it makes up for streams of HTTP/3 point.
    Http3(usize),
}

/// A request that has no place yet.
#[derive(Clone, Debug)]
struct Waiter {
    request: *mut Request,
    is_placed: Arc<AtomicBool>,
}

// SAFETY: the pointer is followed on the event loop's thread only (`Loop`).
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.request == other.request
    }
}

/// The place of a request, or its turn for one. It is to be [given up](Self::give_up).
pub(crate) struct Place {
    key: Key,
    waiter: Waiter,
    is_given_up: AtomicBool,
}

impl Place {
    /// Gets a place for a request, or has it wait for one. `None` if it needs none: it has a connection of its own, or nginx
    /// has made it for another request.
    ///
    /// # Safety
    ///
    /// `request` is alive until the place is given up.
    pub(crate) unsafe fn enter(lp: &Loop, request: *mut Request) -> Option<Self> {
        // SAFETY: the caller's promise.
        let key = unsafe {
            if !multiplexed(request) || request != (*request).main {
                return None;
            }
            key(request)
        };
        let places = PLACES.get()?;
        let waiter = Waiter { request, is_placed: Arc::default() };
        let is_placed = places.with(lp, |places| places.enter(key, waiter.clone()));
        waiter.is_placed.store(is_placed, Ordering::Relaxed);
        Some(Self { key, waiter, is_given_up: AtomicBool::new(false) })
    }

    /// Whether the request may begin. If not, nginx calls its `write_event_handler` when it may.
    pub(crate) fn is_placed(&self) -> bool {
        self.waiter.is_placed.load(Ordering::Relaxed)
    }

    /// The request needs it no more. The next one of the connection has it. Does nothing the second time.
    #[cold]
    pub(crate) fn give_up(&self, lp: &Loop) {
        let Some(places) = PLACES.get() else { return };
        if self.is_given_up.swap(true, Ordering::Relaxed) {
            return;
        }
        let next = places.with(lp, |places| match self.is_placed() {
            true => places.leave(&self.key),
            false => {
                places.forget(&self.key, &self.waiter);
                None
            }
        });
        if let Some(next) = next {
            next.is_placed.store(true, Ordering::Relaxed);
            // SAFETY: a request that waits is alive: it is forgotten when it is over.
            unsafe { ngx_post_event((*(*next.request).connection).write, &raw mut ngx_posted_next_events) };
        }
    }
}

/// # Safety
///
/// `request` is alive.
unsafe fn key(request: *const Request) -> Key {
    // SAFETY: the caller's promise. 3000 is nginx's number for HTTP/3.
    unsafe {
        let connection = (*request).connection;
        if (*request).http_version >= 3000 { Key::Http3(tls(connection)) } else { Key::Http2((*connection).number) }
    }
}

#[cfg(ngx_feature = "ssl")]
unsafe fn tls(connection: *const ngx_connection_t) -> usize {
    // SAFETY: a live request has a connection.
    unsafe { (*connection).ssl as usize }
}

/// An nginx without TLS has no HTTP/3.
#[cfg(not(ngx_feature = "ssl"))]
unsafe fn tls(_connection: *const ngx_connection_t) -> usize {
    0
}
