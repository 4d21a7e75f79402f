//! The drivers of the SFU nodes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::id::NodeId;
use crate::sfu::SfuDriver;

/// The driver of each node, by the node's id.
pub type DriversByNode = HashMap<NodeId, Arc<dyn SfuDriver>>;

/// The drivers of the SFU nodes. An operator may change the nodes while the service runs.
#[derive(Default)]
pub struct Drivers {
    by_node: RwLock<DriversByNode>,
}

impl Drivers {
    /// Uses these drivers.
    pub fn new(by_node: DriversByNode) -> Self {
        Self {
            by_node: RwLock::new(by_node),
        }
    }

    /// Uses these drivers from now on. Calls in progress end with their driver.
    pub fn replace(&self, by_node: DriversByNode) {
        *self.by_node.write().unwrap_or_else(PoisonError::into_inner) = by_node;
    }

    /// The ids of all nodes.
    pub fn node_ids(&self) -> Vec<NodeId> {
        let by_node = self.by_node.read().unwrap_or_else(PoisonError::into_inner);
        by_node.keys().cloned().collect()
    }

    /// The driver of a node; `None` if the operator removed the node.
    pub fn of(&self, node_id: &NodeId) -> Option<Arc<dyn SfuDriver>> {
        let by_node = self.by_node.read().unwrap_or_else(PoisonError::into_inner);
        by_node.get(node_id).map(Arc::clone)
    }
}
