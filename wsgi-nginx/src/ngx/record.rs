//! Names in Rust for what the module reads and changes in nginx's records of a request.
//!
//! A reference to a request is made by [`Req`](crate::req::Req) and by [`Output`](crate::chain::Output) alone, on the event
//! loop's thread and for as long as the request is alive. nginx keeps the pointers in a live request valid.

use std::{fmt, ptr};

use wsgi_core::host::Level;

use crate::bindings::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_handle_write_event, ngx_http_core_loc_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_log_ctx_t, ngx_http_request_t, ngx_msec_t, ngx_post_event,
    ngx_posted_next_events, ngx_table_elt_t,
};
use crate::{log, ngx};

impl ngx_http_request_t {
    pub(crate) fn connection(&self) -> &ngx_connection_t {
        // SAFETY: a live request has a connection.
        unsafe { &*self.connection }
    }

    pub(crate) fn connection_mut(&mut self) -> &mut ngx_connection_t {
        // SAFETY: a live request has a connection, and the module reaches it through this request alone.
        unsafe { &mut *self.connection }
    }

    /// The request of the client, of whose page this one may be a part.
    pub(crate) fn main_request(&self) -> &Self {
        // SAFETY: a live request has a main request, which lives longer.
        unsafe { &*self.main }
    }

    /// The request line as the client has sent it, or as nginx makes one of HTTP/2 and HTTP/3.
    pub(crate) fn request_line(&self) -> &[u8] {
        // SAFETY: a string of a live request.
        unsafe { ngx::bytes(&self.request_line) }
    }

    pub(crate) fn is_main(&self) -> bool {
        ptr::eq(self, self.main)
    }

    /// Whether several requests share the connection (HTTP/2, HTTP/3).
    pub(crate) fn is_multiplexed(&self) -> bool {
        // nginx's numbers for these versions are 2000 and 3000.
        self.http_version >= 2000
    }

    /// The core module's settings of the location.
    pub(crate) fn core_location(&self) -> &ngx_http_core_loc_conf_t {
        // SAFETY: a live request.
        unsafe { ngx::core_location(self) }
    }

    /// The core module's settings of the server.
    pub(crate) fn core_server(&self) -> &ngx_http_core_srv_conf_t {
        // SAFETY: a live request.
        unsafe { ngx::core_server(self) }
    }

    /// Has lines of the connection's log name this request, which is one of several of its page (`ngx_http_set_log_request`).
    pub(crate) fn name_in_log(&self) {
        let log = self.connection().log;
        // SAFETY: the log of a connection of HTTP, whose data is nginx's record of what lines name.
        unsafe {
            if let Some(context) = (*log).data.cast::<ngx_http_log_ctx_t>().as_mut() {
                context.current_request = ptr::from_ref(self).cast_mut();
            }
        }
    }

    /// Writes to the error log of the request.
    pub(crate) fn log(&self, level: Level, text: &str) {
        // SAFETY: the log of a live connection, on the loop's thread.
        unsafe { log::write(self.connection().log, level, text) }
    }

    /// As [`log`](Self::log), for `--with-debug` builds.
    pub(crate) fn debug(&self, line: fmt::Arguments<'_>) {
        // SAFETY: as for `log`: the log of a live connection, on the loop's thread.
        unsafe { log::debug(self.connection().log, line) }
    }
}

impl ngx_connection_t {
    /// The address of the connection's TLS, which streams of HTTP/3 share; 0 without TLS.
    #[cfg(ngx_feature = "ssl")]
    pub(crate) fn tls(&self) -> usize {
        self.ssl.addr()
    }

    /// 0: an nginx without TLS has no place for it in its connections.
    #[cfg(not(ngx_feature = "ssl"))]
    pub(crate) fn tls(&self) -> usize {
        0
    }

    pub(crate) fn read_event(&mut self) -> &mut ngx_event_t {
        // SAFETY: a live connection has both events.
        unsafe { &mut *self.read }
    }

    pub(crate) fn write_event(&mut self) -> &mut ngx_event_t {
        // SAFETY: a live connection has both events.
        unsafe { &mut *self.write }
    }
}

impl ngx_event_t {
    /// Has nginx call the handler in the next turn of its loop.
    pub(crate) fn post_next(&mut self) {
        // SAFETY: an event of a live connection, on the loop's thread.
        unsafe { ngx_post_event(self, &raw mut ngx_posted_next_events) }
    }

    /// Has nginx call the handler after so many milliseconds.
    pub(crate) fn start_timer(&mut self, milliseconds: ngx_msec_t) {
        // SAFETY: an event of a live connection: nginx deletes its timer before it is gone. This is the loop's thread.
        unsafe { ngx_add_timer(self, milliseconds) }
    }

    pub(crate) fn stop_timer(&mut self) {
        if self.timer_set() != 0 {
            // SAFETY: an event whose timer is set, on the loop's thread.
            unsafe { ngx_del_timer(self) }
        }
    }

    /// Has nginx call the handler when the socket takes `low_watermark` bytes; false if that cannot be.
    pub(crate) fn watch_writes(&mut self, low_watermark: usize) -> bool {
        // SAFETY: the write event of a live connection.
        unsafe { ngx_handle_write_event(self, low_watermark) == ngx::OK }
    }
}

impl ngx_table_elt_t {
    /// The name of a header.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: a string of a live request.
        unsafe { ngx::bytes(&self.key) }
    }

    /// The value of a header.
    pub(crate) fn text(&self) -> &[u8] {
        // SAFETY: a string of a live request.
        unsafe { ngx::bytes(&self.value) }
    }
}
