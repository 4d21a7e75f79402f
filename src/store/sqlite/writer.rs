//! The thread that writes. Whatever has queued up while it was syncing goes into its next transaction together.

use std::sync::Mutex;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// One caller's part of a transaction.
trait Job: Send {
    /// Does the work; again, if the transaction that it was done in was rolled back.
    fn run(&mut self, db: &Connection) -> Result<(), StoreError>;
    /// Tells the caller, once it is known what became of the transaction.
    fn tell(self: Box<Self>, committed: Result<(), StoreError>);
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

    fn tell(self: Box<Self>, committed: Result<(), StoreError>) {
        let Work {
            outcome, caller, ..
        } = *self;
        // The caller may have stopped waiting.
        let _ = caller.send(committed.and_then(|()| outcome.ok_or_else(rolled_back)));
    }
}

pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
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
        work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, receiver) = oneshot::channel();
        let job = Work {
            work,
            outcome: None,
            caller,
        };
        self.sender()?
            .try_send(Box::new(job))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => closed(),
            })?;
        // The job is dropped, and its sender with it, when its transaction was rolled back.
        receiver.await.map_err(|_| rolled_back())?
    }

    /// Commits what is queued and stops the thread.
    pub(super) async fn close(&self) {
        drop(self.jobs.lock().map(|mut jobs| jobs.take()));
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn sender(&self) -> Result<mpsc::Sender<Box<dyn Job>>, StoreError> {
        let jobs = self.jobs.lock().map_err(|_| closed())?;
        jobs.clone().ok_or_else(closed)
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn rolled_back() -> StoreError {
    StoreError::unavailable("the transaction was rolled back; see the writer's log line")
}

fn run(db: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>, batch_max: usize) {
    let mut batch = Vec::with_capacity(batch_max);
    while let Some(job) = jobs.blocking_recv() {
        batch.push(job);
        while batch.len() < batch_max
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        match transact(db, &mut batch) {
            Ok(()) => batch.drain(..).for_each(|job| job.tell(Ok(()))),
            // What one of them came upon is no reason to fail the others.
            Err(StoreError::Corrupt(_)) => {
                for mut job in batch.drain(..) {
                    let committed = transact(db, std::slice::from_mut(&mut job));
                    job.tell(committed.inspect_err(report));
                }
            }
            Err(error) => report(&error),
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

fn report(error: &StoreError) {
    tracing::error!(
        error = error.chain(),
        "a write to the embedded store failed and was rolled back"
    );
}

fn transact(db: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let outcome = attempt(db, batch);
    if outcome.is_err() {
        // Whatever began it must be over before the next transaction; it may be already.
        let _ = db.execute_batch("ROLLBACK");
    }
    outcome
}

fn attempt(db: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    batch.iter_mut().try_for_each(|job| job.run(db))?;
    db.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}
