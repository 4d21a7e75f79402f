//! Requests parsed once, with all their faults found at once; answers written. Messages are taken apart without `..`, so
//! that a new field does not compile until somebody decides what becomes of it.

use std::collections::HashMap;

use prost_types::FieldMask;

use super::page_token;
use crate::app::{JoinGrant, JoinRequest, SessionKey};
use crate::domain::access::Role;
use crate::domain::error::{Error, Violation};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{AppointmentId, ID_RULE, InvalidId, NodeId, SessionId, UserId};
use crate::domain::label::{Labels, labels_fault, text_fault};
use crate::domain::page::{SessionFilter, SessionQuery, page_size};
use crate::domain::participant::{Admission, Invite, LeaveCause, Participant, ParticipantStatus};
use crate::domain::session::{Schedule, Session, SessionRequest, SessionState, SessionUpdate};
use crate::domain::time::Timestamp;
use crate::proto::v1;

/// Collects what is wrong with a request, in the order in which its fields are read.
#[derive(Default)]
struct Faults(Vec<Violation>);

impl Faults {
    fn add(&mut self, field: &'static str, description: impl Into<String>) {
        self.0.push(Violation {
            field,
            description: description.into(),
        });
    }

    /// A field that must be given.
    fn required<T>(
        &mut self,
        field: &'static str,
        text: String,
        parse: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if text.is_empty() {
            self.add(field, "is required");
            return None;
        }
        self.optional(field, text, parse)
    }

    /// A field that may be left empty.
    fn optional<T>(
        &mut self,
        field: &'static str,
        text: String,
        parse: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if text.is_empty() {
            return None;
        }
        let parsed = parse(text).ok();
        if parsed.is_none() {
            self.add(field, ID_RULE);
        }
        parsed
    }

    fn time(
        &mut self,
        field: &'static str,
        time: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        let prost_types::Timestamp { seconds, nanos } = time?;
        let parsed = Timestamp::from_unix(seconds, nanos);
        if parsed.is_none() {
            self.add(field, "must be a valid time from year 1 to year 9999");
        }
        parsed
    }

    fn text(&mut self, field: &'static str, text: String) -> String {
        if let Some(fault) = text_fault(&text) {
            self.add(field, fault);
        }
        text
    }

    fn labels(&mut self, labels: HashMap<String, String>) -> Labels {
        let labels = labels.into_iter().collect();
        if let Some(fault) = labels_fault(&labels) {
            self.add("labels", fault);
        }
        labels
    }

    fn role(&mut self, role: i32, allowed: &[Role]) -> Option<Role> {
        let parsed = match v1::Role::try_from(role) {
            Ok(v1::Role::Unspecified) => {
                self.add("role", "is required");
                return None;
            }
            Ok(v1::Role::Doctor) => Some(Role::Doctor),
            Ok(v1::Role::Patient) => Some(Role::Patient),
            Ok(v1::Role::Guest) => Some(Role::Guest),
            Ok(v1::Role::Interpreter) => Some(Role::Interpreter),
            Ok(v1::Role::Observer) => Some(Role::Observer),
            Err(_) => None,
        };
        let allowed_role = parsed.filter(|role| allowed.contains(role));
        if allowed_role.is_none() {
            let names: Vec<_> = allowed
                .iter()
                .map(|role| format!("ROLE_{}", role.name().to_uppercase()))
                .collect();
            self.add("role", format!("must be one of {}", names.join(", ")));
        }
        allowed_role
    }

    fn not_negative(&mut self, field: &'static str, number: i64) -> i64 {
        if number < 0 {
            self.add(field, "must not be negative");
        }
        number
    }

    fn page_size(&mut self, asked: i32) -> usize {
        self.not_negative("page_size", asked.into());
        page_size(u32::try_from(asked).unwrap_or(0))
    }

    /// The request, if nothing is wrong with it. What is missing from `request` must have been reported.
    fn finish<T>(self, request: Option<T>) -> Result<T, Error> {
        match request {
            Some(request) if self.0.is_empty() => Ok(request),
            _ => Err(Error::Validation(self.0)),
        }
    }
}

pub(super) fn create(
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
        Ok(v1::Admission::Unspecified) => Some(Admission::default()),
        Ok(v1::Admission::Open) => Some(Admission::Open),
        Ok(v1::Admission::WhenHostPresent) => Some(Admission::WhenHostPresent),
        Ok(v1::Admission::Manual) => Some(Admission::Manual),
        Err(_) => {
            faults.add("admission", "must be an Admission");
            None
        }
    };
    let max_participants = match u16::try_from(max_participants) {
        Ok(0) => Some(participants_max),
        Ok(asked) if (2..=participants_max).contains(&asked) => Some(asked),
        _ => {
            let rule = format!("must be 2 to {participants_max} (MAX_PARTICIPANTS), or 0");
            faults.add("max_participants", rule);
            None
        }
    };
    let request = (|| {
        Some(SessionRequest {
            appointment_id: appointment_id?,
            doctor_id: doctor_id?,
            patient_id: patient_id?,
            schedule,
            labels,
            admission: admission?,
            max_participants: max_participants?,
        })
    })();
    faults.finish(request)
}

pub(super) fn join(request: v1::JoinSessionRequest) -> Result<JoinRequest, Error> {
    let v1::JoinSessionRequest {
        session_id,
        role,
        user_id,
        display_name,
    } = request;
    let mut faults = Faults::default();
    let role = faults.role(role, &Role::ALL);
    let user_id = faults.required("user_id", user_id, UserId::parse);
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let display_name = faults.text("display_name", display_name);
    let request = (|| {
        Some(JoinRequest {
            session_id: session_id?,
            role: role?,
            user_id: user_id?,
            display_name,
        })
    })();
    faults.finish(request)
}

pub(super) fn get(request: v1::GetSessionRequest) -> Result<SessionKey, Error> {
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
            faults.add("session_id", "is required, unless appointment_id is given");
            None
        }
    };
    faults.finish(key)
}

pub(super) fn list(request: &v1::ListSessionsRequest) -> Result<SessionQuery, Error> {
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
    let before = page_token::read(request);
    if before.is_none() && !page_token.is_empty() {
        faults.add(
            "page_token",
            "must be the next_page_token of an answer to the same filters",
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
pub(super) struct Update {
    pub(super) session_id: SessionId,
    pub(super) update: SessionUpdate,
    pub(super) expected_version: Option<i64>,
}

pub(super) fn update(request: v1::UpdateSessionRequest) -> Result<Update, Error> {
    let v1::UpdateSessionRequest {
        session_id,
        update_mask,
        scheduled_start_time,
        scheduled_end_time,
        labels,
        doctor_id,
        expected_version,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let given = [
        ("scheduled_start_time", scheduled_start_time.is_some()),
        ("scheduled_end_time", scheduled_end_time.is_some()),
        ("labels", !labels.is_empty()),
        ("doctor_id", !doctor_id.is_empty()),
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
    if let Some(expected) = expected_version {
        faults.not_negative("expected_version", expected);
    }
    let update = SessionUpdate {
        scheduled_start_time: takes("scheduled_start_time").then_some(start),
        scheduled_end_time: takes("scheduled_end_time").then_some(end),
        labels: takes("labels").then_some(labels),
        doctor_id,
    };
    faults.finish(session_id.map(|session_id| Update {
        session_id,
        update,
        expected_version,
    }))
}

/// The fields to change: those that the mask names, or without a mask those that are given.
fn masked_fields(
    faults: &mut Faults,
    mask: Option<FieldMask>,
    given: [(&'static str, bool); 4],
) -> Vec<&'static str> {
    let paths = mask.map(|FieldMask { paths }| paths).unwrap_or_default();
    let known = given.map(|(field, _)| field);
    if paths
        .iter()
        .any(|path| path != "*" && !known.contains(&path.as_str()))
    {
        faults.add(
            "update_mask",
            format!("may name {} or be *", known.join(", ")),
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
        faults.add("update_mask", "must name a field, or a field must be given");
    }
    fields
}

pub(super) fn end(request: v1::EndSessionRequest) -> Result<(SessionId, String), Error> {
    let v1::EndSessionRequest { session_id, reason } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let reason = faults.text("reason", reason);
    faults.finish(session_id.map(|session_id| (session_id, reason)))
}

/// A session and somebody in it.
pub(super) struct Member {
    pub(super) session_id: SessionId,
    pub(super) user_id: UserId,
}

pub(super) fn list_participants(request: v1::ListParticipantsRequest) -> Result<SessionId, Error> {
    let v1::ListParticipantsRequest { session_id } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    faults.finish(session_id)
}

/// The request of every method that is about one participant of one session.
pub(super) fn member(session_id: String, user_id: String) -> Result<Member, Error> {
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let user_id = faults.required("user_id", user_id, UserId::parse);
    let member = session_id.zip(user_id).map(|(session_id, user_id)| Member {
        session_id,
        user_id,
    });
    faults.finish(member)
}

pub(super) fn invite_request(
    request: v1::InviteParticipantRequest,
) -> Result<(SessionId, Invite), Error> {
    let v1::InviteParticipantRequest {
        session_id,
        role,
        user_id,
        display_name,
        expire_time,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let invited: Vec<_> = Role::ALL
        .into_iter()
        .filter(|role| role.is_invited())
        .collect();
    let role = faults.role(role, &invited);
    let user_id = if user_id.is_empty() && !display_name.is_empty() {
        Some(UserId::generate())
    } else {
        if user_id.is_empty() {
            faults.add("user_id", "is required, unless display_name is given");
        }
        faults.optional("user_id", user_id, UserId::parse)
    };
    let display_name = faults.text("display_name", display_name);
    let expire_time = faults.time("expire_time", expire_time);
    let request = (|| {
        let invite = Invite {
            user_id: user_id?,
            role: role?,
            display_name,
            expire_time,
        };
        Some((session_id?, invite))
    })();
    faults.finish(request)
}

/// A parsed ListSessionEvents.
pub(super) struct EventsQuery {
    pub(super) session_id: SessionId,
    pub(super) after: i64,
    pub(super) limit: usize,
}

pub(super) fn list_events(request: v1::ListSessionEventsRequest) -> Result<EventsQuery, Error> {
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

pub(super) fn watch(request: v1::WatchSessionRequest) -> Result<(SessionId, i64), Error> {
    let v1::WatchSessionRequest {
        session_id,
        after_sequence,
    } = request;
    let mut faults = Faults::default();
    let session_id = faults.required("session_id", session_id, SessionId::parse);
    let after = faults.not_negative("after_sequence", after_sequence);
    faults.finish(session_id.map(|session_id| (session_id, after)))
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_secs(),
        nanos: time.subsec_nanos(),
    }
}

fn role(role: Role) -> i32 {
    match role {
        Role::Doctor => v1::Role::Doctor,
        Role::Patient => v1::Role::Patient,
        Role::Guest => v1::Role::Guest,
        Role::Interpreter => v1::Role::Interpreter,
        Role::Observer => v1::Role::Observer,
    }
    .into()
}

pub(super) fn participant(participant: Participant) -> v1::Participant {
    let Participant {
        user_id,
        role: taken,
        display_name,
        status,
        connect_time,
        instance_id: _,
    } = participant;
    let status = match status {
        ParticipantStatus::Waiting => v1::ParticipantStatus::Waiting,
        ParticipantStatus::Admitted => v1::ParticipantStatus::Admitted,
    };
    v1::Participant {
        user_id: user_id.to_string(),
        role: role(taken),
        display_name,
        status: status.into(),
        connect_time: Some(timestamp(connect_time)),
    }
}

pub(super) fn invite(invite: Invite) -> v1::Invite {
    let Invite {
        user_id,
        role: given,
        display_name,
        expire_time,
    } = invite;
    v1::Invite {
        user_id: user_id.to_string(),
        role: role(given),
        display_name,
        expire_time: expire_time.map(timestamp),
    }
}

/// Where the session's join page is.
fn base_url(client_base_url: &str, session_id: &SessionId) -> String {
    format!("{client_base_url}/join/{session_id}")
}

pub(super) fn session(session: Session, client_base_url: &str) -> v1::Session {
    let room_name = session.room_name();
    let Session {
        session_id,
        appointment_id,
        incarnation: _,
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
        admission,
        max_participants,
        participants,
        let_in: _,
        invites: _,
        removals: _,
        empty_since: _,
    } = session;
    let admission = match admission {
        Admission::Open => v1::Admission::Open,
        Admission::WhenHostPresent => v1::Admission::WhenHostPresent,
        Admission::Manual => v1::Admission::Manual,
    };
    let state = match state {
        SessionState::Created => v1::SessionState::Created,
        SessionState::Active => v1::SessionState::Active,
        SessionState::Ended => v1::SessionState::Ended,
    };
    v1::Session {
        base_url: base_url(client_base_url, &session_id),
        session_id: session_id.to_string(),
        appointment_id: appointment_id.to_string(),
        doctor_id: doctor_id.to_string(),
        patient_id: patient_id.to_string(),
        room_name,
        sfu_node_id: sfu_node_id.to_string(),
        state: state.into(),
        create_time: Some(timestamp(create_time)),
        update_time: Some(timestamp(update_time)),
        end_time: end_time.map(timestamp),
        scheduled_start_time: schedule.start.map(timestamp),
        scheduled_end_time: schedule.end.map(timestamp),
        end_reason,
        labels: labels.into_iter().collect(),
        version,
        admission: admission.into(),
        max_participants: max_participants.into(),
        participants: participants.into_iter().map(participant).collect(),
    }
}

pub(super) fn grant(
    grant: JoinGrant,
    granted_role: Role,
    sfu_url: &str,
    client_base_url: &str,
) -> v1::JoinSessionResponse {
    let JoinGrant {
        session,
        token,
        expires_in,
    } = grant;
    let base_url = base_url(client_base_url, &session.session_id);
    v1::JoinSessionResponse {
        join_url: format!("{base_url}?token={}", token.jwt),
        token: token.jwt,
        expires_in: Some(prost_types::Duration {
            seconds: i64::try_from(expires_in.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(expires_in.subsec_nanos()).unwrap_or(0),
        }),
        expire_time: Some(timestamp(token.expire_time)),
        role: role(granted_role),
        permissions: granted_role
            .permissions()
            .iter()
            .map(ToString::to_string)
            .collect(),
        sfu: Some(v1::SfuNode {
            node_id: session.sfu_node_id.to_string(),
            url: sfu_url.to_owned(),
        }),
    }
}

fn by_whom(by: Option<UserId>) -> String {
    by.map(|by| by.to_string()).unwrap_or_default()
}

fn leave_cause(cause: LeaveCause) -> i32 {
    match cause {
        LeaveCause::Left => v1::LeaveCause::Left,
        LeaveCause::Lost => v1::LeaveCause::Lost,
        LeaveCause::Removed => v1::LeaveCause::Removed,
        LeaveCause::SessionEnded => v1::LeaveCause::SessionEnded,
    }
    .into()
}

pub(super) fn event(event: Event) -> v1::SessionEvent {
    use v1::session_event::Detail;
    let Event {
        sequence,
        session_id,
        time,
        write_id: _,
        kind,
    } = event;
    let name = kind.name();
    let detail = match kind {
        EventKind::Created {
            appointment_id,
            sfu_node_id,
        } => Detail::Created(v1::SessionCreated {
            appointment_id: appointment_id.to_string(),
            sfu_node_id: sfu_node_id.to_string(),
        }),
        EventKind::Updated { fields } => Detail::Updated(v1::SessionUpdated { fields }),
        EventKind::Joined {
            user_id,
            role: joined_as,
            jti,
            expire_time,
        } => Detail::Joined(v1::SessionJoined {
            user_id: user_id.to_string(),
            role: role(joined_as),
            jti,
            expire_time: Some(timestamp(expire_time)),
        }),
        EventKind::Ended { reason } => Detail::Ended(v1::SessionEnded { reason }),
        EventKind::ParticipantWaiting {
            user_id,
            role: taken,
        } => Detail::ParticipantWaiting(v1::ParticipantWaiting {
            user_id: user_id.to_string(),
            role: role(taken),
        }),
        EventKind::ParticipantAdmitted { user_id, by } => {
            Detail::ParticipantAdmitted(v1::ParticipantAdmitted {
                user_id: user_id.to_string(),
                by: by_whom(by),
            })
        }
        EventKind::ParticipantJoined {
            user_id,
            role: taken,
            resumed,
        } => Detail::ParticipantJoined(v1::ParticipantJoined {
            user_id: user_id.to_string(),
            role: role(taken),
            resumed,
        }),
        EventKind::ParticipantLeft {
            user_id,
            role: taken,
            cause,
        } => Detail::ParticipantLeft(v1::ParticipantLeft {
            user_id: user_id.to_string(),
            role: role(taken),
            cause: leave_cause(cause),
        }),
        EventKind::ParticipantRemoved {
            user_id,
            by,
            keep_out,
        } => Detail::ParticipantRemoved(v1::ParticipantRemoved {
            user_id: user_id.to_string(),
            by: by_whom(by),
            keep_out,
        }),
        EventKind::ParticipantMuted { user_id, by } => {
            Detail::ParticipantMuted(v1::ParticipantMuted {
                user_id: user_id.to_string(),
                by: by_whom(by),
            })
        }
        EventKind::ParticipantInvited {
            user_id,
            role: given,
        } => Detail::ParticipantInvited(v1::ParticipantInvited {
            user_id: user_id.to_string(),
            role: role(given),
        }),
    };
    v1::SessionEvent {
        sequence,
        r#type: name.to_owned(),
        time: Some(timestamp(time)),
        session_id: session_id.to_string(),
        detail: Some(detail),
    }
}
