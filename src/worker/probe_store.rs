//! Readiness follows the store: lost within a probe, back within a probe.

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Config, Parts};
use crate::rpc::Readiness;

pub(super) async fn run(config: Config, parts: Parts) {
    let mut ticks = interval(config.probe_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answered = timeout(config.probe_timeout, parts.store.ping()).await;
        let up = matches!(answered, Ok(Ok(())));
        report(
            &parts,
            if up {
                Readiness::Ready
            } else {
                Readiness::NotReady
            },
        );
    }
}

fn report(parts: &Parts, readiness: Readiness) {
    parts.metrics.store_up(readiness == Readiness::Ready);
    if parts.health.readiness() == readiness {
        return;
    }
    // Before the log says so: whoever acts on the line must find it true.
    parts.health.set(readiness);
    match readiness {
        Readiness::Ready => tracing::info!("ready: the store answers"),
        Readiness::NotReady | Readiness::Draining => {
            tracing::error!("not ready: the store does not answer");
        }
    }
}
