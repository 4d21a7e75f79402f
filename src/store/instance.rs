//! The port of instances: their heartbeats, and the sessions whose connections they hold.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::id::{NodeId, SessionId};

/// An instance's stored heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The instance.
    pub instance_id: String,
    /// A number that differs from the one before.
    pub number: i64,
    /// The SFU nodes that do not answer the instance; `None` if it observes no nodes, as a former version.
    pub lost_nodes: Option<Vec<NodeId>>,
}

impl Heartbeat {
    /// The heartbeat of an instance that observes no nodes.
    pub fn new(instance_id: impl Into<String>, number: i64) -> Self {
        Self {
            instance_id: instance_id.into(),
            number,
            lost_nodes: None,
        }
    }
}

/// Stores the heartbeats of instances. A session records which instance holds each participant's connection.
#[async_trait]
pub trait InstanceStore: Send + Sync {
    /// Writes an instance's heartbeat.
    async fn write_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError>;

    /// The heartbeats of all instances. At most `limit`, by instance id.
    async fn heartbeats(&self, limit: usize) -> Result<Vec<Heartbeat>, StoreError>;

    /// Sessions with participants whose connections an instance holds. At most `limit`, in no order.
    async fn sessions_held_by(
        &self,
        instance_id: &str,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// Deletes an instance without participants.
    async fn remove_instance(&self, instance_id: &str) -> Result<(), StoreError>;
}
