//! Whether the client is to blame for a failure of the application.

use std::sync::atomic::{AtomicU16, Ordering};

use http::StatusCode;

/// The status for an application that fails because of its request body: 400 for a malformed one, 408 for one that comes too
/// slowly. The application may also go on without the rest of it, and answer.
#[derive(Default)]
pub(crate) struct Blame(AtomicU16);

impl Blame {
    pub(crate) fn put_on_client(&self, status: StatusCode) {
        self.0.store(status.as_u16(), Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        // 0 is no status.
        StatusCode::from_u16(self.0.load(Ordering::Relaxed)).ok()
    }
}
