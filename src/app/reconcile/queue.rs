//! The work that waits to be done, by node, so that a node that does not answer delays no work on others. The same work waits once,
//! however often it is requested.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ReconcileConfig;
use crate::domain::id::{NodeId, SessionId};

/// A piece of work on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Work {
    pub(crate) node_id: NodeId,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    /// Make the session's room agree with the session.
    Session(SessionId),
    /// End this room, unless it is its session's current one.
    Room(String),
}

pub(super) struct WorkQueue {
    lanes: Mutex<HashMap<NodeId, Lane>>,
    /// Work was added or done.
    changed: Notify,
    config: ReconcileConfig,
}

/// The work of one node.
#[derive(Default)]
struct Lane {
    order: VecDeque<Task>,
    waiting: HashSet<Task>,
    in_progress: usize,
}

/// Work that is being done, until this is dropped.
pub(super) struct Permit {
    queue: Arc<WorkQueue>,
    node_id: NodeId,
}

impl WorkQueue {
    pub(super) fn new(config: ReconcileConfig) -> Self {
        Self {
            lanes: Mutex::default(),
            changed: Notify::new(),
            config,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Lane>> {
        // No code panics while it holds the lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if too much waits for the node.
    pub(super) fn push(&self, work: Work) -> bool {
        {
            let mut lanes = self.lock();
            let lane = lanes.entry(work.node_id).or_default();
            if lane.waiting.contains(&work.task) {
                return true;
            }
            if lane.order.len() >= self.config.waiting_max {
                return false;
            }
            lane.waiting.insert(work.task.clone());
            lane.order.push_back(work.task);
        }
        self.changed.notify_one();
        true
    }

    /// The next piece of work, and the permit to do it.
    pub(super) async fn next(self: &Arc<Self>) -> (Work, Permit) {
        loop {
            if let Some(work) = self.pop() {
                let permit = Permit {
                    queue: Arc::clone(self),
                    node_id: work.node_id.clone(),
                };
                return (work, permit);
            }
            self.changed.notified().await;
        }
    }

    /// Work that is requested again while it is being done is done again.
    fn pop(&self) -> Option<Work> {
        let mut lanes = self.lock();
        let limit = self.config.concurrent_max;
        let is_ready = |lane: &Lane| lane.in_progress < limit && !lane.order.is_empty();
        let (node_id, lane) = lanes.iter_mut().find(|(_, lane)| is_ready(lane))?;
        let task = lane.order.pop_front()?;
        lane.waiting.remove(&task);
        lane.in_progress += 1;
        Some(Work {
            node_id: node_id.clone(),
            task,
        })
    }

    fn finish(&self, node_id: &NodeId) {
        {
            let mut lanes = self.lock();
            if let Some(lane) = lanes.get_mut(node_id) {
                lane.in_progress -= 1;
                if lane.in_progress == 0 && lane.order.is_empty() {
                    lanes.remove(node_id);
                }
            }
        }
        self.changed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.finish(&self.node_id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn work(node: &str, session: &str) -> Work {
        Work {
            node_id: NodeId::from_stored(node.into()),
            task: Task::Session(SessionId::from_stored(session.into())),
        }
    }

    fn queue(waiting_max: usize, concurrent_max: usize) -> Arc<WorkQueue> {
        Arc::new(WorkQueue::new(ReconcileConfig {
            waiting_max,
            concurrent_max,
        }))
    }

    #[tokio::test]
    async fn the_same_work_waits_once_and_there_is_a_limit() {
        let queue = queue(2, 4);
        let added = ["a", "a", "b"].map(|session| queue.push(work("n", session)));
        assert_eq!(added, [true; 3]);
        assert!(!queue.push(work("n", "c")));
        let (first, _permit) = queue.next().await;
        assert_eq!(first, work("n", "a"));
        // It is being done: a new request counts.
        assert!(queue.push(work("n", "a")));
        assert!(!queue.push(work("n", "c")));
        assert!(queue.push(work("other", "c")), "the limit is a node's");
    }

    #[tokio::test]
    async fn a_node_that_takes_long_delays_only_its_own_work() {
        let queue = queue(10, 2);
        for session in ["a", "b", "c"] {
            assert!(queue.push(work("slow", session)));
        }
        let (_, first) = queue.next().await;
        let (_, _second) = queue.next().await;
        assert!(
            queue.next().now_or_never().is_none(),
            "the limit of the node"
        );
        assert!(queue.push(work("quick", "d")));
        assert_eq!(queue.next().await.0, work("quick", "d"));
        drop(first);
        assert_eq!(queue.next().await.0, work("slow", "c"));
    }
}
