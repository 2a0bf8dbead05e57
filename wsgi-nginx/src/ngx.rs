//! nginx's terms in Rust: return codes, strings, and access to the module's configuration.

mod memory;
mod reading;
mod record;

use std::ffi::c_void;
use std::slice;

use crate::bindings::{
    NGX_DECLINED, NGX_DONE, NGX_ERROR, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_REQUEST_TIME_OUT,
    NGX_HTTP_SPECIAL_RESPONSE, NGX_OK, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_module,
    ngx_http_core_srv_conf_t, ngx_http_request_t, ngx_int_t, ngx_module_t, ngx_parse_http_time, ngx_pnalloc,
    ngx_pool_t, ngx_str_t, ngx_uint_t, time_t,
};

pub(crate) type Request = ngx_http_request_t;

pub(crate) const OK: ngx_int_t = NGX_OK;
pub(crate) const ERROR: ngx_int_t = NGX_ERROR;
pub(crate) const DONE: ngx_int_t = NGX_DONE;
pub(crate) const DECLINED: ngx_int_t = NGX_DECLINED;
pub(crate) const SPECIAL_RESPONSE: ngx_int_t = NGX_HTTP_SPECIAL_RESPONSE;
pub(crate) const REQUEST_TIME_OUT: ngx_int_t = NGX_HTTP_REQUEST_TIME_OUT;
pub(crate) const CLIENT_CLOSED_REQUEST: ngx_int_t = NGX_HTTP_CLIENT_CLOSED_REQUEST;
/// A return code that is an HTTP status.
pub(crate) type Status = ngx_int_t;

pub(crate) const NOT_FOUND: Status = 404;
pub(crate) const PRECONDITION_FAILED: Status = 412;
pub(crate) const INTERNAL_SERVER_ERROR: Status = 500;
pub(crate) const SERVICE_UNAVAILABLE: Status = 503;

/// `NGX_CONF_OK`.
pub(crate) const CONF_OK: *mut std::ffi::c_char = std::ptr::null_mut();
pub(crate) const CONF_ERROR: *mut std::ffi::c_char = usize::MAX as *mut std::ffi::c_char;

/// Returns the bytes of an nginx string; empty if it is unset.
///
/// # Safety
///
/// A string with a length points to that many bytes, which are alive and unchanged for `'a`.
pub(crate) unsafe fn bytes<'a>(text: &ngx_str_t) -> &'a [u8] {
    if text.len == 0 {
        return &[];
    }
    // SAFETY: `data` points to `len` bytes, as the caller promises.
    unsafe { slice::from_raw_parts(text.data, text.len) }
}

/// Makes an nginx string of bytes that outlive its use. nginx's type is mutable, but nginx does not write to it.
pub(crate) fn str_of(bytes: &[u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

/// Copies bytes into a pool. Returns `None` if there is no memory.
///
/// # Safety
///
/// `pool` is alive, and used by this thread only.
pub(crate) unsafe fn copy(pool: *mut ngx_pool_t, bytes: &[u8]) -> Option<ngx_str_t> {
    // SAFETY: the pool is alive and used by this thread only, as the caller promises; `data` is null or has room for
    // all of the bytes.
    unsafe {
        let data: *mut u8 = ngx_pnalloc(pool, bytes.len()).cast();
        if data.is_null() {
            return None;
        }
        data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Some(ngx_str_t { len: bytes.len(), data })
    }
}

/// Returns the configuration of a module for the location that a request is in.
///
/// # Safety
///
/// `request` is alive, and the module's `create_loc_conf` makes a `T`.
pub(crate) unsafe fn location_conf<'a, T>(request: *const Request, module: *const ngx_module_t) -> &'a T {
    // SAFETY: nginx gives every request one entry for each HTTP module.
    unsafe { &*(*(*request).loc_conf.add((*module).ctx_index)).cast::<T>() }
}

/// Returns the core module's settings of a request's location.
///
/// # Safety
///
/// `request` is alive.
pub(crate) unsafe fn core_location<'a>(request: *const Request) -> &'a ngx_http_core_loc_conf_t {
    // SAFETY: the request is alive, as the caller promises; the core module always has a record.
    unsafe { location_conf(request, &raw const ngx_http_core_module) }
}

/// Returns the core module's settings of a request's server.
///
/// # Safety
///
/// `request` is alive.
pub(crate) unsafe fn core_server<'a>(request: *const Request) -> &'a ngx_http_core_srv_conf_t {
    // SAFETY: the request is alive, as the caller promises; the core module always has a record.
    unsafe { &*(*(*request).srv_conf.add(ngx_http_core_module.ctx_index)).cast() }
}

/// Returns the location settings of a module at the level that nginx is parsing or merging
/// (`ngx_http_conf_get_module_loc_conf`).
///
/// # Safety
///
/// `cf` is nginx's, inside an `http` block.
pub(crate) unsafe fn parsed_location(cf: *const ngx_conf_t, module: *const ngx_module_t) -> *mut c_void {
    // SAFETY: inside `http`, the context is a set of three tables with one entry for each HTTP module.
    unsafe { *(*(*cf).ctx.cast::<ngx_http_conf_ctx_t>()).loc_conf.add((*module).ctx_index) }
}

/// Like [`parsed_location`], for the settings of the whole `http` block.
///
/// # Safety
///
/// `cf` is nginx's, inside an `http` block.
pub(crate) unsafe fn parsed_main(cf: *const ngx_conf_t, module: *const ngx_module_t) -> *mut c_void {
    // SAFETY: inside `http`, the context is a set of three tables with one entry for each HTTP module.
    unsafe { *(*(*cf).ctx.cast::<ngx_http_conf_ctx_t>()).main_conf.add((*module).ctx_index) }
}

/// Returns an HTTP status in the unsigned type of `headers_out.status`.
pub(crate) fn status(code: u16) -> ngx_uint_t {
    ngx_uint_t::from(code)
}

/// Returns the seconds since 1970 of an HTTP date, or `None` if it is invalid (`ngx_parse_http_time`).
pub(crate) fn parse_time(date: &[u8]) -> Option<time_t> {
    // SAFETY: nginx's parser reads no more than `date.len()` bytes.
    let time = unsafe { ngx_parse_http_time(date.as_ptr().cast_mut(), date.len()) };
    (time != -1).then_some(time)
}
