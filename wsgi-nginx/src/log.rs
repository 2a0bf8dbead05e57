//! nginx's error log: writes records of a level, splits them where nginx would cut them, and never uses text as a
//! format string.

use std::fmt;

use wsgi_core::host::Level;
use wsgi_core::protocol::split_record;

use crate::bindings::{
    NGX_LOG_ALERT, NGX_LOG_CRIT, NGX_LOG_DEBUG, NGX_LOG_DEBUG_HTTP, NGX_LOG_EMERG, NGX_LOG_ERR, NGX_LOG_INFO,
    NGX_LOG_NOTICE, NGX_LOG_WARN, ngx_log_error_core, ngx_log_t, ngx_uint_t,
};
use crate::ngx;

/// Longest text of one record, in bytes. nginx cuts a record at 2048 bytes, including time stamp, process and the
/// request's context (`NGX_MAX_ERROR_STR`).
const LONGEST: usize = 1536;

/// Writes `text`, which has no line breaks, as one record, or as several if it is too long.
///
/// # Safety
///
/// `log` is alive. The caller is on the event loop's thread, or that thread does not use nginx during the call.
pub(crate) unsafe fn write(log: *mut ngx_log_t, level: Level, text: &str) {
    let level = ngx_level(level);
    // SAFETY: the log is alive, as the caller promises.
    if unsafe { (*log).log_level } < level {
        return;
    }
    if text.is_empty() {
        return;
    }
    for piece in split_record(text, LONGEST) {
        let piece = ngx::str_of(piece.as_bytes());
        // SAFETY: `%V` takes a pointer to a string, and `piece` lives until the call returns.
        unsafe { ngx_log_error_core(level, log, 0, c"%V".as_ptr(), &raw const piece) };
    }
}

/// Whether records can reach the log: false if nginx has closed its file.
///
/// # Safety
///
/// `log` is alive.
pub(crate) unsafe fn is_open(log: *const ngx_log_t) -> bool {
    // SAFETY: the log is alive, as the caller promises. A log that is not a file has a null `file`. `fcntl` accepts a
    // closed descriptor.
    unsafe { (*log).file.as_ref().is_none_or(|file| libc::fcntl(file.fd, libc::F_GETFD) >= 0) }
}

/// Whether all logs of the chain are files: no log keeps state between two lines, as `syslog:` and `memory:` do.
///
/// # Safety
///
/// `log` is alive.
pub(crate) unsafe fn has_only_files(mut log: *const ngx_log_t) -> bool {
    // SAFETY: the log is alive, as the caller promises, and nginx's chain of logs ends with null.
    unsafe {
        while let Some(entry) = log.as_ref() {
            if entry.writer.is_some() {
                return false;
            }
            log = entry.next;
        }
    }
    true
}

/// Returns nginx's number of a level.
pub(crate) fn ngx_level(level: Level) -> ngx_uint_t {
    match level {
        Level::Emerg => NGX_LOG_EMERG,
        Level::Alert => NGX_LOG_ALERT,
        Level::Crit => NGX_LOG_CRIT,
        Level::Error => NGX_LOG_ERR,
        Level::Warn => NGX_LOG_WARN,
        Level::Notice => NGX_LOG_NOTICE,
        Level::Info => NGX_LOG_INFO,
        Level::Debug => NGX_LOG_DEBUG,
    }
}

/// Writes a line in `--with-debug` builds. The line is formatted only if debug logging is on.
///
/// # Safety
///
/// As for [`write`].
pub(crate) unsafe fn debug(log: *mut ngx_log_t, line: fmt::Arguments<'_>) {
    // SAFETY: the log is alive and this is the loop's thread, as the caller promises. `%V` takes a pointer to a string.
    unsafe {
        if cfg!(ngx_feature = "debug") && (*log).log_level & NGX_LOG_DEBUG_HTTP != 0 {
            let line = line.to_string();
            let line = ngx::str_of(line.as_bytes());
            ngx_log_error_core(NGX_LOG_DEBUG, log, 0, c"%V".as_ptr(), &raw const line);
        }
    }
}
