//! What happened to a session, in order.

use serde::{Deserialize, Serialize};
use strum::VariantNames;

use super::actor::Actor;
use super::cause::{EndCause, LeaveCause};
use super::id::{AppointmentId, NodeId, SessionId, UserId, random_id};
use super::role::Role;
use super::time::Timestamp;

/// Something that happened to a session; committed in the same write as the change that it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 1, 2, 3… within the session, without a gap; equals the session's version after the change.
    pub sequence: i64,
    /// The session.
    pub session_id: SessionId,
    /// When.
    pub time: Timestamp,
    /// Marks this very write, so that one whose outcome was lost can be recognised. Not shown to callers.
    pub write_id: String,
    /// Who did it; `None` in events of versions that did not note it.
    pub actor: Option<Actor>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened, in the form in which both stores keep it: names of types and fields never change, and a new field has a
/// default. docs/events.md has a line for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, VariantNames)]
#[serde(tag = "type")]
pub enum EventKind {
    /// The session was created.
    #[serde(rename = "session.created")]
    #[strum(serialize = "session.created")]
    Created {
        /// For this appointment.
        appointment_id: AppointmentId,
        /// On this node.
        sfu_node_id: NodeId,
    },
    /// Fields of it were changed.
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
        /// To whom.
        user_id: UserId,
        /// In which role.
        role: Role,
        /// The token's id.
        jti: String,
        /// When the token expires.
        #[serde(rename = "expire_time_ms")]
        expire_time: Timestamp,
    },
    /// It ended.
    #[serde(rename = "session.ended")]
    #[strum(serialize = "session.ended")]
    Ended {
        /// What ended it.
        #[serde(default = "EndCause::of_former_versions")]
        cause: EndCause,
        /// The reason given.
        reason: String,
    },
    /// Somebody connected and waits.
    #[serde(rename = "participant.waiting")]
    #[strum(serialize = "participant.waiting")]
    ParticipantWaiting {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
    },
    /// Somebody who waited was let in.
    #[serde(rename = "participant.admitted")]
    #[strum(serialize = "participant.admitted")]
    ParticipantAdmitted {
        /// Who.
        user_id: UserId,
        /// By whom; `None`: the backend, or the session's rule.
        by: Option<UserId>,
    },
    /// Somebody is in the call.
    #[serde(rename = "participant.joined")]
    #[strum(serialize = "participant.joined")]
    ParticipantJoined {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
        /// They were there before, on another instance.
        resumed: bool,
    },
    /// Somebody is gone.
    #[serde(rename = "participant.left")]
    #[strum(serialize = "participant.left")]
    ParticipantLeft {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
        /// Why.
        cause: LeaveCause,
    },
    /// Somebody was removed.
    #[serde(rename = "participant.removed")]
    #[strum(serialize = "participant.removed")]
    ParticipantRemoved {
        /// Who.
        user_id: UserId,
        /// By whom; `None`: the backend.
        by: Option<UserId>,
        /// Whether they get no new token.
        keep_out: bool,
    },
    /// Somebody was asked to mute.
    #[serde(rename = "participant.muted")]
    #[strum(serialize = "participant.muted")]
    ParticipantMuted {
        /// Who.
        user_id: UserId,
        /// By whom; `None`: the backend.
        by: Option<UserId>,
    },
    /// Somebody was invited.
    #[serde(rename = "participant.invited")]
    #[strum(serialize = "participant.invited")]
    ParticipantInvited {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
    },
    /// A participant whose link came without a name gave one.
    #[serde(rename = "participant.named")]
    #[strum(serialize = "participant.named")]
    ParticipantNamed {
        /// Who.
        user_id: UserId,
        /// In which role.
        role: Role,
    },
    /// A newer version of the service wrote it. It changes nothing that this version knows of, and is passed by.
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

    /// Whether this version knows a type of that name.
    pub fn is_known(name: &str) -> bool {
        Self::VARIANTS.contains(&name)
    }

    /// One of each kind: what every store, the wire and docs/events.md must know.
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
    /// A new event, with a write mark of its own.
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
        assert_eq!(names, known.filter(|name| *name != "Unknown").collect());
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
