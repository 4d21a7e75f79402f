//! How sessions and events are written down: the same fields as JSON in SQLite and as BSON in MongoDB.
//!
//! Field names are a stored format. Add fields with `#[serde(default)]`; never rename or reuse one.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::access::Role;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AppointmentId, NodeId, SessionId, UserId};
use crate::domain::participant::{
    Admission, GivenName, Invite, LeaveCause, Participant, ParticipantStatus, Removal,
};
use crate::domain::session::{EndCause, Schedule, Session, SessionState};
use crate::domain::time::Timestamp;

/// The greatest version that is believed: no session has so many events, and numbers beyond it are not exact in JSON.
const VERSION_MAX: i64 = 1 << 53;

/// A stored session. Times are milliseconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    #[serde(rename = "_id")]
    pub session_id: String,
    pub appointment_id: String,
    pub incarnation: i64,
    pub doctor_id: String,
    pub patient_id: String,
    pub sfu_node_id: String,
    pub state: String,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_start_time_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_end_time_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_cause: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub end_reason: String,
    /// Pairs, not a document: a key may hold any character, also those that MongoDB gives a meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<(String, String)>,
    pub version: i64,
    #[serde(default = "admission_default")]
    pub admission: String,
    #[serde(default = "max_participants_default")]
    pub max_participants: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub participants: Vec<ParticipantRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub let_in: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invites: Vec<InviteRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<RemovalRecord>,
    #[serde(default)]
    pub doctor_since: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_names: Vec<GivenNameRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_since_ms: Option<i64>,
}

/// A stored participant.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ParticipantRecord {
    pub user_id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    pub admitted: bool,
    pub connect_time_ms: i64,
    pub instance_id: String,
}

/// A stored invitation.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InviteRecord {
    pub user_id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_time_ms: Option<i64>,
    #[serde(default)]
    pub since: i64,
}

/// A stored name that a participant gave themselves.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GivenNameRecord {
    pub user_id: String,
    pub name: String,
}

/// A stored removal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RemovalRecord {
    pub user_id: String,
    pub sequence: i64,
    pub keep_out: bool,
}

/// What sessions have that were stored before there was a waiting room.
fn admission_default() -> String {
    Admission::default().name().to_owned()
}

fn max_participants_default() -> u16 {
    8
}

/// What events of ends have that were stored before their causes were.
fn end_cause_default() -> String {
    EndCause::Backend.name().to_owned()
}

/// A stored event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EventRecord {
    pub sequence: i64,
    pub time_ms: i64,
    pub write_id: String,
    #[serde(flatten)]
    pub kind: KindRecord,
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

impl From<&Session> for SessionRecord {
    fn from(session: &Session) -> Self {
        let Session {
            session_id,
            appointment_id,
            incarnation,
            doctor_id,
            doctor_since,
            patient_id,
            sfu_node_id,
            state,
            create_time,
            update_time,
            end_time,
            schedule,
            end_cause,
            end_reason,
            labels,
            version,
            admission,
            max_participants,
            participants,
            let_in,
            invites,
            removals,
            given_names,
            empty_since,
        } = session;
        Self {
            session_id: session_id.to_string(),
            appointment_id: appointment_id.to_string(),
            incarnation: *incarnation,
            doctor_id: doctor_id.to_string(),
            patient_id: patient_id.to_string(),
            sfu_node_id: sfu_node_id.to_string(),
            state: state.name().to_owned(),
            create_time_ms: create_time.as_millis(),
            update_time_ms: update_time.as_millis(),
            end_time_ms: end_time.map(Timestamp::as_millis),
            scheduled_start_time_ms: schedule.start.map(Timestamp::as_millis),
            scheduled_end_time_ms: schedule.end.map(Timestamp::as_millis),
            end_cause: end_cause.map(|cause| cause.name().to_owned()),
            end_reason: end_reason.clone(),
            labels: labels.clone().into_iter().collect(),
            version: *version,
            admission: admission.name().to_owned(),
            max_participants: *max_participants,
            participants: participants.iter().map(ParticipantRecord::from).collect(),
            let_in: let_in.iter().map(ToString::to_string).collect(),
            invites: invites.iter().map(InviteRecord::from).collect(),
            removals: removals.iter().map(RemovalRecord::from).collect(),
            doctor_since: *doctor_since,
            given_names: given_names.iter().map(GivenNameRecord::from).collect(),
            empty_since_ms: empty_since.map(Timestamp::as_millis),
        }
    }
}

impl From<&Participant> for ParticipantRecord {
    fn from(participant: &Participant) -> Self {
        let Participant {
            user_id,
            role,
            display_name,
            status,
            connect_time,
            instance_id,
        } = participant;
        Self {
            user_id: user_id.to_string(),
            role: role.name().to_owned(),
            display_name: display_name.clone(),
            admitted: *status == ParticipantStatus::Admitted,
            connect_time_ms: connect_time.as_millis(),
            instance_id: instance_id.clone(),
        }
    }
}

impl TryFrom<ParticipantRecord> for Participant {
    type Error = StoreError;

    fn try_from(record: ParticipantRecord) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::from_stored(record.user_id),
            role: role(&record.role)?,
            display_name: record.display_name,
            status: if record.admitted {
                ParticipantStatus::Admitted
            } else {
                ParticipantStatus::Waiting
            },
            connect_time: Timestamp::from_millis(record.connect_time_ms),
            instance_id: record.instance_id,
        })
    }
}

impl From<&Invite> for InviteRecord {
    fn from(invite: &Invite) -> Self {
        let Invite {
            user_id,
            role,
            display_name,
            expire_time,
            since,
        } = invite;
        Self {
            user_id: user_id.to_string(),
            role: role.name().to_owned(),
            display_name: display_name.clone(),
            expire_time_ms: expire_time.map(Timestamp::as_millis),
            since: *since,
        }
    }
}

impl TryFrom<InviteRecord> for Invite {
    type Error = StoreError;

    fn try_from(record: InviteRecord) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId::from_stored(record.user_id),
            role: role(&record.role)?,
            display_name: record.display_name,
            expire_time: record.expire_time_ms.map(Timestamp::from_millis),
            since: record.since,
        })
    }
}

impl From<&GivenName> for GivenNameRecord {
    fn from(given: &GivenName) -> Self {
        let GivenName { user_id, name } = given;
        Self {
            user_id: user_id.to_string(),
            name: name.clone(),
        }
    }
}

impl From<GivenNameRecord> for GivenName {
    fn from(record: GivenNameRecord) -> Self {
        Self {
            user_id: UserId::from_stored(record.user_id),
            name: record.name,
        }
    }
}

impl From<&Removal> for RemovalRecord {
    fn from(removal: &Removal) -> Self {
        let Removal {
            user_id,
            sequence,
            keep_out,
        } = removal;
        Self {
            user_id: user_id.to_string(),
            sequence: *sequence,
            keep_out: *keep_out,
        }
    }
}

impl From<RemovalRecord> for Removal {
    fn from(record: RemovalRecord) -> Self {
        Self {
            user_id: UserId::from_stored(record.user_id),
            sequence: record.sequence,
            keep_out: record.keep_out,
        }
    }
}

fn role(name: &str) -> Result<Role, StoreError> {
    Role::from_name(name).ok_or_else(|| StoreError::corrupt("an unknown role"))
}

fn end_cause(name: &str) -> Result<EndCause, StoreError> {
    EndCause::from_name(name).ok_or_else(|| StoreError::corrupt("an unknown cause of an end"))
}

fn all<R, T: TryFrom<R, Error = StoreError>>(records: Vec<R>) -> Result<Vec<T>, StoreError> {
    records.into_iter().map(T::try_from).collect()
}

fn ids(texts: Vec<String>) -> Vec<UserId> {
    texts.into_iter().map(UserId::from_stored).collect()
}

impl TryFrom<SessionRecord> for Session {
    type Error = StoreError;

    fn try_from(record: SessionRecord) -> Result<Self, StoreError> {
        let state = SessionState::from_name(&record.state)
            .ok_or_else(|| StoreError::corrupt("a session in an unknown state"))?;
        if !(1..=VERSION_MAX).contains(&record.version) {
            return Err(StoreError::corrupt("a session of an impossible version"));
        }
        Ok(Self {
            session_id: SessionId::from_stored(record.session_id),
            appointment_id: AppointmentId::from_stored(record.appointment_id),
            incarnation: record.incarnation,
            doctor_id: UserId::from_stored(record.doctor_id),
            patient_id: UserId::from_stored(record.patient_id),
            sfu_node_id: NodeId::from_stored(record.sfu_node_id),
            state,
            create_time: Timestamp::from_millis(record.create_time_ms),
            update_time: Timestamp::from_millis(record.update_time_ms),
            end_time: record.end_time_ms.map(Timestamp::from_millis),
            schedule: Schedule {
                start: record.scheduled_start_time_ms.map(Timestamp::from_millis),
                end: record.scheduled_end_time_ms.map(Timestamp::from_millis),
            },
            end_cause: record
                .end_cause
                .or_else(|| (state == SessionState::Ended).then(end_cause_default))
                .map(|name| end_cause(&name))
                .transpose()?,
            end_reason: record.end_reason,
            labels: record.labels.into_iter().collect(),
            version: record.version,
            admission: Admission::from_name(&record.admission)
                .ok_or_else(|| StoreError::corrupt("an unknown kind of admission"))?,
            max_participants: record.max_participants,
            participants: all(record.participants)?,
            let_in: ids(record.let_in),
            invites: all(record.invites)?,
            removals: record.removals.into_iter().map(Removal::from).collect(),
            doctor_since: record.doctor_since,
            given_names: (record.given_names.into_iter())
                .map(GivenName::from)
                .collect(),
            empty_since: record.empty_since_ms.map(Timestamp::from_millis),
        })
    }
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
    pub(super) fn into_event(self, session_id: &SessionId) -> Result<Event, StoreError> {
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
