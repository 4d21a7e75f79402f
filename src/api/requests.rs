//! Parses requests.

use prost_types::FieldMask;

use super::faults::Faults;
use super::page_token;
use crate::app::{DoctorLinkRequest, JoinRequest, SessionKey};
use crate::domain::error::Error;
use crate::domain::id::{AppointmentId, NodeId, Region, SessionId, UserId};
use crate::domain::locale::Locale;
use crate::domain::medium::MediaMode;
use crate::domain::page::{SessionFilter, SessionQuery};
use crate::domain::participant::{Admission, Invite};
use crate::domain::role::Role;
use crate::domain::session::{Requested, Schedule, SessionRequest, SessionState, SessionUpdate};
use crate::proto::v1;

/// The longest time that a session may be empty: 7 days.
const EMPTY_TIMEOUT_SECS_MAX: u64 = 604_800;

pub(super) fn parse_create(
    request: v1::CreateSessionRequest,
    participants_max: u16,
) -> Result<SessionRequest, Error> {
    let v1::CreateSessionRequest {
        appointment_id,
        doctor_id,
        patient_id,
        scheduled_start_time,
        scheduled_end_time,
        labels,
        admission,
        max_participants,
        media,
        region,
        end_to_end_encrypted,
        empty_timeout,
        open_to_guests,
        doctor_name,
    } = request;
    let mut faults = Faults::default();
    let appointment_id = faults.required("appointment_id", appointment_id, AppointmentId::parse);
    let doctor_id = faults.required("doctor_id", doctor_id, UserId::parse);
    let patient_id = faults.required("patient_id", patient_id, UserId::parse);
    if doctor_id.is_some() && doctor_id == patient_id {
        faults.add("patient_id", "must not be the doctor");
    }
    let schedule = Schedule {
        start: faults.time("scheduled_start_time", scheduled_start_time),
        end: faults.time("scheduled_end_time", scheduled_end_time),
    };
    if schedule.is_reversed() {
        faults.add(
            "scheduled_end_time",
            "must be later than scheduled_start_time",
        );
    }
    let labels = faults.labels(labels);
    let admission = match v1::Admission::try_from(admission) {
        Ok(v1::Admission::Unspecified) => Some(Requested::default_of(Admission::default())),
        Ok(v1::Admission::Open) => Some(Requested::explicit(Admission::Open)),
        Ok(v1::Admission::WhenHostPresent) => Some(Requested::explicit(Admission::WhenHostPresent)),
        Ok(v1::Admission::Manual) => Some(Requested::explicit(Admission::Manual)),
        Err(_) => {
            faults.add("admission", "must be an Admission");
            None
        }
    };
    let max_participants = match u16::try_from(max_participants) {
        Ok(0) => Some(Requested::default_of(participants_max)),
        Ok(asked) if (2..=participants_max).contains(&asked) => Some(Requested::explicit(asked)),
        _ => {
            let rule = format!("must be 2 to {participants_max} (MAX_PARTICIPANTS), or 0");
            faults.add("max_participants", rule);
            None
        }
    };
    let media = parse_media(&mut faults, media);
    let region = faults.optional("region", region, Region::parse);
    let empty_timeout_secs =
        faults.whole_secs("empty_timeout", empty_timeout, EMPTY_TIMEOUT_SECS_MAX);
    let doctor_name = faults.text("doctor_name", doctor_name);
    let request = (|| {
        Some(SessionRequest {
            appointment_id: appointment_id?,
            doctor_id: doctor_id?,
            patient_id: patient_id?,
            schedule,
            labels,
            admission: admission?,
            max_participants: max_participants?,
            media: media?,
            region,
            end_to_end_encrypted,
            empty_timeout_secs,
            open_to_guests,
            doctor_name,
        })
    })();
    faults.finish(request)
}

fn parse_media(faults: &mut Faults, media: i32) -> Option<Requested<MediaMode>> {
    match v1::Media::try_from(media) {
        Ok(v1::Media::Unspecified) => Some(Requested::default_of(MediaMode::default())),
        Ok(v1::Media::Auto) => Some(Requested::explicit(MediaMode::Auto)),
        Ok(v1::Media::PeerToPeer) => Some(Requested::explicit(MediaMode::PeerToPeer)),
        Ok(v1::Media::Sfu) => Some(Requested::explicit(MediaMode::Sfu)),
        Err(_) => {
            faults.add("media", "must be a Media");
            None
        }
    }
}

pub(super) fn parse_join(request: v1::JoinSessionRequest) -> Result<JoinRequest, Error> {
    let v1::JoinSessionRequest {
        session_id,
        role,
        user_id,
        display_name,
        with_sfu_ticket,
        before_window,
        locale,
    } = request;
    let mut faults = Faults::default();
    let role = faults.role(role, Role::ALL);
    let user_id = faults.required("user_id", user_id, UserId::parse);
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let display_name = faults.text("display_name", display_name);
    if before_window && with_sfu_ticket {
        let fault = "must not be set together with with_sfu_ticket: tickets are issued in the join window only";
        faults.add("before_window", fault);
    }
    let locale = faults.locale(locale);
    let request = (|| {
        Some(JoinRequest {
            session_id: session_id?,
            role: role?,
            user_id: user_id?,
            display_name,
            before_window,
            locale,
            with_node_ticket: with_sfu_ticket,
        })
    })();
    faults.finish(request)
}

pub(super) fn parse_get(request: v1::GetSessionRequest) -> Result<SessionKey, Error> {
    use v1::get_session_request::Key;
    let mut faults = Faults::default();
    let key = match request.key {
        Some(Key::SessionId(id)) => faults
            .required("session_id", id, SessionId::parse)
            .map(SessionKey::Session),
        Some(Key::AppointmentId(id)) => faults
            .required("appointment_id", id, AppointmentId::parse)
            .map(SessionKey::Appointment),
        None => {
            faults.add("session_id", "is required unless appointment_id is set");
            None
        }
    };
    faults.finish(key)
}

pub(super) fn parse_list(request: &v1::ListSessionsRequest) -> Result<SessionQuery, Error> {
    let v1::ListSessionsRequest {
        page_size,
        page_token,
        state,
        appointment_id,
        user_id,
        sfu_node_id,
        created_after,
        created_before,
    } = request.clone();
    let mut faults = Faults::default();
    let limit = faults.page_size(page_size);
    let before = page_token::parse_page_token(request);
    if before.is_none() && !page_token.is_empty() {
        faults.add(
            "page_token",
            "must be a next_page_token issued for the same filters",
        );
    }
    let state = match v1::SessionState::try_from(state) {
        Ok(v1::SessionState::Unspecified) => None,
        Ok(v1::SessionState::Created) => Some(SessionState::Created),
        Ok(v1::SessionState::Active) => Some(SessionState::Active),
        Ok(v1::SessionState::Ended) => Some(SessionState::Ended),
        Err(_) => {
            faults.add("state", "must be a SessionState");
            None
        }
    };
    let filter = SessionFilter {
        state,
        appointment_id: faults.optional("appointment_id", appointment_id, AppointmentId::parse),
        user_id: faults.optional("user_id", user_id, UserId::parse),
        sfu_node_id: faults.optional("sfu_node_id", sfu_node_id, NodeId::parse),
        created_after: faults.time("created_after", created_after),
        created_before: faults.time("created_before", created_before),
    };
    faults.finish(Some(SessionQuery {
        filter,
        before,
        limit,
    }))
}

/// A parsed UpdateSession.
pub(super) struct ParsedUpdate {
    pub(super) session_id: SessionId,
    pub(super) update: SessionUpdate,
    pub(super) expected_version: Option<i64>,
}

pub(super) fn parse_update(request: v1::UpdateSessionRequest) -> Result<ParsedUpdate, Error> {
    let v1::UpdateSessionRequest {
        session_id,
        update_mask,
        scheduled_start_time,
        scheduled_end_time,
        labels,
        doctor_id,
        expected_version,
        doctor_name,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let given = [
        ("scheduled_start_time", scheduled_start_time.is_some()),
        ("scheduled_end_time", scheduled_end_time.is_some()),
        ("labels", !labels.is_empty()),
        ("doctor_id", !doctor_id.is_empty()),
        ("doctor_name", !doctor_name.is_empty()),
    ];
    let masked = masked_fields(&mut faults, update_mask, given);
    let start = faults.time("scheduled_start_time", scheduled_start_time);
    let end = faults.time("scheduled_end_time", scheduled_end_time);
    let labels = faults.labels(labels);
    let takes = |field| masked.contains(&field);
    let doctor_id = if takes("doctor_id") {
        faults.required("doctor_id", doctor_id, UserId::parse)
    } else {
        None
    };
    let doctor_name = faults.text("doctor_name", doctor_name);
    if let Some(expected) = expected_version {
        faults.not_negative("expected_version", expected);
    }
    let update = SessionUpdate {
        scheduled_start_time: takes("scheduled_start_time").then_some(start),
        scheduled_end_time: takes("scheduled_end_time").then_some(end),
        labels: takes("labels").then_some(labels),
        doctor_id,
        doctor_name: takes("doctor_name").then_some(doctor_name),
    };
    faults.finish(session_id.map(|session_id| ParsedUpdate {
        session_id,
        update,
        expected_version,
    }))
}

/// The fields to change: those that the mask names, or without a mask those that are set.
fn masked_fields(
    faults: &mut Faults,
    mask: Option<FieldMask>,
    given: [(&'static str, bool); 5],
) -> Vec<&'static str> {
    let paths = mask.map(|FieldMask { paths }| paths).unwrap_or_default();
    let known = given.map(|(field, _)| field);
    if paths
        .iter()
        .any(|path| path != "*" && !known.contains(&path.as_str()))
    {
        faults.add(
            "update_mask",
            format!("may contain {}, or be *", known.join(", ")),
        );
    }
    let named = |field: &str| paths.iter().any(|path| path == "*" || path == field);
    let fields: Vec<_> = given
        .into_iter()
        .filter(|(field, given)| {
            if paths.is_empty() {
                *given
            } else {
                named(field)
            }
        })
        .map(|(field, _)| field)
        .collect();
    if paths.is_empty() && fields.is_empty() {
        faults.add("update_mask", "must name a field unless a field is set");
    }
    fields
}

pub(super) fn parse_end(request: v1::EndSessionRequest) -> Result<(SessionId, String), Error> {
    let v1::EndSessionRequest { session_id, reason } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let reason = faults.text("reason", reason);
    faults.finish(session_id.map(|session_id| (session_id, reason)))
}

pub(super) fn parse_list_participants(
    request: v1::ListParticipantsRequest,
) -> Result<SessionId, Error> {
    let v1::ListParticipantsRequest { session_id } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    faults.finish(session_id)
}

/// One user of one session.
pub(super) struct ParticipantKey {
    pub(super) session_id: SessionId,
    pub(super) user_id: UserId,
}

/// Parses the fields that identify one participant of one session.
pub(super) fn parse_participant_key(
    session_id: String,
    user_id: String,
) -> Result<ParticipantKey, Error> {
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let user_id = faults.required("user_id", user_id, UserId::parse);
    let key = session_id
        .zip(user_id)
        .map(|(session_id, user_id)| ParticipantKey {
            session_id,
            user_id,
        });
    faults.finish(key)
}

pub(super) fn parse_invite(
    request: v1::InviteParticipantRequest,
) -> Result<(SessionId, Invite, Option<Locale>), Error> {
    let v1::InviteParticipantRequest {
        session_id,
        role,
        user_id,
        display_name,
        expire_time,
        locale,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let invited: Vec<_> = Role::ALL
        .iter()
        .copied()
        .filter(|role| role.is_invited())
        .collect();
    let role = faults.role(role, &invited);
    let user_id = if user_id.is_empty() && !display_name.is_empty() {
        Some(UserId::generate())
    } else {
        if user_id.is_empty() {
            faults.add("user_id", "is required unless display_name is set");
        }
        faults.optional("user_id", user_id, UserId::parse)
    };
    let display_name = faults.text("display_name", display_name);
    let expire_time = faults.time("expire_time", expire_time);
    let locale = faults.locale(locale);
    let request = (|| {
        let invite = Invite::new(user_id?, role?, display_name, expire_time);
        Some((session_id?, invite, locale))
    })();
    faults.finish(request)
}

/// Parses CreateDoctorLink. Without a `ttl`, the link is valid for `ttl_secs_max`.
pub(super) fn parse_doctor_link(
    request: v1::CreateDoctorLinkRequest,
    ttl_secs_max: u64,
) -> Result<DoctorLinkRequest, Error> {
    let v1::CreateDoctorLinkRequest {
        user_id,
        ttl,
        display_name,
    } = request;
    let mut faults = Faults::default();
    let user_id = faults.required("user_id", user_id, UserId::parse);
    let ttl_secs = faults.whole_secs("ttl", ttl, ttl_secs_max);
    if ttl_secs == Some(0) {
        faults.add("ttl", "must not be 0");
    }
    let display_name = faults.text("display_name", display_name);
    faults.finish(user_id.map(|user_id| DoctorLinkRequest {
        user_id,
        display_name,
        ttl_secs: ttl_secs.unwrap_or(ttl_secs_max),
    }))
}

/// A parsed ListSessionEvents.
pub(super) struct EventsQuery {
    pub(super) session_id: SessionId,
    pub(super) after: i64,
    pub(super) limit: usize,
}

pub(super) fn parse_list_events(
    request: v1::ListSessionEventsRequest,
) -> Result<EventsQuery, Error> {
    let v1::ListSessionEventsRequest {
        session_id,
        after_sequence,
        page_size,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let after = faults.not_negative("after_sequence", after_sequence);
    let limit = faults.page_size(page_size);
    faults.finish(session_id.map(|session_id| EventsQuery {
        session_id,
        after,
        limit,
    }))
}

pub(super) fn parse_watch(request: v1::WatchSessionRequest) -> Result<(SessionId, i64), Error> {
    let v1::WatchSessionRequest {
        session_id,
        after_sequence,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let after = faults.not_negative("after_sequence", after_sequence);
    faults.finish(session_id.map(|session_id| (session_id, after)))
}
