//! Moves all sessions of a node.

use futures::{FutureExt as _, StreamExt as _, stream};

use super::choice::{Goal, choose};
use super::{Mover, Why};
use crate::app::changes::Decision;
use crate::domain::error::Error;
use crate::domain::id::{NodeId, SessionId};
use crate::domain::medium::{MediaMode, Medium};
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::domain::session::{Session, SessionState};

/// How many sessions of a node are read at once.
const PAGE: usize = 100;

/// What became of the sessions of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) to_nodes: u64,
    pub(super) to_peers: u64,
    /// Those that could be moved, but were not.
    failed: u64,
}

/// A page of a node's sessions.
struct Page {
    read: Vec<Session>,
    /// Where the next page begins; `None`: there is none.
    next: Option<SessionId>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.to_nodes += other.to_nodes;
        self.to_peers += other.to_peers;
        self.failed += other.failed;
    }

    /// Whether trying again soon would change nothing, unless other nodes can be used.
    pub(super) fn is_nothing(&self) -> bool {
        self.to_nodes + self.to_peers + self.failed == 0
    }
}

impl Mover {
    /// Moves all sessions from a node, those with a call first.
    pub(super) async fn clear(&self, node_id: &NodeId, why: Why) -> Result<Outcome, Error> {
        let mut total = Outcome::default();
        for state in [SessionState::Active, SessionState::Created] {
            let mut before = None;
            loop {
                let sessions = self.page(node_id, state, before.take()).await?;
                let moved = self.move_all(&sessions.read, node_id, why).await?;
                total.add(moved);
                match sessions.next {
                    Some(last) => before = Some(last),
                    None => break,
                }
            }
        }
        Ok(total)
    }

    /// Moves the calls of a node that was started again.
    pub(super) async fn renew(&self, node_id: &NodeId) -> Result<Outcome, Error> {
        let mut total = Outcome::default();
        let Some(mut before) = self.lock().remove(node_id) else {
            return Ok(total);
        };
        loop {
            let moved = async {
                let sessions = self.page(node_id, SessionState::Active, before.clone());
                let sessions = sessions.await?;
                let moved = self.move_all(&sessions.read, node_id, Why::Started).await?;
                Ok((sessions.next, moved))
            };
            match moved.await {
                Ok((next, moved)) => {
                    total.add(moved);
                    if next.is_some() {
                        before = next;
                        continue;
                    }
                    // The end of the list: after a failure, only this is repeated.
                    before = Some(SessionId::from_stored(String::new()));
                    let finished = self.finish_renewal(node_id).await;
                    return self.keep_unless_done(node_id, before, finished.map(|()| total));
                }
                Err(error) => return self.keep_unless_done(node_id, before, Err(error)),
            }
        }
    }

    async fn finish_renewal(&self, node_id: &NodeId) -> Result<(), Error> {
        if self.lock().contains_key(node_id) {
            // It was started once more meanwhile, and the work begins anew.
            return Ok(());
        }
        match self.operations.finish_renewal(node_id).await {
            // It is not configured any more.
            Ok(()) | Err(Error::NodeNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// After a failure, the work goes on where it was, unless the node was started once more meanwhile.
    fn keep_unless_done(
        &self,
        node_id: &NodeId,
        before: Option<SessionId>,
        outcome: Result<Outcome, Error>,
    ) -> Result<Outcome, Error> {
        if outcome.is_err() {
            self.lock().entry(node_id.clone()).or_insert(before);
        }
        outcome
    }

    async fn page(
        &self,
        node_id: &NodeId,
        state: SessionState,
        before: Option<SessionId>,
    ) -> Result<Page, Error> {
        let query = SessionQuery {
            filter: SessionFilter {
                state: Some(state),
                sfu_node_id: Some(node_id.clone()),
                ..SessionFilter::default()
            },
            before,
            limit: PAGE,
        };
        let listed = self.access.within_budget(async {
            let listed = self.access.sessions.list(&query).await;
            listed.map_err(|error| self.access.error(&error))
        });
        let listed = listed.await?;
        let last = listed.last().map(|row| match row {
            Ok(session) => session.session_id.clone(),
            Err(unreadable) => unreadable.session_id.clone(),
        });
        let next = last.filter(|_| listed.len() == PAGE);
        let mut read: Vec<_> = listed.into_iter().filter_map(Result::ok).collect();
        // Calls through the node come first: they are interrupted now.
        read.sort_by_key(|session| session.medium != Medium::Sfu);
        Ok(Page { read, next })
    }

    /// Moves sessions that were found on a node.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]. Other failures concern one session, which is tried again with the next tick.
    async fn move_all(
        &self,
        sessions: &[Session],
        node_id: &NodeId,
        why: Why,
    ) -> Result<Outcome, Error> {
        let mut moves = Vec::with_capacity(sessions.len());
        for session in sessions {
            // Skip sessions that stay.
            if self.goal(session, node_id, why).is_some() {
                moves.push(self.move_from(session, node_id, why).boxed());
            }
        }
        let mut moves = stream::iter(moves).buffer_unordered(self.config.concurrent_max);
        let mut moved = Outcome::default();
        while let Some(outcome) = moves.next().await {
            match outcome {
                Ok(Some(Goal::Node(..))) => moved.to_nodes += 1,
                Ok(Some(Goal::Peers)) => moved.to_peers += 1,
                Err(error @ Error::StoreUnavailable { .. }) => return Err(error),
                Ok(None) => {}
                Err(_) => moved.failed += 1,
            }
        }
        Ok(moved)
    }

    async fn move_from(
        &self,
        found: &Session,
        node_id: &NodeId,
        why: Why,
    ) -> Result<Option<Goal>, Error> {
        let actor = why.actor();
        let moving = self.changes.change(&found.session_id, |session| {
            // Another instance may have moved it since it was found.
            let is_same_place = session.place.generation == found.place.generation;
            let Some(goal) = (self.goal(session, node_id, why)).filter(|_| is_same_place) else {
                return Ok(Decision::Keep(None));
            };
            let book = self.nodes.book();
            let change = goal.change(&book, session, &actor, self.clock.now())?;
            Ok(match change {
                Some(change) => Decision::Commit(Box::new(change), Some(goal)),
                None => Decision::Keep(None),
            })
        });
        let goal = moving.await?;
        if let Some(goal) = &goal {
            self.count(&actor, goal);
        }
        Ok(goal)
    }

    /// Where a session of a node goes; `None`: it stays.
    fn goal(&self, session: &Session, node_id: &NodeId, why: Why) -> Option<Goal> {
        if session.state == SessionState::Ended || session.place.node_id != *node_id {
            return None;
        }
        let book = self.nodes.book();
        if why == Why::Started {
            let is_call = session.state == SessionState::Active && session.medium == Medium::Sfu;
            let view = book.view(node_id).filter(|_| is_call)?;
            return Some(Goal::Node(node_id.clone(), view.node.driver));
        }
        // A lost node may be back by now.
        if self.why(&book, node_id) != Some(why) {
            return None;
        }
        if let Some((node_id, driver)) = choose(&book, session, node_id) {
            return Some(Goal::Node(node_id, driver));
        }
        let can_fall_back = session.media == MediaMode::Auto && session.medium == Medium::Sfu;
        can_fall_back.then_some(Goal::Peers)
    }
}
