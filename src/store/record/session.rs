//! The stored form of a session.

use serde::{Deserialize, Serialize};

use super::names::field_names;
use super::participant::{
    GivenNameRecord, InviteRecord, ParticipantRecord, RemovalRecord, ShortLinkRecord,
};
use super::placement::PlacementRecord;
use super::{end_cause, end_cause_default};
use crate::domain::id::{AppointmentId, NodeId, Region, SessionId, UserId};
use crate::domain::medium::{MediaMode, Medium};
use crate::domain::participant::{Admission, GivenName, Removal};
use crate::domain::place::{Driver, Place};
use crate::domain::placement::PlacementNote;
use crate::domain::session::{FormerRoom, Schedule, Session, SessionState};
use crate::domain::time::Timestamp;
use crate::domain::unknown::UnknownFields;
use crate::store::StoreError;

/// The greatest valid version: no session has so many events, and larger numbers are not exact in JSON.
const VERSION_MAX: i64 = 1 << 53;

/// A stored session. Times are milliseconds since the epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct SessionRecord {
    #[serde(rename = "_id")]
    session_id: String,
    appointment_id: String,
    incarnation: i64,
    doctor_id: String,
    patient_id: String,
    sfu_node_id: String,
    #[serde(default = "driver_default", skip_serializing_if = "is_default_driver")]
    driver: String,
    /// Only if it differs from the one derived from the id and the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    room_name: Option<String>,
    #[serde(
        default = "generation_default",
        skip_serializing_if = "is_first_generation"
    )]
    place_generation: i64,
    state: String,
    create_time_ms: i64,
    update_time_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_time_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled_start_time_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled_end_time_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_cause: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    end_reason: String,
    /// Pairs, not a document: a key may contain characters with a meaning in MongoDB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(String, String)>,
    version: i64,
    #[serde(default = "admission_default")]
    admission: String,
    #[serde(default = "max_participants_default")]
    max_participants: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    participants: Vec<ParticipantRecord>,
    #[serde(rename = "let_in", default, skip_serializing_if = "Vec::is_empty")]
    admitted_users: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    invites: Vec<InviteRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removals: Vec<RemovalRecord>,
    #[serde(default)]
    doctor_since: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given_names: Vec<GivenNameRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    short_links: Vec<ShortLinkRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_since_ms: Option<i64>,
    #[serde(default = "media_default", skip_serializing_if = "is_default_media")]
    media: String,
    #[serde(default = "medium_default", skip_serializing_if = "is_default_medium")]
    medium: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former_room: Option<FormerRoomRecord>,
    #[serde(default, skip_serializing_if = "is_false")]
    fell_back: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    end_to_end_encrypted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_timeout_secs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    empty_deadline_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "is_false")]
    open_to_guests: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    doctor_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    placement: Option<PlacementRecord>,
}

/// A stored former room.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormerRoomRecord {
    node_id: String,
    generation: i64,
    leave_time_ms: i64,
}

impl From<&FormerRoom> for FormerRoomRecord {
    fn from(room: &FormerRoom) -> Self {
        Self {
            node_id: room.node_id.to_string(),
            generation: room.generation,
            leave_time_ms: room.leave_time.as_millis(),
        }
    }
}

impl From<FormerRoomRecord> for FormerRoom {
    fn from(record: FormerRoomRecord) -> Self {
        Self {
            node_id: NodeId::from_stored(record.node_id),
            generation: record.generation,
            leave_time: Timestamp::from_millis(record.leave_time_ms),
        }
    }
}

/// The value for sessions that were stored before waiting rooms existed.
fn admission_default() -> String {
    Admission::default().name().to_owned()
}

/// The value for sessions that were stored before drivers existed.
fn driver_default() -> String {
    Driver::default().name().to_owned()
}

fn is_default_driver(name: &String) -> bool {
    name == Driver::default().name()
}

fn media_default() -> String {
    MediaMode::default().name().to_owned()
}

fn is_default_media(name: &String) -> bool {
    name == MediaMode::default().name()
}

fn medium_default() -> String {
    Medium::default().name().to_owned()
}

fn is_default_medium(name: &String) -> bool {
    name == Medium::default().name()
}

fn is_false(value: &bool) -> bool {
    !value
}

fn generation_default() -> i64 {
    1
}

fn is_first_generation(generation: &i64) -> bool {
    *generation == generation_default()
}

fn max_participants_default() -> u16 {
    8
}

impl SessionRecord {
    /// The names of all fields, including those that are omitted when empty.
    pub(in crate::store) fn field_names() -> &'static [&'static str] {
        field_names::<Self>()
    }
}

impl From<&Session> for SessionRecord {
    #[expect(clippy::too_many_lines, reason = "a line or two for each field")]
    fn from(session: &Session) -> Self {
        let Session {
            session_id,
            appointment_id,
            incarnation,
            doctor_id,
            doctor_since,
            patient_id,
            place,
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
            media,
            medium,
            former_room,
            fell_back,
            region,
            end_to_end_encrypted,
            empty_timeout_secs,
            open_to_guests,
            doctor_name,
            placement,
            participants,
            admitted_users,
            invites,
            removals,
            given_names,
            short_links,
            empty_since,
            empty_deadline,
            // Merged by the store, because they are in its form.
            unknown_fields: _,
        } = session;
        let room_name = Place::room_name_of(session_id, place.generation);
        Self {
            session_id: session_id.to_string(),
            appointment_id: appointment_id.to_string(),
            incarnation: *incarnation,
            doctor_id: doctor_id.to_string(),
            patient_id: patient_id.to_string(),
            sfu_node_id: place.node_id.to_string(),
            driver: place.driver.name().to_owned(),
            room_name: (place.room_name != room_name).then(|| place.room_name.clone()),
            place_generation: place.generation,
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
            admitted_users: admitted_users.iter().map(ToString::to_string).collect(),
            invites: invites.iter().map(InviteRecord::from).collect(),
            removals: removals.iter().map(RemovalRecord::from).collect(),
            doctor_since: *doctor_since,
            given_names: given_names.iter().map(GivenNameRecord::from).collect(),
            short_links: short_links.iter().map(ShortLinkRecord::from).collect(),
            empty_since_ms: empty_since.map(Timestamp::as_millis),
            media: media.name().to_owned(),
            medium: medium.name().to_owned(),
            former_room: former_room.as_ref().map(FormerRoomRecord::from),
            fell_back: *fell_back,
            region: region.as_ref().map(ToString::to_string),
            end_to_end_encrypted: *end_to_end_encrypted,
            empty_timeout_secs: *empty_timeout_secs,
            empty_deadline_ms: empty_deadline.map(Timestamp::as_millis),
            open_to_guests: *open_to_guests,
            doctor_name: doctor_name.clone(),
            placement: placement.as_ref().map(PlacementRecord::from),
        }
    }
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
            .ok_or_else(|| StoreError::corrupt("an unknown session state"))?;
        if !(1..=VERSION_MAX).contains(&record.version) {
            return Err(StoreError::corrupt("an invalid session version"));
        }
        let session_id = SessionId::from_stored(record.session_id);
        let place = Place {
            node_id: NodeId::from_stored(record.sfu_node_id),
            driver: Driver::from_name(&record.driver)
                .ok_or_else(|| StoreError::corrupt("an unknown driver"))?,
            room_name: record
                .room_name
                .unwrap_or_else(|| Place::room_name_of(&session_id, record.place_generation)),
            generation: record.place_generation,
        };
        Ok(Self {
            session_id,
            appointment_id: AppointmentId::from_stored(record.appointment_id),
            incarnation: record.incarnation,
            doctor_id: UserId::from_stored(record.doctor_id),
            patient_id: UserId::from_stored(record.patient_id),
            place,
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
                .ok_or_else(|| StoreError::corrupt("an unknown admission"))?,
            max_participants: record.max_participants,
            media: MediaMode::from_name(&record.media)
                .ok_or_else(|| StoreError::corrupt("an unknown media mode"))?,
            medium: Medium::from_name(&record.medium)
                .ok_or_else(|| StoreError::corrupt("an unknown medium"))?,
            former_room: record.former_room.map(FormerRoom::from),
            fell_back: record.fell_back,
            region: record.region.map(Region::from_stored),
            end_to_end_encrypted: record.end_to_end_encrypted,
            empty_timeout_secs: record.empty_timeout_secs,
            open_to_guests: record.open_to_guests,
            doctor_name: record.doctor_name,
            placement: record.placement.map(PlacementNote::from),
            participants: all(record.participants)?,
            admitted_users: ids(record.admitted_users),
            invites: all(record.invites)?,
            removals: record.removals.into_iter().map(Removal::from).collect(),
            doctor_since: record.doctor_since,
            given_names: (record.given_names.into_iter())
                .map(GivenName::from)
                .collect(),
            short_links: all(record.short_links)?,
            empty_since: record.empty_since_ms.map(Timestamp::from_millis),
            empty_deadline: record.empty_deadline_ms.map(Timestamp::from_millis),
            unknown_fields: UnknownFields::default(),
        })
    }
}
