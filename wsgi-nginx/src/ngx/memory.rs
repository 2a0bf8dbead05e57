//! Memory of nginx's pools, and the buffers and chains in it.

use std::slice;

use crate::bindings::{ngx_buf_t, ngx_chain_t, ngx_http_request_t, ngx_pcalloc, ngx_str_t};
use crate::ngx;

impl ngx_http_request_t {
    /// Copies bytes into the request's pool. Returns `None` if there is no memory.
    pub(crate) fn copy(&self, bytes: &[u8]) -> Option<ngx_str_t> {
        // SAFETY: the pool belongs to a live request, and is used on the loop's thread only.
        unsafe { ngx::copy(self.pool, bytes) }
    }

    /// Allocates a zeroed record in the request's pool. Returns null if there is no memory.
    pub(crate) fn zeroed<T>(&self) -> *mut T {
        // SAFETY: the pool belongs to a live request, and is used on the loop's thread only.
        unsafe { ngx_pcalloc(self.pool, size_of::<T>()).cast() }
    }

    /// Returns the buffers of the request body, which has been read; no buffer for an empty body.
    pub(crate) fn body_buffers(&self) -> Links<'_> {
        // SAFETY: null, or nginx's record of the body, which lives as long as the request.
        let body = unsafe { self.request_body.as_ref() };
        // SAFETY: null, or a chain that does not change once the body has been read.
        Links { next: body.and_then(|body| unsafe { body.bufs.as_ref() }) }
    }
}

/// Iterator over the buffers of a chain.
pub(crate) struct Links<'a> {
    next: Option<&'a ngx_chain_t>,
}

impl<'a> Iterator for Links<'a> {
    type Item = &'a ngx_buf_t;

    fn next(&mut self) -> Option<&'a ngx_buf_t> {
        let link = self.next?;
        // SAFETY: null, or a further link of the same chain.
        self.next = unsafe { link.next.as_ref() };
        // SAFETY: every link of a chain has a buffer.
        Some(unsafe { &*link.buf })
    }
}

impl ngx_buf_t {
    /// Returns the content of a buffer that is in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        // The buffer that ends a chunked body has no memory: its pointers are null.
        if self.pos == self.last {
            return &[];
        }
        // SAFETY: both pointers are in one allocation that belongs to the buffer, `last` behind `pos`.
        unsafe { slice::from_raw_parts(self.pos, self.last.offset_from_unsigned(self.pos)) }
    }

    /// Points the buffer to `memory`, which must stay alive until nginx has sent the buffer.
    pub(crate) fn set_bytes(&mut self, memory: &[u8]) {
        let range = memory.as_ptr_range();
        (self.pos, self.last) = (range.start.cast_mut(), range.end.cast_mut());
        (self.start, self.end) = (self.pos, self.last);
        self.set_memory(1);
    }

    /// Whether nginx has sent all of the content.
    pub(crate) fn is_sent(&self) -> bool {
        match self.in_file() {
            0 => self.pos == self.last,
            _ => self.file_pos == self.file_last,
        }
    }
}
