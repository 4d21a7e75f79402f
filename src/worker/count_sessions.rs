//! Counts sessions, for the metrics.

use tokio::time::{MissedTickBehavior, interval};

use super::{Config, Parts};

pub(super) async fn run(config: Config, parts: Parts) {
    let mut ticks = interval(config.count_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A failure has been logged by the store; the metrics keep their values until the next count.
        if let Ok(counts) = parts.stores.sessions.count_by_state().await {
            for (state, count) in counts {
                parts.metrics.set_sessions(state.name(), count);
            }
        }
    }
}
