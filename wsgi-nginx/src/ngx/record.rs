//! Accessors for the fields of nginx's request records that the module reads and changes.
//!
//! Only [`Req`](crate::req::Req) and [`Output`](crate::chain::Output) make a reference to a request, on the event
//! loop's thread and for as long as the request is alive. nginx keeps the pointers in a live request valid.

use std::{fmt, ptr};

use wsgi_core::host::Level;

use crate::bindings::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_t, ngx_handle_write_event, ngx_http_core_loc_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_log_ctx_t, ngx_http_request_t, ngx_log_t, ngx_msec_t, ngx_post_event,
    ngx_posted_events, ngx_posted_next_events, ngx_table_elt_t,
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

    /// Returns the client's request, of which this one may be a subrequest.
    pub(crate) fn main_request(&self) -> &Self {
        // SAFETY: a live request has a main request, which lives longer.
        unsafe { &*self.main }
    }

    /// Returns the request line as the client has sent it. For HTTP/2 and HTTP/3 nginx makes one.
    pub(crate) fn request_line(&self) -> &[u8] {
        // SAFETY: a string of a live request.
        unsafe { ngx::bytes(&self.request_line) }
    }

    pub(crate) fn is_main(&self) -> bool {
        ptr::eq(self, self.main)
    }

    /// Whether nginx has read bytes behind the request: another request, which the client has sent without waiting.
    pub(crate) fn has_further_input(&self) -> bool {
        // SAFETY: null, or the buffer of a live request.
        unsafe { self.header_in.as_ref() }.is_some_and(|buffer| buffer.pos < buffer.last)
    }

    /// Whether several requests share the connection (HTTP/2, HTTP/3).
    pub(crate) fn is_multiplexed(&self) -> bool {
        // nginx's numbers for these versions are 2000 and 3000.
        self.http_version >= 2000
    }

    /// Returns the core module's settings of the location.
    pub(crate) fn core_location(&self) -> &ngx_http_core_loc_conf_t {
        // SAFETY: a live request.
        unsafe { ngx::core_location(self) }
    }

    /// Returns the core module's settings of the server.
    pub(crate) fn core_server(&self) -> &ngx_http_core_srv_conf_t {
        // SAFETY: a live request.
        unsafe { ngx::core_server(self) }
    }

    /// Makes lines of the connection's log name this request, which may be a subrequest (`ngx_http_set_log_request`).
    pub(crate) fn name_in_log(&self) {
        let log = self.connection().log;
        // SAFETY: the log belongs to an HTTP connection, so its data is nginx's record of the request that log lines
        // name.
        unsafe {
            if let Some(context) = (*log).data.cast::<ngx_http_log_ctx_t>().as_mut() {
                context.current_request = ptr::from_ref(self).cast_mut();
            }
        }
    }

    /// Writes to the error log of the request.
    pub(crate) fn log(&self, level: Level, text: &str) {
        // SAFETY: the log belongs to a live connection, and this is the loop's thread.
        unsafe { log::write(self.connection().log, level, text) }
    }

    /// Like [`log`](Self::log), for `--with-debug` builds.
    pub(crate) fn debug(&self, line: fmt::Arguments<'_>) {
        // SAFETY: the log belongs to a live connection, and this is the loop's thread.
        unsafe { log::debug(self.connection().log, line) }
    }
}

impl ngx_connection_t {
    /// Returns the address of the connection's TLS state, which streams of HTTP/3 share; 0 without TLS.
    #[cfg(ngx_feature = "ssl")]
    pub(crate) fn tls(&self) -> usize {
        self.ssl.addr()
    }

    /// Returns 0: connections of an nginx without TLS have no field for it.
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
    /// Creates an event that is never freed, since nginx's timers and queues may point to it. A worker that exits gracefully
    /// does not wait for its timer. `log` outlives the process's last event, and `handler` accepts the event.
    pub(crate) fn leaked(log: *mut ngx_log_t, handler: unsafe extern "C" fn(*mut Self)) -> &'static mut Self {
        // SAFETY: all-zero is a valid event; nginx initialises its events in this way.
        let event: &'static mut Self = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        event.log = log;
        event.handler = Some(handler);
        // Log handlers of nginx's debug build expect a connection as the data of an event.
        event.data = ptr::from_mut(event).cast();
        event.set_cancelable(1);
        event
    }

    /// Posts the event: nginx calls its handler behind the present events.
    pub(crate) fn post(&mut self) {
        // SAFETY: the event belongs to a live connection, or is never freed (`leaked`). This is the loop's thread.
        unsafe { ngx_post_event(self, &raw mut ngx_posted_events) }
    }

    /// Posts the event: nginx calls its handler in the next iteration of the event loop.
    pub(crate) fn post_next(&mut self) {
        // SAFETY: an event of a live connection, on the loop's thread.
        unsafe { ngx_post_event(self, &raw mut ngx_posted_next_events) }
    }

    /// Makes nginx call the handler after `milliseconds`.
    pub(crate) fn start_timer(&mut self, milliseconds: ngx_msec_t) {
        // SAFETY: the event belongs to a live connection, whose timer nginx deletes before it frees the connection.
        // This is the loop's thread.
        unsafe { ngx_add_timer(self, milliseconds) }
    }

    pub(crate) fn stop_timer(&mut self) {
        if self.timer_set() != 0 {
            // SAFETY: the event's timer is set, and this is the loop's thread.
            unsafe { ngx_del_timer(self) }
        }
    }

    /// Makes nginx call the handler when the socket takes `low_watermark` bytes. Returns false on failure.
    pub(crate) fn watch_writes(&mut self, low_watermark: usize) -> bool {
        // SAFETY: the write event of a live connection.
        unsafe { ngx_handle_write_event(self, low_watermark) == ngx::OK }
    }
}

impl ngx_table_elt_t {
    /// Returns the name of a header.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: a string of a live request.
        unsafe { ngx::bytes(&self.key) }
    }

    /// Returns the value of a header.
    pub(crate) fn text(&self) -> &[u8] {
        // SAFETY: a string of a live request.
        unsafe { ngx::bytes(&self.value) }
    }
}
