//! How sessions and events are written down: the same fields as JSON in SQLite and as BSON in MongoDB.
//!
//! Field names are a stored format. Add fields with `#[serde(default)]`; never rename or reuse one.

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::access::Role;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AppointmentId, NodeId, SessionId, UserId};
use crate::domain::session::{Schedule, Session, SessionState};
use crate::domain::time::Timestamp;

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
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub end_reason: String,
    /// Pairs, not a document: a key may hold any character, also those that MongoDB gives a meaning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<(String, String)>,
    pub version: i64,
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
    Ended { reason: String },
}

impl From<&Session> for SessionRecord {
    fn from(session: &Session) -> Self {
        let Session {
            session_id,
            appointment_id,
            incarnation,
            doctor_id,
            patient_id,
            sfu_node_id,
            state,
            create_time,
            update_time,
            end_time,
            schedule,
            end_reason,
            labels,
            version,
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
            end_reason: end_reason.clone(),
            labels: labels.clone().into_iter().collect(),
            version: *version,
        }
    }
}

impl TryFrom<SessionRecord> for Session {
    type Error = StoreError;

    fn try_from(record: SessionRecord) -> Result<Self, StoreError> {
        let state = SessionState::from_name(&record.state)
            .ok_or_else(|| StoreError::corrupt("a session in an unknown state"))?;
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
            end_reason: record.end_reason,
            labels: record.labels.into_iter().collect(),
            version: record.version,
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
            EventKind::Ended { reason } => KindRecord::Ended {
                reason: reason.clone(),
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
        let kind = match self.kind {
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
                role,
                jti,
                expire_time_ms,
            } => EventKind::Joined {
                user_id: UserId::from_stored(user_id),
                role: Role::from_name(&role)
                    .ok_or_else(|| StoreError::corrupt("an event with an unknown role"))?,
                jti,
                expire_time: Timestamp::from_millis(expire_time_ms),
            },
            KindRecord::Ended { reason } => EventKind::Ended { reason },
        };
        Ok(Event {
            sequence: self.sequence,
            session_id: session_id.clone(),
            time: Timestamp::from_millis(self.time_ms),
            write_id: self.write_id,
            kind,
        })
    }
}
