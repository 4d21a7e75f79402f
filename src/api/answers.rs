//! Converts sessions, participants and join tokens to messages.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::links::Links;
use crate::app::{IssuedDoctorLink, IssuedJoin};
use crate::domain::medium::{MediaMode, Medium};
use crate::domain::participant::{Admission, Invite, Participant, ParticipantStatus};
use crate::domain::place::Driver;
use crate::domain::role::Role;
use crate::domain::session::{EndCause, Session, SessionState};
use crate::domain::time::Timestamp;
use crate::proto::v1;

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_secs(),
        nanos: time.subsec_nanos(),
    }
}

fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

pub(super) fn role(role: Role) -> i32 {
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
        since: _,
    } = invite;
    v1::Invite {
        user_id: user_id.to_string(),
        role: role(given),
        display_name,
        expire_time: expire_time.map(timestamp),
    }
}

pub(super) fn end_cause(cause: EndCause) -> i32 {
    match cause {
        EndCause::Backend => v1::EndCause::Backend,
        EndCause::Host => v1::EndCause::Host,
        EndCause::TimeOver => v1::EndCause::TimeOver,
        EndCause::Empty => v1::EndCause::Empty,
    }
    .into()
}

fn media_mode(media: MediaMode) -> i32 {
    match media {
        MediaMode::Auto => v1::Media::Auto,
        MediaMode::PeerToPeer => v1::Media::PeerToPeer,
        MediaMode::Sfu => v1::Media::Sfu,
    }
    .into()
}

pub(super) fn medium(medium: Medium) -> i32 {
    match medium {
        Medium::PeerToPeer => v1::Medium::PeerToPeer,
        Medium::Sfu => v1::Medium::Sfu,
    }
    .into()
}

pub(super) fn driver(driver: Driver) -> i32 {
    match driver {
        Driver::Builtin => v1::SfuDriver::Builtin,
        Driver::LiveKit => v1::SfuDriver::Livekit,
        Driver::OpenVidu => v1::SfuDriver::Openvidu,
    }
    .into()
}

fn session_state(state: SessionState) -> i32 {
    match state {
        SessionState::Created => v1::SessionState::Created,
        SessionState::Active => v1::SessionState::Active,
        SessionState::Ended => v1::SessionState::Ended,
    }
    .into()
}

pub(super) fn session(session: Session, links: &Links) -> v1::Session {
    let Session {
        session_id,
        appointment_id,
        incarnation: _,
        doctor_id,
        doctor_since: _,
        patient_id,
        place,
        former_room: _,
        state,
        create_time,
        update_time,
        end_time,
        schedule,
        end_cause: cause,
        end_reason,
        labels,
        version,
        admission,
        max_participants,
        media,
        medium: medium_in_use,
        fell_back: _,
        region,
        end_to_end_encrypted,
        empty_timeout_secs,
        open_to_guests,
        doctor_name,
        placement: _,
        participants,
        admitted_users: _,
        invites: _,
        removals: _,
        given_names: _,
        short_links: _,
        empty_since: _,
        empty_deadline: _,
        unknown_fields: _,
    } = session;
    let admission = match admission {
        Admission::Open => v1::Admission::Open,
        Admission::WhenHostPresent => v1::Admission::WhenHostPresent,
        Admission::Manual => v1::Admission::Manual,
    };
    v1::Session {
        base_url: links.page(&session_id),
        session_id: session_id.to_string(),
        appointment_id: appointment_id.to_string(),
        doctor_id: doctor_id.to_string(),
        patient_id: patient_id.to_string(),
        room_name: place.room_name,
        sfu_node_id: place.node_id.to_string(),
        state: session_state(state),
        create_time: Some(timestamp(create_time)),
        update_time: Some(timestamp(update_time)),
        end_time: end_time.map(timestamp),
        end_cause: cause.map(end_cause).unwrap_or_default(),
        scheduled_start_time: schedule.start.map(timestamp),
        scheduled_end_time: schedule.end.map(timestamp),
        end_reason,
        labels: labels.into_iter().collect(),
        version,
        admission: admission.into(),
        max_participants: max_participants.into(),
        media: media_mode(media),
        medium: medium(medium_in_use),
        region: region.map(|region| region.to_string()).unwrap_or_default(),
        end_to_end_encrypted,
        empty_timeout: empty_timeout_secs.map(|secs| prost_types::Duration {
            seconds: i64::try_from(secs).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        open_to_guests,
        doctor_name,
        participants: participants.into_iter().map(participant).collect(),
    }
}

pub(super) fn join_response(
    issued: IssuedJoin,
    granted_role: Role,
    node_url: String,
    links: &Links,
) -> v1::JoinSessionResponse {
    let IssuedJoin {
        session,
        token,
        short_code,
        expires_in,
        node_ticket,
    } = issued;
    let ticket_expire_time = node_ticket.as_ref().and_then(|ticket| ticket.expire_time);
    v1::JoinSessionResponse {
        join_url: links.join(&session.session_id, &token.jwt),
        short_url: links.short(&short_code),
        token: token.jwt,
        expires_in: Some(duration(expires_in)),
        expire_time: Some(timestamp(token.expire_time)),
        role: role(granted_role),
        permissions: granted_role
            .permissions()
            .iter()
            .map(ToString::to_string)
            .collect(),
        sfu: Some(v1::SfuNode {
            node_id: session.place.node_id.to_string(),
            url: node_url,
            driver: driver(session.place.driver),
            ticket: node_ticket.map_or(String::new(), |ticket| {
                ticket.token.expose_secret().to_owned()
            }),
            ticket_expire_time: ticket_expire_time.map(timestamp),
        }),
    }
}

pub(super) fn doctor_link(issued: IssuedDoctorLink, links: &Links) -> v1::CreateDoctorLinkResponse {
    let IssuedDoctorLink {
        token,
        expires_in,
        expire_time,
    } = issued;
    v1::CreateDoctorLinkResponse {
        doctor_url: links.doctor(&token),
        expires_in: Some(duration(expires_in)),
        expire_time: Some(timestamp(expire_time)),
    }
}
