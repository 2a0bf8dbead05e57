//! nginx's structures, functions and variables, generated from its headers by the build script (see
//! `build/interface.rs`), and Rust versions of its macros and inline functions that contain code.

use std::{ptr, slice};

#[allow(
    clippy::all,
    dead_code,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unnecessary_transmutes,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    reason = "names and code of the generator"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub(crate) use generated::*;

impl ngx_str_t {
    /// `ngx_null_string`.
    pub(crate) const fn empty() -> Self {
        Self { len: 0, data: ptr::null_mut() }
    }
}

impl ngx_command_t {
    /// `ngx_null_command`.
    pub(crate) const fn empty() -> Self {
        Self { name: ngx_str_t::empty(), type_: 0, set: None, conf: 0, offset: 0, post: ptr::null_mut() }
    }
}

impl ngx_module_t {
    /// An empty module with `NGX_MODULE_V1` and `NGX_MODULE_V1_PADDING`.
    pub(crate) const fn empty() -> Self {
        // SAFETY: all fields are numbers or pointers that may be null.
        let mut module: Self = unsafe { std::mem::zeroed() };
        module.ctx_index = ngx_uint_t::MAX;
        module.index = ngx_uint_t::MAX;
        module.version = nginx_version;
        module.signature = NGX_MODULE_SIGNATURE.as_ptr();
        module
    }
}

impl ngx_array_t {
    /// Returns the elements.
    ///
    /// # Safety
    ///
    /// The array is initialised and holds elements of type `T`, which do not change during the life of the slice.
    pub(crate) unsafe fn as_slice<T>(&self) -> &[T] {
        debug_assert_eq!(self.size, size_of::<T>());
        if self.nelts == 0 {
            return &[];
        }
        // SAFETY: the array holds `nelts` elements of this type, as the caller promises.
        unsafe { slice::from_raw_parts(self.elts.cast(), self.nelts) }
    }
}

/// `ngx_event_add_timer`: nginx calls the event's handler after `milliseconds`.
///
/// # Safety
///
/// The event is alive until its timer has expired or is deleted. The caller is on the event loop's thread.
pub(crate) unsafe fn ngx_add_timer(event: *mut ngx_event_t, milliseconds: ngx_msec_t) {
    // SAFETY: nginx's timer tree is used on the loop's thread, and contains the event if `timer_set` is set.
    unsafe {
        let key = ngx_current_msec.wrapping_add(milliseconds);
        if (*event).timer_set() != 0 {
            // nginx keeps a timer that expires at about the same time.
            if key.abs_diff((*event).timer.key) < NGX_TIMER_LAZY_DELAY {
                return;
            }
            ngx_del_timer(event);
        }
        (*event).timer.key = key;
        ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        (*event).set_timer_set(1);
    }
}

/// `ngx_event_del_timer`.
///
/// # Safety
///
/// The event's timer is set. The caller is on the event loop's thread.
pub(crate) unsafe fn ngx_del_timer(event: *mut ngx_event_t) {
    // SAFETY: the event is in nginx's timer tree, since its timer is set.
    unsafe {
        ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        (*event).set_timer_set(0);
    }
}

/// `ngx_post_event`: nginx calls the event's handler when it processes the queue.
///
/// # Safety
///
/// The event is alive until then, and `queue` is a queue of nginx. The caller is on the event loop's thread.
pub(crate) unsafe fn ngx_post_event(event: *mut ngx_event_t, queue: *mut ngx_queue_t) {
    // SAFETY: the queue is a ring, so that each element has neighbours.
    unsafe {
        if (*event).posted() == 0 {
            (*event).set_posted(1);
            let (element, last) = (&raw mut (*event).queue, (*queue).prev);
            (*element).prev = last;
            (*element).next = queue;
            (*last).next = element;
            (*queue).prev = element;
        }
    }
}
