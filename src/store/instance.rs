//! The port of instances: which of them live, and whose connections they hold.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::id::SessionId;

/// Keeps the heartbeats by which instances show each other that they live. Which instance holds a participant's connection stands in the
/// participant's session.
#[async_trait]
pub trait InstanceStore: Send + Sync {
    /// Says that an instance lives: replaces its heartbeat by another one.
    async fn write_heartbeat(&self, instance_id: &str, heartbeat: i64) -> Result<(), StoreError>;

    /// The instances that have a heartbeat, and their heartbeats. At most `limit`, by id.
    async fn heartbeats(&self, limit: usize) -> Result<Vec<(String, i64)>, StoreError>;

    /// Sessions with participants whose connections an instance holds. At most `limit`, in no order.
    async fn sessions_held_by(
        &self,
        instance_id: &str,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// Forgets an instance that holds nobody any more.
    async fn remove_instance(&self, instance_id: &str) -> Result<(), StoreError>;
}
