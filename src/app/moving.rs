//! Moves sessions: away from nodes that are lost or whose drain is over, into new rooms on a node that was started again, and to
//! other nodes at the backend's request. Every instance may move the same sessions at once: each chooses the same node, and the
//! store accepts one of them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::access::StoreAccess;
use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::nodes::{NodeBook, Nodes};
use crate::domain::access::permit_service;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::id::{NodeId, SessionId};
use crate::domain::medium::{MediaMode, Medium};
use crate::domain::node::NodeHealth;
use crate::domain::node_record::NodeState;
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::domain::place::Driver;
use crate::domain::placement::{PlacementNote, Wanted};
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;
use crate::telemetry::metrics::Metrics;

/// How many sessions of a node are read at once.
const PAGE: usize = 100;

/// Settings of moving sessions.
#[derive(Debug, Clone, Copy)]
pub struct MoveConfig {
    /// How often sessions that could not be moved are tried again, and how often drains are looked at.
    pub retry: Duration,
    /// How many sessions of one node are moved at once.
    pub concurrent_max: usize,
}

/// Why the sessions of a node move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The node answers nobody.
    Lost,
    /// Its drain is over.
    Drained,
    /// It was started again, without its rooms: its calls go on in new rooms on it.
    Started,
}

/// Where a session goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    Node(NodeId, Driver),
    /// From browser to browser; the place stays.
    Peers,
}

/// What became of the sessions of a node.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    to_nodes: u64,
    to_peers: u64,
}

/// Moves sessions.
pub struct Mover {
    access: Arc<StoreAccess>,
    changes: Arc<Changes>,
    nodes: Arc<Nodes>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    config: MoveConfig,
    /// Nodes that were started again, and the session before which their sessions are still to be moved.
    started: Mutex<HashMap<NodeId, Option<SessionId>>>,
    requested: Notify,
}

impl Mover {
    pub(super) fn new(
        access: Arc<StoreAccess>,
        changes: Arc<Changes>,
        nodes: Arc<Nodes>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        config: MoveConfig,
    ) -> Self {
        Self {
            access,
            changes,
            nodes,
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
        let mut book = self.nodes.watch();
        let mut ticks = interval(self.config.retry);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut working = FuturesUnordered::new();
        let mut in_work = HashSet::new();
        loop {
            tokio::select! {
                Some(node_id) = working.next() => {
                    in_work.remove(&node_id);
                    // What is left is tried again with the next tick.
                    continue;
                }
                _ = ticks.tick() => {}
                changed = book.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = self.requested.notified() => {}
            }
            for (node_id, why) in self.due() {
                if in_work.insert(node_id.clone()) {
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
        if view.health == NodeHealth::Lost {
            Some(Why::Lost)
        } else if is_drain_over {
            Some(Why::Drained)
        } else if self.lock().contains_key(node_id) {
            Some(Why::Started)
        } else {
            None
        }
    }

    async fn work_on(&self, node_id: NodeId, why: Why) -> NodeId {
        let moved = match why {
            Why::Lost | Why::Drained => self.clear(&node_id, why).await,
            Why::Started => self.renew(&node_id).await,
        };
        // The store has logged a failure; the next tick repeats the work.
        if let Ok(Outcome { to_nodes, to_peers }) = moved
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
        node_id
    }

    /// Moves all sessions from a node, those with a call first.
    async fn clear(&self, node_id: &NodeId, why: Why) -> Result<Outcome, Error> {
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
    async fn renew(&self, node_id: &NodeId) -> Result<Outcome, Error> {
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
                    if next.is_none() {
                        return Ok(total);
                    }
                    before = next;
                }
                Err(error) => {
                    // Unless it was started once more meanwhile.
                    self.lock().entry(node_id.clone()).or_insert(before);
                    return Err(error);
                }
            }
        }
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
        // Who hears and sees nothing comes before those whose call does not need the node.
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
            // What stays costs no write.
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
                Ok(None) | Err(_) => {}
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

    fn count(&self, actor: &Actor, goal: &Goal) {
        self.metrics
            .count_move(actor.move_cause().name(), goal.name());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Option<SessionId>>> {
        // No code panics while it holds this lock.
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page of a node's sessions.
struct Page {
    read: Vec<Session>,
    /// Where the next page begins; `None`: there is none.
    next: Option<SessionId>,
}

impl Why {
    fn actor(self) -> Actor {
        Actor::System(match self {
            Self::Lost | Self::Started => SystemCause::NodeLost,
            Self::Drained => SystemCause::NodeDrained,
        })
    }
}

impl Goal {
    fn of(session: &Session) -> Self {
        Self::Node(session.place.node_id.clone(), session.place.driver)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Node(..) => "node",
            Self::Peers => "peers",
        }
    }

    fn change(
        &self,
        book: &NodeBook,
        session: &Session,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        match self {
            Self::Node(node_id, driver) => {
                let goal = (node_id.clone(), *driver);
                moved(book, session, goal, actor, now).map(Some)
            }
            Self::Peers => session.fall_back_to_peers(actor, now),
        }
    }
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.to_nodes += other.to_nodes;
        self.to_peers += other.to_peers;
    }
}

/// What a session needs of the node that it moves to.
fn wanted_by(session: &Session) -> Wanted {
    Wanted {
        region: session.region.clone(),
        needs_media_server: session.media == MediaMode::Sfu,
        needs_end_to_end_encryption: false,
    }
}

/// The session on a node, with the reasons why it is that one.
fn moved(
    book: &NodeBook,
    session: &Session,
    (node_id, driver): (NodeId, Driver),
    actor: &Actor,
    now: Timestamp,
) -> Result<Change, Error> {
    let considered = book.rotation(&wanted_by(session)).verdicts(&node_id);
    let note = PlacementNote {
        time: now,
        // A move takes no turn.
        rotation: String::new(),
        turn: 0,
        considered,
    };
    let change = session.move_to(node_id, driver, actor, now)?;
    Ok(change.with_placement(note))
}

/// A node for a session, other than `except`; if its pages can use the node that it has, preferably one that they can use, too.
fn choose(book: &NodeBook, session: &Session, except: &NodeId) -> Option<(NodeId, Driver)> {
    let rotation = book.rotation(&wanted_by(session));
    let generation = session.place.generation.saturating_add(1);
    let find = |fits: fn(Driver) -> bool| {
        rotation.node_for_move(&session.session_id, generation, |node_id, driver| {
            node_id != except && fits(driver)
        })
    };
    let alike = (session.place.driver.serves_pages()).then(|| find(Driver::serves_pages));
    let (node_id, driver) = alike.flatten().or_else(|| find(|_| true))?;
    Some((node_id.clone(), driver))
}

/// Where the backend's move leads; `None`: the session is there.
fn destination(
    book: &NodeBook,
    session: &Session,
    target: Option<&NodeId>,
) -> Result<Option<(NodeId, Driver)>, Error> {
    let wanted = wanted_by(session);
    let found = match target {
        Some(target) if book.view(target).is_none() => return Err(Error::NodeNotFound),
        Some(target) if *target == session.place.node_id => return Ok(None),
        Some(target) => {
            let driver = book.rotation(&wanted).usable_node(target);
            driver.map(|driver| (target.clone(), driver))
        }
        None => choose(book, session, &session.place.node_id),
    };
    let region = wanted.region;
    found.map(Some).ok_or(Error::NoNodeAvailable { region })
}
