//! Every instance says that it lives, and finds those that do not: their participants are gone.

use tokio::time::{MissedTickBehavior, interval};

use super::{Config, Parts};

pub(super) async fn run(config: Config, parts: Parts) {
    let mut ticks = interval(config.beat_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A failure has been logged by the store; what is left is found again.
        let _ = parts.app.keep_alive(config.lease_secs).await;
    }
}
