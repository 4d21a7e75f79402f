//! Every instance says that it lives, and finds those that do not: their participants are gone.

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::{Config, Parts};

pub(super) async fn run(config: Config, parts: Parts) {
    let lease = Duration::from_secs(config.lease_secs);
    let mut ticks = interval(config.beat_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whoever starts may be the only one that the participants of a dead instance can come back to.
    let mut patient_until = Instant::now() + parts.app.grace();
    let mut beaten = Instant::now();
    loop {
        ticks.tick().await;
        // A failure has been logged by the store; what is left is found again.
        if parts.app.beat(config.lease_secs).await.is_err() {
            continue;
        }
        let now = Instant::now();
        // The store was away for everybody: the others live, and have not been able to say so yet.
        if now.duration_since(beaten) > lease {
            patient_until = patient_until.max(now + lease);
        }
        beaten = now;
        if now >= patient_until {
            let _ = parts.app.bury_the_dead(config.lease_secs).await;
        }
    }
}
