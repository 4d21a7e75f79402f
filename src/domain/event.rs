//! The events of a session, in order.

use serde::{Deserialize, Serialize};
use strum::VariantNames;

use super::actor::Actor;
use super::cause::{EndCause, LeaveCause};
use super::id::{AppointmentId, NodeId, SessionId, UserId, random_id};
use super::medium::{Medium, MoveCause};
use super::quality::CallQuality;
use super::role::Role;
use super::time::Timestamp;

/// An event of a session, committed in the same write as the change that it records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 1, 2, 3… within the session, without gaps; equals the session's version after the change.
    pub sequence: i64,
    /// The session.
    pub session_id: SessionId,
    /// When it happened.
    pub time: Timestamp,
    /// Identifies the write, so that a write whose outcome was lost can be found again. Not shown to callers.
    pub write_id: String,
    /// The actor; `None` in events of versions that did not record it.
    pub actor: Option<Actor>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened, as both stores keep it: names of types and fields never change, and new fields have defaults. docs/events.md
/// lists every kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, VariantNames)]
#[serde(tag = "type")]
pub enum EventKind {
    /// The session was created.
    #[serde(rename = "session.created")]
    #[strum(serialize = "session.created")]
    Created {
        /// The session's appointment.
        appointment_id: AppointmentId,
        /// The session's node.
        sfu_node_id: NodeId,
    },
    /// Fields of the session were changed.
    #[serde(rename = "session.updated")]
    #[strum(serialize = "session.updated")]
    Updated {
        /// Their names, as in UpdateSessionRequest.
        fields: Vec<String>,
    },
    /// A join token was issued.
    #[serde(rename = "session.joined")]
    #[strum(serialize = "session.joined")]
    Joined {
        /// The bearer's user id.
        user_id: UserId,
        /// The participant's role.
        role: Role,
        /// The token's id.
        jti: String,
        /// When the token expires.
        #[serde(rename = "expire_time_ms")]
        expire_time: Timestamp,
    },
    /// The session ended.
    #[serde(rename = "session.ended")]
    #[strum(serialize = "session.ended")]
    Ended {
        /// What ended it.
        #[serde(default = "EndCause::of_former_versions")]
        cause: EndCause,
        /// The reason given.
        reason: String,
    },
    /// The session was placed on another node before any participant connected.
    #[serde(rename = "session.placed")]
    #[strum(serialize = "session.placed")]
    Placed {
        /// The former node.
        from: NodeId,
        /// The new node.
        to: NodeId,
        /// The generation of the new place.
        generation: i64,
        /// Why.
        cause: MoveCause,
    },
    /// The session moved to another node while participants were, or had been, connected.
    #[serde(rename = "session.moved")]
    #[strum(serialize = "session.moved")]
    Moved {
        /// The former node.
        from: NodeId,
        /// The new node.
        to: NodeId,
        /// The generation of the new place.
        generation: i64,
        /// Why.
        cause: MoveCause,
    },
    /// The call goes another way from now on.
    #[serde(rename = "session.medium_changed")]
    #[strum(serialize = "session.medium_changed")]
    MediumChanged {
        /// The new medium.
        medium: Medium,
        /// Why.
        cause: MoveCause,
    },
    /// A participant connected and waits.
    #[serde(rename = "participant.waiting")]
    #[strum(serialize = "participant.waiting")]
    ParticipantWaiting {
        /// The participant's user id.
        user_id: UserId,
        /// The participant's role.
        role: Role,
    },
    /// A waiting participant was admitted.
    #[serde(rename = "participant.admitted")]
    #[strum(serialize = "participant.admitted")]
    ParticipantAdmitted {
        /// The participant's user id.
        user_id: UserId,
        /// The user who admitted them; `None`: the backend, or the session's admission rule.
        by: Option<UserId>,
    },
    /// A participant is in the call.
    #[serde(rename = "participant.joined")]
    #[strum(serialize = "participant.joined")]
    ParticipantJoined {
        /// The participant's user id.
        user_id: UserId,
        /// The participant's role.
        role: Role,
        /// Whether they were connected before, to another instance.
        resumed: bool,
    },
    /// A participant left.
    #[serde(rename = "participant.left")]
    #[strum(serialize = "participant.left")]
    ParticipantLeft {
        /// The participant's user id.
        user_id: UserId,
        /// The participant's role.
        role: Role,
        /// Why.
        cause: LeaveCause,
        /// How good their connection was; `None` if their page did not report it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quality: Option<CallQuality>,
    },
    /// A participant was removed.
    #[serde(rename = "participant.removed")]
    #[strum(serialize = "participant.removed")]
    ParticipantRemoved {
        /// The participant's user id.
        user_id: UserId,
        /// The user who did it; `None`: the backend.
        by: Option<UserId>,
        /// Whether they may get no new token.
        keep_out: bool,
    },
    /// A participant was asked to mute.
    #[serde(rename = "participant.muted")]
    #[strum(serialize = "participant.muted")]
    ParticipantMuted {
        /// The participant's user id.
        user_id: UserId,
        /// The user who did it; `None`: the backend.
        by: Option<UserId>,
    },
    /// A user was invited.
    #[serde(rename = "participant.invited")]
    #[strum(serialize = "participant.invited")]
    ParticipantInvited {
        /// The participant's user id.
        user_id: UserId,
        /// The participant's role.
        role: Role,
    },
    /// A participant whose link has no name chose one.
    #[serde(rename = "participant.named")]
    #[strum(serialize = "participant.named")]
    ParticipantNamed {
        /// The participant's user id.
        user_id: UserId,
        /// The participant's role.
        role: Role,
    },
    /// An event of a newer version of the service; this version ignores it.
    #[serde(skip)]
    #[strum(disabled)]
    Unknown {
        /// The type's name.
        name: String,
    },
}

impl EventKind {
    /// The type's name on the wire and in stores.
    pub fn name(&self) -> &str {
        match self {
            Self::Unknown { name } => name,
            Self::Created { .. } => "session.created",
            Self::Updated { .. } => "session.updated",
            Self::Joined { .. } => "session.joined",
            Self::Ended { .. } => "session.ended",
            Self::Placed { .. } => "session.placed",
            Self::Moved { .. } => "session.moved",
            Self::MediumChanged { .. } => "session.medium_changed",
            Self::ParticipantWaiting { .. } => "participant.waiting",
            Self::ParticipantAdmitted { .. } => "participant.admitted",
            Self::ParticipantJoined { .. } => "participant.joined",
            Self::ParticipantLeft { .. } => "participant.left",
            Self::ParticipantRemoved { .. } => "participant.removed",
            Self::ParticipantMuted { .. } => "participant.muted",
            Self::ParticipantInvited { .. } => "participant.invited",
            Self::ParticipantNamed { .. } => "participant.named",
        }
    }

    /// Whether this version knows a type with this name.
    pub fn is_known(name: &str) -> bool {
        // The list includes the kind that stands for every unknown one.
        name != "Unknown" && Self::VARIANTS.contains(&name)
    }

    /// One event of each kind; every store, the wire and docs/events.md must support them all.
    pub fn examples() -> Vec<Self> {
        let user_id = UserId::from_stored("patient-1".into());
        let by = Some(UserId::from_stored("doctor-1".into()));
        let role = Role::Patient;
        vec![
            Self::Created {
                appointment_id: AppointmentId::from_stored("appointment-1".into()),
                sfu_node_id: NodeId::from_stored("sfu-1".into()),
            },
            Self::Updated {
                fields: vec!["labels".into()],
            },
            Self::Joined {
                user_id: user_id.clone(),
                role,
                jti: "jti-1".into(),
                expire_time: Timestamp::from_millis(1_800_000_000_000),
            },
            Self::Ended {
                cause: EndCause::Host,
                reason: "done".into(),
            },
            Self::Placed {
                from: NodeId::from_stored("sfu-1".into()),
                to: NodeId::from_stored("sfu-2".into()),
                generation: 2,
                cause: MoveCause::NodeDrained,
            },
            Self::Moved {
                from: NodeId::from_stored("sfu-2".into()),
                to: NodeId::from_stored("sfu-1".into()),
                generation: 3,
                cause: MoveCause::NodeLost,
            },
            Self::MediumChanged {
                medium: Medium::Sfu,
                cause: MoveCause::ThirdPublisher,
            },
            Self::ParticipantWaiting {
                user_id: user_id.clone(),
                role,
            },
            Self::ParticipantAdmitted {
                user_id: user_id.clone(),
                by: by.clone(),
            },
            Self::ParticipantJoined {
                user_id: user_id.clone(),
                role,
                resumed: true,
            },
            Self::ParticipantLeft {
                user_id: user_id.clone(),
                role,
                cause: LeaveCause::Lost,
                quality: Some(CallQuality::example()),
            },
            Self::ParticipantRemoved {
                user_id: user_id.clone(),
                by: by.clone(),
                keep_out: true,
            },
            Self::ParticipantMuted {
                user_id: user_id.clone(),
                by,
            },
            Self::ParticipantInvited {
                user_id: user_id.clone(),
                role,
            },
            Self::ParticipantNamed { user_id, role },
        ]
    }
}

impl Event {
    /// A new event, with its own write id.
    pub fn new(
        sequence: i64,
        session_id: SessionId,
        time: Timestamp,
        actor: Actor,
        kind: EventKind,
    ) -> Self {
        Self {
            sequence,
            session_id,
            time,
            write_id: random_id(),
            actor: Some(actor),
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_is_an_example_of_each_kind() {
        let examples = EventKind::examples();
        let names: BTreeSet<_> = examples.iter().map(EventKind::name).collect();
        let known = EventKind::VARIANTS.iter().copied();
        assert_eq!(
            names,
            known.filter(|name| EventKind::is_known(name)).collect()
        );
        assert_eq!(names.len() + 1, EventKind::VARIANTS.len());
        assert_eq!(names.len(), examples.len());
    }

    #[test]
    fn the_stored_name_of_a_kind_is_its_name() {
        for kind in EventKind::examples() {
            let stored = serde_json::to_value(&kind).expect("it can be written");
            assert_eq!(stored["type"], kind.name());
        }
    }
}
