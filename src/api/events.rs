//! Converts events to messages.

#![warn(clippy::wildcard_enum_match_arm)]

use super::answers::{end_cause, medium, role, timestamp};
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::event::{Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::medium::MoveCause;
use crate::domain::participant::LeaveCause;
use crate::domain::quality::{CallQuality, QualityLevel, QualityReason};
use crate::proto::v1;
use crate::proto::v1::session_event::Detail;

fn optional_user_id(by: Option<UserId>) -> String {
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

fn call_quality(quality: CallQuality) -> v1::CallQuality {
    let CallQuality {
        good_secs,
        troubles,
    } = quality;
    let troubles = troubles.into_iter().map(|trouble| v1::QualityTrouble {
        level: match trouble.level {
            QualityLevel::Weak => v1::QualityLevel::Weak,
            QualityLevel::Bad => v1::QualityLevel::Bad,
        }
        .into(),
        reason: match trouble.reason {
            QualityReason::Loss => v1::QualityReason::Loss,
            QualityReason::Latency => v1::QualityReason::Latency,
            QualityReason::Bandwidth => v1::QualityReason::Bandwidth,
            QualityReason::Frozen => v1::QualityReason::Frozen,
            QualityReason::Disconnected => v1::QualityReason::Disconnected,
        }
        .into(),
        seconds: trouble.secs,
    });
    v1::CallQuality {
        good_seconds: good_secs,
        troubles: troubles.collect(),
    }
}

pub(super) fn event(event: Event) -> v1::SessionEvent {
    let Event {
        sequence,
        session_id,
        time,
        write_id: _,
        actor,
        kind,
    } = event;
    let name = kind.name().to_owned();
    v1::SessionEvent {
        sequence,
        r#type: name,
        time: Some(timestamp(time)),
        session_id: session_id.to_string(),
        actor: actor.map(write_actor),
        detail: detail(kind),
    }
}

fn write_actor(actor: Actor) -> v1::Actor {
    let (kind, user_id, taken, cause) = match actor {
        Actor::Backend => (v1::ActorKind::Backend, None, None, None),
        Actor::Participant { role, user_id } => {
            (v1::ActorKind::Participant, Some(user_id), Some(role), None)
        }
        Actor::System(cause) => (v1::ActorKind::System, None, None, Some(cause)),
    };
    v1::Actor {
        kind: kind.into(),
        user_id: optional_user_id(user_id),
        role: taken.map(role).unwrap_or_default(),
        system_cause: cause.map(system_cause).unwrap_or_default(),
    }
}

fn system_cause(cause: SystemCause) -> i32 {
    match cause {
        SystemCause::TimeOver => v1::SystemCause::TimeOver,
        SystemCause::Empty => v1::SystemCause::Empty,
        SystemCause::ConnectionLost => v1::SystemCause::ConnectionLost,
        SystemCause::InstanceDead => v1::SystemCause::InstanceDead,
        SystemCause::NodeLost => v1::SystemCause::NodeLost,
        SystemCause::NodeDrained => v1::SystemCause::NodeDrained,
    }
    .into()
}

fn move_cause(cause: MoveCause) -> i32 {
    match cause {
        MoveCause::ThirdPublisher => v1::MoveCause::ThirdPublisher,
        MoveCause::NodeLost => v1::MoveCause::NodeLost,
        MoveCause::NodeDrained => v1::MoveCause::NodeDrained,
        MoveCause::Backend => v1::MoveCause::Backend,
    }
    .into()
}

/// The detail of the event's type; `None` for a type that only a newer version knows.
#[expect(clippy::too_many_lines, reason = "a list of kinds")]
fn detail(kind: EventKind) -> Option<Detail> {
    Some(match kind {
        EventKind::Unknown { name: _ } => return None,
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
        EventKind::Ended { cause, reason } => Detail::Ended(v1::SessionEnded {
            reason,
            cause: end_cause(cause),
        }),
        EventKind::Placed {
            from,
            to,
            generation,
            cause,
        } => Detail::Placed(v1::SessionPlaced {
            from_sfu_node_id: from.to_string(),
            to_sfu_node_id: to.to_string(),
            generation,
            cause: move_cause(cause),
        }),
        EventKind::Moved {
            from,
            to,
            generation,
            cause,
        } => Detail::Moved(v1::SessionMoved {
            from_sfu_node_id: from.to_string(),
            to_sfu_node_id: to.to_string(),
            generation,
            cause: move_cause(cause),
        }),
        EventKind::MediumChanged {
            medium: chosen,
            cause,
        } => Detail::MediumChanged(v1::SessionMediumChanged {
            medium: medium(chosen),
            cause: move_cause(cause),
        }),
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
                by: optional_user_id(by),
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
            quality,
        } => Detail::ParticipantLeft(v1::ParticipantLeft {
            user_id: user_id.to_string(),
            role: role(taken),
            cause: leave_cause(cause),
            quality: quality.map(call_quality),
        }),
        EventKind::ParticipantRemoved {
            user_id,
            by,
            keep_out,
        } => Detail::ParticipantRemoved(v1::ParticipantRemoved {
            user_id: user_id.to_string(),
            by: optional_user_id(by),
            keep_out,
        }),
        EventKind::ParticipantMuted { user_id, by } => {
            Detail::ParticipantMuted(v1::ParticipantMuted {
                user_id: user_id.to_string(),
                by: optional_user_id(by),
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SessionId;
    use crate::domain::time::Timestamp;

    fn written(actor: Actor, kind: EventKind) -> v1::SessionEvent {
        let session_id = SessionId::from_stored("sess_1".into());
        event(Event::new(1, session_id, Timestamp::MIN, actor, kind))
    }

    #[test]
    fn every_kind_has_its_detail() {
        for kind in EventKind::examples() {
            let name = kind.name().to_owned();
            let written = written(Actor::Backend, kind);
            assert!(written.detail.is_some(), "{name} has no detail");
            assert_eq!(written.r#type, name);
        }
    }

    #[test]
    fn all_actors_are_distinct() {
        let kind = EventKind::Updated { fields: Vec::new() };
        let actors = Actor::examples().into_iter();
        let written: Vec<_> = actors
            .map(|actor| written(actor, kind.clone()).actor)
            .collect();
        for (n, actor) in written.iter().enumerate() {
            assert!(actor.as_ref().is_some_and(|actor| actor.kind != 0));
            assert!(!written[..n].contains(actor), "{actor:?} twice");
        }
    }

    #[test]
    fn a_kind_that_only_a_newer_version_knows_has_its_name_and_no_detail() {
        let name = "recording.started".to_owned();
        let written = written(Actor::Backend, EventKind::Unknown { name: name.clone() });
        assert_eq!((written.r#type, written.detail), (name, None));
    }
}
