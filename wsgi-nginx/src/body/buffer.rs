//! The buffer of a request body, taken over from the pool of its request.

use std::ffi::c_void;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use crate::bindings::ngx_pool_cleanup_add;
use crate::guard::guard;
use crate::ngx::Request;

/// Memory that nginx has allocated for a request body, and no longer writes to.
///
/// The pool of the request has a count of it: nginx, too, may read the body until then (`mirror`, an internal redirect
/// to a proxied server, `$request_body` in the log).
pub(super) struct Buffer {
    memory: Range<*mut u8>,
}

// SAFETY: the memory does not change, and `free` can be called on any thread.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Takes over the buffer of a body that has been read. Returns `None` if the body is small, so that it has no allocation,
    /// if it was taken over before (for another subrequest), or if there is no memory.
    pub(super) fn take(request: &Request) -> Option<Arc<Self>> {
        // SAFETY: null, or nginx's record of the body, which lives as long as the request.
        let buffer = unsafe { request.request_body.as_ref()?.buf.as_ref()? };
        let memory = buffer.start..buffer.end;
        // SAFETY: the pool belongs to a live request. Its list has the allocations that are too large for its blocks;
        // those that are null are skipped, here and by nginx.
        unsafe {
            let mut large = (*request.pool).large;
            while !large.is_null() && (*large).alloc != memory.start.cast() {
                large = (*large).next;
            }
            let entry = large.as_mut().filter(|_| !memory.start.is_null())?;
            let cleanup = ngx_pool_cleanup_add(request.pool, 0).as_mut()?;
            let taken = Arc::new(Self { memory });
            entry.alloc = std::ptr::null_mut();
            cleanup.data = Arc::into_raw(Arc::clone(&taken)).cast_mut().cast();
            cleanup.handler = Some(release_body);
            Some(taken)
        }
    }

    /// Returns the position of `bytes` in the buffer. `None` if they are elsewhere.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let base = self.memory.start.addr();
        let range = bytes.as_ptr_range();
        let within = self.memory.start.cast_const() <= range.start && range.end <= self.memory.end.cast_const();
        within.then(|| range.start.addr() - base..range.end.addr() - base)
    }

    /// Returns the bytes at a position that [`find`](Self::find) has returned.
    pub(super) fn bytes(&self, found: Range<usize>) -> &[u8] {
        assert!(found.start <= found.end && found.end <= self.memory.end.addr() - self.memory.start.addr());
        // SAFETY: the range is within the buffer, and its bytes are initialised: they are part of a body.
        unsafe { slice::from_raw_parts(self.memory.start.add(found.start), found.end - found.start) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: nginx has allocated the memory with `malloc`, and its pool no longer frees it.
        unsafe { libc::free(self.memory.start.cast()) };
    }
}

/// Drops the count of the pool when nginx destroys it.
unsafe extern "C" fn release_body(data: *mut c_void) {
    // SAFETY: nginx calls this once, with the pointer that was registered.
    guard("release_body", (), || drop(unsafe { Arc::from_raw(data.cast_const().cast::<Buffer>()) }));
}
