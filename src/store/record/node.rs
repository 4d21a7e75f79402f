//! The stored form of a node's record.

use serde::{Deserialize, Serialize};

use super::names::field_names;
use super::unknown::Fields;
use crate::domain::id::NodeId;
use crate::domain::node_record::{NodeActor, NodeEvent, NodeEventKind, NodeRecord, NodeState};
use crate::domain::time::Timestamp;
use crate::domain::unknown::UnknownFields;
use crate::store::StoreError;

/// A stored node record. Times are milliseconds since the epoch. A record that another version wrote is split first, so unknown
/// fields need no refusal here.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct NodeRecordRecord {
    #[serde(rename = "_id")]
    node_id: String,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_since_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewed_by: Option<String>,
    version: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<NodeEventRecord>,
}

/// A stored event of a node.
#[derive(Debug, Serialize, Deserialize)]
struct NodeEventRecord {
    sequence: i64,
    time_ms: i64,
    #[serde(rename = "type")]
    kind: String,
    actor: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// Removes the fields that this version does not know from a stored record, and returns them.
pub(in crate::store) fn split_node<F: Fields>(record: &mut F) -> F {
    let known = field_names::<NodeRecordRecord>();
    let mut unknown = F::default();
    for name in record.names() {
        if !known.contains(&name.as_str())
            && let Some(value) = record.take(&name)
        {
            unknown.put(name, value);
        }
    }
    unknown
}

/// The names of all fields, including those that are omitted when empty.
pub(in crate::store) fn node_field_names() -> &'static [&'static str] {
    field_names::<NodeRecordRecord>()
}

impl From<&NodeRecord> for NodeRecordRecord {
    fn from(record: &NodeRecord) -> Self {
        let NodeRecord {
            node_id,
            state,
            since,
            deadline,
            reason,
            lost_since,
            incarnation,
            renewed_by,
            version,
            events,
            // Merged by the store, because they are in its form.
            unknown_fields: _,
            // One that is not is never stored.
            is_readable: _,
        } = record;
        Self {
            node_id: node_id.to_string(),
            state: state.name().to_owned(),
            since_ms: since.map(Timestamp::as_millis),
            deadline_ms: deadline.map(Timestamp::as_millis),
            reason: reason.clone(),
            lost_since_ms: lost_since.map(Timestamp::as_millis),
            incarnation: incarnation.clone(),
            renewed_by: renewed_by.clone(),
            version: *version,
            events: events.iter().map(NodeEventRecord::from).collect(),
        }
    }
}

impl From<&NodeEvent> for NodeEventRecord {
    fn from(event: &NodeEvent) -> Self {
        let NodeEvent {
            sequence,
            time,
            kind,
            actor,
            reason,
        } = event;
        Self {
            sequence: *sequence,
            time_ms: time.as_millis(),
            kind: kind.name().to_owned(),
            actor: actor.name().to_owned(),
            reason: reason.clone(),
        }
    }
}

impl TryFrom<NodeRecordRecord> for NodeRecord {
    type Error = StoreError;

    fn try_from(record: NodeRecordRecord) -> Result<Self, StoreError> {
        let state = NodeState::from_name(&record.state)
            .ok_or_else(|| StoreError::corrupt("an unknown node state"))?;
        if record.version < 1 {
            return Err(StoreError::corrupt("an invalid version of a node"));
        }
        Ok(Self {
            node_id: NodeId::from_stored(record.node_id),
            state,
            since: record.since_ms.map(Timestamp::from_millis),
            deadline: record.deadline_ms.map(Timestamp::from_millis),
            reason: record.reason,
            lost_since: record.lost_since_ms.map(Timestamp::from_millis),
            incarnation: record.incarnation,
            renewed_by: record.renewed_by,
            version: record.version,
            // An event of a kind or an actor that only a newer version knows is left out.
            events: (record.events.into_iter())
                .filter_map(NodeEventRecord::into_event)
                .collect(),
            unknown_fields: UnknownFields::default(),
            is_readable: true,
        })
    }
}

impl NodeEventRecord {
    fn into_event(self) -> Option<NodeEvent> {
        Some(NodeEvent {
            sequence: self.sequence,
            time: Timestamp::from_millis(self.time_ms),
            kind: NodeEventKind::from_name(&self.kind)?,
            actor: NodeActor::from_name(&self.actor)?,
            reason: self.reason,
        })
    }
}
