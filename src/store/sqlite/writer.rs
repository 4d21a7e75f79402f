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

/// How many probes may wait for the writer at once. A probe that finds no place is answered as overload.
const PROBES_MAX: usize = 16;

/// What the writer's queue holds.
enum Message {
    /// Something to write.
    Write(Box<dyn Job>),
    /// Nothing to write: wakes a writer that waits for work, so that it answers a probe.
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

    fn tell(self: Box<Self>, committed: Result<(), StoreError>) {
        let Work {
            outcome, caller, ..
        } = *self;
        // The caller may have stopped waiting.
        let _ = caller.send(committed.and_then(|()| outcome.ok_or_else(rolled_back)));
    }
}

pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Message>>>,
    /// Apart from the queue, so that a probe waits for no write but those of the batch in progress.
    probes: mpsc::Sender<oneshot::Sender<()>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        db: Connection,
        queue_max: usize,
        batch_max: usize,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(queue_max);
        let (probes, probes_receiver) = mpsc::channel(PROBES_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&db, receiver, probes_receiver, batch_max))?;
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            probes,
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
            .try_send(Message::Write(Box::new(job)))
            .map_err(|error| refused(&error))?;
        // The job is dropped, and its sender with it, when its transaction was rolled back.
        receiver.await.map_err(|_| rolled_back())?
    }

    /// Answers once the writing thread has, which it does between two transactions. It takes part in none, so that it finds
    /// a thread that is stuck or gone, and says nothing of whether writes succeed.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        let queue = self.sender()?;
        let (caller, receiver) = oneshot::channel();
        self.probes
            .try_send(caller)
            .map_err(|error| refused(&error))?;
        // A full queue needs no waking: its writer looks for probes after the batch in progress.
        if let Err(mpsc::error::TrySendError::Closed(_)) = queue.try_send(Message::Wake) {
            return Err(closed());
        }
        receiver.await.map_err(|_| closed())
    }

    /// Commits what is queued and stops the thread.
    pub(super) async fn close(&self) {
        let thread = self.stop();
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }

    /// Takes no more work; the thread ends once it has done what is queued.
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

fn refused<T>(error: &mpsc::error::TrySendError<T>) -> StoreError {
    match error {
        mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => closed(),
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn rolled_back() -> StoreError {
    StoreError::unavailable("the transaction was rolled back; see the writer's log line")
}

fn run(
    db: &Connection,
    mut queue: mpsc::Receiver<Message>,
    mut probes: mpsc::Receiver<oneshot::Sender<()>>,
    batch_max: usize,
) {
    let mut batch = Vec::with_capacity(batch_max);
    while let Some(message) = queue.blocking_recv() {
        batch.extend(job_of(message));
        while batch.len() < batch_max
            && let Ok(message) = queue.try_recv()
        {
            batch.extend(job_of(message));
        }
        // After the messages, since one of those just taken may be what was to wake the writer for a probe.
        while let Ok(probe) = probes.try_recv() {
            // The prober may have stopped waiting.
            let _ = probe.send(());
        }
        if batch.is_empty() {
            continue;
        }
        match transact(db, &mut batch) {
            Ok(()) => batch.drain(..).for_each(|job| job.tell(Ok(()))),
            // What one of them came upon is no reason to fail the others.
            Err(StoreError::Corrupt { .. }) => {
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

fn job_of(message: Message) -> Option<Box<dyn Job>> {
    match message {
        Message::Write(job) => Some(job),
        Message::Wake => None,
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
