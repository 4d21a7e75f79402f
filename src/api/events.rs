//! Events, written.

use super::answers::{end_cause, role, timestamp};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::participant::LeaveCause;
use crate::proto::v1;
use crate::proto::v1::session_event::Detail;

fn by_whom(by: Option<UserId>) -> String {
    by.map(|by| by.to_string()).unwrap_or_default()
}

fn leave_cause(cause: LeaveCause) -> i32 {
    match cause {
        LeaveCause::Left => v1::LeaveCause::Left,
        LeaveCause::Lost => v1::LeaveCause::Lost,
        LeaveCause::Removed => v1::LeaveCause::Removed,
        LeaveCause::SessionEnded => v1::LeaveCause::SessionEnded,
        LeaveCause::Replaced => v1::LeaveCause::Replaced,
    }
    .into()
}

pub(super) fn event(event: Event) -> v1::SessionEvent {
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
        } => Some(Detail::Created(v1::SessionCreated {
            appointment_id: appointment_id.to_string(),
            sfu_node_id: sfu_node_id.to_string(),
        })),
        EventKind::Updated { fields } => Some(Detail::Updated(v1::SessionUpdated { fields })),
        EventKind::Joined {
            user_id,
            role: joined_as,
            jti,
            expire_time,
        } => Some(Detail::Joined(v1::SessionJoined {
            user_id: user_id.to_string(),
            role: role(joined_as),
            jti,
            expire_time: Some(timestamp(expire_time)),
        })),
        EventKind::Ended { cause, reason } => Some(Detail::Ended(v1::SessionEnded {
            reason,
            cause: end_cause(cause),
        })),
        kind => participant_detail(kind),
    };
    v1::SessionEvent {
        sequence,
        r#type: name.to_owned(),
        time: Some(timestamp(time)),
        session_id: session_id.to_string(),
        detail,
    }
}

/// What the event of a participant needs.
fn participant_detail(kind: EventKind) -> Option<Detail> {
    Some(match kind {
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
        EventKind::ParticipantNamed {
            user_id,
            role: taken,
        } => Detail::ParticipantNamed(v1::ParticipantNamed {
            user_id: user_id.to_string(),
            role: role(taken),
        }),
        EventKind::Created { .. }
        | EventKind::Updated { .. }
        | EventKind::Joined { .. }
        | EventKind::Ended { .. } => return None,
    })
}
