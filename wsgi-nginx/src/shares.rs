//! Places in the thread pool for requests that share their connection with others (HTTP/2, HTTP/3), on the event loop's
//! thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use wsgi_core::config::Limits;
use wsgi_core::host::Shares;

use crate::loop_cell::{Loop, LoopCell};
use crate::ngx::Request;
use crate::req::Req;

/// The places of all connections of this worker; unset with inline execution.
static PLACES: OnceLock<LoopCell<Shares<Key, Waiter>>> = OnceLock::new();

/// Called in a worker with threads before its first request.
pub(crate) fn start(limits: &Limits) {
    // A worker starts once, so that the cell is unset.
    let _ = PLACES.set(LoopCell::new(Shares::new(limits.share())));
}

/// Identifies a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// nginx's number of the connection. nginx copies it to the fake connections that it makes for HTTP/2 streams.
    Http2(u64),
    /// The address of the connection's TLS state. The fake connections that nginx makes for HTTP/3 streams point to it.
    Http3(usize),
}

/// A request that may have to wait for its place.
#[derive(Clone, Debug)]
struct Waiter {
    request: *mut Request,
    is_placed: Arc<AtomicBool>,
}

// SAFETY: the pointer is dereferenced on the event loop's thread only (`Loop`).
unsafe impl Send for Waiter {}
// SAFETY: the pointer is dereferenced on the event loop's thread only (`Loop`).
unsafe impl Sync for Waiter {}

impl PartialEq for Waiter {
    fn eq(&self, other: &Self) -> bool {
        self.request == other.request
    }
}

/// The place of a request, or its position in the queue for one. It must be [given up](Self::give_up).
pub(crate) struct Place {
    key: Key,
    waiter: Waiter,
    is_given_up: AtomicBool,
}

impl Place {
    /// Takes a place for a request, or queues the request. Returns `None` if it needs no place: its connection is not
    /// shared, or it is a subrequest.
    ///
    /// # Safety
    ///
    /// The place is given up before the request is destroyed.
    pub(crate) unsafe fn enter(req: &mut Req<'_>) -> Option<Self> {
        if !req.is_multiplexed() || !req.is_main() {
            return None;
        }
        let places = PLACES.get()?;
        let key = key(req);
        let waiter = Waiter { request: req.as_ptr(), is_placed: Arc::default() };
        let is_placed = places.with(req.lp(), |places| places.enter(key, waiter.clone()));
        waiter.is_placed.store(is_placed, Ordering::Relaxed);
        Some(Self { key, waiter, is_given_up: AtomicBool::new(false) })
    }

    /// Whether the request may begin. If not, nginx calls its `write_event_handler` when it may.
    pub(crate) fn is_placed(&self) -> bool {
        self.waiter.is_placed.load(Ordering::Relaxed)
    }

    /// Gives the place to the next request of the connection. Does nothing the second time.
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
            // SAFETY: a waiting request is alive: it leaves the queue before it is destroyed.
            unsafe { (*next.request).connection_mut().write_event().post_next() };
        }
    }
}

fn key(request: &Request) -> Key {
    // nginx's number for HTTP/3 is 3000.
    match request.connection() {
        connection if request.http_version >= 3000 => Key::Http3(connection.tls()),
        connection => Key::Http2(connection.number),
    }
}
