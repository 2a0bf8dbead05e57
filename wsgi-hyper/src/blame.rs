//! Records whether the client caused a failure of the application.

use std::sync::atomic::{AtomicU16, Ordering};

use http::StatusCode;

/// The status to answer with if the application fails because of its request body: 400 for a malformed body, 408 for a
/// body that arrives too slowly. The application may also ignore the failure and answer.
#[derive(Default)]
pub(crate) struct Blame(AtomicU16);

impl Blame {
    pub(crate) fn put_on_client(&self, status: StatusCode) {
        self.0.store(status.as_u16(), Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        // 0 is not a valid status.
        StatusCode::from_u16(self.0.load(Ordering::Relaxed)).ok()
    }
}
