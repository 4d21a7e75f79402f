//! Reconciles all rooms of the SFU nodes, in case a request after a commit was lost.

use futures::future::join_all;

use super::{Upkeep, ticks};

impl Upkeep {
    pub(super) async fn request_rooms_repeatedly(&self) {
        let mut ticks = ticks(self.config.rooms_interval);
        // Instances that start together do not ask the nodes together.
        tokio::time::sleep(self.config.rooms_interval.mul_f64(fastrand::f64())).await;
        loop {
            ticks.tick().await;
            let nodes = self.drivers.node_ids();
            // A slow node delays no other.
            join_all(nodes.iter().map(|node_id| async {
                if let Err(error) = self.reconciler.request_rooms(node_id).await {
                    tracing::debug!(node_id = node_id.as_str(), %error, "the node's rooms were not listed");
                }
            }))
            .await;
        }
    }
}
