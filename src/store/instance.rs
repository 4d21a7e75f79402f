//! The port of instances: their heartbeats, and the sessions whose connections they hold.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::id::SessionId;

/// Stores the heartbeats of instances. A session records which instance holds each participant's connection.
#[async_trait]
pub trait InstanceStore: Send + Sync {
    /// Writes an instance's heartbeat, a number that must differ from the one before.
    async fn write_heartbeat(&self, instance_id: &str, heartbeat: i64) -> Result<(), StoreError>;

    /// The instances with their heartbeats. At most `limit`, by id.
    async fn heartbeats(&self, limit: usize) -> Result<Vec<(String, i64)>, StoreError>;

    /// Sessions with participants whose connections an instance holds. At most `limit`, in no order.
    async fn sessions_held_by(
        &self,
        instance_id: &str,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// Deletes an instance without participants.
    async fn remove_instance(&self, instance_id: &str) -> Result<(), StoreError>;
}
