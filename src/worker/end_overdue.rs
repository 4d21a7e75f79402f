//! Ends sessions whose join window is over, or that have been empty for too long.

use tokio::time::{MissedTickBehavior, interval};

use super::{Config, Parts};

pub(super) async fn run(config: Config, parts: Parts) {
    let mut ticks = interval(config.overdue_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The store has logged the failure; the next tick repeats the work.
        let _ = parts.app.upkeep.end_overdue_sessions().await;
        let _ = parts.app.upkeep.retry_unreadable_sessions().await;
    }
}
