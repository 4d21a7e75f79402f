//! SFU nodes, and the choice of a node for a new session.

use super::id::NodeId;
use super::place::Driver;

/// A media server, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SfuNode {
    /// Its name.
    pub node_id: NodeId,
    /// The address for participants; empty if the operator gave none.
    pub url: String,
    /// Its driver.
    pub driver: Driver,
}

/// The nodes in the order of rotation. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    nodes: Vec<SfuNode>,
}

impl Rotation {
    /// A rotation over `nodes`; `None` if there are none.
    pub fn new(nodes: Vec<SfuNode>) -> Option<Self> {
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    /// The node for a turn: turn 0 selects the first node, 1 the second, and so on, cyclically.
    pub fn select(&self, turn: u64) -> &SfuNode {
        let count = self.nodes.len() as u64;
        let index = usize::try_from(turn % count).unwrap_or(0);
        &self.nodes[index]
    }

    /// A node's address for participants; empty if the node is unknown or has none.
    pub fn url(&self, node_id: &NodeId) -> &str {
        self.nodes
            .iter()
            .find(|node| node.node_id == *node_id)
            .map_or("", |node| node.url.as_str())
    }

    /// All nodes, in order.
    pub fn nodes(&self) -> &[SfuNode] {
        &self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn rotation(count: usize) -> Rotation {
        let node = |n| SfuNode {
            node_id: NodeId::from_stored(format!("sfu-{n}")),
            url: String::new(),
            driver: Driver::Builtin,
        };
        Rotation::new((0..count).map(node).collect()).expect("not empty")
    }

    proptest! {
        #[test]
        fn consecutive_turns_are_spread_evenly(nodes in 1usize..20, first in 0u64..u64::MAX / 2, turns in 1u64..200) {
            let rotation = rotation(nodes);
            let mut counts: HashMap<&NodeId, u64> = rotation.nodes().iter().map(|n| (&n.node_id, 0)).collect();
            for turn in first..first + turns {
                *counts.get_mut(&rotation.select(turn).node_id).expect("known") += 1;
            }
            let (least, most) = (counts.values().min(), counts.values().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1);
        }
    }

    #[test]
    fn an_empty_rotation_cannot_be_made() {
        assert_eq!(Rotation::new(Vec::new()), None);
    }
}
