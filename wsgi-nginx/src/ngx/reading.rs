//! The configuration while nginx reads it.
//!
//! Only the callbacks of the tables in `entry.rs` and `directives.rs` make a reference to nginx's record. nginx calls
//! them with it inside an `http` block.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use wsgi_core::config::Place;
use wsgi_core::host::Level;

use crate::bindings::{
    ngx_conf_log_error, ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_core_main_conf_t,
    ngx_http_core_module, ngx_http_core_srv_conf_t, ngx_log_stderr, ngx_pcalloc, ngx_quiet_mode, ngx_str_t,
    ngx_test_config,
};
use crate::{log, ngx};

impl ngx_conf_t {
    /// Returns the words of the directive that nginx is reading. They live as long as the configuration.
    pub(crate) fn words(&self) -> Vec<ngx_str_t> {
        // SAFETY: `args` is an array of strings, which nginx fills for each directive.
        unsafe { (*self.args).as_slice::<ngx_str_t>().to_vec() }
    }

    /// Returns nginx's prefix, to which paths are relative.
    pub(crate) fn prefix(&self) -> PathBuf {
        // SAFETY: a string of the cycle that nginx is creating.
        let prefix = unsafe { ngx::bytes(&(*self.cycle).prefix) };
        PathBuf::from(OsStr::from_bytes(prefix))
    }

    /// Returns the file and line of the directive that nginx is reading.
    pub(crate) fn place(&self) -> Place {
        // SAFETY: nginx is reading a file. It reads none only for `-g`, where no directive of this module is allowed.
        let (file, line) = unsafe { (ngx::bytes(&(*self.conf_file).file.name), (*self.conf_file).line) };
        Place { file: String::from_utf8_lossy(file).into_owned(), line }
    }

    /// Returns the core module's settings of the level that nginx is reading.
    pub(crate) fn core_location(&mut self) -> &mut ngx_http_core_loc_conf_t {
        // SAFETY: the core module has a separate record for each level.
        unsafe { &mut *ngx::parsed_location(self, &raw const ngx_http_core_module).cast() }
    }

    /// Returns the core module's settings of the `http` block.
    pub(crate) fn core_main(&self) -> &ngx_http_core_main_conf_t {
        // SAFETY: the core module has a record for the block.
        unsafe { &*ngx::parsed_main(self, &raw const ngx_http_core_module).cast() }
    }

    /// Returns the core module's settings of the server that nginx is reading or merging.
    pub(crate) fn core_server(&self) -> *mut ngx_http_core_srv_conf_t {
        // SAFETY: inside a server, the context is a set of three tables with one entry for each HTTP module.
        unsafe { (*(*self.ctx.cast::<ngx_http_conf_ctx_t>()).srv_conf.add(ngx_http_core_module.ctx_index)).cast() }
    }

    /// Copies bytes into the configuration's pool. Returns `None` if there is no memory.
    pub(crate) fn copy(&self, bytes: &[u8]) -> Option<ngx_str_t> {
        // SAFETY: the pool of the configuration, which nginx's only thread uses.
        unsafe { ngx::copy(self.pool, bytes) }
    }

    /// Allocates a zeroed record in the configuration's pool. Returns null if there is no memory.
    pub(crate) fn zeroed<T>(&self) -> *mut T {
        // SAFETY: the pool of the configuration, which nginx's only thread uses.
        unsafe { ngx_pcalloc(self.pool, size_of::<T>()).cast() }
    }

    /// Writes to nginx's log and terminal; nginx adds file and line.
    pub(crate) fn log(&mut self, level: Level, text: &str) {
        let line = ngx::str_of(text.as_bytes());
        // SAFETY: `%V` takes a pointer to a string, and `line` lives until the call returns.
        unsafe { ngx_conf_log_error(log::ngx_level(level), self, 0, c"%V".as_ptr(), &raw const line) };
        // SAFETY: nginx sets both numbers at its start and does not change them later.
        let is_test = unsafe { ngx_test_config != 0 && ngx_quiet_mode == 0 };
        if is_test && level < Level::Warn {
            // nginx shows only warnings and errors on the terminal, but an operator who tests a configuration wants to
            // see notices too.
            let line = format!("[notice] {text} in {}", self.place());
            let line = ngx::str_of(line.as_bytes());
            // SAFETY: `%V` takes a pointer to a string, and `line` lives until the call returns.
            unsafe { ngx_log_stderr(0, c"%V".as_ptr(), &raw const line) };
        }
    }
}
