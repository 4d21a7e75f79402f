//! Moves what the write-ahead log holds into the database, beside the writer.
//!
//! A thread copies and syncs while the writer goes on appending to the log, again and again until little is left. The
//! writer copies that little itself, between two transactions, and begins the log anew. SQLite's own checkpoint would
//! keep every write waiting while it syncs tens of megabytes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::durability::Durability;
use super::schema;
use crate::store::StoreError;

/// The log's pages (4 KiB each) from which on the thread works: enough that pages which many sessions share are copied once,
/// little enough that the log stays at tens of megabytes.
pub(super) const BEGIN_PAGES: i64 = 8192;
/// One part in so many of that, or less, the writer copies itself.
const LAST_PART: i64 = 16;
/// So many times that, and the writer waits for the thread, however long that takes.
const TIMES_MAX: i64 = 8;
/// After an attempt that failed, the log grows by one part in so many of that before the next.
const RETRY_PART: i64 = 8;

/// The writer's side. Ends the thread when it is dropped.
pub(super) struct Checkpoints {
    rounds: Option<SyncSender<()>>,
    /// How many pages of the log a round has copied; `None`: it failed.
    results: Receiver<Option<i64>>,
    thread: Option<JoinHandle<()>>,
    durability: Durability,
    /// How long the log is when the thread is asked to work.
    begin_pages: i64,
    /// Whether the thread is at work.
    running: bool,
    /// How many pages of the log the last round left copied.
    copied: i64,
    /// How long the log was when the writer last looked.
    pages_before: i64,
    /// How long the log must be before anything is tried again.
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
        // One round is asked for at a time.
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

    /// To be called between two transactions, with the length of the log.
    pub(super) fn advance(&mut self, db: &Connection, pages: i64) {
        if pages < self.pages_before {
            // The log began anew.
            self.copied = 0;
            self.not_before = 0;
        }
        self.pages_before = pages;
        self.take_result(pages);
        if self.running || pages < self.begin_pages.max(self.not_before) {
            return;
        }
        if self.copied > 0 && pages - self.copied <= self.begin_pages / LAST_PART {
            // What waits for readers, such as RESTART, would keep every write waiting for a backup. Without, the log begins anew
            // with the next write, unless a reader still uses it.
            if let Err(error) = checkpoint(db, &self.durability) {
                log_failure(&error);
            }
            self.postpone_retry(pages);
        } else if let Some(rounds) = &self.rounds {
            // Fails only if the thread has panicked.
            self.running = rounds.try_send(()).is_ok();
        }
    }

    /// Takes the result of a round that has ended; if the log is too long, also of one that has not.
    fn take_result(&mut self, pages: i64) {
        if !self.running {
            return;
        }
        let result = if pages >= TIMES_MAX * self.begin_pages {
            self.results.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            self.results.try_recv()
        };
        match result {
            Ok(Some(copied)) if copied > self.copied => self.copied = copied,
            // It failed, or a reader, such as a backup, still uses what is not copied.
            Ok(_) | Err(TryRecvError::Disconnected) => self.postpone_retry(pages),
            Err(TryRecvError::Empty) => return,
        }
        self.running = false;
    }

    fn postpone_retry(&mut self, pages: i64) {
        self.copied = 0;
        self.not_before = pages + self.begin_pages / RETRY_PART;
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.rounds = None;
        // Nothing is left to do for a thread that panicked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Copies and syncs what the log holds by now. Returns how many of its pages are copied.
fn copy(db: &Connection, database: &File, durability: &Durability) -> Result<i64, StoreError> {
    durability.check()?;
    let copied = checkpoint(db, durability)?;
    // SQLite leaves it to the checkpoint that copies the last page, which is the writer's.
    database.sync_data().map_err(|error| {
        durability.fail(&error);
        StoreError::unavailable(error)
    })?;
    Ok(copied)
}

/// SQLite syncs the log before it copies any of it. Returns how many of its pages are copied.
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
    use crate::store::sqlite::{Config, LOG_FILE, SqliteStore, Tuning};
    use crate::store::{InstanceStore as _, StoreHealth as _};

    #[tokio::test]
    async fn the_log_begins_anew_while_writes_go_on() {
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
            store.write_heartbeat("one", heartbeat).await.unwrap();
            assert_eq!(
                store.heartbeats(9).await.unwrap(),
                [("one".to_owned(), heartbeat)]
            );
        }
        let log = std::fs::metadata(dir.path().join(LOG_FILE)).unwrap();
        assert!(log.len() < 1000 * 4096, "{} bytes", log.len());
        store.close().await;
        drop(store);
        let instances = open().heartbeats(9).await.unwrap();
        assert_eq!(instances, [("one".to_owned(), 2999)]);
    }
}
