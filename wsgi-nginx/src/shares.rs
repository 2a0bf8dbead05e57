//! Places in the pool for requests that share their connection with others (HTTP/2, HTTP/3), on the event loop's thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use wsgi_core::pool::{Limits, Shares};

use crate::loop_cell::{Loop, LoopCell};
use crate::ngx::Request;
use crate::req::Req;

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
    /// The place is given up before the request is over.
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
