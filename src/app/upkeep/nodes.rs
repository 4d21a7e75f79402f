//! Reads the operators' states of SFU nodes.

use super::{Upkeep, ticks};

impl Upkeep {
    pub(super) async fn read_node_states_repeatedly(&self) {
        let mut ticks = ticks(self.config.node_poll_interval);
        loop {
            ticks.tick().await;
            // The store has logged the failure; the states stay as they were until the next tick.
            let _ = self.nodes.read_records().await;
        }
    }
}
