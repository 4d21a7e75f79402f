//! SFU nodes, and which of them a new session goes to.

use super::id::NodeId;
use super::place::Driver;

/// A media server, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SfuNode {
    /// Its name.
    pub node_id: NodeId,
    /// Where participants reach it; empty when the operator gave none.
    pub url: String,
    /// What it runs.
    pub driver: Driver,
}

/// The nodes in the order of rotation. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    nodes: Vec<SfuNode>,
}

impl Rotation {
    /// `None` when there are no nodes.
    pub fn new(nodes: Vec<SfuNode>) -> Option<Self> {
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    /// The node whose turn it is: turn 0 goes to the first, 1 to the second, and so on around.
    pub fn select(&self, turn: u64) -> &SfuNode {
        let count = self.nodes.len() as u64;
        let index = usize::try_from(turn % count).unwrap_or(0);
        &self.nodes[index]
    }

    /// Where participants reach a node; empty when it is unknown or has no address.
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
        fn any_run_of_turns_is_spread_evenly(nodes in 1usize..20, first in 0u64..u64::MAX / 2, turns in 1u64..200) {
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
