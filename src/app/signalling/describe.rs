//! What is said of the people of a session.

use super::message::{Described, ServerMessage, WaitingReason};
use crate::domain::access::Action;
use crate::domain::participant::Participant;
use crate::domain::session::{JoinWindow, Session};
use crate::hub::connections::Room;

/// When a session closes by itself, if it does.
pub(super) fn closes_at(window: &JoinWindow, session: &Session) -> Option<String> {
    window
        .closes(&session.schedule)
        .map(|closes| closes.to_string())
}

/// What is said of one who waits.
pub(super) fn waiting<'a>(session: &Session, who: &'a Participant) -> ServerMessage<'a> {
    ServerMessage::Waiting {
        user_id: who.user_id.as_str(),
        name: &who.display_name,
        role: who.role.name(),
        reason: if session.host_is_present() {
            WaitingReason::NeedsAdmission
        } else {
            WaitingReason::HostAbsent
        },
    }
}

/// Who else is in the call.
pub(super) fn existing<'a>(
    session: &'a Session,
    others: impl IntoIterator<Item = &'a Participant>,
    room: &Room,
) -> ServerMessage<'a> {
    let others = others.into_iter();
    ServerMessage::ExistingParticipants {
        room_id: session.session_id.as_str(),
        participants: others.map(|other| described(other, room)).collect(),
    }
}

pub(super) fn described<'a>(who: &'a Participant, room: &Room) -> Described<'a> {
    let said = room.said(&who.user_id);
    Described {
        user_id: who.user_id.as_str(),
        name: &who.display_name,
        role: who.role.name(),
        muted: said.muted,
        camera_off: said.camera_off,
        publishes: who.role.may(Action::Publish),
    }
}
