//! Sessions end with their window, or once they have been empty for long enough.

use tokio::time::{MissedTickBehavior, interval};

use super::{Config, Parts};

pub(super) async fn run(config: Config, parts: Parts) {
    let mut ticks = interval(config.overdue_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A failure has been logged by the store; what is left is found again.
        let _ = parts.app.upkeep.end_overdue_sessions().await;
        let _ = parts.app.upkeep.retry_unreadable_sessions().await;
    }
}
