//! A request that is alive, on the event loop's thread.
//!
//! nginx frees a request within the calls of a module: with its last count, in a filter that fails, as the client leaves. A
//! [`Req`] borrows the [`Loop`] exclusively. Calls that can come back into the module take the `Loop` or the `Req` itself (see
//! [`reentry`](crate::reentry)), so that none is left across such a call: that the request may be over is a compile error to
//! forget.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::bindings::{ngx_http_cleanup_add, ngx_http_cleanup_pt, ngx_http_post_request};
use crate::loop_cell::Loop;
use crate::ngx::Request;

/// A request that is alive, on the event loop's thread.
pub(crate) struct Req<'lp> {
    request: NonNull<Request>,
    lp: &'lp mut Loop,
}

impl<'lp> Req<'lp> {
    /// # Safety
    ///
    /// `request` is not null, and alive until something that takes a `&mut Loop` is called.
    pub(crate) unsafe fn new(lp: &'lp mut Loop, request: *mut Request) -> Self {
        // SAFETY: a request that is alive has an address.
        Self { request: unsafe { NonNull::new_unchecked(request) }, lp }
    }

    /// Runs `work` with a request that nginx has called the module with, on the loop's thread.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub(crate) unsafe fn enter<R>(request: *mut Request, work: impl FnOnce(Req<'_>) -> R) -> R {
        let lp = &mut Loop::enter();
        // SAFETY: alive, as the caller promises.
        work(unsafe { Req::new(lp, request) })
    }

    /// The loop, to look into its cells.
    pub(crate) fn lp(&self) -> &Loop {
        self.lp
    }

    /// Gives the loop back, for what can come back into the module. The request may be over afterwards.
    pub(crate) fn leave(self) -> &'lp mut Loop {
        self.lp
    }

    /// The address, for nginx's functions.
    pub(crate) fn as_ptr(&self) -> *mut Request {
        self.request.as_ptr()
    }

    /// Takes a further count of the main request (`ngx_http_read_client_request_body`).
    pub(crate) fn add_count(&mut self) {
        // SAFETY: a live request has a main request.
        unsafe {
            let main = (*self.request.as_ptr()).main;
            (*main).set_count((*main).count() + 1);
        }
    }

    /// Has nginx call `handler` with `data` when the request is over; false without memory.
    pub(crate) fn on_end(&mut self, handler: ngx_http_cleanup_pt, data: *mut c_void) -> bool {
        // SAFETY: a live request, and a record in its pool.
        unsafe {
            let Some(cleanup) = ngx_http_cleanup_add(self.request.as_ptr(), 0).as_mut() else { return false };
            (cleanup.data, cleanup.handler) = (data, handler);
        }
        true
    }

    /// Has nginx call the request's write handler after what is going on now (`ngx_http_post_request`).
    pub(crate) fn post(&mut self) {
        // SAFETY: a live request; without a record of ours nginx makes one. Without memory for it the client waits for its
        // next event.
        unsafe { ngx_http_post_request(self.request.as_ptr(), std::ptr::null_mut()) };
    }
}

impl Deref for Req<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        // SAFETY: alive, as `new` was promised. Nothing changes the request while the result is in use: this `Req` borrows the loop,
        // and calls that leave the module take it by value. The log, which may be written meanwhile, only reads.
        unsafe { self.request.as_ref() }
    }
}

impl DerefMut for Req<'_> {
    fn deref_mut(&mut self) -> &mut Request {
        // SAFETY: as for `deref`, and the result borrows this `Req` exclusively.
        unsafe { self.request.as_mut() }
    }
}
