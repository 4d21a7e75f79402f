//! The writing thread. Writes queued while it is busy share its next transaction.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use tokio::sync::{mpsc, oneshot};

use super::OpenError;
use super::checkpoints::{self, Checkpoints};
use super::durability::{Answer, Batch, Durability, Syncer};
use crate::store::StoreError;

/// One caller's part of a transaction, and its answer.
trait Job: Answer {
    /// Does the work; called again if its transaction was rolled back.
    fn run(&mut self, db: &Connection) -> Result<(), StoreError>;
}

/// How many probes may wait for the writer. Further probes are refused as overloaded.
const PROBES_MAX: usize = 16;

/// With fewer queued writes, the writer syncs a batch itself: a small transaction beside the sync costs more than it gains,
/// because transactions share pages that each would rewrite.
pub(super) const OVERLAP_MIN: usize = 32;

/// A message to the writer.
enum Message {
    /// A write.
    Write(Box<dyn Job>),
    /// Wakes an idle writer, so that it answers a probe.
    Wake,
}

struct Work<T, F> {
    work: F,
    outcome: Option<T>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<T, StoreError> + Send> Job for Work<T, F> {
    fn run(&mut self, db: &Connection) -> Result<(), StoreError> {
        self.outcome = Some((self.work)(db)?);
        Ok(())
    }
}

impl<T: Send, F: Send> Answer for Work<T, F> {
    fn send_outcome(self: Box<Self>, durable: Result<(), StoreError>) {
        let Work {
            outcome, caller, ..
        } = *self;
        // The caller may have stopped waiting.
        let _ = caller.send(durable.and_then(|()| outcome.ok_or_else(rolled_back)));
    }
}

pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Message>>>,
    /// Separate from the queue, so that a probe waits only for the batch in progress.
    probes: mpsc::Sender<oneshot::Sender<()>>,
    durability: Durability,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The state of the writing thread.
struct Parts {
    db: Connection,
    syncer: Syncer,
    checkpoints: Checkpoints,
    log: Arc<Log>,
    batch_max: usize,
    overlap_min: usize,
}

/// Settings of the writer.
pub(super) struct Limits {
    /// How many writes may wait.
    pub(super) queue_max: usize,
    /// The most writes that share a transaction.
    pub(super) batch_max: usize,
    /// With at least so many queued writes, a batch is synced while the next one is executed.
    pub(super) overlap_min: usize,
}

/// The state of the write-ahead log, reported by SQLite.
#[derive(Default)]
struct Log {
    /// How many pages it held after the last commit that wrote.
    pages: AtomicI64,
    /// Whether the last commit wrote.
    written: AtomicBool,
}

impl Writer {
    pub(super) fn start(
        mut db: Connection,
        syncer: Syncer,
        checkpoints: Checkpoints,
        limits: &Limits,
    ) -> Result<Self, OpenError> {
        let (sender, receiver) = mpsc::channel(limits.queue_max);
        let (probes, probes_receiver) = mpsc::channel(PROBES_MAX);
        let durability = syncer.durability().clone();
        let log = Arc::new(Log::default());
        let noted = Arc::clone(&log);
        db.wal_hook(Some(move |_: &mut Wal, pages| {
            noted.pages.store(i64::from(pages), Ordering::Relaxed);
            noted.written.store(true, Ordering::Relaxed);
            Ok(())
        }))
        .map_err(OpenError::Database)?;
        let mut parts = Parts {
            db,
            syncer,
            checkpoints,
            log,
            batch_max: limits.batch_max,
            overlap_min: limits.overlap_min,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                run_writer(&mut parts, receiver, probes_receiver);
                parts.end();
            })
            .map_err(OpenError::Thread)?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            probes,
            durability,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `work` in a transaction and returns once that is durable. `work` must check before it writes: everything written
    /// when it returns `Ok` is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, receiver) = oneshot::channel();
        let job = Work {
            work,
            outcome: None,
            caller,
        };
        self.sender()?
            .try_send(Message::Write(Box::new(job)))
            .map_err(|error| queue_error(&error))?;
        // If its transaction is rolled back, the job is dropped together with its sender.
        receiver.await.map_err(|_| rolled_back())?
    }

    /// Returns once the writing thread has answered, which it does between two transactions. Detects a stuck or dead thread,
    /// not failing writes.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        let queue = self.sender()?;
        let (caller, receiver) = oneshot::channel();
        self.probes
            .try_send(caller)
            .map_err(|error| queue_error(&error))?;
        // A full queue needs no waking: the writer answers probes after the batch in progress.
        if let Err(mpsc::error::TrySendError::Closed(_)) = queue.try_send(Message::Wake) {
            return Err(closed());
        }
        receiver.await.map_err(|_| closed())?;
        self.durability.check()
    }

    /// Commits what is queued and stops the thread.
    pub(super) async fn close(&self) {
        let thread = self.stop();
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }

    /// Accepts no more work; the thread ends after the queued work.
    fn stop(&self) -> Option<JoinHandle<()>> {
        drop(self.queue.lock().map(|mut queue| queue.take()));
        self.thread.lock().ok().and_then(|mut thread| thread.take())
    }

    fn sender(&self) -> Result<mpsc::Sender<Message>, StoreError> {
        let queue = self.queue.lock().map_err(|_| closed())?;
        queue.clone().ok_or_else(closed)
    }
}

impl Drop for Writer {
    /// Waits until the thread has closed its connection: the locks on the files are released after it.
    fn drop(&mut self) {
        let _ = self.stop().map(JoinHandle::join);
    }
}

fn queue_error<T>(error: &mpsc::error::TrySendError<T>) -> StoreError {
    match error {
        mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => closed(),
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn rolled_back() -> StoreError {
    StoreError::unavailable("the transaction was rolled back; see the log line of its cause")
}

fn run_writer(
    parts: &mut Parts,
    mut queue: mpsc::Receiver<Message>,
    mut probes: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut batch = Vec::with_capacity(parts.batch_max);
    while let Some(message) = queue.blocking_recv() {
        // Writes that arrive in the meantime join the same transaction.
        parts.syncer.wait_for_room();
        batch.extend(job_of(message));
        while batch.len() < parts.batch_max
            && let Ok(message) = queue.try_recv()
        {
            batch.extend(job_of(message));
        }
        // After the messages, because one of them may be the wake-up for a probe.
        while let Ok(probe) = probes.try_recv() {
            // The prober may have stopped waiting.
            let _ = probe.send(());
        }
        if !batch.is_empty() {
            parts.write_batch(&mut batch, &queue);
            batch.clear();
        }
    }
}

impl Parts {
    fn write_batch(&mut self, batch: &mut Vec<Box<dyn Job>>, queue: &mpsc::Receiver<Message>) {
        if self.syncer.durability().check().is_err() {
            // Dropping the jobs fails their callers.
            batch.clear();
            return;
        }
        match self.run_transaction(batch) {
            Ok(()) => self.settle(batch.drain(..), queue.len() >= self.overlap_min),
            // One job's failure must not fail the others.
            Err(StoreError::Corrupt { .. }) => {
                for mut job in batch.drain(..) {
                    match self.run_transaction(std::slice::from_mut(&mut job)) {
                        Ok(()) => self.settle(std::iter::once(job), false),
                        Err(error) => {
                            log_rollback(&error);
                            job.send_outcome(Err(error));
                        }
                    }
                }
            }
            Err(error) => log_rollback(&error),
        }
        let log_pages = self.log.pages.load(Ordering::Relaxed);
        self.checkpoints.advance(&self.db, log_pages);
    }

    fn run_transaction(&self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let outcome = self.try_transaction(batch);
        if outcome.is_err() {
            // The transaction must end before the next one; SQLite may have ended it already.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        outcome
    }

    fn try_transaction(&self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let db = &self.db;
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        batch.iter_mut().try_for_each(|job| job.run(db))?;
        let mut commit = db.prepare_cached("COMMIT")?;
        self.log.written.store(false, Ordering::Relaxed);
        self.syncer.begin_commit();
        let committed = commit.execute([]);
        if let Err(error) = &committed {
            self.syncer.durability().detect_failed_sync(error);
            self.settle(std::iter::empty(), false);
        }
        committed?;
        Ok(())
    }

    fn settle(&self, jobs: impl Iterator<Item = Box<dyn Job>>, has_more_to_do: bool) {
        let batch = Batch {
            answers: jobs.map(|job| job as Box<dyn Answer>).collect(),
            written: self.log.written.load(Ordering::Relaxed),
        };
        self.syncer.settle(batch, has_more_to_do);
    }

    fn end(self) {
        let Self {
            db,
            syncer,
            checkpoints,
            ..
        } = self;
        drop(checkpoints);
        let durability = syncer.durability().clone();
        // Syncs the remaining batches and answers their callers.
        drop(syncer);
        let ended = if durability.check().is_ok() {
            checkpoints::empty_log(&db, &durability)
        } else {
            // Writes that may be lost must not reach the database.
            let set = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            set.map(|_| ()).map_err(StoreError::from)
        };
        if let Err(error) = ended {
            tracing::warn!(
                error = error.chain(),
                "the write-ahead log could not be merged into the database; it stays beside it until the next start"
            );
        }
    }
}

fn job_of(message: Message) -> Option<Box<dyn Job>> {
    match message {
        Message::Write(job) => Some(job),
        Message::Wake => None,
    }
}

fn log_rollback(error: &StoreError) {
    tracing::error!(
        error = error.chain(),
        "a write to the embedded store failed and was rolled back"
    );
}
