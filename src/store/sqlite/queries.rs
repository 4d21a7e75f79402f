//! The SQL. Every function runs on a thread that may wait for the disk.
//!
//! No statement that writes has a RETURNING clause: SQLite runs those with a journal of their own, into which it copies
//! every page that they change.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, Rows, params, params_from_iter};

use super::presence;
use crate::domain::change::Change;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::node::Rotation;
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;
use crate::store::record::{EventRecord, SessionRecord};
use crate::store::{Committed, Inserted, ListedSession, StoreError, UnreadableSession};

pub(super) fn get(db: &Connection, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT session_id, version, body FROM sessions WHERE session_id = ?1")?;
    first(statement.query([session_id.as_str()])?)
}

pub(super) fn latest(
    db: &Connection,
    appointment_id: &AppointmentId,
) -> Result<Option<Session>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT session_id, version, body FROM sessions WHERE appointment_id = ?1 ORDER BY incarnation DESC LIMIT 1",
    )?;
    first(statement.query([appointment_id.as_str()])?)
}

fn first(mut rows: Rows<'_>) -> Result<Option<Session>, StoreError> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    match listed(row)? {
        Ok(session) => Ok(Some(session)),
        Err(unreadable) => Err(unreadable.error),
    }
}

pub(super) fn insert(
    db: &Connection,
    unplaced: &UnplacedSession,
    rotation: &Rotation,
) -> Result<Inserted, StoreError> {
    let turn: i64 = db
        .prepare_cached("SELECT turn FROM rotation")?
        .query_row([], |row| row.get(0))?;
    let node = rotation.select(u64::try_from(turn).unwrap_or(0)).clone();
    let change = unplaced.clone().place(node);
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
            session.sfu_node_id.as_str(),
            session.state.name(),
            session.version,
            to_json(&SessionRecord::from(session))?,
            session.schedule.end.map(Timestamp::as_millis),
        ])?;
    if stored == 0 {
        return Ok(Inserted::Taken);
    }
    let n = db.last_insert_rowid();
    db.prepare_cached("UPDATE rotation SET turn = turn + 1")?
        .execute([])?;
    insert_events(db, n, &change.events)?;
    Ok(Inserted::Stored(Box::new(change)))
}

pub(super) fn commit(db: &Connection, change: &Change) -> Result<Committed, StoreError> {
    let Some(n) = update_session(db, change)? else {
        return Ok(Committed::Conflict);
    };
    insert_events(db, n, &change.events)?;
    Ok(Committed::Stored)
}

/// The row's number, or `None` when the session is not at the version before the change.
fn update_session(db: &Connection, change: &Change) -> Result<Option<i64>, StoreError> {
    let session = &change.session;
    let n: Option<i64> = db
        .prepare_cached("SELECT n FROM sessions WHERE session_id = ?1 AND version = ?2")?
        .query_row(
            params![session.session_id.as_str(), change.before()],
            |row| row.get(0),
        )
        .optional()?;
    let Some(n) = n else {
        return Ok(None);
    };
    let body = to_json(&SessionRecord::from(session))?;
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
             empty_since_ms = ?7 WHERE n = ?1",
        )?
        .execute(params![
            n,
            session.version,
            body,
            session.doctor_id.as_str(),
            session.state.name(),
            session.schedule.end.map(Timestamp::as_millis),
            session.empty_since.map(Timestamp::as_millis),
        ])?;
        presence::set(db, n, session)?;
    }
    Ok(Some(n))
}

fn insert_events(db: &Connection, session: i64, events: &[Event]) -> Result<(), StoreError> {
    let mut statement =
        db.prepare_cached("INSERT INTO events (session, sequence, body) VALUES (?1, ?2, ?3)")?;
    for event in events {
        let body = to_json(&EventRecord::from(event))?;
        statement.execute(params![session, event.sequence, body])?;
    }
    Ok(())
}

pub(super) fn overdue(
    db: &Connection,
    ends_before: Timestamp,
    empty_before: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    // The conditions repeat those of the partial indexes, without which SQLite would not use them.
    let mut statement = db.prepare_cached(
        "SELECT session_id FROM sessions \
         WHERE scheduled_end_ms IS NOT NULL AND state <> 'ended' AND scheduled_end_ms < ?1 \
         UNION SELECT session_id FROM sessions \
         WHERE empty_since_ms IS NOT NULL AND state <> 'ended' AND empty_since_ms < ?2 LIMIT ?3",
    )?;
    let values = params![
        ends_before.as_millis(),
        empty_before.map(Timestamp::as_millis),
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
        let record: EventRecord = parse(&body?)?;
        record.into_event(session_id)
    });
    events.collect::<Result<Vec<_>, _>>().map(Some)
}

pub(super) fn list(
    db: &Connection,
    query: &SessionQuery,
) -> Result<Vec<ListedSession>, StoreError> {
    let (sql, values) = list_sql(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(listed(row)?);
    }
    Ok(found)
}

/// A row of `session_id`, `version` and `body`. A body that is another session's, or of another version than the row, is damaged:
/// what it says would be answered, and changed, as if it were this session.
fn listed(row: &Row<'_>) -> Result<ListedSession, StoreError> {
    let session_id = SessionId::from_stored(text(row)?);
    let version: i64 = row.get(1)?;
    // The body may also be no text at all.
    let body = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from);
    let session = body.map_err(StoreError::from).and_then(parse_session);
    let session = session.and_then(|session| {
        if session.session_id == session_id && session.version == version {
            Ok(session)
        } else {
            Err(StoreError::corrupt("a row whose columns and body differ"))
        }
    });
    Ok(session.map_err(|error| UnreadableSession {
        error: error.about(&session_id),
        session_id,
    }))
}

/// A user is a doctor here and a patient there: each side is read from its own index, newest first, and the two are
/// merged, because an OR would read and sort everything that the user ever had.
fn list_sql(query: &SessionQuery) -> (String, Vec<Value>) {
    let SessionQuery {
        filter,
        before,
        limit,
    } = query;
    let (mut conditions, mut values) = conditions(filter);
    if let Some(before) = before {
        conditions.push("session_id < ?");
        values.push(Value::from(before.to_string()));
    }
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    let side = |user_column: Option<&'static str>| {
        let conditions: Vec<_> = conditions.iter().copied().chain(user_column).collect();
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", conditions.join(" AND "))
        };
        format!(
            "SELECT session_id, version, body FROM sessions {filter} ORDER BY session_id DESC LIMIT {limit}"
        )
    };
    let Some(user_id) = &filter.user_id else {
        return (side(None), values);
    };
    values.push(Value::from(user_id.to_string()));
    let sql = format!(
        "SELECT session_id, version, body FROM (SELECT * FROM ({}) UNION SELECT * FROM ({})) ORDER BY session_id DESC LIMIT {limit}",
        side(Some("doctor_id = ?")),
        side(Some("patient_id = ?")),
    );
    values.extend_from_within(..);
    (sql, values)
}

/// Everything but the user. Ids begin with the time of creation, so bounds on it are bounds on the id.
fn conditions(filter: &SessionFilter) -> (Vec<&'static str>, Vec<Value>) {
    let SessionFilter {
        state,
        appointment_id,
        user_id,
        sfu_node_id,
        created_after,
        created_before,
    } = filter;
    // A user or an appointment has few sessions, a state or a node may have a million: the plus keeps SQLite, which cannot
    // know that, from choosing the latter's index.
    let narrow = user_id.is_some() || appointment_id.is_some();
    let (by_state, by_node) = if narrow {
        ("+state = ?", "+sfu_node_id = ?")
    } else {
        ("state = ?", "sfu_node_id = ?")
    };
    let all = [
        (by_state, state.map(|state| state.name().to_owned())),
        (
            "appointment_id = ?",
            appointment_id.as_ref().map(ToString::to_string),
        ),
        (by_node, sfu_node_id.as_ref().map(ToString::to_string)),
        (
            "session_id > ?",
            created_after.map(SessionId::upper_bound_of),
        ),
        (
            "session_id < ?",
            created_before.map(SessionId::lower_bound_of),
        ),
    ];
    all.into_iter()
        .filter_map(|(condition, value)| value.map(|value| (condition, Value::from(value))))
        .unzip()
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
    db.prepare_cached("SELECT turn FROM rotation")?
        .query_row([], |_| Ok(()))?;
    Ok(())
}

/// A text, in which U+FFFD stands for what is no UTF-8.
fn text(row: &Row<'_>) -> rusqlite::Result<String> {
    let bytes = row.get_ref(0)?.as_bytes()?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn to_json(record: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| unreadable(&error))
}

fn parse<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| unreadable(&error))
}

/// Where a record breaks, without the value that breaks it: errors are logged, and values may name a person.
fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::corrupt(format!(
        "{:?} error at column {}",
        error.classify(),
        error.column()
    ))
}

fn parse_session(body: &str) -> Result<Session, StoreError> {
    let record: SessionRecord = parse(body)?;
    record.try_into()
}
