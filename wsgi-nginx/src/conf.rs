//! The module's configuration as nginx keeps it: one record for the `http` block, one for every level below.
//!
//! nginx holds plain pointers; behind them stand Rust values that a clean-up handler of the configuration's pool drops.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use wsgi_core::config::{Flag, LevelSettings, Place, ProcessSettings};
use wsgi_core::environ::Mount;
use wsgi_core::lock::Leaf;
use wsgi_core::python::Location;
use wsgi_core::reload::Mechanism;

use crate::bindings::{
    ngx_conf_t, ngx_cycle_t, ngx_http_complex_value_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_http_module,
    ngx_int_t, ngx_module_t, ngx_pool_cleanup_add, ngx_str_t,
};
use crate::guard::guard;
use crate::ngx::Request;
use crate::retire::{NginxControl, Turn};
use crate::{ngx, temporary};

unsafe extern "C" {
    /// The module's own record (`entry.rs`), which has its places in nginx's tables.
    static ngx_http_wsgi_module: ngx_module_t;
}

/// Answers requests of a location (`ngx_http_core_loc_conf_t.handler`).
pub(crate) type ContentHandler = unsafe extern "C" fn(*mut Request) -> ngx_int_t;

/// Whether this process serves requests with the configuration: then nothing of it is dropped before the process ends.
static SERVING: AtomicBool = AtomicBool::new(false);

/// Called in a worker before its first request.
pub(crate) fn set_serving() {
    SERVING.store(true, Ordering::Relaxed);
}

/// The module's settings of the location that a request is in.
pub(crate) fn of(request: &Request) -> &'static LocationConf {
    // SAFETY: a live request, and `create` has made the record. A process that serves keeps it to its end (`drop_conf`).
    unsafe { ngx::location_conf(request, &raw const ngx_http_wsgi_module) }
}

/// The module's context in a request; null if there is none (`ngx_http_get_module_ctx`).
pub(crate) fn context(request: &Request) -> *mut c_void {
    // SAFETY: a live request has one place for each HTTP module.
    unsafe { *request.ctx.add(ngx_http_wsgi_module.ctx_index) }
}

/// Replaces the module's context in a request (`ngx_http_set_ctx`).
pub(crate) fn set_context(request: &mut Request, context: *mut c_void) {
    // SAFETY: a live request has one place for each HTTP module.
    unsafe { *request.ctx.add(ngx_http_wsgi_module.ctx_index) = context };
}

/// The module's settings of the `http` block that is being read.
pub(crate) fn main_in(cf: &mut ngx_conf_t) -> &mut MainConf {
    // SAFETY: inside of an `http` block, for which `create` has made the record. nginx reads with one thread.
    unsafe { &mut *ngx::parsed_main(cf, &raw const ngx_http_wsgi_module).cast() }
}

/// The module's settings of the `http` block of a cycle, if there is one.
///
/// # Safety
///
/// nginx's cycle, whose configuration has been read.
pub(crate) unsafe fn main_of<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a MainConf> {
    // SAFETY: nginx's tables: for the http module the entry is its context, or null without an `http` block.
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
    /// Compiled values of all `wsgi_var` directives, by their number; in the configuration's pool.
    pub(crate) values: Vec<*mut ngx_http_complex_value_t>,
    /// Values that may name variables, and where they stand.
    pub(crate) references: Vec<Reference>,
    /// Every place that serves an application, and whether it is loaded at start.
    pub(crate) locations: Vec<(Arc<Location>, bool)>,
    /// Whose turn it is to make way for a new worker, if any location asks for that.
    pub(crate) turn: Option<Turn>,
}

/// The value of a `wsgi_var` directive.
pub(crate) struct Reference {
    pub(crate) text: ngx_str_t,
    pub(crate) place: Place,
}

/// Settings of one level, and below `location` what a request needs of them.
#[derive(Default)]
pub(crate) struct LocationConf {
    pub(crate) settings: LevelSettings,
    pub(crate) location: Option<Arc<Location>>,
    /// Names and compiled values of the variables in force.
    pub(crate) variables: Vec<(Arc<str>, *mut ngx_http_complex_value_t)>,
    mount: OwnedMount,
}

/// How the location's name relates to the URI.
#[derive(Clone, Default)]
enum OwnedMount {
    /// Regular expressions, named locations, and levels that are no locations.
    #[default]
    None,
    Prefix(Vec<u8>),
    Exact(Vec<u8>),
}

impl OwnedMount {
    /// That of a location which has a name of its own.
    fn of(core: &ngx_http_core_loc_conf_t) -> Self {
        // SAFETY: the configuration's strings live as long as it does.
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

/// A default `T` that lives as long as the configuration; null without memory.
pub(crate) fn create<T: Default>(cf: &mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the configuration's pool.
    let Some(cleanup) = (unsafe { ngx_pool_cleanup_add(cf.pool, 0).as_mut() }) else { return std::ptr::null_mut() };
    let conf = Box::into_raw(Box::<T>::default()).cast();
    cleanup.data = conf;
    cleanup.handler = Some(drop_conf::<T>);
    conf
}

/// What [`drop_conf`] has kept: within reach, so that a leak checker tells it from what was lost.
static KEPT: Leaf<Vec<AtomicPtr<c_void>>> = Leaf::new(Vec::new());

unsafe extern "C" fn drop_conf<T>(data: *mut c_void) {
    guard("drop_conf", (), || {
        // A worker's configuration goes away when the process ends, and holds applications: dropping them would run
        // their destructors after Python's last word. (A single process that reloads keeps the old one, too.)
        if SERVING.load(Ordering::Relaxed) {
            KEPT.with(|kept| kept.push(AtomicPtr::new(data)));
        } else {
            // SAFETY: `data` was boxed in `create`, and the pool calls this once.
            drop(unsafe { Box::from_raw(data.cast::<T>()) });
        }
    });
}

/// Completes the settings of an inner level from the outer one (`merge_loc_conf`); false after nginx has said what is wrong.
/// `cf` stands in the inner one.
pub(crate) fn merge(
    cf: &mut ngx_conf_t,
    outer: &LocationConf,
    inner: &mut LocationConf,
    content_handler: ContentHandler,
) -> bool {
    // Blocks of `if` and `limit_except`: they go by the name of the location around them.
    let nameless = cf.core_location().noname() != 0;
    let own_target = inner.settings.target.is_some();
    inner.settings.inherit(&outer.settings, nameless);
    if inner.settings.target.is_some() && !temporary::settle(cf, &mut inner.settings) {
        return false;
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
                if main.turn.is_none() {
                    main.turn = Turn::new();
                }
                builder = builder.control(Arc::new(NginxControl));
            }
            let location = builder.build();
            main.locations.push((Arc::clone(&location), inner.settings.is_on(Flag::Preload)));
            Some(location)
        }
    };
    // Without a handler of its own nginx would serve files here.
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
