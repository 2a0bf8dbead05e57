//! A live request on the event loop's thread.
//!
//! nginx may free a request during a call of the module: with its last count, in a filter that fails, or when the
//! client disconnects. A [`Req`] borrows the [`Loop`] exclusively. Functions whose calls can come back into the module
//! take the `Loop` or the `Req` itself (see [`reentry`](crate::reentry)), so that no `Req` survives such a call. Using
//! a request that may have been freed is therefore a compile error.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::bindings::{ngx_http_cleanup_add, ngx_http_cleanup_pt, ngx_http_post_request};
use crate::loop_cell::Loop;
use crate::ngx::Request;

/// A live request on the event loop's thread.
pub(crate) struct Req<'lp> {
    request: NonNull<Request>,
    lp: &'lp mut Loop,
}

impl<'lp> Req<'lp> {
    /// # Safety
    ///
    /// `request` is not null, and alive until a function that takes a `&mut Loop` is called.
    pub(crate) unsafe fn new(lp: &'lp mut Loop, request: *mut Request) -> Self {
        // SAFETY: `request` is not null, as the caller promises.
        Self { request: unsafe { NonNull::new_unchecked(request) }, lp }
    }

    /// Runs `work` with a request that nginx has passed to a callback, on the loop's thread.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub(crate) unsafe fn enter<R>(request: *mut Request, work: impl FnOnce(Req<'_>) -> R) -> R {
        let lp = &mut Loop::enter();
        // SAFETY: the request is alive, as the caller promises.
        work(unsafe { Req::new(lp, request) })
    }

    /// Returns the loop, for access to cells.
    pub(crate) fn lp(&self) -> &Loop {
        self.lp
    }

    /// Returns the loop exclusively, for calls that can come back into the module. The request may be destroyed by
    /// them.
    pub(crate) fn leave(self) -> &'lp mut Loop {
        self.lp
    }

    /// Returns the address, for nginx's functions.
    pub(crate) fn as_ptr(&self) -> *mut Request {
        self.request.as_ptr()
    }

    /// Takes another count of the main request (`ngx_http_read_client_request_body`).
    pub(crate) fn add_count(&mut self) {
        // SAFETY: a live request has a main request.
        unsafe {
            let main = (*self.request.as_ptr()).main;
            (*main).set_count((*main).count() + 1);
        }
    }

    /// Makes nginx call `handler` with `data` when the request is destroyed. Returns false if there is no memory.
    pub(crate) fn on_end(&mut self, handler: ngx_http_cleanup_pt, data: *mut c_void) -> bool {
        // SAFETY: the request is alive, and the clean-up record is in its pool.
        unsafe {
            let Some(cleanup) = ngx_http_cleanup_add(self.request.as_ptr(), 0).as_mut() else { return false };
            (cleanup.data, cleanup.handler) = (data, handler);
        }
        true
    }

    /// Makes nginx call the request's write handler after the current event handler (`ngx_http_post_request`).
    pub(crate) fn post(&mut self) {
        // SAFETY: the request is alive; nginx allocates the record for a null pointer. Without memory for it the client
        // waits for its next event.
        unsafe { ngx_http_post_request(self.request.as_ptr(), std::ptr::null_mut()) };
    }
}

impl Deref for Req<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        // SAFETY: the request is alive, as the caller of `new` promised. Nothing changes the request while the result
        // is in use: this `Req` borrows the loop, and calls that leave the module take it by value. Writing to the log,
        // which is allowed meanwhile, only reads the request.
        unsafe { self.request.as_ref() }
    }
}

impl DerefMut for Req<'_> {
    fn deref_mut(&mut self) -> &mut Request {
        // SAFETY: the request is alive, as the caller of `new` promised, and the result borrows this `Req` exclusively.
        unsafe { self.request.as_mut() }
    }
}
