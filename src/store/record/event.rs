//! The stored form of an event.

use serde::{Deserialize, Serialize};

use super::{end_cause, end_cause_default, role};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AppointmentId, NodeId, SessionId, UserId};
use crate::domain::participant::LeaveCause;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// A stored event.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct EventRecord {
    pub sequence: i64,
    pub time_ms: i64,
    pub write_id: String,
    #[serde(flatten)]
    kind: KindRecord,
}

/// What happened, tagged with the event type's name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum KindRecord {
    #[serde(rename = "session.created")]
    Created {
        appointment_id: String,
        sfu_node_id: String,
    },
    #[serde(rename = "session.updated")]
    Updated { fields: Vec<String> },
    #[serde(rename = "session.joined")]
    Joined {
        user_id: String,
        role: String,
        jti: String,
        expire_time_ms: i64,
    },
    #[serde(rename = "session.ended")]
    Ended {
        #[serde(default = "end_cause_default")]
        cause: String,
        reason: String,
    },
    #[serde(rename = "participant.waiting")]
    ParticipantWaiting { user_id: String, role: String },
    #[serde(rename = "participant.admitted")]
    ParticipantAdmitted { user_id: String, by: Option<String> },
    #[serde(rename = "participant.joined")]
    ParticipantJoined {
        user_id: String,
        role: String,
        resumed: bool,
    },
    #[serde(rename = "participant.left")]
    ParticipantLeft {
        user_id: String,
        role: String,
        cause: String,
    },
    #[serde(rename = "participant.removed")]
    ParticipantRemoved {
        user_id: String,
        by: Option<String>,
        keep_out: bool,
    },
    #[serde(rename = "participant.muted")]
    ParticipantMuted { user_id: String, by: Option<String> },
    #[serde(rename = "participant.invited")]
    ParticipantInvited { user_id: String, role: String },
    #[serde(rename = "participant.named")]
    ParticipantNamed { user_id: String, role: String },
}

impl From<&Event> for EventRecord {
    fn from(event: &Event) -> Self {
        let kind = match &event.kind {
            EventKind::Created {
                appointment_id,
                sfu_node_id,
            } => KindRecord::Created {
                appointment_id: appointment_id.to_string(),
                sfu_node_id: sfu_node_id.to_string(),
            },
            EventKind::Updated { fields } => KindRecord::Updated {
                fields: fields.clone(),
            },
            EventKind::Joined {
                user_id,
                role,
                jti,
                expire_time,
            } => KindRecord::Joined {
                user_id: user_id.to_string(),
                role: role.name().to_owned(),
                jti: jti.clone(),
                expire_time_ms: expire_time.as_millis(),
            },
            EventKind::Ended { cause, reason } => KindRecord::Ended {
                cause: cause.name().to_owned(),
                reason: reason.clone(),
            },
            EventKind::ParticipantWaiting { user_id, role } => KindRecord::ParticipantWaiting {
                user_id: user_id.to_string(),
                role: role.name().to_owned(),
            },
            EventKind::ParticipantAdmitted { user_id, by } => KindRecord::ParticipantAdmitted {
                user_id: user_id.to_string(),
                by: by.as_ref().map(ToString::to_string),
            },
            EventKind::ParticipantJoined {
                user_id,
                role,
                resumed,
            } => KindRecord::ParticipantJoined {
                user_id: user_id.to_string(),
                role: role.name().to_owned(),
                resumed: *resumed,
            },
            EventKind::ParticipantLeft {
                user_id,
                role,
                cause,
            } => KindRecord::ParticipantLeft {
                user_id: user_id.to_string(),
                role: role.name().to_owned(),
                cause: cause.name().to_owned(),
            },
            EventKind::ParticipantRemoved {
                user_id,
                by,
                keep_out,
            } => KindRecord::ParticipantRemoved {
                user_id: user_id.to_string(),
                by: by.as_ref().map(ToString::to_string),
                keep_out: *keep_out,
            },
            EventKind::ParticipantMuted { user_id, by } => KindRecord::ParticipantMuted {
                user_id: user_id.to_string(),
                by: by.as_ref().map(ToString::to_string),
            },
            EventKind::ParticipantInvited { user_id, role } => KindRecord::ParticipantInvited {
                user_id: user_id.to_string(),
                role: role.name().to_owned(),
            },
            EventKind::ParticipantNamed { user_id, role } => KindRecord::ParticipantNamed {
                user_id: user_id.to_string(),
                role: role.name().to_owned(),
            },
        };
        Self {
            sequence: event.sequence,
            time_ms: event.time.as_millis(),
            write_id: event.write_id.clone(),
            kind,
        }
    }
}

impl EventRecord {
    pub(in crate::store) fn into_event(self, session_id: &SessionId) -> Result<Event, StoreError> {
        Ok(Event {
            sequence: self.sequence,
            session_id: session_id.clone(),
            time: Timestamp::from_millis(self.time_ms),
            write_id: self.write_id,
            kind: self.kind.try_into()?,
        })
    }
}

impl TryFrom<KindRecord> for EventKind {
    type Error = StoreError;

    #[expect(clippy::too_many_lines, reason = "a list")]
    fn try_from(record: KindRecord) -> Result<Self, StoreError> {
        Ok(match record {
            KindRecord::Created {
                appointment_id,
                sfu_node_id,
            } => EventKind::Created {
                appointment_id: AppointmentId::from_stored(appointment_id),
                sfu_node_id: NodeId::from_stored(sfu_node_id),
            },
            KindRecord::Updated { fields } => EventKind::Updated { fields },
            KindRecord::Joined {
                user_id,
                role: name,
                jti,
                expire_time_ms,
            } => EventKind::Joined {
                user_id: UserId::from_stored(user_id),
                role: role(&name)?,
                jti,
                expire_time: Timestamp::from_millis(expire_time_ms),
            },
            KindRecord::Ended { cause, reason } => EventKind::Ended {
                cause: end_cause(&cause)?,
                reason,
            },
            KindRecord::ParticipantWaiting {
                user_id,
                role: name,
            } => EventKind::ParticipantWaiting {
                user_id: UserId::from_stored(user_id),
                role: role(&name)?,
            },
            KindRecord::ParticipantAdmitted { user_id, by } => EventKind::ParticipantAdmitted {
                user_id: UserId::from_stored(user_id),
                by: by.map(UserId::from_stored),
            },
            KindRecord::ParticipantJoined {
                user_id,
                role: name,
                resumed,
            } => EventKind::ParticipantJoined {
                user_id: UserId::from_stored(user_id),
                role: role(&name)?,
                resumed,
            },
            KindRecord::ParticipantLeft {
                user_id,
                role: name,
                cause,
            } => EventKind::ParticipantLeft {
                user_id: UserId::from_stored(user_id),
                role: role(&name)?,
                cause: LeaveCause::from_name(&cause)
                    .ok_or_else(|| StoreError::corrupt("an unknown cause of leaving"))?,
            },
            KindRecord::ParticipantRemoved {
                user_id,
                by,
                keep_out,
            } => EventKind::ParticipantRemoved {
                user_id: UserId::from_stored(user_id),
                by: by.map(UserId::from_stored),
                keep_out,
            },
            KindRecord::ParticipantMuted { user_id, by } => EventKind::ParticipantMuted {
                user_id: UserId::from_stored(user_id),
                by: by.map(UserId::from_stored),
            },
            KindRecord::ParticipantInvited {
                user_id,
                role: name,
            } => EventKind::ParticipantInvited {
                user_id: UserId::from_stored(user_id),
                role: role(&name)?,
            },
            KindRecord::ParticipantNamed {
                user_id,
                role: name,
            } => EventKind::ParticipantNamed {
                user_id: UserId::from_stored(user_id),
                role: role(&name)?,
            },
        })
    }
}
