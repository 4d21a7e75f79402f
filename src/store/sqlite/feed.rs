//! The events of all sessions, in the order in which they were written: `events.n`, which one thread counts up.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::{SqliteStore, json};
use crate::domain::id::SessionId;
use crate::store::record::EventRecord;
use crate::store::{
    EventFeed, FeedCursor, FeedError, FeedEvent, FeedPage, StoreError, UnreadableEvent,
};

/// The prefix of this store's cursors.
const PREFIX: &str = "sqlite-1:";
/// Finds events and their sessions by primary key.
const READ: &str = "SELECT events.n, sequence, events.body, session_id FROM events JOIN sessions ON sessions.n = session \
                    WHERE events.n > ?1 ORDER BY events.n LIMIT ?2";

#[async_trait]
impl EventFeed for SqliteStore {
    async fn now(&self) -> Result<FeedCursor, StoreError> {
        self.readers.read(|db| Ok(cursor_at(newest(db)?))).await
    }

    async fn read(&self, from: &FeedCursor, limit: usize) -> Result<FeedPage, FeedError> {
        let after = position(from)?;
        let (page, newest) = self
            .readers
            .read(move |db| Ok((read(db, after, limit)?, newest(db)?)))
            .await?;
        if after > newest {
            return Err(FeedError::Cursor("it is ahead of the store"));
        }
        Ok(page)
    }
}

fn cursor_at(n: i64) -> FeedCursor {
    FeedCursor::from_stored(format!("{PREFIX}{n}"))
}

fn position(cursor: &FeedCursor) -> Result<i64, FeedError> {
    if cursor.is_start() {
        return Ok(0);
    }
    let n = cursor.as_str().strip_prefix(PREFIX);
    n.and_then(|n| n.parse().ok())
        .filter(|n| *n >= 0)
        .ok_or(FeedError::Cursor("it is not of the embedded store"))
}

fn newest(db: &Connection) -> Result<i64, StoreError> {
    let newest = db
        .prepare_cached("SELECT coalesce(max(n), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(newest)
}

fn read(db: &Connection, after: i64, limit: usize) -> Result<FeedPage, StoreError> {
    let mut statement = db.prepare_cached(READ)?;
    let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut events, mut last) = (Vec::new(), after);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        events.push(event(row)?);
    }
    Ok(FeedPage {
        more: events.len() == limit,
        events,
        next: cursor_at(last),
    })
}

fn event(row: &Row<'_>) -> Result<FeedEvent, StoreError> {
    let sequence: i64 = row.get(1)?;
    let session_id = row.get_ref(3)?.as_bytes().map_err(rusqlite::Error::from)?;
    let session_id = SessionId::from_stored(String::from_utf8_lossy(session_id).into_owned());
    let body = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from);
    let record = body.map_err(StoreError::from).and_then(json::parse);
    let event = record.and_then(|record: EventRecord| record.into_event(&session_id));
    Ok(event.map_err(|error| UnreadableEvent {
        error: error.about(&session_id),
        session_id,
        sequence,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::schema;

    #[test]
    fn reads_do_not_scan() {
        let dir = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&dir.path().join("test.db")).unwrap();
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {READ}")).unwrap();
        let steps = statement.query_map([0, 1], |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert_eq!(steps.len(), 2, "{steps:?}");
        for step in steps {
            assert!(step.contains("USING INTEGER PRIMARY KEY"), "{step}");
        }
    }
}
