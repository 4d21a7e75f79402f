//! Events that several rules tell of.

use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::participant::{LeaveCause, Participant};
use crate::domain::role::Role;

pub(super) fn joined(user_id: &UserId, role: Role, resumed: bool) -> EventKind {
    EventKind::ParticipantJoined {
        user_id: user_id.clone(),
        role,
        resumed,
    }
}

pub(super) fn admitted(user_id: &UserId, role: Role, by: Option<&UserId>) -> Vec<EventKind> {
    let admitted = EventKind::ParticipantAdmitted {
        user_id: user_id.clone(),
        by: by.cloned(),
    };
    vec![admitted, joined(user_id, role, false)]
}

/// That a participant is gone.
pub(super) fn left(participant: &Participant, cause: LeaveCause) -> EventKind {
    EventKind::ParticipantLeft {
        user_id: participant.user_id.clone(),
        role: participant.role,
        cause,
    }
}
