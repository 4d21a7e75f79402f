//! Moves sessions: away from nodes that are lost or whose drain is over, into new rooms on a node that was started again, and to
//! other nodes at the backend's request. Every instance may move the same sessions at once: each chooses the same node, and the
//! store accepts one of them.

mod choice;
mod clearing;
mod pauses;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::access::StoreAccess;
use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::node_operations::NodeOperations;
use super::nodes::{NodeBook, Nodes};
use crate::domain::access::permit_service;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Error;
use crate::domain::id::{NodeId, SessionId};
use crate::domain::node_record::NodeState;
use crate::domain::session::{Session, SessionState};
use crate::telemetry::metrics::Metrics;
use choice::{Goal, destination, moved};
use clearing::Outcome;
use pauses::Pauses;

/// Settings of moving sessions.
#[derive(Debug, Clone, Copy)]
pub struct MoveConfig {
    /// How soon sessions that could not be moved are tried again, and how often drains are looked at. While none can be moved, the
    /// pause doubles.
    pub retry: Duration,
    /// How many sessions of one node are moved at once.
    pub concurrent_max: usize,
    /// How long pages may stay in the room of a working node that their call has left: until they have media from the new one.
    pub overlap_secs: u64,
}

/// Why the sessions of a node move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// No live instance reaches the node.
    Lost,
    /// Its drain is over.
    Drained,
    /// It was started again, without its rooms: its calls go on in new rooms on it.
    Started,
}

/// One reading of a node's sessions, which moved those that could be.
struct Pass {
    node_id: NodeId,
    why: Why,
    began: Instant,
    /// No session could be moved.
    is_idle: bool,
}

/// Moves sessions.
pub struct Mover {
    access: Arc<StoreAccess>,
    changes: Arc<Changes>,
    nodes: Arc<Nodes>,
    operations: Arc<NodeOperations>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    config: MoveConfig,
    /// Nodes that were started again, each with a paging cursor: sessions older than it are still to be moved.
    started: Mutex<HashMap<NodeId, Option<SessionId>>>,
    requested: Notify,
}

impl Mover {
    pub(super) fn new(
        access: Arc<StoreAccess>,
        changes: Arc<Changes>,
        operations: Arc<NodeOperations>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        config: MoveConfig,
    ) -> Self {
        Self {
            access,
            changes,
            nodes: Arc::clone(&operations.nodes),
            operations,
            clock,
            metrics,
            config,
            started: Mutex::default(),
            requested: Notify::new(),
        }
    }

    /// Moves a session to a node, or to another one than its own if none is named. A session that is on the named node stays as it
    /// is.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::SessionEnded`]; [`Error::NodeNotFound`];
    /// [`Error::NoNodeAvailable`]; [`Error::StoreUnavailable`]
    pub async fn move_session(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        target: Option<&NodeId>,
    ) -> Result<Session, Error> {
        permit_service(actor)?;
        let moved = self.changes.change(session_id, |session| {
            if session.state == SessionState::Ended {
                return Err(Error::SessionEnded {
                    session_id: session_id.clone(),
                });
            }
            let book = self.nodes.book();
            let Some(goal) = destination(&book, session, target)? else {
                return Ok(Decision::Keep((session.clone(), false)));
            };
            let change = moved(&book, session, goal, actor, self.clock.now())?;
            let answer = (change.session.clone(), true);
            Ok(Decision::Commit(Box::new(change), answer))
        });
        let (session, has_moved) = moved.await?;
        if has_moved {
            self.count(actor, &Goal::of(&session));
        }
        Ok(session)
    }

    /// Has the calls on a node moved to new rooms on it, because the rooms that they had are gone.
    pub(super) fn request_new_rooms(&self, node_id: &NodeId) {
        self.lock().insert(node_id.clone(), None);
        self.requested.notify_one();
    }

    /// Moves sessions from the nodes that need it, until it is dropped. The nodes do not wait for each other.
    pub(super) async fn run(&self) {
        let mut books = self.nodes.watch();
        let mut book = books.borrow_and_update().clone();
        let mut ticks = interval(self.config.retry);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut working = FuturesUnordered::new();
        let mut in_work = HashSet::new();
        let mut pauses = Pauses::new(self.config.retry);
        loop {
            tokio::select! {
                Some(pass) = working.next() => {
                    let Pass { node_id, why, began, is_idle } = pass;
                    in_work.remove(&node_id);
                    let is_over = !is_idle || pauses.note_idle(node_id, why, began, Instant::now());
                    // What is left is tried again with a later tick.
                    if is_over {
                        continue;
                    }
                }
                _ = ticks.tick() => {}
                changed = books.changed() => {
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    let next = books.borrow_and_update().clone();
                    if !next.has_same_candidates(&book) {
                        pauses.end_all(Instant::now());
                    }
                    book = next;
                }
                () = self.requested.notified() => {}
                // If its node cannot carry it, it need not wait for one that can.
                () = self.changes.call_on_node() => pauses.end_all(Instant::now()),
            }
            let due = self.due();
            pauses.retain(&due);
            let now = Instant::now();
            for (node_id, why) in due {
                if !pauses.is_paused(&node_id, now) && in_work.insert(node_id.clone()) {
                    working.push(self.work_on(node_id, why));
                }
            }
        }
    }

    /// The nodes whose sessions move now.
    fn due(&self) -> Vec<(NodeId, Why)> {
        let book = self.nodes.book();
        let ids = book.views().iter().map(|view| view.node.node_id.clone());
        ids.filter_map(|node_id| {
            let why = self.why(&book, &node_id)?;
            Some((node_id, why))
        })
        .collect()
    }

    fn why(&self, book: &NodeBook, node_id: &NodeId) -> Option<Why> {
        let view = book.view(node_id)?;
        let is_drain_over = view.record.as_ref().is_some_and(|record| {
            let deadline = record.deadline;
            record.state == NodeState::Draining
                && deadline.is_some_and(|deadline| deadline <= self.clock.now())
        });
        if self.nodes.is_surely_lost(view) {
            Some(Why::Lost)
        } else if is_drain_over {
            Some(Why::Drained)
        } else if self.lock().contains_key(node_id) {
            Some(Why::Started)
        } else {
            None
        }
    }

    async fn work_on(&self, node_id: NodeId, why: Why) -> Pass {
        let began = Instant::now();
        let moved = match why {
            Why::Lost | Why::Drained => self.clear(&node_id, why).await,
            Why::Started => self.renew(&node_id).await,
        };
        // The store has logged a failure; the next tick repeats the work.
        let is_idle = moved.as_ref().is_ok_and(Outcome::is_nothing);
        if let Ok(Outcome {
            to_nodes, to_peers, ..
        }) = moved
            && to_nodes + to_peers > 0
        {
            let node = node_id.as_str();
            let cause = why.actor().move_cause().name();
            tracing::info!(
                node,
                cause,
                to_nodes,
                to_peers,
                "sessions of an SFU node were moved"
            );
        }
        Pass {
            node_id,
            why,
            began,
            is_idle,
        }
    }

    fn count(&self, actor: &Actor, goal: &Goal) {
        self.metrics
            .count_move(actor.move_cause().name(), goal.name());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Option<SessionId>>> {
        // No code panics while it holds this lock.
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Why {
    fn actor(self) -> Actor {
        Actor::System(match self {
            Self::Lost | Self::Started => SystemCause::NodeLost,
            Self::Drained => SystemCause::NodeDrained,
        })
    }
}
