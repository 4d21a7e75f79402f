//! Who may do what. All policy on people stands here, and nowhere else.

use super::actor::{Actor, SystemCause};
use super::error::Error;
use super::event::{Event, EventKind};
use super::id::UserId;
use super::role::{Action, Role};
use super::session::Session;
use super::time::Timestamp;

/// A user may take a role in a session only if the session stores that user for it, or an invitation does that has not
/// expired; and not after having been removed for good.
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
        Role::Guest | Role::Interpreter | Role::Observer => session
            .invites
            .iter()
            .any(|invite| invite.user_id == *user_id && invite.role == role && invite.is_open(now)),
    };
    if !expected {
        return Err(Error::NotAParticipant { role });
    }
    let kept_out = |removal: &&super::participant::Removal| removal.user_id == *user_id;
    match session.removals.iter().find(kept_out) {
        Some(removal) if removal.keep_out => Err(Error::ParticipantRemoved),
        _ => Ok(()),
    }
}

/// A credential lets in until its bearer is removed, is no longer the one for the role, or the session ends. One that was
/// issued before its bearer was given the role, as to a doctor who was replaced and set back, is void.
///
/// `issued_at` is the sequence of the event that tells of the credential's issue: an order that no clock can confuse.
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
    // Whoever is there when their invitation expires stays, and may lose the connection as anybody may.
    let is_there = session
        .participant(user_id)
        .is_some_and(|participant| participant.role == role);
    if role.is_invited() && is_there {
        return Ok(());
    }
    permit_join(session, role, user_id, now)
}

/// The sequence of the event that gave a user a role; 0 for one whom the session does not store for it, or always did.
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

/// Whether an event tells of the issue of a credential. When a store was restored from a backup, numbers are given out anew: a
/// credential that was issued after the backup names an event that is not there, or another one.
pub fn records_issue_of(event: &Event, role: Role, user_id: &UserId, jti: &str) -> bool {
    match &event.kind {
        EventKind::Joined {
            user_id: issued_to,
            role: issued_role,
            jti: issued_jti,
            expire_time: _,
        } => issued_to == user_id && *issued_role == role && issued_jti == jti,
        _ => false,
    }
}

/// Whether an actor may do something that concerns no one session, or that only the backend does.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_service(actor: &Actor) -> Result<(), Error> {
    match actor {
        Actor::Backend => Ok(()),
        Actor::Participant { .. } | Actor::System(_) => Err(Error::NotAllowed),
    }
}

/// Whether an actor may do something to a session, or to others in it. The backend may do everything. A participant must be
/// in the call, in a role that allows it, when it is decided: a host whom another instance removed a moment ago is none. The
/// service itself only ends what is over.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit(session: &Session, actor: &Actor, action: Action) -> Result<(), Error> {
    let is_permitted = match actor {
        Actor::Backend => true,
        Actor::Participant { role: _, user_id } => session
            .admitted_participants()
            .any(|participant| participant.user_id == *user_id && participant.role.may(action)),
        Actor::System(cause) => permits_system(*cause, action),
    };
    if is_permitted {
        Ok(())
    } else {
        Err(Error::NotAllowed)
    }
}

fn permits_system(cause: SystemCause, action: Action) -> bool {
    match cause {
        SystemCause::TimeOver | SystemCause::Empty => action == Action::EndSession,
        SystemCause::ConnectionLost | SystemCause::InstanceDead => false,
    }
}

/// Whether an actor may end a participant's stay: participants leave by themselves, and the service drops those whose
/// connection is lost.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_departure(actor: &Actor, user_id: &UserId) -> Result<(), Error> {
    let is_permitted = match actor {
        Actor::Backend => false,
        Actor::Participant {
            user_id: leaving, ..
        } => leaving == user_id,
        Actor::System(cause) => match cause {
            SystemCause::ConnectionLost | SystemCause::InstanceDead => true,
            SystemCause::TimeOver | SystemCause::Empty => false,
        },
    };
    if is_permitted {
        Ok(())
    } else {
        Err(Error::NotAllowed)
    }
}

/// Whether a role ever allows something, asked before a session is read for it.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_action(role: Role, action: Action) -> Result<(), Error> {
    if role.may(action) {
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
    fn only_the_backend_acts_on_sessions_that_it_is_not_in() {
        for actor in Actor::examples() {
            let is_backend = actor == Actor::Backend;
            assert_eq!(permit_service(&actor).is_ok(), is_backend, "{actor:?}");
        }
    }

    #[test]
    fn participants_end_their_own_stay_and_the_service_only_that_of_the_lost() {
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
    fn only_the_event_of_its_very_issue_confirms_a_credential() {
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
