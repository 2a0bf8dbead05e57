//! The module's configuration as nginx stores it: one record for the `http` block, and one for every level below.
//!
//! nginx stores plain pointers to Rust values. A clean-up handler of the configuration's pool drops the values.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use wsgi_core::config::{Flag, LevelSettings, Mechanism, Place, ProcessSettings};
use wsgi_core::host::{Leaf, Mount};
use wsgi_core::python::Location;

use crate::bindings::{
    ngx_conf_t, ngx_cycle_t, ngx_http_complex_value_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_srv_conf_t, ngx_http_module, ngx_int_t, ngx_module_t, ngx_pool_cleanup_add, ngx_str_t,
};
use crate::guard::guard;
use crate::listeners::Addresses;
use crate::ngx::Request;
use crate::retire::NginxControl;
use crate::shared::Shared;
use crate::{ngx, temporary};

unsafe extern "C" {
    /// The module record (`entry.rs`), which has its indices in nginx's tables.
    static ngx_http_wsgi_module: ngx_module_t;
}

/// Answers requests of a location (`ngx_http_core_loc_conf_t.handler`).
pub(crate) type ContentHandler = unsafe extern "C" fn(*mut Request) -> ngx_int_t;

/// Whether this process serves requests with the configuration. The configuration is then never dropped.
static SERVING: AtomicBool = AtomicBool::new(false);

/// Marks the configuration as in use. Called in a worker before its first request.
pub(crate) fn set_serving() {
    SERVING.store(true, Ordering::Relaxed);
}

/// Returns the module's settings of the location that a request is in.
pub(crate) fn of(request: &Request) -> &'static LocationConf {
    // SAFETY: the request is alive, and `create` has made the record. A process that serves never drops it
    // (`drop_conf`).
    unsafe { ngx::location_conf(request, &raw const ngx_http_wsgi_module) }
}

/// Returns the module's context in a request, or null if there is none (`ngx_http_get_module_ctx`).
pub(crate) fn context(request: &Request) -> *mut c_void {
    // SAFETY: a live request has one context slot for each HTTP module.
    unsafe { *request.ctx.add(ngx_http_wsgi_module.ctx_index) }
}

/// Replaces the module's context in a request (`ngx_http_set_ctx`).
pub(crate) fn set_context(request: &mut Request, context: *mut c_void) {
    // SAFETY: a live request has one context slot for each HTTP module.
    unsafe { *request.ctx.add(ngx_http_wsgi_module.ctx_index) = context };
}

/// Returns the module's settings of the `http` block that nginx is reading.
pub(crate) fn main_in(cf: &mut ngx_conf_t) -> &mut MainConf {
    // SAFETY: nginx is inside an `http` block, for which `create` has made the record. nginx reads with one thread.
    unsafe { &mut *ngx::parsed_main(cf, &raw const ngx_http_wsgi_module).cast() }
}

/// Returns the module's settings of the `http` block of a cycle, if there is one.
///
/// # Safety
///
/// `cycle` is nginx's cycle, whose configuration has been read.
pub(crate) unsafe fn main_of<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a MainConf> {
    // SAFETY: nginx's table has an entry for the http module: its context, or null without an `http` block.
    unsafe {
        let http: *mut *mut *mut *mut c_void = (*cycle).conf_ctx;
        let context: *mut ngx_http_conf_ctx_t = (*http.add(ngx_http_module.index)).cast();
        let context = context.as_ref()?;
        (*context.main_conf.add(ngx_http_wsgi_module.ctx_index)).cast::<MainConf>().as_ref()
    }
}

/// Settings of the whole `http` block.
#[derive(Default)]
pub(crate) struct MainConf {
    pub(crate) process: ProcessSettings,
    /// Compiled values of all `wsgi_var` directives, indexed by the variable's number; in the configuration's pool.
    pub(crate) values: Vec<*mut ngx_http_complex_value_t>,
    /// Values that may contain nginx variables, with the place of each in the configuration.
    pub(crate) references: Vec<Reference>,
    /// Every location that serves an application, and whether it is loaded at start.
    pub(crate) locations: Vec<(Arc<Location>, bool)>,
    /// The servers of these locations.
    pub(crate) servers: Vec<*mut ngx_http_core_srv_conf_t>,
    /// Their addresses.
    pub(crate) addresses: Addresses,
    /// Whether a location has `wsgi_reload_mechanism process`, so that workers may retire.
    pub(crate) retires: bool,
    /// The memory that workers share, if they share their load or may retire.
    pub(crate) shared: OnceLock<Shared>,
}

/// The value of a `wsgi_var` directive.
pub(crate) struct Reference {
    pub(crate) text: ngx_str_t,
    pub(crate) place: Place,
}

/// Settings of one level. A level that serves an application also has the values that its requests need.
#[derive(Default)]
pub(crate) struct LocationConf {
    pub(crate) settings: LevelSettings,
    pub(crate) location: Option<Arc<Location>>,
    /// Names and compiled values of the variables that apply here.
    pub(crate) variables: Vec<(Arc<str>, *mut ngx_http_complex_value_t)>,
    mount: OwnedMount,
}

/// How the location's name relates to the URI.
#[derive(Clone, Default)]
enum OwnedMount {
    /// Regular expressions, named locations, and levels that are not locations.
    #[default]
    None,
    Prefix(Vec<u8>),
    Exact(Vec<u8>),
}

impl OwnedMount {
    /// Returns the mount of a location that has a name.
    fn of(core: &ngx_http_core_loc_conf_t) -> Self {
        // SAFETY: the configuration's strings live as long as the configuration.
        let name = unsafe { ngx::bytes(&core.name) };
        if core.exact_match() != 0 {
            Self::Exact(name.to_vec())
        } else if core.named() != 0 || is_regex(core) {
            Self::None
        } else {
            Self::Prefix(name.to_vec())
        }
    }
}

impl LocationConf {
    pub(crate) fn mount(&self) -> Mount<'_> {
        match &self.mount {
            OwnedMount::None => Mount::None,
            OwnedMount::Prefix(name) => Mount::Prefix(name),
            OwnedMount::Exact(name) => Mount::Exact(name),
        }
    }
}

/// Creates a default `T` that lives as long as the configuration. Returns null if there is no memory.
pub(crate) fn create<T: Default>(cf: &mut ngx_conf_t) -> *mut c_void {
    // SAFETY: `cf.pool` is the pool of the configuration that nginx is reading.
    let Some(cleanup) = (unsafe { ngx_pool_cleanup_add(cf.pool, 0).as_mut() }) else { return std::ptr::null_mut() };
    let conf = Box::into_raw(Box::<T>::default()).cast();
    cleanup.data = conf;
    cleanup.handler = Some(drop_conf::<T>);
    conf
}

/// Values that [`drop_conf`] has not dropped: reachable from a static, so that a leak checker does not report them.
static KEPT: Leaf<Vec<AtomicPtr<c_void>>> = Leaf::new(Vec::new());

unsafe extern "C" fn drop_conf<T>(data: *mut c_void) {
    guard("drop_conf", (), || {
        // nginx destroys a worker's configuration when the process ends. The configuration holds applications, whose
        // destructors must not run after Python has been finalised. (A single process that reloads keeps the old
        // configuration, too.)
        if SERVING.load(Ordering::Relaxed) {
            KEPT.with(|kept| kept.push(AtomicPtr::new(data)));
        } else {
            // SAFETY: `data` was boxed in `create`, and the pool calls this once.
            drop(unsafe { Box::from_raw(data.cast::<T>()) });
        }
    });
}

/// Merges the settings of an outer level into an inner one (`merge_loc_conf`). Returns false after nginx has logged the
/// error. `cf` is at the inner level.
pub(crate) fn merge(
    cf: &mut ngx_conf_t,
    outer: &LocationConf,
    inner: &mut LocationConf,
    content_handler: ContentHandler,
) -> bool {
    // Blocks of `if` and `limit_except` use the name of the enclosing location.
    let nameless = cf.core_location().noname() != 0;
    let own_target = inner.settings.target.is_some();
    inner.settings.inherit(&outer.settings, nameless);
    if inner.settings.target.is_some() {
        if !temporary::settle(cf, &mut inner.settings) {
            return false;
        }
        // nginx merges its own settings of all levels before those of the module, so no other location inherits this.
        let core = cf.core_location();
        core.client_body_buffer_size = core.client_body_buffer_size.max(inner.settings.body_buffer_size());
    }
    inner.mount = if nameless { outer.mount.clone() } else { OwnedMount::of(cf.core_location()) };
    let main = main_in(cf);
    inner.variables = inner
        .settings
        .variables
        .iter()
        .map(|variable| (Arc::clone(&variable.name), main.values[variable.number]))
        .collect();
    let Some(target) = &inner.settings.target else { return true };
    inner.location = match &outer.location {
        Some(location) if !own_target => Some(Arc::clone(location)),
        _ => {
            let mut builder = Location::builder(target.clone()).settings(inner.settings.clone());
            let by_process = inner.settings.reload_mechanism == Some(Mechanism::Process);
            if by_process && inner.settings.is_on(Flag::ScriptReloading) {
                main.retires = true;
                builder = builder.control(Arc::new(NginxControl));
            }
            let location = builder.build();
            main.locations.push((Arc::clone(&location), inner.settings.is_on(Flag::Preload)));
            let server = cf.core_server();
            let servers = &mut main_in(cf).servers;
            if !servers.contains(&server) {
                servers.push(server);
            }
            Some(location)
        }
    };
    // nginx would serve files in a `limit_except` block without a handler.
    let core = cf.core_location();
    if core.lmt_excpt() != 0 && core.handler.is_none() {
        core.handler = Some(content_handler);
    }
    true
}

#[cfg(ngx_feature = "pcre")]
fn is_regex(core: &ngx_http_core_loc_conf_t) -> bool {
    !core.regex.is_null()
}

#[cfg(not(ngx_feature = "pcre"))]
fn is_regex(_core: &ngx_http_core_loc_conf_t) -> bool {
    false
}
