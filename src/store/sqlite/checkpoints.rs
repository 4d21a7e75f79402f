//! Copies the write-ahead log into the database, beside the writer.
//!
//! A thread copies and syncs while the writer goes on appending to the log, repeatedly until little is left. The
//! writer copies the rest itself, between two transactions, and restarts the log. SQLite's own checkpoint would
//! block every write while it syncs tens of megabytes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::durability::Durability;
use super::schema;
use crate::store::StoreError;

/// The log's size, in pages of 4 KiB, at which the thread starts: large enough that pages shared by many sessions are copied
/// once, small enough that the log stays at tens of megabytes.
pub(super) const BEGIN_PAGES: i64 = 8192;
/// The writer copies at most `BEGIN_PAGES / LAST_PART` pages itself, unless the log is too long.
const LAST_PART: i64 = 16;
/// At `TIMES_MAX * BEGIN_PAGES` pages, the log is too long: the writer waits for the thread, without a limit, and copies the rest
/// however much it is.
const TIMES_MAX: i64 = 8;
/// After a failed attempt, the log grows by `BEGIN_PAGES / RETRY_PART` pages before the next.
const RETRY_PART: i64 = 8;

/// The writer's side. Ends the thread when it is dropped.
pub(super) struct Checkpoints {
    rounds: Option<SyncSender<()>>,
    /// The log's pages that a round copied; `None`: the round failed.
    results: Receiver<Option<i64>>,
    thread: Option<JoinHandle<()>>,
    durability: Durability,
    /// The log's pages at which the thread starts.
    begin_pages: i64,
    /// Whether the thread is working.
    running: bool,
    /// The log's pages that are copied, as of the last round.
    copied: i64,
    /// The log's pages at the last call of [`Checkpoints::advance`].
    pages_before: i64,
    /// The log's pages before which nothing is retried.
    not_before: i64,
}

impl Checkpoints {
    /// Starts the thread, with a connection of its own. `database` is the file of that path.
    pub(super) fn start(
        path: &Path,
        database: Arc<File>,
        durability: Durability,
        begin_pages: i64,
    ) -> Result<Self, super::OpenError> {
        let db = schema::open_checkpointer(path)?;
        // At most one round is requested at a time.
        let (rounds, asked) = sync_channel(1);
        let (results_sender, results) = sync_channel(1);
        let durable = durability.clone();
        let thread = thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || {
                while asked.recv().is_ok() {
                    let copied = copy(&db, &database, &durable).inspect_err(log_failure);
                    // The writer may have stopped.
                    let _ = results_sender.send(copied.ok());
                }
            })
            .map_err(super::OpenError::Thread)?;
        Ok(Self {
            rounds: Some(rounds),
            results,
            thread: Some(thread),
            durability,
            begin_pages,
            running: false,
            copied: 0,
            pages_before: 0,
            not_before: 0,
        })
    }

    /// Call this between two transactions, with the log's pages.
    pub(super) fn advance(&mut self, db: &Connection, pages: i64) {
        if pages < self.pages_before {
            // The log was restarted.
            self.copied = 0;
            self.not_before = 0;
        }
        self.pages_before = pages;
        self.take_result(pages);
        if self.running || pages < self.begin_pages.max(self.not_before) {
            return;
        }
        // While every transaction writes more than the last part, the thread never catches up.
        let is_nearly_done = pages - self.copied <= self.begin_pages / LAST_PART;
        if self.copied > 0 && (is_nearly_done || self.is_too_long(pages)) {
            // A mode that waits for readers, such as RESTART, would block every write during a backup. Without it, the log
            // restarts with the next write, unless a reader still uses it.
            if let Err(error) = checkpoint(db, &self.durability) {
                log_failure(&error);
            }
            self.postpone_retry(pages);
        } else if let Some(rounds) = &self.rounds {
            // Fails only if the thread has panicked.
            self.running = rounds.try_send(()).is_ok();
        }
    }

    /// Takes the result of a finished round. If the log is too long, waits for the round.
    fn take_result(&mut self, pages: i64) {
        if !self.running {
            return;
        }
        let result = if self.is_too_long(pages) {
            self.results.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            self.results.try_recv()
        };
        match result {
            Ok(Some(copied)) if copied > self.copied => self.copied = copied,
            // The round failed, or a reader, such as a backup, still uses the pages that are not copied.
            Ok(_) | Err(TryRecvError::Disconnected) => self.postpone_retry(pages),
            Err(TryRecvError::Empty) => return,
        }
        self.running = false;
    }

    fn is_too_long(&self, pages: i64) -> bool {
        pages >= TIMES_MAX * self.begin_pages
    }

    fn postpone_retry(&mut self, pages: i64) {
        self.copied = 0;
        self.not_before = pages + self.begin_pages / RETRY_PART;
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.rounds = None;
        // A thread that panicked needs no clean-up.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Copies and syncs the log's current pages. Returns how many of them are copied.
fn copy(db: &Connection, database: &File, durability: &Durability) -> Result<i64, StoreError> {
    durability.check()?;
    let copied = checkpoint(db, durability)?;
    // SQLite syncs the database only in the checkpoint that copies the last page, which is the writer's.
    database.sync_data().map_err(|error| {
        durability.fail(&error);
        StoreError::unavailable(error)
    })?;
    Ok(copied)
}

/// Copies the log's pages; SQLite syncs the log first. Returns how many of them are copied.
fn checkpoint(db: &Connection, durability: &Durability) -> Result<i64, StoreError> {
    run(db, "PRAGMA wal_checkpoint(PASSIVE)", durability)
}

/// Empties the log, so that the database alone holds everything.
pub(super) fn empty_log(db: &Connection, durability: &Durability) -> Result<(), StoreError> {
    run(db, "PRAGMA wal_checkpoint(TRUNCATE)", durability).map(|_| ())
}

fn run(db: &Connection, sql: &str, durability: &Durability) -> Result<i64, StoreError> {
    db.query_row(sql, [], |row| row.get(2)).map_err(|error| {
        durability.detect_failed_sync(&error);
        error.into()
    })
}

fn log_failure(error: &StoreError) {
    tracing::warn!(
        error = error.chain(),
        "the write-ahead log could not be copied into the database; it grows until it can"
    );
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use crate::domain::id::random_id;
    use crate::store::sqlite::{Config, LOG_FILE, SqliteStore, Tuning};
    use crate::store::{Heartbeat, InstanceStore as _, StoreHealth as _};

    #[tokio::test]
    async fn the_log_restarts_during_writes() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            readers: 1,
            queue_max: 16,
            batch_max: 16,
        };
        let tuning = Tuning {
            checkpoint_pages: 64,
            ..Tuning::default()
        };
        let open = || SqliteStore::open_tuned(&config, &tuning, |_| Box::new(|| Ok(()))).unwrap();
        let store = open();
        // Each is a transaction and writes a page at least.
        for heartbeat in 0..3000 {
            let heartbeat = Heartbeat::new("one", heartbeat);
            store.write_heartbeat(&heartbeat).await.unwrap();
            assert_eq!(store.heartbeats(9).await.unwrap(), [heartbeat]);
        }
        let log = std::fs::metadata(dir.path().join(LOG_FILE)).unwrap();
        assert!(log.len() < 1000 * 4096, "{} bytes", log.len());
        store.close().await;
        drop(store);
        let instances = open().heartbeats(9).await.unwrap();
        assert_eq!(instances, [Heartbeat::new("one", 2999)]);
    }

    /// Transactions that write more pages than the writer copies itself, without a pause between them.
    #[tokio::test]
    async fn the_log_stays_bounded_during_large_transactions() {
        const BATCH: usize = 64;
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            readers: 1,
            queue_max: 2 * BATCH,
            batch_max: BATCH,
        };
        let tuning = Tuning {
            checkpoint_pages: 64,
            ..Tuning::default()
        };
        let store = SqliteStore::open_tuned(&config, &tuning, |_| Box::new(|| Ok(()))).unwrap();
        for round in 0..1000 {
            let heartbeats: Vec<_> = (0..BATCH)
                .map(|_| Heartbeat::new(random_id(), round))
                .collect();
            let writes = heartbeats
                .iter()
                .map(|heartbeat| store.write_heartbeat(heartbeat));
            for written in join_all(writes).await {
                written.unwrap();
            }
        }
        let log = std::fs::metadata(dir.path().join(LOG_FILE)).unwrap();
        assert!(log.len() < 2000 * 4096, "{} bytes", log.len());
    }
}
