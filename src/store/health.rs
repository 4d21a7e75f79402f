//! The port of the store as a whole.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::time::Timestamp;

/// Health and lifecycle of a store.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Whether other instances can use the store at the same time, so that their changes must be polled.
    fn is_shared(&self) -> bool;

    /// Succeeds if the store can be reached.
    async fn ping(&self) -> Result<(), StoreError>;

    /// The time of the store's clock; `None` if the store uses this machine's clock.
    async fn server_time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Completes once the store has failed and only reopening it can help. Most stores never do.
    async fn lost(&self) {
        std::future::pending().await
    }

    /// Completes queued work and closes the store.
    async fn close(&self);
}
