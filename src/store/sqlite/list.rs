//! Lists sessions, always from an index.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::queries::read_session_row;
use crate::domain::id::SessionId;
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::store::{ListedSession, StoreError};

pub(super) fn list(
    db: &Connection,
    query: &SessionQuery,
) -> Result<Vec<ListedSession>, StoreError> {
    let (sql, values) = list_sql(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_session_row(row)?);
    }
    Ok(found)
}

/// A user may be the doctor or the patient: each side is read from its own index, newest first, and the two are merged, because
/// an OR would read and sort all of the user's sessions.
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

/// All conditions except the user. Ids begin with the time of creation, so bounds on it are bounds on the id.
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
