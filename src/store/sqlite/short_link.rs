//! Finds sessions by their short links.

use rusqlite::{Connection, params};

use super::queries::first;
use crate::domain::change::Change;
use crate::domain::session::Session;
use crate::store::StoreError;

/// The session that has a short link with this digest.
pub(super) fn session(db: &Connection, digest: &str) -> Result<Option<Session>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT session_id, version, body FROM sessions \
         WHERE n = (SELECT session FROM short_links WHERE digest = ?1)",
    )?;
    let found = first(statement.query([digest])?)?;
    // A link that the session has dropped is still in the index.
    Ok(found.filter(|session| {
        let mut links = session.short_links.iter();
        links.any(|link| link.digest == digest)
    }))
}

/// Makes the links that a change has added known. Those that it has dropped are left: most changes then write nothing here.
pub(super) fn add_new(db: &Connection, n: i64, change: &Change) -> Result<(), StoreError> {
    let links = change.session.short_links.iter();
    for link in links.filter(|link| link.since > change.base_version()) {
        db.prepare_cached("INSERT OR IGNORE INTO short_links (digest, session) VALUES (?1, ?2)")?
            .execute(params![link.digest, n])?;
    }
    Ok(())
}
