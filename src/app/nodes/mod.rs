//! SFU nodes: places sessions on them, knows their states, and judges whether they answer.

mod book;
#[cfg(test)]
mod tests;

pub use book::{NodeBook, NodeView};

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::error::Error;
use crate::domain::health::{Health, HealthChange, HealthTimes, ProbeFailure};
use crate::domain::id::NodeId;
use crate::domain::node::{NodeHealth, SfuNode};
use crate::domain::node_record::NodeRecord;
use crate::domain::placement::Wanted;
use crate::domain::rules::create::UnplacedSession;
use crate::sfu::{NodeLoad, SfuError};
use crate::store::{AtTurn, Insert};

/// The SFU nodes. Everything that is known of them is in one snapshot, which is replaced as a whole, so that no reader waits.
pub struct Nodes {
    times: HealthTimes,
    /// Held only while the next snapshot is made.
    facts: Mutex<Facts>,
    book: watch::Sender<Arc<NodeBook>>,
    /// Not in the snapshot, because it changes with each probe and decides nothing.
    answers: Mutex<HashMap<NodeId, NodeAnswers>>,
}

/// What a node last answered besides being there.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeAnswers {
    /// What it carries; `None` if it did not say.
    pub load: Option<NodeLoad>,
    /// How the last probe failed; `None` if it succeeded.
    pub error: Option<SfuError>,
}

/// What a newly seen process of a node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeStart {
    /// It is recorded already, by this or another instance.
    Known,
    /// The node is new.
    First,
    /// The node was started again, and its rooms are gone. This instance is the first to know.
    Again,
}

/// What snapshots are made of.
#[derive(Default)]
struct Facts {
    nodes: Vec<Arc<SfuNode>>,
    health: HashMap<NodeId, Health>,
    records: HashMap<NodeId, Arc<NodeRecord>>,
    lost: HashSet<NodeId>,
    /// Counts this instance's own writes of records.
    writes: u64,
}

impl Facts {
    fn book(&self) -> NodeBook {
        let view = |node: &Arc<SfuNode>| {
            let node_id = &node.node_id;
            let health = self.health.get(node_id).cloned();
            let verdict = match &health {
                Some(health) if health.is_down() && self.lost.contains(node_id) => NodeHealth::Lost,
                Some(health) if health.is_down() => NodeHealth::Unreachable,
                Some(health) if health.is_probed() => NodeHealth::Up,
                _ => NodeHealth::Unknown,
            };
            NodeView {
                node: Arc::clone(node),
                record: self.records.get(node_id).cloned(),
                health: verdict,
                probes: health,
            }
        };
        NodeBook::new(self.nodes.iter().map(view).collect())
    }
}

impl Nodes {
    /// Uses these nodes.
    pub fn new(nodes: Vec<SfuNode>, times: HealthTimes) -> Self {
        let facts = Facts {
            nodes: nodes.into_iter().map(Arc::new).collect(),
            ..Facts::default()
        };
        let (book, _) = watch::channel(Arc::new(facts.book()));
        Self {
            times,
            facts: Mutex::new(facts),
            book,
            answers: Mutex::default(),
        }
    }

    /// What is known of the nodes now.
    pub fn book(&self) -> Arc<NodeBook> {
        Arc::clone(&self.book.borrow())
    }

    /// Follows what is known of the nodes.
    pub fn watch(&self) -> watch::Receiver<Arc<NodeBook>> {
        self.book.subscribe()
    }

    /// Replaces the configured nodes. Sessions stay on a node that is no longer configured. A node that keeps its name and driver
    /// keeps its health.
    pub fn replace(&self, nodes: Vec<SfuNode>) {
        self.update(|facts| {
            let before = std::mem::take(&mut facts.nodes);
            facts.nodes = nodes.into_iter().map(Arc::new).collect();
            let kept = |node_id: &NodeId| {
                let of = |nodes: &[Arc<SfuNode>]| {
                    let found = nodes.iter().find(|node| node.node_id == *node_id);
                    found.map(|node| node.driver)
                };
                of(&facts.nodes).is_some() && of(&facts.nodes) == of(&before)
            };
            facts.health.retain(|node_id, _| kept(node_id));
            facts.lost.retain(|node_id| kept(node_id));
        });
        let book = self.book();
        let mut answers = self.lock_answers();
        answers.retain(|node_id, _| book.view(node_id).is_some());
    }

    /// Records a probe of a node that ended at `now`, and returns what it changed. Unknown nodes are ignored.
    pub fn note_probe(
        &self,
        node_id: &NodeId,
        outcome: Result<(), ProbeFailure>,
        now: Instant,
    ) -> Option<HealthChange> {
        let mut facts = self.lock();
        if !facts.nodes.iter().any(|node| node.node_id == *node_id) {
            return None;
        }
        let health = facts
            .health
            .entry(node_id.clone())
            .or_insert_with(|| Health::new(now, &self.times));
        let before = (health.is_probed(), health.cause());
        let change = health.note_probe(outcome, now, &self.times);
        if change.is_some() || before != (health.is_probed(), health.cause()) {
            if change == Some(HealthChange::Up) {
                facts.lost.remove(node_id);
            }
            self.publish(&facts);
        }
        drop(facts);
        match change {
            Some(HealthChange::Down) => {
                let why = outcome.err().map_or("", ProbeFailure::name);
                tracing::warn!(node = node_id.as_str(), why, "an SFU node does not answer");
            }
            Some(HealthChange::Up) => {
                tracing::info!(node = node_id.as_str(), "an SFU node answers again");
            }
            None => {}
        }
        change
    }

    /// Waits until each node that carries media was probed once, at most for `limit`.
    pub async fn probed(&self, limit: Duration) {
        let mut book = self.watch();
        let all = book.wait_for(|book| {
            let is_probed = |view: &NodeView| view.probes.as_ref().is_some_and(Health::is_probed);
            (book.views().iter()).all(|view| !view.node.driver.carries_media() || is_probed(view))
        });
        // What was not probed in time gets no media yet.
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// Whether a node is set up in a way that the service refuses.
    pub(super) fn is_refused(&self, node_id: &NodeId) -> bool {
        let book = self.book();
        let probes = book.view(node_id).and_then(|view| view.probes.as_ref());
        probes.and_then(Health::failure) == Some(ProbeFailure::Misconfigured)
    }

    /// Keeps how a node's last probe failed.
    pub(super) fn note_error(&self, node_id: &NodeId, error: Option<SfuError>) {
        let mut all = self.lock_answers();
        let answers = all.entry(node_id.clone()).or_default();
        answers.error = error;
        if error.is_some() {
            answers.load = None;
        }
    }

    /// Keeps what a node says that it carries.
    pub(super) fn note_load(&self, node_id: &NodeId, load: Option<NodeLoad>) {
        let mut all = self.lock_answers();
        all.entry(node_id.clone()).or_default().load = load;
    }

    /// What a node last answered.
    pub fn answers(&self, node_id: &NodeId) -> NodeAnswers {
        let all = self.lock_answers();
        all.get(node_id).copied().unwrap_or_default()
    }

    /// Whether a node answers no live instance, and has not for long enough to move its sessions.
    pub(super) fn is_surely_lost(&self, view: &NodeView) -> bool {
        let probes = view.probes.as_ref();
        view.health == NodeHealth::Lost
            && probes.is_some_and(|health| health.is_surely_down(Instant::now(), &self.times))
    }

    /// The nodes that do not answer this instance.
    pub fn unreachable(&self) -> Vec<NodeId> {
        let book = self.book();
        let views = book.views().iter();
        views
            .filter(|view| !view.health.is_usable())
            .map(|view| view.node.node_id.clone())
            .collect()
    }

    /// Sets which nodes answer no live instance, given the nodes that do not answer each of the others. An instance that observes
    /// no nodes has no say.
    pub(super) fn set_lost_of_all(&self, others: &[Vec<NodeId>]) {
        let lost: HashSet<_> = self
            .unreachable()
            .into_iter()
            .filter(|node_id| others.iter().all(|lost| lost.contains(node_id)))
            .collect();
        if self.lock().lost != lost {
            self.update(|facts| facts.lost = lost);
        }
    }

    /// Counts this instance's own writes of records.
    pub(super) fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Sets the stored records of nodes, unless this instance has written one since `writes` was read: they may be older than it.
    pub(super) fn set_records(&self, records: Vec<NodeRecord>, writes: u64) {
        let mut facts = self.lock();
        if facts.writes != writes {
            return;
        }
        let is_same = records.len() == facts.records.len()
            && records.iter().all(|record| {
                let known = facts.records.get(&record.node_id);
                known.is_some_and(|known| **known == *record)
            });
        if is_same {
            return;
        }
        for record in records.iter().filter(|record| !record.is_readable) {
            let known = facts.records.get(&record.node_id);
            if known.is_none_or(|known| known.is_readable) {
                tracing::error!(
                    node = record.node_id.as_str(),
                    "the record of an SFU node cannot be read; the node counts as draining"
                );
            }
        }
        let records = records.into_iter();
        facts.records = records
            .map(|record| (record.node_id.clone(), Arc::new(record)))
            .collect();
        self.publish(&facts);
    }

    /// Sets the record of a node that this instance has written.
    pub(super) fn set_written_record(&self, record: NodeRecord) {
        self.update(|facts| {
            facts.writes += 1;
            let known = facts.records.get(&record.node_id);
            if known.is_none_or(|known| known.version < record.version) {
                let node_id = record.node_id.clone();
                facts.records.insert(node_id, Arc::new(record));
            }
        });
    }

    /// A new session on a node that has what it needs; the turn that the store takes decides which. A session that does not need
    /// a media server is created even if no node answers: its call can begin between the browsers, and it is moved later.
    pub(super) fn place_session(&self, unplaced: UnplacedSession, wanted: &Wanted) -> Insert {
        let book = self.book();
        let mut rotation = book.rotation(wanted);
        if rotation.node_at(0).is_none() && !wanted.needs_media_server {
            rotation = book.rotation_ignoring_health(wanted);
        }
        let Some((node_id, driver)) = rotation.node_at(0) else {
            let region = wanted.region.clone();
            return Insert::Refuse(Error::NoNodeAvailable {
                region,
                named: None,
            });
        };
        // Never needed: a rotation that has a node for one turn has one for each.
        let fallback = (node_id.clone(), driver);
        let usable = Arc::clone(&rotation);
        Insert::New(AtTurn::new(
            rotation.name().to_owned(),
            move |turn| usable.usable_turn(turn).unwrap_or(turn),
            move |turn| {
                let mut placement = rotation.place(turn);
                let (node_id, driver) = placement.chosen.take().unwrap_or(fallback);
                let note = placement.into_note(rotation.name(), unplaced.create_time);
                unplaced.place(node_id, driver).with_placement(note)
            },
        ))
    }

    /// A node's address for participants; empty if the node is unknown or has none.
    pub fn url(&self, node_id: &NodeId) -> String {
        let book = self.book();
        book.view(node_id)
            .map_or_else(String::new, |view| view.node.url.clone())
    }

    fn update(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.lock();
        change(&mut facts);
        self.publish(&facts);
    }

    /// Needs the lock, so that snapshots are published in the order of the changes.
    fn publish(&self, facts: &MutexGuard<'_, Facts>) {
        self.book.send_replace(Arc::new(facts.book()));
    }

    fn lock_answers(&self) -> MutexGuard<'_, HashMap<NodeId, NodeAnswers>> {
        // No code panics while it holds this lock.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        // No code panics while it holds this lock, and the facts are valid at every step.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
