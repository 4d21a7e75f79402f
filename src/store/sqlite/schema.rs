//! The file's tables and migrations.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// Each entry migrates the file from the schema of its index to the next. Append only; never change a released entry.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE sessions (
        n              INTEGER PRIMARY KEY,
        session_id     TEXT NOT NULL UNIQUE,
        appointment_id TEXT NOT NULL,
        incarnation    INTEGER NOT NULL,
        doctor_id      TEXT NOT NULL,
        patient_id     TEXT NOT NULL,
        sfu_node_id    TEXT NOT NULL,
        state          TEXT NOT NULL,
        version        INTEGER NOT NULL,
        body           TEXT NOT NULL, -- record.rs, as JSON
        UNIQUE (appointment_id, incarnation)
    ) STRICT;
    CREATE INDEX sessions_by_doctor ON sessions (doctor_id, session_id);
    CREATE INDEX sessions_by_patient ON sessions (patient_id, session_id);
    CREATE INDEX sessions_by_node ON sessions (sfu_node_id, session_id);
    CREATE INDEX sessions_by_state ON sessions (state, session_id);
    CREATE TABLE events (
        session  INTEGER NOT NULL REFERENCES sessions (n),
        sequence INTEGER NOT NULL,
        body     TEXT NOT NULL, -- record.rs, as JSON
        PRIMARY KEY (session, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE rotation (
        id   INTEGER PRIMARY KEY CHECK (id = 1),
        turn INTEGER NOT NULL -- the next one
    ) STRICT;
    INSERT INTO rotation VALUES (1, 0);
",
    "
    ALTER TABLE sessions ADD COLUMN scheduled_end_ms INTEGER;
    ALTER TABLE sessions ADD COLUMN empty_since_ms INTEGER;
    UPDATE sessions SET scheduled_end_ms = body ->> '$.scheduled_end_time_ms';
    CREATE INDEX sessions_by_end ON sessions (scheduled_end_ms)
        WHERE scheduled_end_ms IS NOT NULL AND state <> 'ended';
    CREATE INDEX sessions_by_emptiness ON sessions (empty_since_ms)
        WHERE empty_since_ms IS NOT NULL AND state <> 'ended';
    CREATE TABLE instances (
        instance_id TEXT PRIMARY KEY,
        expires_ms  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE presence (
        instance_id TEXT NOT NULL,
        session     INTEGER NOT NULL REFERENCES sessions (n),
        PRIMARY KEY (instance_id, session)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX presence_by_session ON presence (session);
",
    // `n` is the order of the feed. Events are appended, and only the narrow index is written to in between.
    "
    ALTER TABLE events RENAME TO events_2;
    CREATE TABLE events (
        n        INTEGER PRIMARY KEY,
        session  INTEGER NOT NULL REFERENCES sessions (n),
        sequence INTEGER NOT NULL,
        body     TEXT NOT NULL -- record, as JSON
    ) STRICT;
    INSERT INTO events (session, sequence, body)
        SELECT session, sequence, body FROM events_2 ORDER BY session, sequence;
    DROP TABLE events_2;
    CREATE UNIQUE INDEX events_by_session ON events (session, sequence);
",
    "
    CREATE TABLE rotations (
        name TEXT PRIMARY KEY, -- empty: the default rotation
        turn INTEGER NOT NULL  -- the next one
    ) STRICT, WITHOUT ROWID;
    INSERT INTO rotations SELECT '', turn FROM rotation;
    DROP TABLE rotation;
    CREATE TABLE nodes (
        node_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        body    TEXT NOT NULL -- record, as JSON
    ) STRICT, WITHOUT ROWID;
    ALTER TABLE instances ADD COLUMN lost_nodes TEXT; -- ids as JSON; NULL: the instance observes no nodes
    CREATE INDEX sessions_on_node ON sessions (sfu_node_id, state, scheduled_end_ms) WHERE state <> 'ended';
",
    "
    ALTER TABLE sessions ADD COLUMN empty_deadline_ms INTEGER;
    CREATE INDEX sessions_by_empty_deadline ON sessions (empty_deadline_ms)
        WHERE empty_deadline_ms IS NOT NULL AND state <> 'ended';
",
    "
    CREATE TABLE short_links (
        digest  TEXT PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (n)
    ) STRICT, WITHOUT ROWID;
",
];

/// How long a connection waits for another's lock: only checkpoints and openings hold a blocking one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const WRITER_CACHE_KIB: i64 = 16 * 1024;
const CHECKPOINTER_CACHE_KIB: i64 = 64;
const READER_CACHE_KIB: i64 = 4 * 1024;
const STATEMENT_CACHE: usize = 64;

/// Opens the writing connection; creates and migrates the file.
pub(super) fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = connect(file, flags, WRITER_CACHE_KIB).map_err(OpenError::Database)?;
    configure_writer(&db).map_err(OpenError::Database)?;
    migrate(&mut db)?;
    Ok(db)
}

/// Opens a connection for checkpoints only.
pub(super) fn open_checkpointer(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let db = connect(file, flags, CHECKPOINTER_CACHE_KIB)?;
        configure_writer(&db)?;
        Ok(db)
    };
    open().map_err(OpenError::Database)
}

/// Opens a read-only connection.
pub(super) fn open_reader(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(file, flags, READER_CACHE_KIB).map_err(OpenError::Database)
}

fn connect(file: &Path, flags: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(file, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    // Without it, SQLite compiles most statements anew for every value: it wonders whether a partial index covers that value.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    db.pragma_update(None, "cache_size", -cache_kib)?;
    Ok(db)
}

fn configure_writer(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    // durability.rs syncs commits before they are answered. With NORMAL, SQLite still syncs for integrity: the WAL when it
    // restarts and before it is copied, and the database after that.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    // checkpoints.rs checkpoints instead.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A temporary file would go to /var/tmp, which a read-only root forbids.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

fn migrate(db: &mut Connection) -> Result<(), OpenError> {
    let found: i64 = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(OpenError::Database)?;
    let known = MIGRATIONS.len();
    let done = usize::try_from(found)
        .ok()
        .filter(|done| *done <= known)
        .ok_or(OpenError::Newer {
            found,
            known: i64::try_from(known).unwrap_or(i64::MAX),
        })?;
    if (1..known).contains(&done) {
        tracing::info!(
            from = done,
            to = known,
            "upgrading the database; this can take minutes for millions of events"
        );
    }
    for (schema, migration) in (1_i64..).zip(MIGRATIONS).skip(done) {
        apply(db, migration, schema).map_err(OpenError::Database)?;
    }
    Ok(())
}

fn apply(db: &mut Connection, migration: &str, schema: i64) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", schema)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_stays_intact_after_a_power_loss() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(&dir.path().join("test.db")).unwrap();
        let pragma = |name: &str| -> String {
            db.query_row(&format!("PRAGMA {name}"), [], |row| {
                let value: rusqlite::types::Value = row.get(0)?;
                Ok(format!("{value:?}"))
            })
            .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        // 1 is NORMAL. With OFF, losing power could destroy the database. That commits are durable is tried in durability.rs.
        assert_eq!(pragma("synchronous"), "Integer(1)");
        assert_eq!(pragma("wal_autocheckpoint"), "Integer(0)");
    }
}
