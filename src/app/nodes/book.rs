//! A snapshot of what is known of the nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::health::Health;
use crate::domain::id::NodeId;
use crate::domain::node::{Capabilities, NodeHealth, SfuNode};
use crate::domain::node_record::{NodeRecord, NodeState};
use crate::domain::place::Driver;
use crate::domain::placement::{Candidate, Rotation, Wanted};

/// What is known of one node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// The node.
    pub node: Arc<SfuNode>,
    /// Its stored record; `None` if it has none, or none was read yet.
    pub record: Option<Arc<NodeRecord>>,
    /// Whether it answers.
    pub health: NodeHealth,
    /// What this instance's probes say; `None` before the first one. `since` is exact, other parts may be some probes old.
    pub probes: Option<Health>,
}

impl NodeView {
    /// The operator's state.
    pub fn state(&self) -> NodeState {
        self.record
            .as_ref()
            .map_or_else(NodeState::default, |record| record.state)
    }
}

/// What is known of all nodes at one time.
#[derive(Debug)]
pub struct NodeBook {
    views: Vec<NodeView>,
    candidates: Vec<Candidate>,
    /// Made when they are first needed. At most two for each region of a node and each need.
    rotations: Mutex<HashMap<RotationKey, Arc<Rotation>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RotationKey {
    wanted: Wanted,
    ignores_health: bool,
}

impl NodeBook {
    pub(super) fn new(views: Vec<NodeView>) -> Self {
        let candidate = |view: &NodeView| Candidate {
            node: Arc::clone(&view.node),
            capabilities: capabilities(view.node.driver),
            state: view.state(),
            health: view.health,
        };
        Self {
            candidates: views.iter().map(candidate).collect(),
            views,
            rotations: Mutex::default(),
        }
    }

    /// The nodes, in the order of the configuration.
    pub fn views(&self) -> &[NodeView] {
        &self.views
    }

    /// One node; `None` if it is not configured.
    pub fn view(&self, node_id: &NodeId) -> Option<&NodeView> {
        self.views.iter().find(|view| view.node.node_id == *node_id)
    }

    /// Whether every session finds the same nodes in both.
    pub fn has_same_candidates(&self, other: &Self) -> bool {
        self.candidates == other.candidates
    }

    #[cfg(test)]
    pub(super) fn kept_rotations(&self) -> usize {
        self.rotations.lock().map_or(0, |kept| kept.len())
    }

    /// The rotation for a kind of request.
    pub fn rotation(&self, wanted: &Wanted) -> Arc<Rotation> {
        self.rotation_of(wanted, false)
    }

    /// The same rotation, as if every node answered: for sessions that need nothing of their node yet.
    pub fn rotation_ignoring_health(&self, wanted: &Wanted) -> Arc<Rotation> {
        self.rotation_of(wanted, true)
    }

    fn rotation_of(&self, wanted: &Wanted, ignores_health: bool) -> Arc<Rotation> {
        let make = || {
            let mut candidates = self.candidates.clone();
            if ignores_health {
                for candidate in &mut candidates {
                    candidate.health = NodeHealth::Up;
                }
            }
            Arc::new(Rotation::new(&candidates, wanted))
        };
        // Callers name regions, so only those that exist are kept.
        let is_kept = wanted.region.is_none()
            || (self.views.iter()).any(|view| view.node.region == wanted.region);
        if !is_kept {
            return make();
        }
        // No code panics while it holds this lock.
        let mut rotations = self
            .rotations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = RotationKey {
            wanted: wanted.clone(),
            ignores_health,
        };
        Arc::clone(rotations.entry(key).or_insert_with(make))
    }
}

/// What a driver can do for a session.
fn capabilities(driver: Driver) -> Capabilities {
    Capabilities {
        carries_media: driver.carries_media(),
        encrypts_end_to_end: driver.encrypts_end_to_end(),
    }
}
