//! The work that waits to be done. The same work waits once, however often it is requested.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::ReconcileConfig;
use crate::domain::id::{NodeId, SessionId};

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Make the session's room agree with the session.
    Session(SessionId),
    /// End this room of a node, unless it is its session's current one.
    Room(NodeId, String),
}

pub(super) struct WorkQueue {
    waiting: Mutex<Waiting>,
    added: Notify,
    permits: Arc<Semaphore>,
    waiting_max: usize,
}

#[derive(Default)]
struct Waiting {
    order: VecDeque<Work>,
    set: HashSet<Work>,
}

impl WorkQueue {
    pub(super) fn new(config: ReconcileConfig) -> Self {
        Self {
            waiting: Mutex::default(),
            added: Notify::new(),
            permits: Arc::new(Semaphore::new(config.concurrent_max)),
            waiting_max: config.waiting_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if too much waits.
    pub(super) fn push(&self, work: Work) -> bool {
        {
            let mut waiting = self.lock();
            if waiting.set.contains(&work) {
                return true;
            }
            if waiting.order.len() >= self.waiting_max {
                return false;
            }
            waiting.set.insert(work.clone());
            waiting.order.push_back(work);
        }
        self.added.notify_one();
        true
    }

    /// The next piece of work, and the permit to do it.
    pub(super) async fn next(&self) -> (Work, Option<OwnedSemaphorePermit>) {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        loop {
            if let Some(work) = self.pop() {
                return (work, permit);
            }
            self.added.notified().await;
        }
    }

    /// Work that is requested again while it is being done is done again.
    fn pop(&self) -> Option<Work> {
        let mut waiting = self.lock();
        let work = waiting.order.pop_front()?;
        waiting.set.remove(&work);
        Some(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(name: &str) -> Work {
        Work::Session(SessionId::from_stored(name.into()))
    }

    #[tokio::test]
    async fn the_same_work_waits_once_and_there_is_a_limit() {
        let queue = WorkQueue::new(ReconcileConfig {
            waiting_max: 2,
            concurrent_max: 4,
        });
        assert!(queue.push(work("a")) && queue.push(work("a")) && queue.push(work("b")));
        assert!(!queue.push(work("c")));
        let (first, _permit) = queue.next().await;
        assert_eq!(first, work("a"));
        // It is being done: a new request counts.
        assert!(queue.push(work("a")));
        let (second, _permit) = queue.next().await;
        let (third, _permit) = queue.next().await;
        assert_eq!((second, third), (work("b"), work("a")));
    }
}
