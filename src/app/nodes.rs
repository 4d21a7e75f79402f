//! SFU nodes: places sessions on them, and knows their addresses.

use std::sync::Arc;

use crate::domain::id::NodeId;
use crate::domain::node::Rotation;
use crate::domain::rules::create::UnplacedSession;
use crate::store::AtTurn;

/// The SFU nodes.
pub struct Nodes {
    rotation: Arc<Rotation>,
}

impl Nodes {
    /// Uses the nodes of a rotation.
    pub fn new(rotation: Rotation) -> Self {
        let rotation = Arc::new(rotation);
        Self { rotation }
    }

    /// A new session; the turn that the store takes decides its node.
    pub(super) fn place_session(&self, unplaced: UnplacedSession) -> AtTurn {
        let rotation = Arc::clone(&self.rotation);
        Box::new(move |turn| {
            let node = rotation.select(turn);
            unplaced.place(node.node_id.clone(), node.driver)
        })
    }

    /// A node's address for participants; empty if the node is unknown or has none.
    pub fn url(&self, node_id: &NodeId) -> &str {
        self.rotation.url(node_id)
    }
}
