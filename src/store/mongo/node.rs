//! The records of SFU nodes.

use async_trait::async_trait;
use mongodb::Collection;
use mongodb::bson::{
    Bson, Document, deserialize_from_document, deserialize_from_slice, doc, serialize_to_vec,
};

use super::MongoStore;
use super::documents::to_document;
use super::error::{is_duplicate_key, within};
use crate::domain::id::NodeId;
use crate::domain::node::NodeUse;
use crate::domain::node_record::NodeRecord;
use crate::domain::session::SessionState;
use crate::domain::time::Timestamp;
use crate::domain::unknown::UnknownFields;
use crate::store::record::{NodeRecordRecord, node_field_names, split_node};
use crate::store::{Committed, NODE_RECORDS_MAX, NodeStore, StoreError};

impl MongoStore {
    async fn node_collection(&self) -> Result<Collection<Document>, StoreError> {
        self.prepare().await?;
        Ok(self.database.collection("nodes"))
    }

    /// What is on each node, added up by the server.
    async fn read_node_uses(&self) -> Result<Vec<NodeUse>, StoreError> {
        let sessions = self.sessions().await?;
        let live = vec![SessionState::Created.name(), SessionState::Active.name()];
        let one_if = |condition: Document| doc! {"$sum": {"$cond": [condition, 1_i64, 0_i64]}};
        let state_is = |state: SessionState| doc! {"$eq": ["$state", state.name()]};
        let pipeline = [
            doc! {"$match": {"state": {"$in": live}, "_id": {"$gte": ""}}},
            doc! {"$group": {
                "_id": "$sfu_node_id",
                "scheduled": one_if(state_is(SessionState::Created)),
                "live": one_if(state_is(SessionState::Active)),
                "last_end_ms": {"$max": "$scheduled_end_time_ms"},
                "with_end": one_if(doc! {"$gt": ["$scheduled_end_time_ms", Bson::Null]}),
                "participants": {"$sum": {"$size": {"$ifNull": ["$participants", []]}}},
            }},
        ];
        let found = within(self.timeout, async move {
            let cursor = sessions
                .clone_with_type::<Document>()
                .aggregate(pipeline)
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        Ok(found.iter().filter_map(node_use).collect())
    }
}

/// Servers return a sum in the smallest type that holds it.
fn number(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some((*number).into()),
        _ => None,
    }
}

fn node_use(group: &Document) -> Option<NodeUse> {
    let count = |name: &str| {
        let count = number(group, name).unwrap_or(0);
        u64::try_from(count).unwrap_or(0)
    };
    let sessions_scheduled = count("scheduled");
    let sessions_live = count("live");
    Some(NodeUse {
        node_id: NodeId::from_stored(group.get_str("_id").ok()?.to_owned()),
        sessions_scheduled,
        sessions_live,
        participants: count("participants"),
        last_scheduled_end: number(group, "last_end_ms").map(Timestamp::from_millis),
        sessions_without_end: (sessions_scheduled + sessions_live)
            .saturating_sub(count("with_end")),
    })
}

#[async_trait]
impl NodeStore for MongoStore {
    async fn node_records(&self) -> Result<Vec<NodeRecord>, StoreError> {
        let nodes = self.node_collection().await?;
        let limit = i64::try_from(NODE_RECORDS_MAX).unwrap_or(i64::MAX);
        let found = within(self.timeout, async move {
            let cursor = nodes
                .find(doc! {})
                .sort(doc! {"_id": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        Ok(found.into_iter().filter_map(read_or_set_aside).collect())
    }

    async fn node_uses(&self) -> Result<Vec<NodeUse>, StoreError> {
        self.read_node_uses().await
    }

    async fn save_node(&self, record: &NodeRecord) -> Result<Committed, StoreError> {
        if !record.is_readable {
            return Ok(Committed::Conflict);
        }
        let nodes = self.node_collection().await?;
        let document = write_node(record)?;
        let base_version = record.base_version();
        let node_id = record.node_id.to_string();
        let stored = within(self.timeout, async move {
            if base_version == 0 {
                return match nodes.insert_one(document).await {
                    Ok(_) => Ok(true),
                    Err(error) if is_duplicate_key(&error) => Ok(false),
                    Err(error) => Err(error),
                };
            }
            let filter = doc! {"_id": node_id, "version": base_version};
            let outcome = nodes.replace_one(filter, document).await?;
            Ok(outcome.matched_count == 1)
        })
        .await?;
        if stored {
            return Ok(Committed::Stored);
        }
        // A write that the driver repeated after a broken connection conflicts with itself.
        let own = self
            .node_records()
            .await?
            .iter()
            .any(|stored| stored == record);
        Ok(if own {
            Committed::Stored
        } else {
            Committed::Conflict
        })
    }
}

fn write_node(record: &NodeRecord) -> Result<Document, StoreError> {
    let mut fields = to_document(&NodeRecordRecord::from(record))?;
    if let Some(unknown) = record.unknown_fields.stored() {
        let unknown: Document = deserialize_from_slice(unknown)
            .map_err(|_| StoreError::corrupt("unknown fields that are not BSON"))?;
        let known = node_field_names();
        fields.extend(
            unknown
                .into_iter()
                .filter(|(name, _)| !known.contains(&name.as_str())),
        );
    }
    Ok(fields)
}

/// `None` if not even the node's name can be read.
fn read_or_set_aside(document: Document) -> Option<NodeRecord> {
    let node_id = NodeId::from_stored(document.get_str("_id").ok()?.to_owned());
    Some(read_node(document).unwrap_or_else(|_| NodeRecord::unreadable(node_id)))
}

fn read_node(document: Document) -> Result<NodeRecord, StoreError> {
    let mut fields = document;
    let unknown = split_node(&mut fields);
    // The parser's message can quote a value.
    let record: NodeRecordRecord = deserialize_from_document(fields)
        .map_err(|_| StoreError::corrupt("a node with an unexpected structure"))?;
    let mut record = NodeRecord::try_from(record)?;
    if !unknown.is_empty() {
        let unknown = serialize_to_vec(&unknown)
            .map_err(|_| StoreError::corrupt("unknown fields that are not BSON"))?;
        record.unknown_fields = UnknownFields::of_stored(unknown);
    }
    Ok(record)
}
