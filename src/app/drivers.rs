//! The drivers of the SFU nodes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::id::NodeId;
use crate::sfu::SfuDriver;

/// The driver of each node, by the node's id.
pub type DriversByNode = HashMap<NodeId, Arc<dyn SfuDriver>>;

/// The drivers of the SFU nodes. An operator may change the nodes while the service runs.
pub struct Drivers {
    by_node: watch::Sender<DriversByNode>,
}

impl Default for Drivers {
    fn default() -> Self {
        Self::new(DriversByNode::new())
    }
}

impl Drivers {
    /// Uses these drivers.
    pub fn new(by_node: DriversByNode) -> Self {
        let (by_node, _) = watch::channel(by_node);
        Self { by_node }
    }

    /// Uses these drivers from now on. Calls in progress end with their driver.
    pub fn replace(&self, by_node: DriversByNode) {
        self.by_node.send_replace(by_node);
    }

    /// Follows the drivers.
    pub fn watch(&self) -> watch::Receiver<DriversByNode> {
        self.by_node.subscribe()
    }

    /// The ids of all nodes.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.by_node.borrow().keys().cloned().collect()
    }

    /// The driver of a node; `None` if the operator removed the node.
    pub fn of(&self, node_id: &NodeId) -> Option<Arc<dyn SfuDriver>> {
        self.by_node.borrow().get(node_id).map(Arc::clone)
    }
}
