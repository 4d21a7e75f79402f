//! The SQL. Every function runs on a thread that may wait for the disk.
//!
//! No writing statement has a RETURNING clause: SQLite runs those with a statement journal, into which it copies every changed
//! page.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Rows, params};

use super::{instance, json, short_link};
use crate::domain::change::Change;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;
use crate::store::record::EventRecord;
use crate::store::{
    Committed, Insert, Inserted, ListedSession, NewSession, OverdueBounds, StoreError,
    UnreadableSession,
};

/// The generation of a place that the session has not left.
const FIRST_GENERATION: i64 = 1;

pub(super) fn get(db: &Connection, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT session_id, version, body FROM sessions WHERE session_id = ?1")?;
    first(statement.query([session_id.as_str()])?)
}

pub(super) fn latest_session(
    db: &Connection,
    appointment_id: &AppointmentId,
) -> Result<Option<Session>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT session_id, version, body FROM sessions WHERE appointment_id = ?1 ORDER BY incarnation DESC LIMIT 1",
    )?;
    first(statement.query([appointment_id.as_str()])?)
}

pub(super) fn first(mut rows: Rows<'_>) -> Result<Option<Session>, StoreError> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    match read_session_row(row)? {
        Ok(session) => Ok(Some(session)),
        Err(unreadable) => Err(unreadable.error),
    }
}

/// The inner error is this caller's alone: nothing is written then, and the transaction goes on.
pub(super) fn insert(
    db: &Connection,
    new: &NewSession,
) -> Result<Result<Inserted, StoreError>, StoreError> {
    let latest = match latest_session(db, &new.appointment_id) {
        Err(unreadable @ StoreError::Corrupt { .. }) => return Ok(Err(unreadable)),
        latest => latest?,
    };
    let at_turn = match new.decide(latest) {
        Insert::New(at_turn) => at_turn,
        Insert::Keep(latest) => return Ok(Ok(Inserted::Kept(latest))),
        Insert::Refuse(error) => return Ok(Ok(Inserted::Refused(error))),
    };
    let rotation = at_turn.rotation.clone();
    let turn = at_turn.usable_turn(next_turn(db, &rotation)?);
    let change = at_turn.change(turn);
    let session = &change.session;
    let stored = db
        .prepare_cached(
            "INSERT INTO sessions (session_id, appointment_id, incarnation, doctor_id, patient_id, sfu_node_id, state, \
             version, body, scheduled_end_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
             ON CONFLICT (appointment_id, incarnation) DO NOTHING",
        )?
        .execute(params![
            session.session_id.as_str(),
            session.appointment_id.as_str(),
            session.incarnation,
            session.doctor_id.as_str(),
            session.patient_id.as_str(),
            session.place.node_id.as_str(),
            session.state.name(),
            session.version,
            json::session_to_json(session)?,
            session.schedule.end.map(Timestamp::as_millis),
        ])?;
    if stored == 0 {
        return Ok(Ok(Inserted::Taken));
    }
    let n = db.last_insert_rowid();
    set_next_turn(db, &rotation, turn.wrapping_add(1))?;
    insert_events(db, n, &change.events)?;
    Ok(Ok(Inserted::Stored(Box::new(change))))
}

fn next_turn(db: &Connection, rotation: &str) -> Result<u64, StoreError> {
    let turn: Option<i64> = db
        .prepare_cached("SELECT turn FROM rotations WHERE name = ?1")?
        .query_row([rotation], |row| row.get(0))
        .optional()?;
    Ok(turn.and_then(|turn| u64::try_from(turn).ok()).unwrap_or(0))
}

fn set_next_turn(db: &Connection, rotation: &str, turn: u64) -> Result<(), StoreError> {
    // Starts over after more sessions than a service lives to see.
    let turn = i64::try_from(turn).unwrap_or(0);
    db.prepare_cached(
        "INSERT INTO rotations (name, turn) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET turn = excluded.turn",
    )?
    .execute(params![rotation, turn])?;
    Ok(())
}

pub(super) fn commit(db: &Connection, change: &Change) -> Result<Committed, StoreError> {
    let Some(n) = update_session(db, change)? else {
        return Ok(Committed::Conflict);
    };
    insert_events(db, n, &change.events)?;
    Ok(Committed::Stored)
}

/// Returns the row's number, or `None` if the session is not at the version before the change.
fn update_session(db: &Connection, change: &Change) -> Result<Option<i64>, StoreError> {
    let session = &change.session;
    let n: Option<i64> = db
        .prepare_cached("SELECT n FROM sessions WHERE session_id = ?1 AND version = ?2")?
        .query_row(
            params![session.session_id.as_str(), change.base_version()],
            |row| row.get(0),
        )
        .optional()?;
    let Some(n) = n else {
        return Ok(None);
    };
    let body = json::session_to_json(session)?;
    // SQLite rewrites the index of every column that is named, so the most frequent change names none.
    let only_tokens = change
        .events
        .iter()
        .all(|event| matches!(event.kind, EventKind::Joined { .. }));
    if only_tokens {
        db.prepare_cached("UPDATE sessions SET version = ?2, body = ?3 WHERE n = ?1")?
            .execute(params![n, session.version, body])?;
    } else {
        db.prepare_cached(
            "UPDATE sessions SET version = ?2, body = ?3, doctor_id = ?4, state = ?5, scheduled_end_ms = ?6, \
             empty_since_ms = ?7, empty_deadline_ms = ?8 WHERE n = ?1",
        )?
        .execute(params![
            n,
            session.version,
            body,
            session.doctor_id.as_str(),
            session.state.name(),
            session.schedule.end.map(Timestamp::as_millis),
            session.empty_since.map(Timestamp::as_millis),
            session.empty_deadline.map(Timestamp::as_millis),
        ])?;
        if session.place.generation > FIRST_GENERATION {
            db.prepare_cached("UPDATE sessions SET sfu_node_id = ?2 WHERE n = ?1")?
                .execute(params![n, session.place.node_id.as_str()])?;
        }
        instance::set_holders(db, n, session)?;
    }
    short_link::add_new(db, n, change)?;
    Ok(Some(n))
}

fn insert_events(db: &Connection, session: i64, events: &[Event]) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("INSERT INTO events (session, sequence, body) VALUES (?1, ?2, ?3)")?;
    for event in events {
        let body = json::to_json(&EventRecord::from(event))?;
        statement.execute(params![session, event.sequence, body])?;
    }
    Ok(())
}

pub(super) fn overdue_sessions(
    db: &Connection,
    bounds: OverdueBounds,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    // The conditions repeat those of the partial indexes, without which SQLite would not use them.
    let mut statement = db.prepare_cached(
        "SELECT session_id FROM sessions \
         WHERE scheduled_end_ms IS NOT NULL AND state <> 'ended' AND scheduled_end_ms < ?1 \
         UNION SELECT session_id FROM sessions \
         WHERE empty_since_ms IS NOT NULL AND state <> 'ended' AND empty_since_ms < ?2 \
         UNION SELECT session_id FROM sessions \
         WHERE empty_deadline_ms IS NOT NULL AND state <> 'ended' AND empty_deadline_ms < ?3 LIMIT ?4",
    )?;
    let OverdueBounds {
        ends_before,
        empty_before,
        empty_deadline_before,
    } = bounds;
    let values = params![
        ends_before.as_millis(),
        empty_before.map(Timestamp::as_millis),
        empty_deadline_before.as_millis(),
        i64::try_from(limit).unwrap_or(i64::MAX),
    ];
    let ids = statement.query_map(values, text)?;
    Ok(ids
        .map(|id| id.map(SessionId::from_stored))
        .collect::<Result<_, _>>()?)
}

pub(super) fn events(
    db: &Connection,
    session_id: &SessionId,
    after: i64,
    limit: usize,
) -> Result<Option<Vec<Event>>, StoreError> {
    let session: Option<i64> = db
        .prepare_cached("SELECT n FROM sessions WHERE session_id = ?1")?
        .query_row([session_id.as_str()], |row| row.get(0))
        .optional()?;
    let Some(session) = session else {
        return Ok(None);
    };
    let mut statement = db.prepare_cached(
        "SELECT body FROM events WHERE session = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let bodies = statement.query_map(params![session, after, limit], text)?;
    let events = bodies.map(|body| {
        let record: EventRecord = json::parse(&body?)?;
        record.into_event(session_id)
    });
    events.collect::<Result<Vec<_>, _>>().map(Some)
}

/// Reads a row of `session_id`, `version` and `body`. A body with another id or version than the row is corrupt: it would be
/// returned, and changed, as if it were this session.
pub(super) fn read_session_row(row: &Row<'_>) -> Result<ListedSession, StoreError> {
    let session_id = SessionId::from_stored(text(row)?);
    let version: i64 = row.get(1)?;
    // The body may not even be text.
    let body = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from);
    let session = body.map_err(StoreError::from).and_then(json::parse_session);
    let session = session.and_then(|session| {
        if session.session_id == session_id && session.version == version {
            Ok(session)
        } else {
            Err(StoreError::corrupt("the row's columns and body differ"))
        }
    });
    Ok(session.map_err(|error| UnreadableSession {
        error: error.about(&session_id),
        session_id,
    }))
}

pub(super) fn count_by_state(db: &Connection) -> Result<HashMap<SessionState, u64>, StoreError> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM sessions WHERE state = ?1")?;
    SessionState::ALL
        .iter()
        .copied()
        .map(|state| {
            let count: i64 = statement.query_row([state.name()], |row| row.get(0))?;
            Ok((state, u64::try_from(count).unwrap_or(0)))
        })
        .collect()
}

pub(super) fn ping(db: &Connection) -> Result<(), StoreError> {
    db.prepare_cached("SELECT turn FROM rotations WHERE name = ''")?
        .query_row([], |_| Ok(()))?;
    Ok(())
}

/// A text, with invalid UTF-8 replaced by U+FFFD.
pub(super) fn text(row: &Row<'_>) -> rusqlite::Result<String> {
    let bytes = row.get_ref(0)?.as_bytes()?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
