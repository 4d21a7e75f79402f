//! The port of SFU nodes: the state that operators give them, and their newest events.

use async_trait::async_trait;

use super::{Committed, StoreError};
use crate::domain::node::NodeUse;
use crate::domain::node_record::NodeRecord;

/// The most node records that a store returns; further ones are left out.
pub const NODE_RECORDS_MAX: usize = 10_000;

/// Stores the records of SFU nodes.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Every stored record, by node id; at most [`NODE_RECORDS_MAX`]. [`NodeRecord::unreadable`] stands for one that cannot be read.
    async fn node_records(&self) -> Result<Vec<NodeRecord>, StoreError>;

    /// What is on each node that has a session that has not ended, in no order. Reads no more than those sessions.
    async fn node_uses(&self) -> Result<Vec<NodeUse>, StoreError>;

    /// Stores a record's next version, only over the version before it; version 1 only if the node has no record. Stores nothing over a
    /// record that cannot be read.
    async fn save_node(&self, record: &NodeRecord) -> Result<Committed, StoreError>;
}
