//! The port of instances: which of them live, and whose connections they hold.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::id::SessionId;

/// Keeps the marks by which instances show each other that they live. Which instance holds a participant's connection stands in the
/// participant's session.
#[async_trait]
pub trait InstanceStore: Send + Sync {
    /// Says that an instance lives: replaces its mark by another one.
    async fn beat(&self, instance_id: &str, mark: i64) -> Result<(), StoreError>;

    /// The instances that have a mark, and their marks. At most `limit`, by id.
    async fn instances(&self, limit: usize) -> Result<Vec<(String, i64)>, StoreError>;

    /// Sessions with participants whose connections an instance holds. At most `limit`, in no order.
    async fn held_by(&self, instance_id: &str, limit: usize) -> Result<Vec<SessionId>, StoreError>;

    /// Forgets an instance that holds nobody any more.
    async fn forget_instance(&self, instance_id: &str) -> Result<(), StoreError>;
}
