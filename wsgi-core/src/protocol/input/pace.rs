//! A limit on how slowly a client may send a body.

use std::time::{Duration, Instant};

/// Limits the total time that a host waits for the bytes of one body: [`GRACE`](Self::GRACE), plus the time that the received
/// bytes take at a minimum rate. So a client can be slow for a while, and a large body may take long, but no client can take
/// unlimited time by sending a byte now and then.
///
/// Time in which the application does not read is not counted.
///
/// ```
/// # use std::time::Duration;
/// use wsgi_core::host::Pace;
///
/// let mut pace = Pace::new(500);
/// assert_eq!(pace.left(), Some(Pace::GRACE));
/// pace.received(1000, Duration::from_secs(1));
/// assert_eq!(pace.left(), Some(Pace::GRACE + Duration::from_secs(1)));
/// ```
#[derive(Clone, Debug)]
pub struct Pace {
    /// Minimum rate in bytes per second; 0 means no limit.
    rate: u64,
    received: u64,
    waited: Duration,
}

impl Pace {
    /// How long a client may take without sending anything.
    pub const GRACE: Duration = Duration::from_secs(20);

    /// Default rate in bytes per second; Apache's `RequestReadTimeout` has the same.
    pub const RATE: u64 = 500;

    /// Creates a limit of `rate` bytes per second after the grace; 0 for no limit.
    pub fn new(rate: u64) -> Self {
        Self { rate, received: 0, waited: Duration::ZERO }
    }

    /// Returns how much longer the host may wait for the next bytes; zero if the client is too slow, `None` without a limit.
    pub fn left(&self) -> Option<Duration> {
        let earned = Duration::from_secs(self.received.checked_div(self.rate)?);
        Some(Self::GRACE.saturating_add(earned).saturating_sub(self.waited))
    }

    /// Records that the host waited for `waited` and received `bytes`, perhaps none.
    pub fn received(&mut self, bytes: usize, waited: Duration) {
        self.received = self.received.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
    }

    /// As [`received`](Self::received), for a wait that began at `began` and ends now.
    pub fn received_since(&mut self, bytes: usize, began: Instant) {
        self.received(bytes, began.elapsed());
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(Self::RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn trickled_body_is_too_slow_and_a_large_steady_body_is_not() {
        let mut dripping = Pace::new(500);
        (0..3).for_each(|_| dripping.received(1, 10 * SECOND));
        assert_eq!(dripping.left(), Some(Duration::ZERO));
        let mut large = Pace::new(500);
        (0..3000).for_each(|_| large.received(1000, SECOND));
        assert!(large.left() > Some(3000 * SECOND));
    }

    #[test]
    fn without_a_rate_there_is_no_limit_and_nothing_overflows() {
        let mut pace = Pace::new(0);
        pace.received(1, Duration::MAX);
        assert_eq!(pace.left(), None);
        let mut pace = Pace::new(1);
        (0..2).for_each(|_| pace.received(usize::MAX, Duration::MAX));
        assert!(pace.left().is_some());
    }
}
