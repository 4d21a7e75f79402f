//! Probes the store, which decides readiness, and counts sessions for the metrics.

use tokio::time::timeout;

use super::{Upkeep, ticks};
use crate::readiness::Readiness;

impl Upkeep {
    pub(super) async fn probe_store_repeatedly(&self) {
        let mut reported = None;
        let mut ticks = ticks(self.config.probe_interval);
        loop {
            ticks.tick().await;
            let answered = timeout(self.config.probe_timeout, self.store.ping()).await;
            let up = matches!(answered, Ok(Ok(())));
            self.metrics.set_store_up(up);
            if reported != Some(up) {
                // Before the instance takes calls, it knows which nodes drain. A failure has been logged; the poll repeats it.
                if up && reported.is_none() {
                    let _ = timeout(self.config.probe_timeout, self.nodes.read_records()).await;
                }
                reported = Some(up);
                self.report_store_health(up);
            }
        }
    }

    /// Readiness changes before it is logged, so that the log line is true when read.
    fn report_store_health(&self, up: bool) {
        if up {
            self.readiness.set(Readiness::Ready);
            tracing::info!("ready: the store answers");
        } else {
            self.readiness.set(Readiness::NotReady);
            tracing::error!("not ready: the store does not answer");
        }
    }

    pub(super) async fn count_sessions_repeatedly(&self) {
        let mut ticks = ticks(self.config.count_interval);
        loop {
            ticks.tick().await;
            // A failure has been logged by the store; the metrics keep their values until the next count.
            if let Ok(counts) = self.access.sessions.count_by_state().await {
                for (state, count) in counts {
                    self.metrics.set_sessions(state.name(), count);
                }
            }
        }
    }
}
