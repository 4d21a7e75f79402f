//! Who may do what. All policy on people stands here, and nowhere else.

use super::error::Error;
use super::event::{Event, EventKind};
use super::id::UserId;
pub use super::role::{Action, Role};
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
    if revoked || issued_at <= entitled_since(session, role, user_id) {
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
fn entitled_since(session: &Session, role: Role, user_id: &UserId) -> i64 {
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
pub fn tells_of_issue(event: &Event, role: Role, user_id: &UserId, jti: &str) -> bool {
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

/// Whoever acts on the session or on others does so as the backend (`None`), or as one who is in the call, in a role that
/// allows it. That is looked at when it is decided: a host who was removed a moment ago, on another instance, is none.
///
/// # Errors
/// [`Error::NotAllowed`]
pub fn permit_by(session: &Session, by: Option<&UserId>, action: Action) -> Result<(), Error> {
    let is_entitled = |user_id: &UserId| {
        session
            .admitted()
            .any(|who| who.user_id == *user_id && who.role.may(action))
    };
    if by.is_none_or(is_entitled) {
        Ok(())
    } else {
        Err(Error::NotAllowed)
    }
}

/// A participant may act on the session or on others only as their role allows.
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
    use super::*;

    const ACTIONS: [Action; 7] = [
        Action::Admit,
        Action::Mute,
        Action::Remove,
        Action::EndSession,
        Action::Publish,
        Action::SkipWaiting,
        Action::SkipLimit,
    ];

    #[test]
    fn each_role_may_do_what_is_documented_and_no_more() {
        for role in Role::ALL {
            let may: Vec<_> = ACTIONS
                .into_iter()
                .filter(|action| role.may(*action))
                .collect();
            let expected: &[Action] = match role {
                Role::Doctor => &ACTIONS,
                Role::Patient | Role::Guest | Role::Interpreter => &[Action::Publish],
                Role::Observer => &[],
            };
            assert_eq!(may, expected, "{role:?}");
            for action in ACTIONS {
                assert_eq!(permit_action(role, action).is_ok(), role.may(action));
            }
        }
    }

    #[test]
    fn every_role_has_a_name_of_its_own() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("host"), None);
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
                kind,
            )
        };
        let confirmed = |event: &Event, role, user: &str| {
            tells_of_issue(event, role, &UserId::from_stored(user.into()), "jti-1")
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
