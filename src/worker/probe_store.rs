//! Sets readiness by probing the store.

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Config, Parts};
use crate::readiness::Readiness;

pub(super) async fn run(config: Config, parts: Parts) {
    let mut reported = None;
    let mut ticks = interval(config.probe_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answered = timeout(config.probe_timeout, parts.stores.health.ping()).await;
        let up = matches!(answered, Ok(Ok(())));
        parts.metrics.set_store_up(up);
        if reported != Some(up) {
            reported = Some(up);
            report_store_health(&parts, up);
        }
    }
}

/// Readiness changes before it is logged, so that the log line is true when read.
fn report_store_health(parts: &Parts, up: bool) {
    if up {
        parts.readiness.set(Readiness::Ready);
        tracing::info!("ready: the store answers");
    } else {
        parts.readiness.set(Readiness::NotReady);
        tracing::error!("not ready: the store does not answer");
    }
}
