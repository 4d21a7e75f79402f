//! Tracks which commits are durable, and delays answers until then.
//!
//! SQLite commits without a sync. While writes queue up, a thread syncs the write-ahead log after each batch, and the writer
//! executes the next one meanwhile; otherwise the writer syncs it itself, which wakes no thread. Every answer, also
//! of a read, waits until everything that it may have seen is durable, so that a power loss cannot undo what a caller was shown.
//!
//! After a failed sync, the kernel may have dropped the unwritten pages, and the next sync would succeed without them. So the
//! store answers nothing more until it is reopened.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};

use tokio_util::sync::CancellationToken;

use crate::store::StoreError;

/// A caller's answer that waits for durability.
pub(super) trait Answer: Send {
    /// Answers the caller; an error replaces the outcome.
    fn send_outcome(self: Box<Self>, durable: Result<(), StoreError>);
}

/// Syncs the write-ahead log to the disk.
pub(super) type SyncLog = Box<dyn FnMut() -> io::Result<()> + Send>;

/// A transaction that the writer has tried to commit.
pub(super) struct Batch {
    pub(super) answers: Vec<Box<dyn Answer>>,
    /// Whether anything was written.
    pub(super) written: bool,
}

/// The writer's and the readers' handle of the syncing thread.
#[derive(Clone)]
pub(super) struct Durability(Arc<Shared>);

/// The writer's side. When dropped, syncs the remaining batches and ends the thread.
pub(super) struct Syncer {
    durability: Durability,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Locked during a sync.
    sync: Mutex<SyncLog>,
    /// How many commits were begun; successful ones are visible to reads.
    begun: AtomicU64,
    /// How many of them are durable.
    durable: AtomicU64,
    state: Mutex<State>,
    /// The thread has a batch to sync, or must end.
    work: Condvar,
    /// The thread has taken a batch, or has finished it.
    room: Condvar,
    /// How many reads may wait for a sync.
    reads_max: usize,
    /// Cancelled when a sync has failed.
    lost: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Committed, but not yet taken by the thread.
    batch: Option<Batch>,
    /// Whether the thread is syncing one.
    syncing: bool,
    /// Reads that may have seen commits that are not durable, each with the number of commits to wait for.
    reads: Vec<(u64, Box<dyn Answer>)>,
    failed: bool,
    /// Whether no more batches will come.
    closed: bool,
    /// Whether the thread waits for a batch.
    idle: bool,
    /// Whether the writer waits for the thread.
    writer_waits: bool,
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

fn lost() -> StoreError {
    StoreError::unavailable("the write-ahead log could not be synced; see the log line")
}

impl Syncer {
    /// Starts the thread.
    pub(super) fn start(sync: SyncLog, reads_max: usize) -> io::Result<Self> {
        let durability = Durability(Arc::new(Shared {
            sync: Mutex::new(sync),
            begun: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            reads_max,
            lost: CancellationToken::new(),
        }));
        let of_thread = durability.clone();
        let thread = thread::Builder::new()
            .name("store-sync".into())
            .spawn(move || of_thread.sync_batches())?;
        Ok(Self {
            durability,
            thread: Some(thread),
        })
    }

    pub(super) fn durability(&self) -> &Durability {
        &self.durability
    }

    /// Waits until the thread has taken the last batch, so that at most one batch is being synced.
    pub(super) fn wait_for_room(&self) {
        self.wait_while(|state| state.batch.is_some());
    }

    fn wait_while(&self, holds: impl Fn(&State) -> bool) {
        let shared = &self.durability.0;
        let mut state = shared.lock();
        while holds(&state) {
            state.writer_waits = true;
            state = wait(&shared.room, state);
        }
        state.writer_waits = false;
    }

    /// Call this before a commit, which is visible at once.
    pub(super) fn begin_commit(&self) {
        self.durability.0.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Syncs a batch and answers its callers. Call this once for every begun commit, when there is room. If the writer has more
    /// to do, the thread syncs in the meantime.
    pub(super) fn settle(&self, batch: Batch, has_more_to_do: bool) {
        if !has_more_to_do {
            self.wait_while(|state| state.batch.is_some() || state.syncing);
            return self.durability.sync_batch(batch);
        }
        let shared = &self.durability.0;
        let mut state = shared.lock();
        state.batch = Some(batch);
        let wake = state.idle;
        drop(state);
        if wake {
            shared.work.notify_one();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        let shared = &self.durability.0;
        shared.lock().closed = true;
        shared.work.notify_one();
        // A thread that panicked needs no clean-up.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Durability {
    /// Answers reads once everything that they may have seen is durable. Call this after the reads.
    pub(super) fn answer_reads(&self, answers: impl Iterator<Item = Box<dyn Answer>>) {
        let shared = &self.0;
        let seen = shared.begun.load(Ordering::SeqCst);
        if shared.durable.load(Ordering::SeqCst) >= seen {
            answers.for_each(|answer| answer.send_outcome(Ok(())));
            return;
        }
        let mut state = shared.lock();
        if state.failed {
            drop(state);
            answers.for_each(|answer| answer.send_outcome(Err(lost())));
        } else if shared.durable.load(Ordering::SeqCst) >= seen {
            drop(state);
            answers.for_each(|answer| answer.send_outcome(Ok(())));
        } else {
            let mut refused = Vec::new();
            for answer in answers {
                if state.reads.len() < shared.reads_max {
                    state.reads.push((seen, answer));
                } else {
                    refused.push(answer);
                }
            }
            drop(state);
            refused
                .into_iter()
                .for_each(|answer| answer.send_outcome(Err(StoreError::Overloaded)));
        }
    }

    /// Cancelled once a sync has failed.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.0.lost
    }

    /// Fails once a sync has failed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.0.lock().failed {
            Err(lost())
        } else {
            Ok(())
        }
    }

    /// Detects a failure of SQLite's own syncs.
    pub(super) fn detect_failed_sync(&self, error: &rusqlite::Error) {
        let code = error.sqlite_error().map(|error| error.extended_code);
        if let Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC) = code {
            self.fail(error);
        }
    }

    /// Fails the store after a failed sync: from now on nothing is durable.
    pub(super) fn fail(&self, error: &(dyn std::error::Error + 'static)) {
        let reads = {
            let mut state = self.0.lock();
            if !state.failed {
                tracing::error!(
                    error,
                    "the embedded store could not be synced to the disk; it answers nothing more until it is reopened"
                );
            }
            state.failed = true;
            self.0.lost.cancel();
            // Later reads may see more than what was durable before, so none may pass.
            self.0.begun.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut state.reads)
        };
        reads
            .into_iter()
            .for_each(|(_, answer)| answer.send_outcome(Err(lost())));
    }

    fn sync_batches(&self) {
        while let Some(batch) = self.0.take_batch() {
            self.sync_batch(batch);
        }
    }

    /// Call this for one batch at a time, in commit order.
    fn sync_batch(&self, batch: Batch) {
        let shared = &self.0;
        if batch.written {
            // One sync at a time; a sync that panicked has reported no success.
            let mut sync = shared.sync.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = sync() {
                self.fail(&error);
            }
        }
        // Also without a sync: writes of earlier batches are already durable, or lost.
        let (reads, failed) = shared.record_synced();
        let durable = || if failed { Err(lost()) } else { Ok(()) };
        let answers = batch.answers.into_iter().chain(reads);
        answers.for_each(|answer| answer.send_outcome(durable()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is consistent at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next batch; `None` at the end.
    fn take_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.batch.take() {
                state.idle = false;
                state.syncing = true;
                let wake = state.writer_waits;
                drop(state);
                if wake {
                    self.room.notify_one();
                }
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state.idle = true;
            state = wait(&self.work, state);
        }
    }

    /// Records that one more batch is durable. Returns the reads that can now be answered, and whether a sync has failed.
    fn record_synced(&self) -> (Vec<Box<dyn Answer>>, bool) {
        let mut state = self.lock();
        state.syncing = false;
        if state.writer_waits {
            self.room.notify_one();
        }
        if state.failed {
            return (Vec::new(), true);
        }
        let durable = self.durable.fetch_add(1, Ordering::SeqCst) + 1;
        let told = state.reads.extract_if(.., |(seen, _)| *seen <= durable);
        (told.map(|(_, answer)| answer).collect(), false)
    }
}

#[cfg(test)]
mod tests;
