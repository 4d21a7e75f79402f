//! The port of the store as a whole.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::time::Timestamp;

/// What is asked of a store whatever it holds.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Whether other instances can use the store at the same time, so that what they do must be looked for.
    fn is_shared(&self) -> bool;

    /// Answers if the store can be reached.
    async fn ping(&self) -> Result<(), StoreError>;

    /// What the store's clock says; `None` where the store has no clock but this machine's.
    async fn server_time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Completes once the store has failed in a way that only opening it anew can mend. Most stores never do.
    async fn lost(&self) {
        std::future::pending().await
    }

    /// Finishes what it was given and lets go of what it holds.
    async fn close(&self);
}
