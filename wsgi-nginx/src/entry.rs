//! The module's tables for nginx, and the functions in them. Callbacks that are registered later are beside their
//! users. All callbacks run inside the panic guard.

use std::ffi::{c_char, c_void};

use crate::bindings::{
    NGX_HTTP_MODULE, ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_http_module_t, ngx_int_t, ngx_module_t,
};
use crate::conf::{LocationConf, MainConf};
use crate::directives::{COMMANDS, commands};
use crate::guard::guard;
use crate::{conf, directives, handler, master, ngx, transfer, umask, worker};

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

/// The module record, under the name that nginx expects.
#[unsafe(export_name = "ngx_http_wsgi_module")]
pub(crate) static mut MODULE: ngx_module_t = {
    let mut module = ngx_module_t::empty();
    module.ctx = (&raw mut HTTP_MODULE).cast();
    module.commands = (&raw mut COMMAND_TABLE).cast();
    module.type_ = NGX_HTTP_MODULE;
    module.init_module = Some(init_module);
    module.init_process = Some(init_process);
    module.exit_process = Some(exit_process);
    module
};

/// The symbols that `load_module` looks up. A module that is linked into nginx is in nginx's own tables instead.
#[cfg(not(feature = "static-module"))]
mod dynamic {
    use std::ffi::c_char;
    use std::ptr;

    use crate::bindings::ngx_module_t;

    /// A table that nginx only reads, from one thread.
    #[repr(transparent)]
    struct Table<T>(T);

    // SAFETY: nginx only reads the tables, from one thread.
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
        // SAFETY: nginx passes its own configuration record, which no other code uses during the call.
        conf::create::<MainConf>(unsafe { &mut *cf })
    })
}

unsafe extern "C" fn create_location_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes its own configuration record, which no other code uses during the call.
    guard("create_location_conf", std::ptr::null_mut(), || conf::create::<LocationConf>(unsafe { &mut *cf }))
}

unsafe extern "C" fn merge_location_conf(cf: *mut ngx_conf_t, outer: *mut c_void, inner: *mut c_void) -> *mut c_char {
    guard("merge_location_conf", ngx::CONF_ERROR, || {
        // SAFETY: nginx passes its record and the values that `create_location_conf` has made for the two levels.
        let (cf, outer, inner) = unsafe { (&mut *cf, &*outer.cast(), &mut *inner.cast()) };
        if conf::merge(cf, outer, inner, handler::content_handler) { ngx::CONF_OK } else { ngx::CONF_ERROR }
    })
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this at the end of the `http` block, with its own configuration record.
    guard("postconfiguration", ngx::ERROR, || if directives::check(unsafe { &mut *cf }) { ngx::OK } else { ngx::ERROR })
}

/// Always returns `NGX_OK`: workers serve without the memory that they would share.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx passes its cycle, whose configuration it has read, in the process that starts workers.
    guard("init_module", (), || unsafe { master::prepare(&mut *cycle) });
    ngx::OK
}

/// Always returns `NGX_OK`: nginx does not restart a worker that returns an error here, and its clients would wait for
/// ever.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx passes its cycle, in the process that serves requests, with its events initialised.
    guard("init_process", (), || unsafe { worker::start(cycle, transfer::TRANSFERS) });
    ngx::OK
}

unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: nginx calls this last, on the loop's thread, with its cycle.
    guard("exit_process", (), || unsafe { worker::stop(cycle) });
}
