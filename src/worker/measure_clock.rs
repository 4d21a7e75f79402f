//! Measures the difference between this machine's clock and the store's.

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Config, Parts};

pub(super) async fn run(config: Config, parts: Parts) {
    let mut ticks = interval(config.probe_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A failure has been logged by the store; the metric keeps its value until the next measurement.
        let _ = timeout(config.probe_timeout, parts.app.upkeep.measure_clock_skew()).await;
    }
}
