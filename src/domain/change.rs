//! A session's next version, with the events that record it.

use super::actor::Actor;
use super::event::{Event, EventKind};
use super::id::NodeId;
use super::medium::{Medium, MoveCause};
use super::place::Place;
use super::placement::PlacementNote;
use super::session::Session;
use super::time::Timestamp;

/// A session's next version and the events that record the change: one atomic write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The session after the change.
    pub session: Session,
    /// The events, at least one, numbered on from the base version; the last one's sequence is the session's version.
    pub events: Vec<Event>,
}

impl Change {
    /// The version that the change was made from. It commits only if that is still the stored version.
    pub fn base_version(&self) -> i64 {
        self.session.version - i64::try_from(self.events.len()).unwrap_or(0)
    }

    /// Joins this change and one that was made from its result into one write.
    pub fn then(self, next: Self) -> Self {
        let mut events = self.events;
        events.extend(next.events);
        Self { events, ..next }
    }

    /// Whether the call goes through a node, or did so before this change. If not, the session has no room on its node.
    fn concerns_room(&self) -> bool {
        let is_change_of_medium =
            |event: &Event| matches!(event.kind, EventKind::MediumChanged { .. });
        self.session.medium == Medium::Sfu || self.events.iter().any(is_change_of_medium)
    }

    /// Whether the change takes a participant, or the call, from the session's room.
    pub fn takes_from_room(&self) -> bool {
        self.concerns_room() && self.takes_people()
    }

    /// Whether the change takes a participant from the call, or ends it.
    pub fn takes_people(&self) -> bool {
        self.events.iter().any(|event| match &event.kind {
            EventKind::ParticipantLeft { .. }
            | EventKind::ParticipantRemoved { .. }
            | EventKind::Ended { .. } => true,
            // The former doctor may be on the node without being in the session.
            EventKind::Updated { fields } => fields.iter().any(|field| field == "doctor_id"),
            EventKind::Created { .. }
            | EventKind::Joined { .. }
            | EventKind::Placed { .. }
            | EventKind::Moved { .. }
            | EventKind::MediumChanged { .. }
            | EventKind::ParticipantWaiting { .. }
            | EventKind::ParticipantAdmitted { .. }
            | EventKind::ParticipantJoined { .. }
            | EventKind::ParticipantMuted { .. }
            | EventKind::ParticipantInvited { .. }
            | EventKind::ParticipantNamed { .. }
            | EventKind::Unknown { .. } => false,
        })
    }

    /// Whether the call goes through its node from now on, and did not before.
    pub fn brings_call_to_node(&self) -> bool {
        let brings = |event: &Event| {
            matches!(
                event.kind,
                EventKind::MediumChanged {
                    medium: Medium::Sfu,
                    ..
                }
            )
        };
        self.events.iter().any(brings)
    }

    /// The rooms that the session left in this change, with their nodes. Those of lost nodes are left out: they are looked at when the
    /// node answers again. A session that stays on its node leaves a room there that may have been made again since the node started.
    pub fn left_rooms(&self) -> Vec<(NodeId, String)> {
        let session_id = &self.session.session_id;
        let events = self.events.iter().filter(|_| self.concerns_room());
        let left = events.filter_map(|event| match &event.kind {
            EventKind::Placed {
                from,
                to,
                generation,
                cause,
            }
            | EventKind::Moved {
                from,
                to,
                generation,
                cause,
            } if *cause != MoveCause::NodeLost || from == to => {
                let room_name = Place::room_name_of(session_id, generation - 1);
                Some((from.clone(), room_name))
            }
            // Without a move, the call fell back to the browsers, and its place changed on the same node.
            EventKind::MediumChanged {
                medium: Medium::PeerToPeer,
                cause,
            } if *cause != MoveCause::NodeLost && self.session.fell_back => {
                let Place {
                    node_id,
                    generation,
                    ..
                } = &self.session.place;
                let room_name = Place::room_name_of(session_id, generation - 1);
                Some((node_id.clone(), room_name))
            }
            _ => None,
        });
        left.collect()
    }

    /// Keeps the decision that gave the session its place.
    #[must_use]
    pub fn with_placement(mut self, note: PlacementNote) -> Self {
        // What is decided without a choice needs no explanation.
        self.session.placement = (!note.considered.is_empty()).then_some(note);
        self
    }

    /// Identifies this write in the store.
    pub fn write_id(&self) -> &str {
        self.events.first().map_or("", |event| &event.write_id)
    }
}

impl Session {
    /// Builds the next version; all changes go through here. Times never go backwards, even if the instances' clocks differ.
    pub(super) fn next_version(
        &self,
        actor: &Actor,
        now: Timestamp,
        kinds: Vec<EventKind>,
        apply: impl FnOnce(&mut Session),
    ) -> Change {
        let mut session = self.clone();
        session.update_time = now.max(self.update_time);
        let events: Vec<_> = (self.version + 1..)
            .zip(kinds)
            .map(|(sequence, kind)| {
                Event::new(
                    sequence,
                    session.session_id.clone(),
                    session.update_time,
                    actor.clone(),
                    kind,
                )
            })
            .collect();
        session.version = events.last().map_or(self.version, |event| event.sequence);
        apply(&mut session);
        Change { session, events }
    }
}
