//! What operators do with nodes: list, drain and activate them. The states are in the store, which all instances read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::StoreAccess;
use super::changes::back_off;
use super::clock::Clock;
use super::nodes::{NodeStart, NodeView, Nodes};
use crate::domain::access::permit_service;
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::health::{HealthCause, ProbeFailure};
use crate::domain::id::NodeId;
use crate::domain::node::{NodeHealth, NodeUse, SfuNode};
use crate::domain::node_record::{NodeRecord, NodeState};
use crate::domain::session::JoinWindow;
use crate::domain::time::Timestamp;
use crate::sfu::{NodeLoad, SfuError};
use crate::store::{Committed, NodeStore};

/// What operators are told of a node.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Its name.
    pub node_id: NodeId,
    /// What the configuration says of it; `None` if this instance's configuration does not have it.
    pub node: Option<Arc<SfuNode>>,
    /// Its state and newest events.
    pub record: NodeRecord,
    /// Whether it answers.
    pub health: NodeHealth,
    /// Since when it is up or down, as this instance sees it.
    pub health_since: Option<Timestamp>,
    /// Why it is up or down; `None` before the first probe.
    pub health_cause: Option<HealthCause>,
    /// How the last probe failed.
    pub failure: Option<ProbeFailure>,
    /// What is wrong with its configuration; empty if nothing is known to be.
    pub misconfigured: String,
    /// What it says that it carries.
    pub load: Option<NodeLoad>,
    /// Its live sessions and their participants, from the store.
    pub node_use: NodeUse,
    /// When a draining node will be empty at the latest; `None` if it does not drain, or if that cannot be said.
    pub empty_by: Option<Timestamp>,
}

/// Lists, drains and activates nodes.
pub struct NodeOperations {
    pub(super) nodes: Arc<Nodes>,
    pub(super) store: Arc<dyn NodeStore>,
    pub(super) access: Arc<StoreAccess>,
    pub(super) clock: Arc<dyn Clock>,
    /// When sessions end by themselves.
    pub(super) window: JoinWindow,
    pub(super) attempts_max: u32,
    /// Identifies this process.
    pub(super) instance_id: String,
}

impl NodeOperations {
    /// Every configured node in the order of the configuration, and then the others that have sessions or a record.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::StoreUnavailable`]
    pub async fn list(&self, actor: &Actor) -> Result<Vec<NodeStatus>, Error> {
        permit_service(actor)?;
        let writes = self.nodes.writes();
        let (records, uses) = self
            .access
            .within_budget(async {
                let (records, uses) =
                    futures::future::try_join(self.store.node_records(), self.store.node_uses())
                        .await
                        .map_err(|error| self.access.error(&error))?;
                Ok((records, uses))
            })
            .await?;
        self.nodes.set_records(records.clone(), writes);
        let mut records: HashMap<_, _> = by_id(records, |record| &record.node_id);
        let mut uses: HashMap<_, _> = by_id(uses, |node_use| &node_use.node_id);
        let book = self.nodes.book();
        let mut statuses = Vec::with_capacity(book.views().len());
        for view in book.views() {
            let node_id = &view.node.node_id;
            let (record, node_use) = (records.remove(node_id), uses.remove(node_id));
            statuses.push(self.status(node_id.clone(), Some(view), record, node_use));
        }
        let mut others: Vec<NodeId> = records.keys().chain(uses.keys()).cloned().collect();
        others.sort();
        others.dedup();
        for node_id in others {
            let (record, node_use) = (records.remove(&node_id), uses.remove(&node_id));
            statuses.push(self.status(node_id, None, record, node_use));
        }
        Ok(statuses)
    }

    /// Gives a node no new sessions. What is on it stays, until the deadline if there is one.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::NodeNotFound`]; [`Error::Contention`]; [`Error::StoreUnavailable`]
    pub async fn drain(
        &self,
        actor: &Actor,
        node_id: &NodeId,
        reason: &str,
        deadline_after: Option<Duration>,
    ) -> Result<NodeStatus, Error> {
        permit_service(actor)?;
        let now = self.clock.now();
        self.change(node_id, |record| record.drain(reason, deadline_after, now))
            .await?;
        self.one(actor, node_id).await
    }

    /// Lets a node have new sessions again.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::NodeNotFound`]; [`Error::Contention`]; [`Error::StoreUnavailable`]
    pub async fn activate(&self, actor: &Actor, node_id: &NodeId) -> Result<NodeStatus, Error> {
        permit_service(actor)?;
        let now = self.clock.now();
        self.change(node_id, |record| record.activate(now)).await?;
        self.one(actor, node_id).await
    }

    /// Reads the stored records, so that what other instances changed applies here too.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub(super) async fn read_records(&self) -> Result<(), Error> {
        let writes = self.nodes.writes();
        let records = self.store.node_records().await;
        let records = records.map_err(|error| self.access.error(&error))?;
        self.nodes.set_records(records, writes);
        Ok(())
    }

    /// Records which nodes are lost and which are back, once for all instances.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; the next run finds what is left.
    pub(super) async fn record_losses(&self) -> Result<(), Error> {
        let book = self.nodes.book();
        for view in book.views() {
            let stored = view.record.as_ref();
            let is_recorded = stored.is_some_and(|record| record.lost_since.is_some());
            let why = view.probes.as_ref().and_then(|health| health.failure());
            let why = why.map_or("", ProbeFailure::name);
            let now = self.clock.now();
            match view.health {
                NodeHealth::Lost if !is_recorded => {
                    self.change(&view.node.node_id, |record| record.lose(why, now))
                        .await?;
                }
                NodeHealth::Up if is_recorded => {
                    self.change(&view.node.node_id, |record| record.come_back(now))
                        .await?;
                }
                // While only some instances miss it, it is neither lost nor back.
                _ => {}
            }
        }
        Ok(())
    }

    /// Records that a process answers at a node, if that is new.
    ///
    /// # Errors
    /// [`Error::NodeNotFound`]; [`Error::Contention`]; [`Error::StoreUnavailable`]
    pub(super) async fn note_start(
        &self,
        node_id: &NodeId,
        incarnation: &str,
    ) -> Result<NodeStart, Error> {
        let now = self.clock.now();
        let replaced = self.change(node_id, |record| {
            record.start(incarnation, &self.instance_id, now)
        });
        Ok(match replaced.await? {
            None => NodeStart::Known,
            Some(record) if record.incarnation.is_none() => NodeStart::First,
            Some(_) => NodeStart::Again,
        })
    }

    /// Records that this instance has given the calls on a node new rooms.
    ///
    /// # Errors
    /// [`Error::NodeNotFound`]; [`Error::Contention`]; [`Error::StoreUnavailable`]
    pub(super) async fn finish_renewal(&self, node_id: &NodeId) -> Result<(), Error> {
        let now = self.clock.now();
        self.change(node_id, |record| {
            record.finish_renewal(&self.instance_id, now)
        })
        .await?;
        Ok(())
    }

    /// Makes the renewals that were a dead instance's task this one's. Returns the nodes.
    ///
    /// # Errors
    /// [`Error::NodeNotFound`]; [`Error::Contention`]; [`Error::StoreUnavailable`]
    pub(super) async fn take_over_renewals(&self, dead: &str) -> Result<Vec<NodeId>, Error> {
        let records = self.store.node_records().await;
        let records = records.map_err(|error| self.access.error(&error))?;
        let mut taken = Vec::new();
        for record in records {
            if record.renewed_by.as_deref() != Some(dead) {
                continue;
            }
            let now = self.clock.now();
            let changed = self.change(&record.node_id, |record| {
                record.take_over_renewal(dead, &self.instance_id, now)
            });
            if changed.await?.is_some() {
                taken.push(record.node_id);
            }
        }
        Ok(taken)
    }

    /// Changes a node's record, and uses it at once on this instance. `decide` returns the next version, or `None` for no change.
    /// Returns the version that was replaced.
    async fn change(
        &self,
        node_id: &NodeId,
        decide: impl Fn(&NodeRecord) -> Option<NodeRecord>,
    ) -> Result<Option<NodeRecord>, Error> {
        let changed = self.change_within_budget(node_id, decide);
        self.access.within_budget(changed).await
    }

    async fn change_within_budget(
        &self,
        node_id: &NodeId,
        decide: impl Fn(&NodeRecord) -> Option<NodeRecord>,
    ) -> Result<Option<NodeRecord>, Error> {
        for attempt in 0..self.attempts_max {
            let records = self.store.node_records().await;
            let records = records.map_err(|error| self.access.error(&error))?;
            let stored = records
                .into_iter()
                .find(|record| record.node_id == *node_id);
            if stored.is_none() && self.nodes.book().view(node_id).is_none() {
                return Err(Error::NodeNotFound);
            }
            let record = stored.unwrap_or_else(|| NodeRecord::new(node_id.clone()));
            let Some(next) = decide(&record) else {
                return Ok(None);
            };
            let saved = self.store.save_node(&next).await;
            match saved.map_err(|error| self.access.error(&error))? {
                Committed::Stored => {
                    if let Some(event) = next.events.last() {
                        tracing::info!(
                            node = node_id.as_str(),
                            event = event.kind.name(),
                            "the state of an SFU node changed"
                        );
                    }
                    self.nodes.set_written_record(next);
                    return Ok(Some(record));
                }
                Committed::Conflict => tokio::time::sleep(back_off(attempt)).await,
            }
        }
        Err(self.access.contention_error())
    }

    async fn one(&self, actor: &Actor, node_id: &NodeId) -> Result<NodeStatus, Error> {
        let all = self.list(actor).await?;
        let found = all.into_iter().find(|status| status.node_id == *node_id);
        found.ok_or(Error::NodeNotFound)
    }

    fn status(
        &self,
        node_id: NodeId,
        view: Option<&NodeView>,
        record: Option<NodeRecord>,
        node_use: Option<NodeUse>,
    ) -> NodeStatus {
        let record = record.unwrap_or_else(|| NodeRecord::new(node_id.clone()));
        let node_use = node_use.unwrap_or_else(|| no_use(node_id.clone()));
        let now = self.clock.now();
        let health = view.and_then(|view| view.probes.as_ref());
        let answers = self.nodes.answers(&node_id);
        let health_since = health.map(|health| {
            let ago = Instant::now().saturating_duration_since(health.since());
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(now.as_millis().saturating_sub(ago))
        });
        NodeStatus {
            node: view.map(|view| Arc::clone(&view.node)),
            health: view.map_or(NodeHealth::Unknown, |view| view.health),
            health_since,
            health_cause: health.map(|health| health.cause()),
            failure: health.and_then(|health| health.failure()),
            misconfigured: match answers.error {
                Some(error @ SfuError::Misconfigured(_)) => error.to_string(),
                _ => String::new(),
            },
            load: answers.load,
            empty_by: empty_by(&record, &node_use, &self.window, now),
            record,
            node_use,
            node_id,
        }
    }
}

fn by_id<T>(all: Vec<T>, id: impl Fn(&T) -> &NodeId) -> HashMap<NodeId, T> {
    let pairs = all.into_iter().map(|one| (id(&one).clone(), one));
    pairs.collect()
}

fn no_use(node_id: NodeId) -> NodeUse {
    NodeUse {
        node_id,
        sessions_live: 0,
        sessions_scheduled: 0,
        participants: 0,
        last_scheduled_end: None,
        sessions_without_end: 0,
    }
}

/// When a draining node is empty at the latest: sessions end when their join window closes, and at the deadline they are moved.
fn empty_by(
    record: &NodeRecord,
    node_use: &NodeUse,
    window: &JoinWindow,
    now: Timestamp,
) -> Option<Timestamp> {
    if record.state != NodeState::Draining {
        return None;
    }
    if node_use.sessions_live + node_use.sessions_scheduled == 0 {
        return Some(now);
    }
    let of_schedules = node_use
        .last_scheduled_end
        .filter(|_| node_use.sessions_without_end == 0)
        .map(|end| end.plus_secs(window.late_secs).max(now));
    // What the deadline did not move stays as long as no other node can have it.
    let deadline = record.deadline.filter(|deadline| *deadline > now);
    of_schedules.into_iter().chain(deadline).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_empty_when_its_last_session_has_ended_or_at_the_deadline() {
        let at = |secs: u64| Timestamp::from_millis(1_790_000_000_000).plus_secs(secs);
        let window = JoinWindow {
            early_secs: 0,
            late_secs: 60,
        };
        let node_id = NodeId::from_stored("sfu-1".into());
        let record = NodeRecord::new(node_id.clone());
        let draining = record.drain("", None, at(0)).expect("changed");
        let deadline = record.drain("", Some(Duration::from_secs(30)), at(0));
        let deadline = deadline.expect("changed");
        let none = no_use(node_id);
        let some = NodeUse {
            sessions_scheduled: 2,
            last_scheduled_end: Some(at(100)),
            ..none.clone()
        };
        let endless = NodeUse {
            sessions_without_end: 1,
            ..some.clone()
        };
        let by =
            |record: &NodeRecord, node_use: &NodeUse| empty_by(record, node_use, &window, at(10));
        assert_eq!(by(&record, &some), None);
        assert_eq!(by(&draining, &none), Some(at(10)));
        assert_eq!(by(&draining, &some), Some(at(160)));
        assert_eq!(by(&draining, &endless), None);
        assert_eq!(by(&deadline, &some), Some(at(30)));
        assert_eq!(by(&deadline, &endless), Some(at(30)));
        let late = |node_use| empty_by(&deadline, node_use, &window, at(40));
        assert_eq!((late(&some), late(&endless)), (Some(at(160)), None));
    }
}
