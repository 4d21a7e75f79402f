//! Events of several rules.

use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::{LeaveCause, Participant};
use crate::domain::role::Role;

pub(super) fn joined_event(user_id: &UserId, role: Role, resumed: bool) -> EventKind {
    EventKind::ParticipantJoined {
        user_id: user_id.clone(),
        role,
        resumed,
    }
}

pub(super) fn admitted_events(user_id: &UserId, role: Role, by: Option<&UserId>) -> Vec<EventKind> {
    let admitted = EventKind::ParticipantAdmitted {
        user_id: user_id.clone(),
        by: by.cloned(),
    };
    vec![admitted, joined_event(user_id, role, false)]
}

pub(super) fn left_event(participant: &Participant, cause: LeaveCause) -> EventKind {
    EventKind::ParticipantLeft {
        user_id: participant.user_id.clone(),
        role: participant.role,
        cause,
        // Known to who commits the change.
        quality: None,
    }
}
