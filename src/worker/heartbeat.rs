//! Writes this instance's heartbeat and sweeps dead instances.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Config, Parts};
use crate::app::{Liveness, LivenessTimes};

pub(super) async fn run(config: Config, parts: Parts) {
    let mut liveness = Liveness::new(LivenessTimes {
        heartbeat_interval: config.heartbeat_interval,
        lease: Duration::from_secs(config.lease_secs),
        grace: config.grace,
    });
    let mut ticks = interval(config.heartbeat_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The store has logged the failure; the next tick repeats the work.
        if parts
            .app
            .upkeep
            .write_heartbeat(&mut liveness)
            .await
            .is_err()
        {
            continue;
        }
        if let Ok(dead) = parts.app.upkeep.find_dead_instances(&mut liveness).await {
            // The heartbeat continues during a long sweep.
            let sweep = parts.app.upkeep.sweep_dead_instances(&dead);
            let _ = timeout(config.heartbeat_interval, sweep).await;
        }
    }
}
