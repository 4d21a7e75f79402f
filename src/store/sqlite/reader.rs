//! The threads that read, each with a connection of its own and a bounded queue.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::OpenError;
use super::schema;
use crate::store::StoreError;

type Job = Box<dyn FnOnce(&Connection) + Send>;

pub(super) struct Readers {
    queues: Mutex<Vec<mpsc::Sender<Job>>>,
    next: AtomicUsize,
}

impl Readers {
    pub(super) fn start(file: &Path, count: usize, queue_max: usize) -> Result<Self, OpenError> {
        let queues = (0..count.max(1))
            .map(|_| start_one(file, queue_max))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            queues: Mutex::new(queues),
            next: AtomicUsize::new(0),
        })
    }

    /// Runs `work` on a reading thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // The caller may have stopped waiting.
            let _ = sender.send(work(db));
        });
        self.queue()?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        receiver.await.map_err(|_| closed())?
    }

    /// Lets the threads go once they have answered what is queued.
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

fn start_one(file: &Path, queue_max: usize) -> Result<mpsc::Sender<Job>, OpenError> {
    let db = schema::open_reader(file)?;
    let (sender, mut jobs) = mpsc::channel::<Job>(queue_max);
    std::thread::Builder::new()
        .name("store-reader".into())
        .spawn(move || {
            while let Some(job) = jobs.blocking_recv() {
                job(&db);
            }
        })
        .map_err(OpenError::Thread)?;
    Ok(sender)
}
