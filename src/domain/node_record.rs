//! What the instances share about a node: the operator's state, and its newest events.

use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::id::NodeId;
use super::named::named;
use super::time::Timestamp;
use super::unknown::UnknownFields;

/// How many events of a node are kept; older ones are dropped.
pub const NODE_EVENTS_MAX: usize = 100;

/// The operator's state of a node.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum NodeState {
    /// It may have new sessions.
    #[default]
    Active,
    /// It keeps its sessions but gets no new ones.
    Draining,
}

/// What happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
pub enum NodeEventKind {
    /// The operator drains it, or changed the deadline or the reason of a drain.
    #[strum(serialize = "node.drained")]
    Drained,
    /// The operator lets it have sessions again.
    #[strum(serialize = "node.activated")]
    Activated,
    /// It answers no live instance.
    #[strum(serialize = "node.lost")]
    Lost,
    /// It answers again.
    #[strum(serialize = "node.back")]
    Back,
    /// A process answers that did not before: the node was started again, without its rooms, or is new.
    #[strum(serialize = "node.started")]
    Started,
    /// An instance died before it had given the node's calls new rooms; another one does it now.
    #[strum(serialize = "node.renewal_taken_over")]
    RenewalTakenOver,
    /// The node's calls have new rooms, after it was started again.
    #[strum(serialize = "node.renewed")]
    Renewed,
}

/// Who acted on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum NodeActor {
    /// A caller with the internal secret.
    Backend,
    /// The service itself.
    System,
}

named!(NodeState, NodeEventKind, NodeActor);

/// An event of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// Its number among the node's events, from 1, without gaps.
    pub sequence: i64,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub kind: NodeEventKind,
    /// Who acted.
    pub actor: NodeActor,
    /// The operator's reason, or how probes failed; may be empty.
    pub reason: String,
}

/// The state of a node that all instances share. A node without a record is active and was never lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node.
    pub node_id: NodeId,
    /// The operator's state.
    pub state: NodeState,
    /// Since when it is in this state; `None` if it always was.
    pub since: Option<Timestamp>,
    /// When the sessions that are left on a draining node are moved; `None`: never.
    pub deadline: Option<Timestamp>,
    /// The operator's reason; may be empty.
    pub reason: String,
    /// Since when it answers no live instance; `None` if it answers.
    pub lost_since: Option<Timestamp>,
    /// The process that answers at it, if its kind of node shows that; see [`NodeRecord::start`].
    pub incarnation: Option<String>,
    /// The instance that gives the node's calls new rooms, because it was started again; `None`: all have theirs.
    pub renewed_by: Option<String>,
    /// The number of its events. 0 if it is not stored.
    pub version: i64,
    /// Its newest events, oldest first, at most [`NODE_EVENTS_MAX`].
    pub events: Vec<NodeEvent>,
    /// Fields that another version stored.
    pub unknown_fields: UnknownFields,
    /// Whether this version can read what is stored. If not, the node counts as draining, and its record is never changed.
    pub is_readable: bool,
}

impl NodeRecord {
    /// The record of a node that has none.
    pub fn new(node_id: NodeId) -> Self {
        Self {
            node_id,
            state: NodeState::default(),
            since: None,
            deadline: None,
            reason: String::new(),
            lost_since: None,
            incarnation: None,
            renewed_by: None,
            version: 0,
            events: Vec::new(),
            unknown_fields: UnknownFields::default(),
            is_readable: true,
        }
    }

    /// Stands for a stored record that cannot be read: it is damaged, or a newer version wrote it. Only who can read it knows whether
    /// the node may have sessions.
    pub fn unreadable(node_id: NodeId) -> Self {
        Self {
            state: NodeState::Draining,
            reason: "its record cannot be read by this version".to_owned(),
            is_readable: false,
            ..Self::new(node_id)
        }
    }

    /// `None` if the record cannot be read, so that nothing is decided over it.
    fn if_readable(&self) -> Option<&Self> {
        self.is_readable.then_some(self)
    }

    /// The version that must be stored for this one to follow.
    pub fn base_version(&self) -> i64 {
        self.version - 1
    }

    /// Its next version: no new sessions, and what is left is moved at the deadline, if there is one. A node that drains already
    /// gets the new reason, and a new deadline counted from `now`; a repeated call without a deadline and with the same reason
    /// changes nothing.
    pub fn drain(
        &self,
        reason: &str,
        deadline_after: Option<Duration>,
        now: Timestamp,
    ) -> Option<Self> {
        self.if_readable()?;
        let deadline = deadline_after.map(|after| {
            let millis = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(now.as_millis().saturating_add(millis))
        });
        let is_draining = self.state == NodeState::Draining;
        if is_draining && deadline.is_none() && self.deadline.is_none() && self.reason == reason {
            return None;
        }
        let mut next = self.clone();
        if !is_draining {
            next.since = Some(now);
        }
        next.state = NodeState::Draining;
        next.deadline = deadline;
        reason.clone_into(&mut next.reason);
        Some(next.with_event(NodeEventKind::Drained, NodeActor::Backend, reason, now))
    }

    /// Its next version: it may have sessions again. `None` if it may already.
    pub fn activate(&self, now: Timestamp) -> Option<Self> {
        if self.if_readable()?.state == NodeState::Active {
            return None;
        }
        let mut next = self.clone();
        next.state = NodeState::Active;
        next.since = Some(now);
        next.deadline = None;
        next.reason = String::new();
        Some(next.with_event(NodeEventKind::Activated, NodeActor::Backend, "", now))
    }

    /// Its next version: it answers no live instance. `None` if that is known.
    pub fn lose(&self, why: &str, now: Timestamp) -> Option<Self> {
        if self.if_readable()?.lost_since.is_some() {
            return None;
        }
        let mut next = self.clone();
        next.lost_since = Some(now);
        Some(next.with_event(NodeEventKind::Lost, NodeActor::System, why, now))
    }

    /// Its next version: it answers again. `None` if that is known.
    pub fn come_back(&self, now: Timestamp) -> Option<Self> {
        self.if_readable()?.lost_since?;
        let mut next = self.clone();
        next.lost_since = None;
        Some(next.with_event(NodeEventKind::Back, NodeActor::System, "", now))
    }

    /// Its next version: another process answers than before. `None` if that is known. Of the instances that see it, only
    /// `instance_id`, if it stores this version, makes up for the rooms that are gone.
    pub fn start(&self, incarnation: &str, instance_id: &str, now: Timestamp) -> Option<Self> {
        if self.if_readable()?.incarnation.as_deref() == Some(incarnation) {
            return None;
        }
        let mut next = self.clone();
        if next.incarnation.replace(incarnation.to_owned()).is_some() {
            next.renewed_by = Some(instance_id.to_owned());
        }
        Some(next.with_event(NodeEventKind::Started, NodeActor::System, "", now))
    }

    /// Its next version: the instance has given the node's calls new rooms. `None` if that is not its task, or not any more.
    pub fn finish_renewal(&self, instance_id: &str, now: Timestamp) -> Option<Self> {
        if self.if_readable()?.renewed_by.as_deref() != Some(instance_id) {
            return None;
        }
        let mut next = self.clone();
        next.renewed_by = None;
        Some(next.with_event(NodeEventKind::Renewed, NodeActor::System, "", now))
    }

    /// Its next version: an instance does what a dead one was to do. `None` if the dead one had nothing to do. Calls that have their
    /// new rooms already get another one, which does no harm.
    pub fn take_over_renewal(&self, dead: &str, instance_id: &str, now: Timestamp) -> Option<Self> {
        if self.if_readable()?.renewed_by.as_deref() != Some(dead) {
            return None;
        }
        let mut next = self.clone();
        next.renewed_by = Some(instance_id.to_owned());
        Some(next.with_event(NodeEventKind::RenewalTakenOver, NodeActor::System, "", now))
    }

    fn with_event(
        mut self,
        kind: NodeEventKind,
        actor: NodeActor,
        reason: &str,
        time: Timestamp,
    ) -> Self {
        self.version += 1;
        self.events.push(NodeEvent {
            sequence: self.version,
            time,
            kind,
            actor,
            reason: reason.to_owned(),
        });
        let excess = self.events.len().saturating_sub(NODE_EVENTS_MAX);
        self.events.drain(..excess);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000).plus_secs(secs)
    }

    #[test]
    fn a_drain_and_its_end_are_events() {
        let record = NodeRecord::new(NodeId::from_stored("sfu-1".into()));
        assert_eq!(record.activate(at(0)), None);
        let deadline = Some(Duration::from_secs(60));
        let drained = record
            .drain("new kernel", deadline, at(1))
            .expect("changed");
        assert_eq!(drained.state, NodeState::Draining);
        assert_eq!(
            (drained.since, drained.deadline),
            (Some(at(1)), Some(at(61)))
        );
        assert_eq!((drained.version, drained.base_version()), (1, 0));
        // The deadline is given up; the drain goes on.
        let again = drained.drain("new kernel", None, at(2)).expect("changed");
        assert_eq!((again.since, again.deadline), (Some(at(1)), None));
        assert_eq!(again.drain("new kernel", None, at(3)), None);
        assert!(again.drain("other", None, at(3)).is_some());
        let active = again.activate(at(4)).expect("changed");
        assert_eq!(
            (active.state, active.since),
            (NodeState::Active, Some(at(4)))
        );
        assert!(active.reason.is_empty());
        let names: Vec<_> = (active.events.iter())
            .map(|event| (event.sequence, event.kind.name(), event.actor))
            .collect();
        assert_eq!(
            names,
            [
                (1, "node.drained", NodeActor::Backend),
                (2, "node.drained", NodeActor::Backend),
                (3, "node.activated", NodeActor::Backend),
            ]
        );
    }

    #[test]
    fn a_loss_and_a_return_are_told_once() {
        let record = NodeRecord::new(NodeId::from_stored("sfu-1".into()));
        assert_eq!(record.come_back(at(0)), None);
        let lost = record.lose("timed-out", at(1)).expect("changed");
        assert_eq!(lost.lost_since, Some(at(1)));
        assert_eq!(lost.lose("timed-out", at(2)), None);
        let back = lost.come_back(at(3)).expect("changed");
        assert_eq!(back.lost_since, None);
        let names: Vec<_> = back.events.iter().map(|event| event.kind.name()).collect();
        assert_eq!(names, ["node.lost", "node.back"]);
    }

    #[test]
    fn a_start_is_told_once() {
        let record = NodeRecord::new(NodeId::from_stored("sfu-1".into()));
        let first = record.start("a", "one", at(1)).expect("changed");
        assert_eq!(first.start("a", "one", at(2)), None);
        assert_eq!(first.renewed_by, None, "a new node has no calls");
        let second = first.start("b", "one", at(3)).expect("changed");
        assert_eq!(second.incarnation.as_deref(), Some("b"));
        let names: Vec<_> = (second.events.iter())
            .map(|event| (event.sequence, event.kind.name()))
            .collect();
        assert_eq!(names, [(1, "node.started"), (2, "node.started")]);
    }

    #[test]
    fn new_rooms_are_the_task_of_one_instance_until_it_dies() {
        let record = NodeRecord::new(NodeId::from_stored("sfu-1".into()));
        let first = record.start("a", "one", at(1)).expect("changed");
        let started = first.start("b", "one", at(2)).expect("changed");
        assert_eq!(started.finish_renewal("two", at(3)), None);
        assert_eq!(started.take_over_renewal("two", "three", at(3)), None);
        let taken = started.take_over_renewal("one", "two", at(4));
        let taken = taken.expect("changed");
        assert_eq!(taken.take_over_renewal("one", "three", at(5)), None);
        // The instance was only slow.
        assert_eq!(taken.finish_renewal("one", at(5)), None);
        let done = taken.finish_renewal("two", at(6)).expect("changed");
        assert_eq!(done.renewed_by, None);
        assert_eq!(done.take_over_renewal("two", "three", at(7)), None);
        let names = done.events.iter().map(|event| event.kind.name());
        let expected = [
            "node.started",
            "node.started",
            "node.renewal_taken_over",
            "node.renewed",
        ];
        assert!(names.eq(expected));
    }

    #[test]
    fn only_the_newest_events_are_kept() {
        let mut record = NodeRecord::new(NodeId::from_stored("sfu-1".into()));
        for n in 0..200 {
            record = record.lose("", at(n)).expect("changed");
            record = record.come_back(at(n)).expect("changed");
        }
        assert_eq!(record.events.len(), NODE_EVENTS_MAX);
        assert_eq!((record.version, record.events[0].sequence), (400, 301));
    }
}
