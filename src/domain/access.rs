//! All rules on who may do what.

#![warn(clippy::wildcard_enum_match_arm)]

use super::actor::{Actor, SystemCause};
use super::error::Error;
use super::event::{Event, EventKind};
use super::id::UserId;
use super::medium::Medium;
use super::participant::ParticipantStatus;
use super::role::{Action, Role};
use super::session::{Session, SessionState};
use super::time::Timestamp;

/// Allows a user to take a role in a session if the session stores the user for that role, or has an invitation for it that has
/// not expired, or is open to guests and that is the role, and if the user was not removed for good.
///
/// # Errors
/// [`Error::NotAParticipant`]; [`Error::ParticipantRemoved`]
pub fn permit_join(
    session: &Session,
    role: Role,
    user_id: &UserId,
    now: Timestamp,
) -> Result<(), Error> {
    let expected = match role {
        Role::Doctor => *user_id == session.doctor_id,
        Role::Patient => *user_id == session.patient_id,
        Role::Guest if session.takes_guests() => true,
        Role::Guest | Role::Interpreter | Role::Observer => session
            .invites
            .iter()
            .any(|invite| invite.user_id == *user_id && invite.role == role && invite.is_open(now)),
    };
    if !expected {
        return Err(Error::NotAParticipant { role });
    }
    let is_of_user = |removal: &&super::participant::Removal| removal.user_id == *user_id;
    match session.removals.iter().find(is_of_user) {
        Some(removal) if removal.keep_out => Err(Error::ParticipantRemoved),
        Some(_) | None => Ok(()),
    }
}

/// A credential is valid until its bearer is removed or loses the role, or the session ends. A credential that was issued before
/// its bearer got the role is invalid: a doctor may have been replaced and set back.
///
/// `issued_at` is the sequence of the event that records the issue, so the order does not depend on clocks.
///
/// # Errors
/// [`Error::SessionEnded`]; [`Error::ParticipantRemoved`]; [`Error::NotAParticipant`]
pub fn permit_entry(
    session: &Session,
    role: Role,
    user_id: &UserId,
    issued_at: i64,
    now: Timestamp,
) -> Result<(), Error> {
    session.require_live()?;
    let revoked = session
        .removals
        .iter()
        .any(|removal| removal.user_id == *user_id && issued_at <= removal.sequence);
    if revoked || issued_at <= role_granted_at(session, role, user_id) {
        return Err(Error::ParticipantRemoved);
    }
    // A connected participant stays after their invitation expires, and may reconnect.
    let is_present = session
        .participant(user_id)
        .is_some_and(|participant| participant.role == role);
    if role.is_invited() && is_present {
        return Ok(());
    }
    permit_join(session, role, user_id, now)
}

/// The sequence of the event that gave a user a role; 0 if the session does not store the user for it, or always did.
fn role_granted_at(session: &Session, role: Role, user_id: &UserId) -> i64 {
    match role {
        Role::Doctor if *user_id == session.doctor_id => session.doctor_since,
        Role::Doctor | Role::Patient => 0,
        Role::Guest | Role::Interpreter | Role::Observer => session
            .invites
            .iter()
            .find(|invite| invite.user_id == *user_id && invite.role == role)
            .map_or(0, |invite| invite.since),
    }
}

/// Whether an event records the issue of a credential. After a store is restored from a backup, sequences are assigned again: a
/// credential issued after the backup names an event that is missing, or a different one.
pub fn records_issue_of(event: &Event, role: Role, user_id: &UserId, jti: &str) -> bool {
    let EventKind::Joined {
        user_id: issued_to,
        role: issued_role,
        jti: issued_jti,
        expire_time: _,
    } = &event.kind
    else {
        return false;
    };
    issued_to == user_id && *issued_role == role && issued_jti == jti
}

/// Allows what only the backend may do.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_service(actor: &Actor) -> Result<(), Error> {
    match actor {
        Actor::Backend => Ok(()),
        Actor::Participant { .. } | Actor::System(_) => Err(Error::NotAllowed),
    }
}

/// Allows an actor to get a join token for a user: the backend for everybody, and a doctor, from the page of their day, for
/// themselves. Whether that user may join the session, [`permit_join`] decides.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_token(actor: &Actor, role: Role, user_id: &UserId) -> Result<(), Error> {
    allow_if(match actor {
        Actor::Backend => true,
        Actor::Participant {
            role: own_role,
            user_id: own_id,
        } => *own_role == Role::Doctor && role == Role::Doctor && own_id == user_id,
        Actor::System(_) => false,
    })
}

/// Allows a doctor to see a session, and to learn when it opens, in the page of their day: only the session's present doctor.
///
/// # Errors
/// [`Error::NotAParticipant`]
pub fn permit_day(session: &Session, doctor_id: &UserId) -> Result<(), Error> {
    if *doctor_id == session.doctor_id {
        Ok(())
    } else {
        Err(Error::NotAParticipant { role: Role::Doctor })
    }
}

/// Allows an actor to act on a session or on its participants. The backend may do everything. A participant must be in the call,
/// in a role that allows the action, when it is decided: another instance may have removed the host a moment ago. The service
/// itself only ends overdue sessions.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit(session: &Session, actor: &Actor, action: Action) -> Result<(), Error> {
    allow_if(match actor {
        Actor::Backend => true,
        Actor::Participant { role: _, user_id } => session
            .admitted_participants()
            .any(|participant| participant.user_id == *user_id && participant.role.may(action)),
        Actor::System(cause) => permits_system(*cause, action),
    })
}

fn permits_system(cause: SystemCause, action: Action) -> bool {
    match cause {
        SystemCause::TimeOver | SystemCause::Empty => action == Action::EndSession,
        SystemCause::ConnectionLost
        | SystemCause::InstanceDead
        | SystemCause::NodeLost
        | SystemCause::NodeDrained => false,
    }
}

/// Allows an actor to move a session to another node: the backend, and the service when the node fails or is drained.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_move(actor: &Actor) -> Result<(), Error> {
    allow_if(match actor {
        Actor::Backend => true,
        Actor::Participant { .. } => false,
        Actor::System(cause) => match cause {
            SystemCause::NodeLost | SystemCause::NodeDrained => true,
            SystemCause::TimeOver
            | SystemCause::Empty
            | SystemCause::ConnectionLost
            | SystemCause::InstanceDead => false,
        },
    })
}

/// Whether a user's page may exchange media in a room of the session's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomAccess {
    /// It may.
    Allowed,
    /// It may stay for a while: the call has left this room, and the page may still wait for media the new way.
    Lingering {
        /// Until when.
        until: Timestamp,
    },
    /// The user is not in the call.
    NotInCall,
    /// The call does not go through this room, or no longer.
    OtherPlace,
}

/// Whether a user's page may exchange media in the room of a generation of the session's place: the user is in the call, and the call
/// goes through that room.
pub fn room_access(
    session: &Session,
    user_id: &UserId,
    generation: i64,
    overlap_secs: u64,
    now: Timestamp,
) -> RoomAccess {
    let mut admitted = session.admitted_participants();
    if session.state == SessionState::Ended || !admitted.any(|other| other.user_id == *user_id) {
        RoomAccess::NotInCall
    } else if let Some(until) = session.may_linger_until(generation, overlap_secs, now) {
        RoomAccess::Lingering { until }
    } else if session.medium != Medium::Sfu || session.place.generation != generation {
        RoomAccess::OtherPlace
    } else {
        RoomAccess::Allowed
    }
}

/// Whether a user whom a node reports in the session's room may be there. `sequence` is that of the credential that admitted them, if
/// the node knows it.
///
/// Participants who are in the call may. So may users who came straight to the node, with a ticket from JoinSession, if they would not
/// have to wait.
pub fn may_be_in_room(
    session: &Session,
    user_id: &UserId,
    sequence: Option<i64>,
    now: Timestamp,
) -> bool {
    session.medium == Medium::Sfu && may_be_in_former_room(session, user_id, sequence, now)
}

/// The same for the room that the call has left, while participants may stay there.
pub fn may_be_in_former_room(
    session: &Session,
    user_id: &UserId,
    sequence: Option<i64>,
    now: Timestamp,
) -> bool {
    if session.state == SessionState::Ended {
        return false;
    }
    let Some(issued_at) = sequence else {
        // The service did not issue this credential.
        return false;
    };
    match session.participant(user_id) {
        Some(present) => {
            present.status == ParticipantStatus::Admitted
                && permit_entry(session, present.role, user_id, issued_at, now).is_ok()
        }
        None => Role::ALL.iter().any(|role| {
            session.enters_at_once(user_id, *role)
                && permit_entry(session, *role, user_id, issued_at, now).is_ok()
        }),
    }
}

/// The sequence in a ticket for the session's room that is asked for with this version of the session, before the event that records
/// it is committed. Removals up to this version do not concern the ticket, and later ones invalidate it.
pub fn ticket_sequence(asked: &Session) -> i64 {
    asked.version + 1
}

/// Whether a ticket that was asked for with one version of a session admits its user in this or a later version.
pub fn ticket_admits(
    asked: &Session,
    session: &Session,
    role: Role,
    user_id: &UserId,
    now: Timestamp,
) -> bool {
    let is_same_room = (session.medium, &session.place) == (asked.medium, &asked.place);
    is_same_room
        && session.enters_at_once(user_id, role)
        && permit_entry(session, role, user_id, ticket_sequence(asked), now).is_ok()
}

/// Allows an actor to disconnect a participant: participants disconnect themselves, and the service disconnects those whose
/// connection is lost.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_departure(actor: &Actor, user_id: &UserId) -> Result<(), Error> {
    allow_if(match actor {
        Actor::Backend => false,
        Actor::Participant {
            user_id: leaving, ..
        } => leaving == user_id,
        Actor::System(cause) => match cause {
            SystemCause::ConnectionLost | SystemCause::InstanceDead => true,
            SystemCause::TimeOver
            | SystemCause::Empty
            | SystemCause::NodeLost
            | SystemCause::NodeDrained => false,
        },
    })
}

/// Allows an action that the role allows in some session; a check before the session is read.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_action(role: Role, action: Action) -> Result<(), Error> {
    allow_if(role.may(action))
}

/// Allows to take a still picture of another participant: only where the clinic does.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_still(role: Role, clinic_allows: bool) -> Result<(), Error> {
    allow_if(clinic_allows && role.may(Action::TakeStill))
}

fn allow_if(is_permitted: bool) -> Result<(), Error> {
    if is_permitted {
        Ok(())
    } else {
        Err(Error::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn each_role_may_do_what_is_documented_and_no_more() {
        for role in Role::ALL.iter().copied() {
            let may: Vec<_> = Action::VARIANTS
                .iter()
                .copied()
                .filter(|action| role.may(*action))
                .collect();
            let expected: &[Action] = match role {
                Role::Doctor => Action::VARIANTS,
                Role::Patient | Role::Guest | Role::Interpreter => &[Action::Publish],
                Role::Observer => &[],
            };
            assert_eq!(may, expected, "{role:?}");
            for action in Action::VARIANTS {
                assert_eq!(permit_action(role, *action).is_ok(), role.may(*action));
            }
        }
    }

    #[test]
    fn only_the_backend_may_do_what_needs_no_participant() {
        for actor in Actor::examples() {
            let is_backend = actor == Actor::Backend;
            assert_eq!(permit_service(&actor).is_ok(), is_backend, "{actor:?}");
        }
    }

    #[test]
    fn the_backend_gets_tokens_for_everybody_and_a_doctor_for_themselves() {
        let doctor = UserId::from_stored("doctor-1".into());
        let other = UserId::from_stored("doctor-2".into());
        for actor in Actor::examples() {
            let is_backend = actor == Actor::Backend;
            let is_doctor = actor.user_id() == Some(&doctor);
            for role in Role::ALL.iter().copied() {
                let own = permit_token(&actor, role, &doctor).is_ok();
                let expected = is_backend || (is_doctor && role == Role::Doctor);
                assert_eq!(own, expected, "{actor:?} {role:?}");
                assert_eq!(permit_token(&actor, role, &other).is_ok(), is_backend);
            }
        }
        for role in Role::ALL
            .iter()
            .copied()
            .filter(|role| *role != Role::Doctor)
        {
            let actor = Actor::Participant {
                role,
                user_id: doctor.clone(),
            };
            assert!(permit_token(&actor, Role::Doctor, &doctor).is_err());
        }
    }

    #[test]
    fn participants_disconnect_themselves_and_the_service_only_lost_ones() {
        let doctor = UserId::from_stored("doctor-1".into());
        let permitted: Vec<_> = Actor::examples()
            .into_iter()
            .filter(|actor| permit_departure(actor, &doctor).is_ok())
            .collect();
        let expected = [
            Actor::Participant {
                role: Role::Doctor,
                user_id: doctor.clone(),
            },
            Actor::System(SystemCause::ConnectionLost),
            Actor::System(SystemCause::InstanceDead),
        ];
        assert_eq!(permitted, expected);
        let other = UserId::from_stored("patient-1".into());
        assert!(permit_departure(&expected[0], &other).is_err());
    }

    #[test]
    fn only_the_event_of_its_issue_confirms_a_credential() {
        let issued_to = UserId::from_stored("patient-1".into());
        let event = |jti: &str| {
            let kind = EventKind::Joined {
                user_id: issued_to.clone(),
                role: Role::Patient,
                jti: jti.to_owned(),
                expire_time: Timestamp::MIN,
            };
            Event::new(
                2,
                crate::domain::id::SessionId::from_stored("sess_1".into()),
                Timestamp::MIN,
                Actor::Backend,
                kind,
            )
        };
        let confirmed = |event: &Event, role, user: &str| {
            records_issue_of(event, role, &UserId::from_stored(user.into()), "jti-1")
        };
        assert!(confirmed(&event("jti-1"), Role::Patient, "patient-1"));
        assert!(!confirmed(&event("jti-2"), Role::Patient, "patient-1"));
        assert!(!confirmed(&event("jti-1"), Role::Doctor, "patient-1"));
        assert!(!confirmed(&event("jti-1"), Role::Patient, "patient-2"));
        let other = Event {
            kind: EventKind::Updated { fields: Vec::new() },
            ..event("jti-1")
        };
        assert!(!confirmed(&other, Role::Patient, "patient-1"));
    }
}
