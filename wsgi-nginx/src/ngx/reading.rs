//! The configuration while nginx reads it.
//!
//! A reference to nginx's record is made in the callbacks of the tables in `entry.rs` and `directives.rs` alone, which nginx
//! calls with it inside of an `http` block.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use wsgi_core::config::Place;
use wsgi_core::host::Level;

use crate::bindings::{
    ngx_conf_log_error, ngx_conf_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t, ngx_http_core_module,
    ngx_log_stderr, ngx_pcalloc, ngx_quiet_mode, ngx_str_t, ngx_test_config,
};
use crate::{log, ngx};

impl ngx_conf_t {
    /// The words of the directive that is read. They live as long as the configuration.
    pub(crate) fn words(&self) -> Vec<ngx_str_t> {
        // SAFETY: an array of strings, which nginx fills for each directive.
        unsafe { (*self.args).as_slice::<ngx_str_t>().to_vec() }
    }

    /// nginx's prefix, to which paths are relative.
    pub(crate) fn prefix(&self) -> PathBuf {
        // SAFETY: a string of the cycle that is made.
        let prefix = unsafe { ngx::bytes(&(*self.cycle).prefix) };
        PathBuf::from(OsStr::from_bytes(prefix))
    }

    /// Where the directive stands that is read.
    pub(crate) fn place(&self) -> Place {
        // SAFETY: a file is read: nothing is, only with `-g`, which this module has no directives for.
        let (file, line) = unsafe { (ngx::bytes(&(*self.conf_file).file.name), (*self.conf_file).line) };
        Place { file: String::from_utf8_lossy(file).into_owned(), line }
    }

    /// The core module's settings of the level that is read.
    pub(crate) fn core_location(&mut self) -> &mut ngx_http_core_loc_conf_t {
        // SAFETY: the core module has a record of its own for each level.
        unsafe { &mut *ngx::parsed_location(self, &raw const ngx_http_core_module).cast() }
    }

    /// The core module's settings of the `http` block.
    pub(crate) fn core_main(&self) -> &ngx_http_core_main_conf_t {
        // SAFETY: the core module has a record for the block.
        unsafe { &*ngx::parsed_main(self, &raw const ngx_http_core_module).cast() }
    }

    /// A copy in the configuration's pool; `None` without memory.
    pub(crate) fn copy(&self, bytes: &[u8]) -> Option<ngx_str_t> {
        // SAFETY: the pool of the configuration, on nginx's only thread.
        unsafe { ngx::copy(self.pool, bytes) }
    }

    /// A record of zeros in the configuration's pool; null without memory.
    pub(crate) fn zeroed<T>(&self) -> *mut T {
        // SAFETY: the pool of the configuration, on nginx's only thread.
        unsafe { ngx_pcalloc(self.pool, size_of::<T>()).cast() }
    }

    /// Writes to nginx's log and terminal; nginx adds file and line.
    pub(crate) fn log(&mut self, level: Level, text: &str) {
        let line = ngx::str_of(text.as_bytes());
        // SAFETY: `%V` takes a pointer to a string.
        unsafe { ngx_conf_log_error(log::ngx_level(level), self, 0, c"%V".as_ptr(), &raw const line) };
        // SAFETY: numbers that nginx sets at its start.
        let is_test = unsafe { ngx_test_config != 0 && ngx_quiet_mode == 0 };
        if is_test && level < Level::Warn {
            // nginx shows no more than warnings on the terminal, but an operator who tests a configuration wants to read it all.
            let line = format!("[notice] {text} in {}", self.place());
            let line = ngx::str_of(line.as_bytes());
            // SAFETY: `%V` takes a pointer to a string.
            unsafe { ngx_log_stderr(0, c"%V".as_ptr(), &raw const line) };
        }
    }
}
