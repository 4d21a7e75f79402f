//! Who is connected, and what is over by the clock.

use std::collections::BTreeSet;

use video_session::domain::actor::Actor;
use video_session::domain::change::Change;
use video_session::domain::event::{Event, EventKind};
use video_session::domain::id::{UserId, random_id};
use video_session::domain::participant::{
    Admission, ConnectRequest, Invite, LeaveCause, ParticipantStatus,
};
use video_session::domain::role::Role;
use video_session::domain::session::{
    EndCause, Requested, Schedule, Session, SessionState, SessionUpdate,
};
use video_session::domain::time::Timestamp;
use video_session::store::{Committed, OverdueBounds};

use crate::backend::Backend;
use crate::instances::ids;
use crate::sample::{
    commit, end, insert, join, now, request, scheduled_to_end_before, stored, unplaced, update,
    user,
};

const MANY: usize = 1000;

pub(crate) fn connect_request(name: &str, role: Role, instance: &str) -> ConnectRequest {
    ConnectRequest {
        user_id: user(name),
        role,
        display_name: format!("{name}, ünd $more"),
        instance_id: instance.to_owned(),
    }
}

/// Connects a participant to the session.
pub(crate) fn connect_participant(
    session: &Session,
    name: &str,
    role: Role,
    instance: &str,
) -> Change {
    session
        .connect_participant(connect_request(name, role, instance), now())
        .expect("there is room")
        .change
        .expect("it changes something")
}

pub(crate) fn disconnect_participant(session: &Session, name: &str, instance: &str) -> Change {
    let actor = Actor::Participant {
        role: Role::Guest,
        user_id: user(name),
    };
    session
        .disconnect_participant(&user(name), instance, &actor, now())
        .expect("participants may leave")
        .expect("they were there")
}

#[expect(clippy::too_many_lines, reason = "a step an event")]
pub(crate) async fn participants_read_back_as_they_were_stored(backend: &Backend) {
    let mut asked = request("people");
    asked.admission = Requested::explicit(Admission::Manual);
    asked.max_participants = Requested::explicit(3);
    let mut session = stored(backend.store.as_ref(), unplaced(asked, None))
        .await
        .session;
    assert_eq!(
        (session.admission, session.max_participants),
        (Admission::Manual, 3)
    );
    let now = now();
    let (doctor, patient, observer) = (user("doctor-1"), user("patient-1"), user("observer-1"));
    let invite = Invite::new(
        observer.clone(),
        Role::Observer,
        "Olé".to_owned(),
        Some(now.plus_secs(60)),
    );
    let host = Actor::Participant {
        role: Role::Doctor,
        user_id: doctor.clone(),
    };
    let patient_acting = Actor::Participant {
        role: Role::Patient,
        user_id: patient.clone(),
    };
    type Step<'a> = Box<dyn Fn(&Session) -> Change + 'a>;
    let steps: Vec<Step<'_>> = vec![
        Box::new(|session| {
            session
                .invite_user(invite.clone(), &Actor::Backend, now)
                .unwrap()
                .unwrap()
        }),
        Box::new(|session| {
            let named = session.set_given_name("Søren", &patient_acting, now);
            named.unwrap().unwrap()
        }),
        Box::new(|session| connect_participant(session, "patient-1", Role::Patient, "one")),
        Box::new(|session| connect_participant(session, "doctor-1", Role::Doctor, "two")),
        Box::new(|session| {
            session
                .admit_participant(&patient, &host, now)
                .unwrap()
                .unwrap()
        }),
        Box::new(|session| connect_participant(session, "patient-1", Role::Patient, "two")),
        Box::new(|session| session.request_mute(&patient, &host, now).unwrap()),
        Box::new(|session| {
            session
                .remove_participant(&observer, &Actor::Backend, true, now)
                .unwrap()
                .unwrap()
        }),
        Box::new(|session| {
            let removed = session.remove_participant(&patient, &host, false, now);
            removed.unwrap().unwrap()
        }),
        Box::new(|session| disconnect_participant(session, "doctor-1", "two")),
        Box::new(|session| end(session, "over")),
    ];
    let mut expected = backend
        .store
        .events(&session.session_id, 0, MANY)
        .await
        .unwrap()
        .unwrap();
    for (n, step) in steps.iter().enumerate() {
        let change = step(&session);
        session = commit(backend.handle(n).as_ref(), &change).await;
        expected.extend(change.events);
        let read = backend
            .handle(n + 1)
            .get(&session.session_id)
            .await
            .unwrap();
        assert_eq!(read.as_ref(), Some(&session), "step {n}");
        let events = backend.other.events(&session.session_id, 0, MANY).await;
        assert_eq!(events.unwrap().as_ref(), Some(&expected), "step {n}");
    }
    let kinds: BTreeSet<_> = expected.iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [
            "participant.admitted",
            "participant.invited",
            "participant.joined",
            "participant.left",
            "participant.muted",
            "participant.named",
            "participant.removed",
            "participant.waiting",
            "session.created",
            "session.ended"
        ]
    );
}

/// A new kind, role or cause that a store does not know must not get in.
pub(crate) async fn every_kind_actor_role_and_cause_reads_back(backend: &Backend) {
    let store = backend.store.as_ref();
    let mut session = insert(store, "kinds").await.session;
    let roles = Role::ALL.iter().copied();
    for role in roles.clone().filter(|role| role.is_invited()) {
        let invite = Invite::new(user(role.name()), role, String::new(), None);
        let invited = session.invite_user(invite, &Actor::Backend, now());
        session = commit(store, &invited.unwrap().unwrap()).await;
    }
    for role in roles {
        let change = connect_participant(&session, role.name(), role, "one");
        session = commit(store, &change).await;
    }
    let leave_causes = LeaveCause::ALL
        .iter()
        .map(|cause| EventKind::ParticipantLeft {
            user_id: user("patient-1"),
            role: Role::Patient,
            cause: *cause,
            quality: None,
        });
    let end_causes = EndCause::ALL.iter().map(|cause| EventKind::Ended {
        cause: *cause,
        reason: String::new(),
    });
    let kinds = EventKind::examples().into_iter();
    let mut expected = Vec::new();
    for kind in kinds.chain(leave_causes).chain(end_causes) {
        let actors = Actor::examples().into_iter().zip(session.version + 1..);
        let events: Vec<_> = actors
            .map(|(actor, sequence)| {
                let session_id = session.session_id.clone();
                Event::new(
                    sequence,
                    session_id,
                    session.update_time,
                    actor,
                    kind.clone(),
                )
            })
            .collect();
        session.version += i64::try_from(events.len()).unwrap();
        expected.extend(events.iter().cloned());
        let change = Change {
            session: session.clone(),
            events,
        };
        session = commit(store, &change).await;
    }
    let read = backend.other.get(&session.session_id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&session));
    let before = expected[0].sequence - 1;
    let events = backend
        .other
        .events(&session.session_id, before, MANY)
        .await;
    assert_eq!(events.unwrap().unwrap(), expected);
}

/// Ten wait for the doctor, whose coming is twenty-one events in one write.
pub(crate) async fn a_change_of_many_events_is_one_write(backend: &Backend) {
    const WAITING: usize = 10;
    let mut asked = request("many-at-once");
    asked.max_participants = Requested::explicit(50);
    let mut session = stored(backend.store.as_ref(), unplaced(asked, None))
        .await
        .session;
    for n in 0..WAITING {
        let change = connect_participant(&session, &format!("guest-{n}"), Role::Guest, "one");
        session = commit(backend.handle(n).as_ref(), &change).await;
    }
    let before = session.clone();
    let comes = connect_participant(&session, "doctor-1", Role::Doctor, "one");
    assert_eq!(comes.events.len(), 1 + 2 * WAITING);
    assert_eq!(comes.base_version(), before.version);
    session = commit(backend.store.as_ref(), &comes).await;
    let outcome = backend.other.commit(&join(&before)).await.unwrap();
    assert_eq!(outcome, Committed::Conflict);
    let mut late = comes.clone();
    for event in &mut late.events {
        event.write_id = random_id();
    }
    let outcome = backend.other.commit(&late).await.unwrap();
    assert_eq!(outcome, Committed::Conflict, "all of it, or nothing");

    // Everybody leaves at once: eleven more and the end, several times what is kept with the session.
    for round in 0..4 {
        let again = connect_participant(&session, &format!("more-{round}"), Role::Guest, "one");
        session = commit(backend.store.as_ref(), &again).await;
    }
    let over = end(&session, "over");
    session = commit(backend.other.as_ref(), &over).await;
    let events = backend.store.events(&session.session_id, 0, MANY).await;
    let sequences: Vec<_> = events
        .unwrap()
        .unwrap()
        .iter()
        .map(|event| event.sequence)
        .collect();
    let expected: Vec<_> = (1..=session.version).collect();
    assert_eq!(sequences, expected);
    assert!(session.participants.is_empty());
}

pub(crate) async fn overdue_sessions_are_found(backend: &Backend) {
    let store = backend.store.as_ref();
    let at = Timestamp::from_millis;
    let scheduled = async |name: &str, end: Option<i64>| {
        let mut asked = request(name);
        asked.schedule = Schedule {
            start: None,
            end: end.map(at),
        };
        stored(store, unplaced(asked, None)).await.session
    };
    let overdue = async |ends_before: i64, empty_before: Option<Timestamp>| {
        let bounds = OverdueBounds {
            empty_before,
            ..scheduled_to_end_before(at(ends_before))
        };
        let found = backend.other.overdue_sessions(bounds, MANY).await.unwrap();
        let distinct: BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!(distinct.len(), found.len(), "each session once");
        distinct
    };
    let early = scheduled("early", Some(1000)).await;
    let mut late = scheduled("late", Some(2000)).await;
    let open = scheduled("open", None).await;
    let over = scheduled("over", Some(1000)).await;
    commit(store, &end(&over, "")).await;
    assert_eq!(overdue(1000, None).await, BTreeSet::new(), "before, not at");
    assert_eq!(overdue(1001, None).await, ids([&early]));
    assert_eq!(overdue(9999, None).await, ids([&early, &late]));
    assert_eq!(
        store
            .overdue_sessions(scheduled_to_end_before(at(9999)), 1)
            .await
            .unwrap()
            .len(),
        1
    );
    // Nobody was ever in any of them, so none is empty.
    assert_eq!(overdue(0, Some(Timestamp::MAX)).await, BTreeSet::new());

    let moved = update(
        &late,
        SessionUpdate {
            scheduled_end_time: Some(Some(at(5000))),
            ..SessionUpdate::default()
        },
    );
    late = commit(store, &moved).await;
    assert_eq!(overdue(5000, None).await, ids([&early]));
    // A token's issue does not hide it.
    late = commit(store, &join(&late)).await;
    assert_eq!(overdue(5001, None).await, ids([&early, &late]));

    let mut empty = commit(
        store,
        &connect_participant(&open, "doctor-1", Role::Doctor, "one"),
    )
    .await;
    assert_eq!(empty.state, SessionState::Active);
    assert_eq!(overdue(0, Some(Timestamp::MAX)).await, BTreeSet::new());
    empty = commit(store, &disconnect_participant(&empty, "doctor-1", "one")).await;
    let since = empty.empty_since.expect("it is empty");
    assert_eq!(overdue(0, Some(since)).await, BTreeSet::new());
    let after = at(since.as_millis() + 1);
    assert_eq!(overdue(0, Some(after)).await, ids([&empty]));
    assert_eq!(overdue(0, None).await, BTreeSet::new());
    assert_eq!(overdue(1001, Some(after)).await, ids([&early, &empty]));
    empty = commit(
        store,
        &connect_participant(&empty, "patient-1", Role::Patient, "one"),
    )
    .await;
    assert_eq!(overdue(0, Some(Timestamp::MAX)).await, BTreeSet::new());
    empty = commit(store, &disconnect_participant(&empty, "patient-1", "one")).await;
    commit(store, &end(&empty, "")).await;
    assert_eq!(overdue(0, Some(Timestamp::MAX)).await, BTreeSet::new());
}

pub(crate) async fn sessions_past_their_own_empty_timeout_are_found(backend: &Backend) {
    let store = backend.store.as_ref();
    let overdue = async |empty_deadline_before: Timestamp| {
        let bounds = OverdueBounds {
            ends_before: Timestamp::from_millis(0),
            // The service's own timeout does not count for them.
            empty_before: Some(Timestamp::MAX),
            empty_deadline_before,
        };
        backend.other.overdue_sessions(bounds, MANY).await.unwrap()
    };
    let mut asked = request("own-timeout");
    asked.empty_timeout_secs = Some(60);
    asked.open_to_guests = true;
    let mut session = stored(store, unplaced(asked, None)).await.session;
    let read = backend.other.get(&session.session_id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&session));
    let comes = |session: &Session| connect_participant(session, "anybody", Role::Guest, "one");
    let leaves = |session: &Session| disconnect_participant(session, "anybody", "one");

    session = commit(store, &comes(&session)).await;
    assert_eq!(overdue(Timestamp::MAX).await, []);
    session = commit(store, &leaves(&session)).await;
    let deadline = session.empty_deadline.expect("it is empty");
    assert_eq!(overdue(deadline).await, [], "before, not at");
    let after = Timestamp::from_millis(deadline.as_millis() + 1);
    assert_eq!(overdue(after).await, [session.session_id.clone()]);
    let read = backend.other.get(&session.session_id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&session));

    session = commit(store, &comes(&session)).await;
    assert_eq!(overdue(Timestamp::MAX).await, []);
    session = commit(store, &leaves(&session)).await;
    commit(store, &end(&session, "")).await;
    assert_eq!(overdue(Timestamp::MAX).await, []);
}

pub(crate) async fn one_who_waits_is_let_in(backend: &Backend) {
    let store = backend.store.as_ref();
    let mut session = insert(store, "waits").await.session;
    session = commit(
        store,
        &connect_participant(&session, "patient-1", Role::Patient, "one"),
    )
    .await;
    let status = |session: &Session, who: &UserId| session.participant(who).unwrap().status;
    let patient = user("patient-1");
    assert_eq!(status(&session, &patient), ParticipantStatus::Waiting);
    session = commit(
        store,
        &connect_participant(&session, "doctor-1", Role::Doctor, "one"),
    )
    .await;
    let read = backend
        .other
        .get(&session.session_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status(&read, &patient), ParticipantStatus::Admitted);
    assert_eq!(read.admitted_participants().count(), 2);
}
