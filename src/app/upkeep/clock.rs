//! Measures the difference between this machine's clock and the store's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::{Upkeep, ticks};
use crate::domain::error::Error;
use crate::domain::time::Timestamp;

impl Upkeep {
    pub(super) async fn measure_clock_repeatedly(&self) {
        let mut ticks = ticks(self.config.probe_interval);
        loop {
            ticks.tick().await;
            // A failure has been logged by the store; the metric keeps its value until the next measurement.
            let _ = timeout(self.config.probe_timeout, self.measure_clock_skew()).await;
        }
    }

    /// Compares this machine's clock with the store's, if the store has its own.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    async fn measure_clock_skew(&self) -> Result<(), Error> {
        let sent = self.clock.now();
        let clock = self.store.server_time().await;
        let received = self.clock.now();
        let Some(clock) = clock.map_err(|error| self.access.error(&error))? else {
            return Ok(());
        };
        let skew = ClockSkew::of(sent, clock, received);
        self.metrics.set_clock_skew(skew.millis);
        self.memory
            .clock_watch
            .report(skew, self.config.clock_skew_warn);
        Ok(())
    }
}

/// How far this machine's clock is ahead of the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClockSkew {
    /// Milliseconds; negative when this machine's clock is behind.
    millis: i64,
    /// The possible error: the store read its clock at an unknown time between request and answer.
    uncertainty_millis: i64,
}

impl ClockSkew {
    /// The skew, from this machine's times of the request and the answer, and the store's time.
    fn of(sent: Timestamp, clock: Timestamp, received: Timestamp) -> Self {
        let [sent, clock, received] = [sent, clock, received].map(Timestamp::as_millis);
        // Negative if this machine's clock was set back in between; the result is uncertain then too.
        let half = (received - sent) / 2;
        Self {
            millis: sent + half - clock,
            uncertainty_millis: half.abs(),
        }
    }

    fn exceeds(self, limit: Duration) -> bool {
        let certain = self.millis.saturating_abs() - self.uncertainty_millis;
        u128::try_from(certain).is_ok_and(|certain| certain > limit.as_millis())
    }
}

/// Remembers whether it was logged that the clocks differ.
#[derive(Default)]
pub(super) struct ClockWatch {
    differ: AtomicBool,
}

impl ClockWatch {
    fn report(&self, skew: ClockSkew, limit: Duration) {
        let differ = skew.exceeds(limit);
        if self.differ.swap(differ, Ordering::Relaxed) == differ {
            return;
        }
        let skew_ms = skew.millis;
        if differ {
            tracing::warn!(
                skew_ms,
                "this machine's clock and the store's differ by more than CLOCK_SKEW_WARN_MS"
            );
        } else {
            tracing::info!(skew_ms, "this machine's clock and the store's agree again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_measured_halfway_and_exceeds_a_limit_only_if_certain() {
        let at = Timestamp::from_millis;
        let limit = Duration::from_secs(5);
        let skew = |sent, clock, received| ClockSkew::of(at(sent), at(clock), at(received));
        assert_eq!(skew(1000, 1010, 1020).millis, 0);
        assert_eq!(skew(61_000, 1010, 61_020).millis, 60_000);
        assert_eq!(skew(1000, 61_010, 1020).millis, -60_000);
        assert!(skew(61_000, 1010, 61_020).exceeds(limit));
        assert!(skew(1000, 61_010, 1020).exceeds(limit));
        assert!(!skew(6000, 1000, 6000).exceeds(limit));
        assert!(skew(6001, 1000, 6001).exceeds(limit));
        // The answer took so long that the clocks may agree.
        assert!(!skew(1000, 1000, 15_000).exceeds(limit));
        assert!(!skew(15_000, 1000, 1000).exceeds(limit));
    }
}
