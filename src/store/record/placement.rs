//! The stored form of the decision that gave a session its place.

use serde::{Deserialize, Serialize};

use crate::domain::id::NodeId;
use crate::domain::placement::{PlacementNote, Verdict};
use crate::domain::time::Timestamp;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlacementRecord {
    time_ms: i64,
    rotation: String,
    /// Turns are counted from 0, and no rotation lives to take 2^63 of them.
    turn: i64,
    /// Pairs of a node and its verdict.
    nodes: Vec<(String, String)>,
}

impl From<&PlacementNote> for PlacementRecord {
    fn from(note: &PlacementNote) -> Self {
        let PlacementNote {
            time,
            rotation,
            turn,
            considered,
        } = note;
        let nodes = considered.iter();
        Self {
            time_ms: time.as_millis(),
            rotation: rotation.clone(),
            turn: i64::try_from(*turn).unwrap_or(i64::MAX),
            nodes: nodes
                .map(|(node_id, verdict)| (node_id.to_string(), verdict.name().to_owned()))
                .collect(),
        }
    }
}

impl From<PlacementRecord> for PlacementNote {
    /// A verdict that only a newer version knows is left out: it explains, and decides nothing.
    fn from(record: PlacementRecord) -> Self {
        let nodes = record.nodes.into_iter();
        Self {
            time: Timestamp::from_millis(record.time_ms),
            rotation: record.rotation,
            turn: u64::try_from(record.turn).unwrap_or_default(),
            considered: nodes
                .filter_map(|(node_id, verdict)| {
                    Some((NodeId::from_stored(node_id), Verdict::from_name(&verdict)?))
                })
                .collect(),
        }
    }
}
