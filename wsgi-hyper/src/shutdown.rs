//! Shutdown of a gateway whose responses are read by tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use wsgi_core::python::Gateway;

/// Shuts a gateway down like [`Gateway::shutdown`], for async programs: does not block the runtime, so that tasks can
/// read the responses that applications still send, also on a runtime with a single thread. Call it last.
///
/// Responses that are incomplete by then are cut: their bodies end with [`Cut`](crate::Cut), and a response without a
/// head becomes 503. `Gateway::shutdown` cuts them as well, but on the only thread of a runtime it waits in vain for
/// applications whose responses that thread would have to read.
///
/// In a tokio runtime this uses a thread of `spawn_blocking`. In another runtime it blocks as `Gateway::shutdown` does.
pub async fn shutdown(gateway: &Arc<Gateway>, within: Duration) {
    let gateway = Arc::clone(gateway);
    match Handle::try_current() {
        Ok(runtime) => {
            // An error means that the runtime is shutting down: the gateway ends with the process.
            let _ = runtime.spawn_blocking(move || gateway.shutdown(within)).await;
        }
        Err(_) => gateway.shutdown(within),
    }
}
