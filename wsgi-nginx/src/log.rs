//! nginx's error log: records by level, cut where nginx would cut them, never taken as a format.

use std::fmt;

use nginx_sys::{ngx_log_error_core, ngx_log_t, ngx_uint_t};
use wsgi_core::host::Level;
use wsgi_core::record::split_record;

use crate::ngx;

/// Longest text of one record. nginx cuts a record at 2048 bytes, time stamp, process and the request's context
/// included (`NGX_MAX_ERROR_STR`).
const LONGEST: usize = 1536;

/// Writes `text`, which has no line breaks, as one record or as many as it needs.
///
/// # Safety
///
/// `log` is alive, and this is the event loop's thread, or that thread uses nothing of nginx meanwhile.
pub(crate) unsafe fn write(log: *mut ngx_log_t, level: Level, text: &str) {
    let level = number(level);
    // SAFETY: the caller's promise.
    if unsafe { (*log).log_level } < level {
        return;
    }
    if text.is_empty() {
        return;
    }
    for piece in split_record(text, LONGEST) {
        let piece = ngx::str_of(piece.as_bytes());
        // SAFETY: `%V` takes a pointer to a string, which lives until the call returns.
        unsafe { ngx_log_error_core(level, log, 0, c"%V".as_ptr(), &raw const piece) };
    }
}

/// Whether what is written can arrive: not in a file that nginx has closed.
///
/// # Safety
///
/// `log` is alive.
pub(crate) unsafe fn is_open(log: *const ngx_log_t) -> bool {
    // SAFETY: the caller's promise; a log to something else than a file has none. Asking about a descriptor is harmless.
    unsafe { (*log).file.as_ref().is_none_or(|file| libc::fcntl(file.fd, libc::F_GETFD) >= 0) }
}

/// nginx's number of a level.
pub(crate) fn number(level: Level) -> ngx_uint_t {
    let level = match level {
        Level::Emerg => nginx_sys::NGX_LOG_EMERG,
        Level::Alert => nginx_sys::NGX_LOG_ALERT,
        Level::Crit => nginx_sys::NGX_LOG_CRIT,
        Level::Error => nginx_sys::NGX_LOG_ERR,
        Level::Warn => nginx_sys::NGX_LOG_WARN,
        Level::Notice => nginx_sys::NGX_LOG_NOTICE,
        Level::Info => nginx_sys::NGX_LOG_INFO,
        Level::Debug => nginx_sys::NGX_LOG_DEBUG,
    };
    level as ngx_uint_t
}

/// A line for `--with-debug` builds, put together only where somebody reads it.
///
/// # Safety
///
/// As for [`write`].
pub(crate) unsafe fn debug(log: *mut ngx_log_t, line: fmt::Arguments<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        if cfg!(ngx_feature = "debug") && (*log).log_level & nginx_sys::NGX_LOG_DEBUG_HTTP as ngx_uint_t != 0 {
            let line = line.to_string();
            let line = ngx::str_of(line.as_bytes());
            ngx_log_error_core(nginx_sys::NGX_LOG_DEBUG as ngx_uint_t, log, 0, c"%V".as_ptr(), &raw const line);
        }
    }
}
