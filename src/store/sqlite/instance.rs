//! Heartbeats of instances, and the sessions whose connections they hold.

use std::collections::BTreeSet;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::{SqliteStore, json};
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::store::{Heartbeat, InstanceStore, StoreError};

#[async_trait]
impl InstanceStore for SqliteStore {
    async fn write_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let heartbeat = heartbeat.clone();
        self.writer
            .write(move |db| write_heartbeat(db, &heartbeat))
            .await
    }

    async fn heartbeats(&self, limit: usize) -> Result<Vec<Heartbeat>, StoreError> {
        self.readers.read(move |db| heartbeats(db, limit)).await
    }

    async fn sessions_held_by(
        &self,
        instance_id: &str,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let instance_id = instance_id.to_owned();
        self.readers
            .read(move |db| sessions_held_by(db, &instance_id, limit))
            .await
    }

    async fn remove_instance(&self, instance_id: &str) -> Result<(), StoreError> {
        let instance_id = instance_id.to_owned();
        self.writer
            .write(move |db| remove_instance(db, &instance_id))
            .await
    }
}

/// Records which instances hold connections of a session.
pub(super) fn set_holders(db: &Connection, n: i64, session: &Session) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM presence WHERE session = ?1")?
        .execute([n])?;
    let instances: BTreeSet<_> = session
        .participants
        .iter()
        .map(|participant| participant.instance_id.as_str())
        .collect();
    for instance_id in instances {
        db.prepare_cached("INSERT INTO presence (instance_id, session) VALUES (?1, ?2)")?
            .execute(params![instance_id, n])?;
    }
    Ok(())
}

/// The column is named `expires_ms` because a former version stored the end of a lease in it.
fn write_heartbeat(db: &Connection, heartbeat: &Heartbeat) -> Result<(), StoreError> {
    let lost_nodes = heartbeat.lost_nodes.as_ref().map(json::to_json);
    db.prepare_cached(
        "INSERT INTO instances (instance_id, expires_ms, lost_nodes) VALUES (?1, ?2, ?3) \
         ON CONFLICT (instance_id) DO UPDATE SET expires_ms = excluded.expires_ms, lost_nodes = excluded.lost_nodes",
    )?
    .execute(params![
        heartbeat.instance_id,
        heartbeat.number,
        lost_nodes.transpose()?
    ])?;
    Ok(())
}

fn heartbeats(db: &Connection, limit: usize) -> Result<Vec<Heartbeat>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT instance_id, expires_ms, lost_nodes FROM instances ORDER BY instance_id LIMIT ?1",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let heartbeats = statement.query_map([limit], |row| {
        let lost_nodes: Option<String> = row.get(2)?;
        Ok(Heartbeat {
            instance_id: row.get(0)?,
            number: row.get(1)?,
            // What cannot be read counts as no observation.
            lost_nodes: lost_nodes.and_then(|ids| json::parse(&ids).ok()),
        })
    })?;
    Ok(heartbeats.collect::<Result<_, _>>()?)
}

fn sessions_held_by(
    db: &Connection,
    instance_id: &str,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT session_id FROM presence JOIN sessions ON n = session WHERE instance_id = ?1 LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids = statement.query_map(params![instance_id, limit], |row| row.get(0))?;
    Ok(ids
        .map(|id| id.map(SessionId::from_stored))
        .collect::<Result<_, _>>()?)
}

fn remove_instance(db: &Connection, instance_id: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM instances WHERE instance_id = ?1")?
        .execute([instance_id])?;
    Ok(())
}
