//! The end of a gateway whose responses are taken by tasks.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use wsgi_core::python::Gateway;

/// As [`Gateway::shutdown`], for programs that await: waits without holding up the runtime, so that tasks go on to take what
/// applications send, also on a runtime with a single thread. Call it last.
///
/// Responses that are not complete by then are cut: their bodies end with [`Cut`](crate::Cut), and a response without a head
/// becomes 503. `Gateway::shutdown` cuts them as well, but on the only thread of a runtime it waits in vain for applications
/// whose responses that thread would have to take.
///
/// Inside of tokio this takes a thread of `spawn_blocking`. With another runtime it blocks as `Gateway::shutdown` does.
pub async fn shutdown(gateway: &Arc<Gateway>, within: Duration) {
    let gateway = Arc::clone(gateway);
    match Handle::try_current() {
        Ok(runtime) => {
            // An error means that the runtime is at its end: the gateway ends with the process.
            let _ = runtime.spawn_blocking(move || gateway.shutdown(within)).await;
        }
        Err(_) => gateway.shutdown(within),
    }
}
