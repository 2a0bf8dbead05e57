//! What nginx sees of the module: its tables, and every function that nginx calls, each behind the panic guard.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use wsgi_core::failpoint::failpoint;
use wsgi_core::host::Level;

use crate::bindings::{
    NGX_HTTP_MODULE, ngx_command_t, ngx_conf_t, ngx_cycle, ngx_cycle_t, ngx_event_t, ngx_http_module_t, ngx_int_t,
    ngx_module_t,
};
use crate::conf::{LocationConf, MainConf};
use crate::directives::{COMMANDS, commands};
use crate::ngx::{self, Request};
use crate::{chain, conf, directives, event, handler, log, umask, worker};

/// A panic inside `work` becomes an alert in the log that has `name`, and `failure` as the answer: it must not unwind into
/// nginx.
pub(crate) fn guard<T>(name: &str, failure: T, work: impl FnOnce() -> T) -> T {
    let work = || {
        failpoint(name);
        work()
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let alert = format!("panic in {name} of the wsgi module: {message}");
        // SAFETY: nginx calls us on its own thread, and has a cycle with a log from the start of the configuration.
        unsafe {
            let log = (*ngx_cycle).log;
            if log::is_open(log) {
                log::write(log, Level::Alert, &alert);
            } else {
                // As a configuration goes, its files are closed already. Where a master runs, this is the error log, too.
                eprintln!("[alert] {alert}");
            }
        }
        failure
    })
}

/// As [`guard`], for what nobody else would do later: after a panic `work` is called once more, and goes on with what is
/// left to do.
pub(crate) fn guard_again(name: &str, work: impl Fn()) {
    if !is_done(name, &work) {
        is_done(name, work);
    }
}

/// As [`guard`]: whether there was no panic.
pub(crate) fn is_done(name: &str, work: impl FnOnce()) -> bool {
    guard(name, false, || {
        work();
        true
    })
}

static mut COMMAND_TABLE: [ngx_command_t; COMMANDS] = commands();

static mut HTTP_MODULE: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(create_location_conf),
    merge_loc_conf: Some(merge_location_conf),
};

/// The module, under nginx's name for it.
#[unsafe(export_name = "ngx_http_wsgi_module")]
pub(crate) static mut MODULE: ngx_module_t = {
    let mut module = ngx_module_t::empty();
    module.ctx = (&raw mut HTTP_MODULE).cast();
    module.commands = (&raw mut COMMAND_TABLE).cast();
    module.type_ = NGX_HTTP_MODULE;
    module.init_process = Some(init_process);
    module.exit_process = Some(exit_process);
    module
};

/// What `load_module` looks for. A module that is linked into nginx stands in nginx's own tables instead.
#[cfg(not(feature = "static-module"))]
mod dynamic {
    use std::ffi::c_char;
    use std::ptr;

    use crate::bindings::ngx_module_t;

    /// A table that nginx only reads, from one thread.
    #[repr(transparent)]
    struct Table<T>(T);

    // SAFETY: see above.
    unsafe impl<T> Sync for Table<T> {}

    #[unsafe(no_mangle)]
    static ngx_modules: Table<[*mut ngx_module_t; 2]> = Table([&raw mut super::MODULE, ptr::null_mut()]);

    #[unsafe(no_mangle)]
    static ngx_module_names: Table<[*const c_char; 2]> = Table([c"ngx_http_wsgi_module".as_ptr(), ptr::null()]);

    #[unsafe(no_mangle)]
    static ngx_module_order: Table<[*const c_char; 1]> = Table([ptr::null()]);
}

unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    guard("create_main_conf", std::ptr::null_mut(), || {
        umask::remember();
        // SAFETY: nginx's own configuration record.
        unsafe { conf::create::<MainConf>(cf) }
    })
}

unsafe extern "C" fn create_location_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx's own configuration record.
    guard("create_location_conf", std::ptr::null_mut(), || unsafe { conf::create::<LocationConf>(cf) })
}

unsafe extern "C" fn merge_location_conf(cf: *mut ngx_conf_t, outer: *mut c_void, inner: *mut c_void) -> *mut c_char {
    guard("merge_location_conf", ngx::CONF_ERROR, || {
        // SAFETY: nginx passes what `create_location_conf` made for the two levels.
        if unsafe { conf::merge(cf, outer, inner) } { ngx::CONF_OK } else { ngx::CONF_ERROR }
    })
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this at the end of the `http` block.
    guard("postconfiguration", ngx::ERROR, || if unsafe { directives::check(cf) } { ngx::OK } else { ngx::ERROR })
}

/// The `set` of every directive.
pub(crate) unsafe extern "C" fn set_directive(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    level: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes an entry of our table and the level's record.
    guard("set_directive", ngx::CONF_ERROR, || unsafe { directives::set(cf, command, level) })
}

/// Never fails: a worker that reports an error here is not started again, and its clients wait for ever.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx's cycle, in a process of its own.
    guard("init_process", (), || unsafe { worker::start(cycle) });
    ngx::OK
}

unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: nginx calls this last.
    guard("exit_process", (), || unsafe { worker::stop(cycle) });
}

/// Answers a request of a location with `wsgi_pass`.
pub(crate) unsafe extern "C" fn content_handler(request: *mut Request) -> ngx_int_t {
    // SAFETY: nginx calls content handlers with a live request.
    guard("content_handler", ngx::INTERNAL_SERVER_ERROR, || unsafe { handler::handle(request) })
}

/// Goes on when the request body has arrived.
pub(crate) unsafe extern "C" fn body_arrived(request: *mut Request) {
    // SAFETY: nginx calls back with the request whose body it has read.
    guard_request("body_arrived", request, || unsafe { handler::begin(request) });
}

/// Goes on when the client takes more, or when the request has been posted.
pub(crate) unsafe extern "C" fn write_event(request: *mut Request) {
    // SAFETY: nginx calls this with a live request.
    guard_request("write_event", request, || unsafe { handler::resume(request) });
}

/// The request is over, whatever the reason.
pub(crate) unsafe extern "C" fn request_over(data: *mut c_void) {
    // SAFETY: `data` is the record that was registered along with this function, which nginx calls once.
    let record = unsafe { handler::record(data) };
    // SAFETY: as above.
    guard_again("request_over", || unsafe { handler::over(&record, data) });
    guard("request_over", (), || drop(record));
}

/// The request's pool goes, and with it what nginx was sending.
pub(crate) unsafe extern "C" fn release_blocks(data: *mut c_void) {
    // SAFETY: `data` is what was registered along with this function.
    guard("release_blocks", (), || unsafe { chain::release_blocks(data) });
}

/// News from other threads.
pub(crate) unsafe extern "C" fn mail_arrived(event: *mut ngx_event_t) {
    // SAFETY: nginx calls this with the event of our own descriptor.
    guard_again("mail_arrived", || unsafe { event::mail_arrived(event) });
}

/// The timer that only holds a worker that is about to exit.
pub(crate) unsafe extern "C" fn hold_expired(event: *mut ngx_event_t) {
    // SAFETY: nginx calls this with our own timer's event.
    guard_again("hold_expired", || unsafe { event::hold_expired(event) });
}

/// A worker that makes way has waited long enough.
pub(crate) unsafe extern "C" fn retirement_due(_event: *mut ngx_event_t) {
    guard_again("retirement_due", worker::retirement_due);
}

/// As [`guard`]; a request that panicked is answered with 500, or cut if its head is out.
fn guard_request(name: &str, request: *mut Request, work: impl FnOnce()) {
    if !is_done(name, work) {
        // SAFETY: a panic leaves the request to us: whatever ends it is the last thing a handler does.
        is_done(name, || unsafe { handler::fail_request(request) });
    }
}
