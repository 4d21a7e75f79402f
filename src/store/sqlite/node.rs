//! The records of SFU nodes, and what is on each node.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Map, Value};

use super::SqliteStore;
use super::json::{parse, to_json, unreadable};
use crate::domain::id::NodeId;
use crate::domain::node::NodeUse;
use crate::domain::node_record::NodeRecord;
use crate::domain::session::SessionState;
use crate::domain::time::Timestamp;
use crate::domain::unknown::UnknownFields;
use crate::store::record::{NodeRecordRecord, split_node};
use crate::store::{Committed, NODE_RECORDS_MAX, NodeStore, StoreError};

#[async_trait]
impl NodeStore for SqliteStore {
    async fn node_records(&self) -> Result<Vec<NodeRecord>, StoreError> {
        self.readers.read(node_records).await
    }

    async fn node_uses(&self) -> Result<Vec<NodeUse>, StoreError> {
        self.lister.read(node_uses).await
    }

    async fn save_node(&self, record: &NodeRecord) -> Result<Committed, StoreError> {
        let record = record.clone();
        self.writer.write(move |db| save_node(db, &record)).await
    }
}

fn node_records(db: &Connection) -> Result<Vec<NodeRecord>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT body, node_id FROM nodes ORDER BY node_id LIMIT ?1")?;
    let limit = i64::try_from(NODE_RECORDS_MAX).unwrap_or(i64::MAX);
    let rows = statement.query_map([limit], |row| {
        let node_id: String = row.get(1)?;
        Ok((super::queries::text(row)?, node_id))
    })?;
    let read = rows.map(|row| {
        let (body, node_id) = row?;
        let unreadable = |_| NodeRecord::unreadable(NodeId::from_stored(node_id));
        Ok(parse_node(&body).unwrap_or_else(unreadable))
    });
    read.collect()
}

fn parse_node(body: &str) -> Result<NodeRecord, StoreError> {
    let mut fields: Map<String, Value> = parse(body)?;
    let unknown = split_node(&mut fields);
    let record: NodeRecordRecord =
        serde_json::from_value(Value::Object(fields)).map_err(|error| unreadable(&error))?;
    let mut record = NodeRecord::try_from(record)?;
    if !unknown.is_empty() {
        let unknown = serde_json::to_vec(&unknown).map_err(|error| unreadable(&error))?;
        record.unknown_fields = UnknownFields::of_stored(unknown);
    }
    Ok(record)
}

fn node_to_json(record: &NodeRecord) -> Result<String, StoreError> {
    let known = NodeRecordRecord::from(record);
    let Some(unknown) = record.unknown_fields.stored() else {
        return to_json(&known);
    };
    let mut fields: Map<String, Value> =
        serde_json::from_slice(unknown).map_err(|error| unreadable(&error))?;
    if let Value::Object(known) =
        serde_json::to_value(&known).map_err(|error| unreadable(&error))?
    {
        fields.extend(known);
    }
    to_json(&fields)
}

fn save_node(db: &Connection, record: &NodeRecord) -> Result<Committed, StoreError> {
    let stored: Option<i64> = db
        .prepare_cached("SELECT version FROM nodes WHERE node_id = ?1")?
        .query_row([record.node_id.as_str()], |row| row.get(0))
        .optional()?;
    if !record.is_readable || stored.unwrap_or(0) != record.base_version() {
        return Ok(Committed::Conflict);
    }
    db.prepare_cached(
        "INSERT INTO nodes (node_id, version, body) VALUES (?1, ?2, ?3) \
         ON CONFLICT (node_id) DO UPDATE SET version = excluded.version, body = excluded.body",
    )?
    .execute(params![
        record.node_id.as_str(),
        record.version,
        node_to_json(record)?
    ])?;
    Ok(Committed::Stored)
}

/// What is on each node, from the index of live sessions; only active sessions are read for their participants.
fn node_uses(db: &Connection) -> Result<Vec<NodeUse>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT sfu_node_id, \
         sum(state = 'created'), sum(state = 'active'), max(scheduled_end_ms), sum(scheduled_end_ms IS NULL) \
         FROM sessions INDEXED BY sessions_on_node WHERE state <> 'ended' GROUP BY sfu_node_id",
    )?;
    let mut participants = db.prepare_cached(
        "SELECT coalesce(sum(json_array_length(body, '$.participants')), 0) \
         FROM sessions INDEXED BY sessions_on_node WHERE sfu_node_id = ?1 AND state = ?2 AND state <> 'ended'",
    )?;
    let mut rows = statement.query([])?;
    let mut uses = Vec::new();
    while let Some(row) = rows.next()? {
        let node_id: String = row.get(0)?;
        let count = |column| -> rusqlite::Result<u64> {
            let count: i64 = row.get(column)?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        let connected: i64 = participants
            .query_row(params![node_id, SessionState::Active.name()], |row| {
                row.get(0)
            })?;
        let last_end: Option<i64> = row.get(3)?;
        uses.push(NodeUse {
            sessions_scheduled: count(1)?,
            sessions_live: count(2)?,
            last_scheduled_end: last_end.map(Timestamp::from_millis),
            sessions_without_end: count(4)?,
            participants: u64::try_from(connected).unwrap_or(0),
            node_id: NodeId::from_stored(node_id),
        });
    }
    Ok(uses)
}
