//! Waiting for conditions that are certain to become true.

use std::time::{Duration, Instant};

/// Timeout for such a condition: generous, for a busy machine.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Calls `question` until it returns a value; for sources without notifications (a log file, the process table). Panics after
/// [`WAIT_TIMEOUT`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WAIT_TIMEOUT;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
