//! Builds the messages that describe participants.

use super::message::{ParticipantView, ServerMessage, WaitingReason};
use super::room::MediaStates;
use crate::domain::participant::Participant;
use crate::domain::role::Action;
use crate::domain::session::{JoinWindow, Session};

/// The end of a session's join window, if it has one.
pub(super) fn closes_at(window: &JoinWindow, session: &Session) -> Option<String> {
    window
        .closes_at(&session.schedule)
        .map(|closes| closes.to_string())
}

/// Announces a waiting participant, to their own page or the host's.
pub(super) fn waiting_message(session: &Session, participant: &Participant) -> ServerMessage {
    ServerMessage::Waiting {
        user_id: participant.user_id.to_string(),
        name: participant.display_name.clone(),
        role: participant.role.name(),
        reason: if session.host_is_present() {
            WaitingReason::NeedsAdmission
        } else {
            WaitingReason::HostAbsent
        },
    }
}

/// Lists the other participants in the call.
pub(super) fn existing_participants_message<'a>(
    session: &Session,
    others: impl IntoIterator<Item = &'a Participant>,
    media: &MediaStates,
) -> ServerMessage {
    let others = others.into_iter();
    ServerMessage::ExistingParticipants {
        room_id: session.session_id.to_string(),
        participants: others
            .map(|other| describe_participant(other, media))
            .collect(),
    }
}

/// Announces a participant who joined the call.
pub(super) fn user_joined_message(
    session: &Session,
    participant: &Participant,
    media: &MediaStates,
) -> ServerMessage {
    ServerMessage::UserJoined {
        room_id: session.session_id.to_string(),
        participant: describe_participant(participant, media),
    }
}

fn describe_participant(participant: &Participant, media: &MediaStates) -> ParticipantView {
    let media = media.of(&participant.user_id);
    ParticipantView {
        user_id: participant.user_id.to_string(),
        name: participant.display_name.clone(),
        role: participant.role.name(),
        muted: media.muted,
        camera_off: media.camera_off,
        hand: media.hand,
        publishes: participant.role.may(Action::Publish),
    }
}
