//! The module in the master: makes the memory that its workers share.

use std::ffi::c_void;

use wsgi_core::host::Level;

use crate::bindings::{
    NGX_PROCESS_SIGNALLER, ngx_core_conf_t, ngx_core_module, ngx_cycle_t, ngx_event_conf_t, ngx_event_core_module,
    ngx_events_module, ngx_process, ngx_test_config,
};
use crate::conf::{self, MainConf};
use crate::log;
use crate::shared::Shared;

/// Makes the shared memory of a configuration (`init_module`), if its workers need it. Without it they serve all the same.
///
/// # Safety
///
/// nginx calls this in the process that will start workers, with the cycle whose configuration it has read.
pub(crate) unsafe fn prepare(cycle: &mut ngx_cycle_t) {
    // SAFETY: nginx sets both at its start.
    if unsafe { ngx_test_config != 0 || ngx_process == NGX_PROCESS_SIGNALLER } {
        return;
    }
    // SAFETY: the configuration of the cycle has been read, as the caller promises.
    let (Some(main), core) = (unsafe { (conf::main_of(cycle), core_conf(cycle)) }) else { return };
    if main.locations.is_empty() || core.master == 0 {
        return;
    }
    let workers = usize::try_from(core.worker_processes).unwrap_or(1);
    let shares_load = workers > 1 && main.process.shares_load() && can_share(cycle, main);
    if !shares_load && !main.retires {
        return;
    }
    match Shared::new(workers) {
        Ok(mut shared) => {
            if shares_load && let Err(error) = shared.open_descriptors() {
                let remedy = "raise the limit of nginx (ulimit -n, LimitNOFILE= of systemd)";
                warn(cycle, &format!("there are too few descriptors for {workers} workers ({error}); {remedy}"));
            }
            // `init_module` is called once for a configuration, so that the cell is unset.
            let _ = main.shared.set(shared);
        }
        Err(error) => warn(cycle, &format!("cannot map shared memory: {error}")),
    }
}

fn warn(cycle: &ngx_cycle_t, trouble: &str) {
    write(cycle, Level::Warn, &format!("workers do not share their load: {trouble}"));
}

/// Whether the sockets allow workers to share their load. Logs a notice if not.
fn can_share(cycle: &ngx_cycle_t, main: &MainConf) -> bool {
    // SAFETY: the configuration of the cycle has been read.
    if unsafe { event_conf(cycle) }.accept_mutex != 0 {
        let text = "workers do not share their load: with \"accept_mutex on\" nginx itself decides which worker accepts \
                    connections";
        write(cycle, Level::Notice, text);
        return false;
    }
    if let Some(address) = main.addresses.with_reuseport(cycle) {
        let text = format!(
            "workers do not share the load of connections to {address}: with \"reuseport\" each worker has a separate \
             queue of them"
        );
        write(cycle, Level::Notice, &text);
    }
    true
}

fn write(cycle: &ngx_cycle_t, level: Level, text: &str) {
    // SAFETY: the cycle's log, in the only thread of this process.
    unsafe { log::write(cycle.log, level, text) };
}

/// # Safety
///
/// The configuration of the cycle has been read.
unsafe fn core_conf(cycle: &ngx_cycle_t) -> &ngx_core_conf_t {
    // SAFETY: the core module has a record.
    unsafe { &*cycle.conf_ctx.add(ngx_core_module.index).read().cast() }
}

/// # Safety
///
/// The configuration of the cycle has been read.
unsafe fn event_conf(cycle: &ngx_cycle_t) -> &ngx_event_conf_t {
    // SAFETY: nginx requires an `events` block, whose context is a table with an entry for each event module
    // (`ngx_event_get_conf`).
    unsafe {
        let events: *mut *mut c_void = cycle.conf_ctx.add(ngx_events_module.index).read().cast();
        let events: *mut *mut c_void = (*events).cast();
        &*(*events.add(ngx_event_core_module.ctx_index)).cast()
    }
}
