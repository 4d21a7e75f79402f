//! The thread that writes. Whatever has queued up while it was syncing goes into its next transaction together.

use std::sync::Mutex;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// One caller's part of a transaction. Returns what tells the caller, to be called once it is known whether the
/// transaction was committed.
type Job = Box<dyn FnOnce(&Connection) -> Result<Reply, StoreError> + Send>;
type Reply = Box<dyn FnOnce() + Send>;

pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        db: Connection,
        queue_max: usize,
        batch_max: usize,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(queue_max);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&db, receiver, batch_max))?;
        Ok(Self {
            jobs: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Runs `work` in a transaction and answers once that is durable. `work` must check before it writes: what it has
    /// written when it answers `Ok` is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let outcome = work(db)?;
            Ok(Box::new(move || {
                // The caller may have stopped waiting.
                let _ = sender.send(outcome);
            }))
        });
        self.sender()?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        // The job is dropped, and its sender with it, when its transaction was rolled back.
        receiver.await.map_err(|_| {
            StoreError::unavailable("the transaction was rolled back; see the writer's log line")
        })
    }

    /// Commits what is queued and stops the thread.
    pub(super) async fn close(&self) {
        drop(self.jobs.lock().map(|mut jobs| jobs.take()));
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn sender(&self) -> Result<mpsc::Sender<Job>, StoreError> {
        let jobs = self.jobs.lock().map_err(|_| closed())?;
        jobs.clone().ok_or_else(closed)
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn run(db: &Connection, mut jobs: mpsc::Receiver<Job>, batch_max: usize) {
    let mut batch = Vec::with_capacity(batch_max);
    while let Some(job) = jobs.blocking_recv() {
        batch.push(job);
        while batch.len() < batch_max
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        match transact(db, &mut batch) {
            Ok(replies) => replies.into_iter().for_each(|reply| reply()),
            Err(error) => {
                // Whatever began it must be over before the next transaction; it may be already.
                let _ = db.execute_batch("ROLLBACK");
                tracing::error!(
                    error = error.chain(),
                    "a write to the embedded store failed and was rolled back"
                );
            }
        }
        batch.clear();
    }
    // So that the file alone holds everything while the service does not run.
    if let Err(error) = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(
            error = StoreError::from(error).chain(),
            "the write-ahead log stays beside the database until the next start"
        );
    }
}

fn transact(db: &Connection, batch: &mut Vec<Job>) -> Result<Vec<Reply>, StoreError> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let replies = batch
        .drain(..)
        .map(|job| job(db))
        .collect::<Result<Vec<_>, _>>()?;
    db.prepare_cached("COMMIT")?.execute([])?;
    Ok(replies)
}
