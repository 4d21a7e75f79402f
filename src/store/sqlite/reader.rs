//! The reading threads, each with its own connection and a bounded queue. Queued reads share one transaction and are answered
//! together: locks are taken once, and the waiting callers are woken together.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::OpenError;
use super::durability::{Answer, Durability};
use super::schema;
use crate::store::StoreError;

/// One caller's read. Returns the caller's answer.
type Job = Box<dyn FnOnce(&Connection) -> Box<dyn Answer> + Send>;

struct Read<T> {
    outcome: Result<T, StoreError>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send> Answer for Read<T> {
    fn send_outcome(self: Box<Self>, durable: Result<(), StoreError>) {
        let Self { outcome, caller } = *self;
        // The caller may have stopped waiting.
        let _ = caller.send(durable.and(outcome));
    }
}

/// The most reads that share a transaction, so that no read waits long for others.
const BATCH_MAX: usize = 64;

pub(super) struct Readers {
    queues: Mutex<Vec<mpsc::Sender<Job>>>,
    next: AtomicUsize,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Readers {
    /// Waits until the threads have closed their connections: the locks on the files are released after them.
    fn drop(&mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked needs no clean-up.
            let _ = thread.join();
        }
    }
}

impl Readers {
    pub(super) fn start(
        file: &Path,
        count: usize,
        queue_max: usize,
        durability: &Durability,
    ) -> Result<Self, OpenError> {
        let started = (0..count.max(1))
            .map(|_| start_reader(file, queue_max, durability.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let (queues, threads) = started.into_iter().unzip();
        Ok(Self {
            queues: Mutex::new(queues),
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// Runs `work` on a reading thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, receiver) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            Box::new(Read {
                outcome: work(db),
                caller,
            })
        });
        self.queue()?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        receiver.await.map_err(|_| closed())?
    }

    /// Stops the threads once they have answered the queued reads.
    pub(super) fn close(&self) {
        if let Ok(mut queues) = self.queues.lock() {
            queues.clear();
        }
    }

    fn queue(&self) -> Result<mpsc::Sender<Job>, StoreError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let queues = self.queues.lock().map_err(|_| closed())?;
        let count = queues.len().max(1);
        queues.get(turn % count).cloned().ok_or_else(closed)
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn start_reader(
    file: &Path,
    queue_max: usize,
    durability: Durability,
) -> Result<(mpsc::Sender<Job>, JoinHandle<()>), OpenError> {
    let db = schema::open_reader(file)?;
    let (sender, mut jobs) = mpsc::channel::<Job>(queue_max);
    let thread = std::thread::Builder::new()
        .name("store-reader".into())
        .spawn(move || run_reader(&db, &mut jobs, &durability))
        .map_err(OpenError::Thread)?;
    Ok((sender, thread))
}

fn run_reader(db: &Connection, jobs: &mut mpsc::Receiver<Job>, durability: &Durability) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut answers = Vec::with_capacity(BATCH_MAX);
    while let Some(job) = jobs.blocking_recv() {
        batch.push(job);
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        // The snapshot is taken after the last read was queued, so each read sees what its caller knows to be stored.
        // If BEGIN fails, each read takes its own snapshot.
        let together = batch.len() > 1 && execute(db, "BEGIN");
        answers.extend(batch.drain(..).map(|job| job(db)));
        if together {
            execute(db, "COMMIT");
        }
        durability.answer_reads(answers.drain(..));
    }
}

fn execute(db: &Connection, sql: &str) -> bool {
    db.prepare_cached(sql)
        .and_then(|mut statement| statement.execute([]))
        .is_ok()
}
