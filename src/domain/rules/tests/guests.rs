//! Sessions that are open to guests, and sessions that end when everybody has left.

use super::people::{NOW, connect_request, request_of, session_of, user};
use crate::domain::access::{permit_entry, permit_join};
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Error;
use crate::domain::event::EventKind;
use crate::domain::participant::{Admission, GUESTS_REMEMBERED_MAX, REMOVALS_MAX};
use crate::domain::role::Role;
use crate::domain::session::{
    EndCause, JoinWindow, Session, SessionRequest, SessionState, SessionUpdate,
};

const ALWAYS_OPEN: JoinWindow = JoinWindow {
    early_secs: 0,
    late_secs: 0,
};

fn session(change: impl FnOnce(&mut SessionRequest)) -> Session {
    session_of(Admission::Open, change)
}

fn with_guest(session: &Session, name: &str) -> Session {
    let connected = session.connect_participant(connect_request(name, Role::Guest), NOW);
    connected.unwrap().change.unwrap().session
}

fn left(session: &Session, name: &str) -> Session {
    let change = session.disconnect_participant(
        &user(name),
        "one",
        &Actor::System(SystemCause::ConnectionLost),
        NOW,
    );
    change.unwrap().unwrap().session
}

fn removed(session: &Session, name: &str) -> Session {
    let change = session.remove_participant(&user(name), &Actor::Backend, true, NOW);
    change.unwrap().unwrap().session
}

#[test]
fn anybody_may_join_an_open_session_as_guest_and_in_no_other_role() {
    let closed = session(|_| ());
    let open = session(|request| request.open_to_guests = true);
    let anybody = user("anybody");
    let refused = |role| Err(Error::NotAParticipant { role });
    assert_eq!(
        permit_join(&closed, Role::Guest, &anybody, NOW),
        refused(Role::Guest)
    );
    assert_eq!(permit_join(&open, Role::Guest, &anybody, NOW), Ok(()));
    for role in Role::ALL.iter().filter(|role| **role != Role::Guest) {
        assert_eq!(permit_join(&open, *role, &anybody, NOW), refused(*role));
    }
}

#[test]
fn a_removed_guest_stays_outside_of_an_open_session_also_after_many_removals() {
    let mut session = session(|request| request.open_to_guests = true);
    session = with_guest(&session, "pest");
    session = removed(&session, "pest");
    let is_refused = |session: &Session| {
        let pest = user("pest");
        permit_join(session, Role::Guest, &pest, NOW).is_err()
            && permit_entry(session, Role::Guest, &pest, 1, NOW).is_err()
    };
    assert!(is_refused(&session));
    for n in 0..REMOVALS_MAX + 9 {
        // A credential that nobody has used yet is revoked as well, as long as the session is open.
        match session.remove_participant(&user(&format!("guest-{n}")), &Actor::Backend, true, NOW) {
            Ok(change) => session = change.unwrap().session,
            Err(error) => assert_eq!(
                (error, session.takes_guests()),
                (Error::ParticipantNotFound, false)
            ),
        }
        assert!(is_refused(&session), "after {n} further removals");
    }
    assert_eq!(session.removals.len(), REMOVALS_MAX);
    // The backend asked for the same as before, and gets the same session.
    assert_eq!(
        session.matches(&request_of(Admission::Open, |request| request
            .open_to_guests =
            true)),
        Ok(())
    );
}

#[test]
fn guests_whom_nobody_invited_stay_admitted_and_keep_their_names() {
    let open = |request: &mut SessionRequest| request.open_to_guests = true;
    let mut session = session_of(Admission::Manual, open);
    for n in 0..2 * GUESTS_REMEMBERED_MAX {
        let name = format!("guest-{n}");
        session = with_guest(&session, &name);
        let admitted = session.admit_participant(&user(&name), &Actor::Backend, NOW);
        session = admitted.unwrap().unwrap().session;
        let actor = Actor::Participant {
            role: Role::Guest,
            user_id: user(&name),
        };
        let named = session.set_given_name("Ana", &actor, NOW);
        session = named.unwrap().unwrap().session;
        assert_eq!(
            session.set_given_name("Dr. Evil", &actor, NOW),
            Err(Error::NameGiven)
        );
        // The first one stays, so that it is never forgotten.
        if n > 0 {
            session = left(&session, &name);
            assert!(session.enters_at_once(&user(&name), Role::Guest), "{n}");
        }
    }
    assert_eq!(session.admitted_users.len(), GUESTS_REMEMBERED_MAX);
    assert_eq!(session.given_names.len(), GUESTS_REMEMBERED_MAX);
    assert_eq!(session.given_name(&user("guest-0")), "Ana");
}

#[test]
fn a_session_that_may_not_be_empty_waits_for_the_doctor_who_replaces_its_only_participant() {
    let session = session(|request| request.empty_timeout_secs = Some(0));
    let connected = session.connect_participant(connect_request("doctor-1", Role::Doctor), NOW);
    let session = connected.unwrap().change.unwrap().session;
    let update = SessionUpdate {
        doctor_id: Some(user("doctor-2")),
        ..SessionUpdate::default()
    };
    let updated = session.update(update, None, &Actor::Backend, NOW);
    let session = updated.unwrap().unwrap().session;
    assert_eq!(session.state, SessionState::Active);
    assert_eq!(
        session.due_end_cause(&ALWAYS_OPEN, None, NOW.plus_secs(999)),
        None
    );
}

#[test]
fn a_session_that_may_not_be_empty_ends_with_its_last_participant() {
    let mut session = session(|request| request.empty_timeout_secs = Some(0));
    assert_eq!(
        session.due_end_cause(&ALWAYS_OPEN, None, NOW.plus_secs(9)),
        None
    );
    session = with_guest(&session, "a");
    session = with_guest(&session, "b");
    session = left(&session, "a");
    assert_eq!(session.state, SessionState::Active);
    let ended = left(&session, "b");
    assert_eq!(
        (ended.state, ended.end_cause, ended.end_time),
        (SessionState::Ended, Some(EndCause::Empty), Some(NOW))
    );
    let ended = removed(&session, "b");
    assert_eq!(ended.end_cause, Some(EndCause::Empty));
}

#[test]
fn the_end_of_a_deserted_session_is_an_act_of_the_service() {
    let session = session(|request| request.empty_timeout_secs = Some(0));
    let session = with_guest(&session, "a");
    let actor = Actor::Participant {
        role: Role::Guest,
        user_id: user("a"),
    };
    let change = session.disconnect_participant(&user("a"), "one", &actor, NOW);
    let events = change.unwrap().unwrap().events;
    let [left, ended] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(left.actor, Some(actor));
    assert_eq!(ended.actor, Some(Actor::System(SystemCause::Empty)));
    assert!(matches!(
        ended.kind,
        EventKind::Ended {
            cause: EndCause::Empty,
            ..
        }
    ));
}

#[test]
fn a_session_with_its_own_empty_timeout_ends_after_it_and_not_after_the_services() {
    let session = session(|request| request.empty_timeout_secs = Some(60));
    let session = left(&with_guest(&session, "a"), "a");
    let due = |secs| {
        let short = Some(std::time::Duration::from_secs(1));
        session.due_end_cause(&ALWAYS_OPEN, short, NOW.plus_secs(secs))
    };
    assert_eq!(due(60), None);
    assert_eq!(due(61), Some(SystemCause::Empty));
    // Somebody comes back.
    let session = left(&with_guest(&with_guest(&session, "a"), "b"), "a");
    assert_eq!(
        session.due_end_cause(&ALWAYS_OPEN, None, NOW.plus_secs(99)),
        None
    );
}

#[test]
fn a_doctor_who_is_replaced_after_a_removal_for_good_stays_outside() {
    let session = session(|request| request.open_to_guests = true);
    let session = removed(&session, "doctor-1");
    let update = SessionUpdate {
        doctor_id: Some(user("doctor-2")),
        ..SessionUpdate::default()
    };
    let updated = session.update(update, None, &Actor::Backend, NOW);
    let session = updated.unwrap().unwrap().session;
    let refused = permit_join(&session, Role::Guest, &user("doctor-1"), NOW);
    assert_eq!(refused, Err(Error::ParticipantRemoved));
}
