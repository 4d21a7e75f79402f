//! get, latest, insert, commit and count.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use video_session::domain::actor::Actor;
use video_session::domain::change::Change;
use video_session::domain::id::{AppointmentId, NodeId, Region, SessionId};
use video_session::domain::label::Labels;
use video_session::domain::medium::{MediaMode, Medium};
use video_session::domain::page::{SessionFilter, SessionQuery};
use video_session::domain::place::Driver;
use video_session::domain::placement::{PlacementNote, Verdict};
use video_session::domain::role::Role;
use video_session::domain::session::{
    Requested, Schedule, Session, SessionRequest, SessionState, SessionUpdate,
};
use video_session::domain::time::Timestamp;
use video_session::store::{AtTurn, Committed, Insert, Inserted, NewSession, SessionStore};

use crate::backend::Backend;
use crate::sample::{
    commit, commit_in_a_loop, end, insert, join, new_session, request, short_link, stored,
    unplaced, update, user,
};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(crate) async fn sequences(store: &dyn SessionStore, session_id: &SessionId) -> Vec<i64> {
    let events = store.events(session_id, 0, 100_000).await.unwrap();
    events
        .expect("it exists")
        .into_iter()
        .map(|event| event.sequence)
        .collect()
}

async fn of_appointment(store: &dyn SessionStore, appointment_id: &AppointmentId) -> Vec<Session> {
    let filter = SessionFilter {
        appointment_id: Some(appointment_id.clone()),
        ..SessionFilter::default()
    };
    let query = SessionQuery {
        filter,
        before: None,
        limit: 1000,
    };
    let listed = store.list(&query).await.unwrap();
    listed.into_iter().map(Result::unwrap).collect()
}

pub(crate) async fn what_is_unknown_is_none(backend: &Backend) {
    let store = &backend.store;
    let session_id = SessionId::generate(crate::sample::now());
    assert_eq!(store.get(&session_id).await.unwrap(), None);
    assert_eq!(store.events(&session_id, 0, 10).await.unwrap(), None);
    let appointment_id = request("never-created").appointment_id;
    assert_eq!(store.latest_session(&appointment_id).await.unwrap(), None);
    insert(store.as_ref(), "created").await;
    assert_eq!(store.get(&session_id).await.unwrap(), None);
    assert_eq!(store.latest_session(&appointment_id).await.unwrap(), None);
}

pub(crate) async fn a_session_reads_back_as_it_was_stored(backend: &Backend) {
    let bare = request("bare");
    let mut full = request("full._:@-");
    full.schedule = Schedule {
        start: Some(at(-1)),
        end: Some(Timestamp::MAX),
    };
    full.labels = Labels::from([("ward".to_owned(), "7".to_owned())]);
    let mut half = request("half");
    half.schedule.start = Some(Timestamp::MIN);
    for request in [bare, full, half] {
        let before = unplaced(request.clone(), None);
        let change = stored(backend.store.as_ref(), before.clone()).await;
        let expected = before
            .place(change.session.place.node_id.clone(), Driver::Builtin)
            .session;
        assert_eq!(change.session, expected);
        for store in [&backend.store, &backend.other] {
            let read = store.get(&expected.session_id).await.unwrap();
            assert_eq!(read.as_ref(), Some(&expected));
            let latest = store.latest_session(&request.appointment_id).await.unwrap();
            assert_eq!(latest.as_ref(), Some(&expected));
            let listed = of_appointment(store.as_ref(), &request.appointment_id).await;
            assert_eq!(listed, std::slice::from_ref(&expected));
            let events = store.events(&expected.session_id, 0, 10).await.unwrap();
            assert_eq!(events, Some(change.events.clone()));
        }
    }
}

pub(crate) async fn a_session_is_found_by_its_short_links(backend: &Backend) {
    let store = &backend.store;
    let found = async |digest: &str| {
        let found = store.session_by_short_link(digest).await.unwrap();
        found.map(|session| session.session_id)
    };
    let created = insert(store.as_ref(), "appt-short-links").await.session;
    insert(store.as_ref(), "appt-without-links").await;
    let first = join(&created);
    commit(store.as_ref(), &first).await;
    let doctors = first.session.short_links[0].digest.clone();
    assert_eq!(found(&doctors).await, Some(created.session_id.clone()));
    let read = store.session_by_short_link(&doctors).await.unwrap();
    assert_eq!(read.as_ref(), Some(&first.session));
    // Another user's link is another link; a second one of the doctor replaces the first.
    let patient = short_link(&first.session, user("patient-1"), Role::Patient);
    let patients = patient.digest.clone();
    let (jti, time, backend) = (patient.jti.clone(), crate::sample::now(), &Actor::Backend);
    let second = (first.session).record_token(jti, time, patient, backend, time);
    commit(store.as_ref(), &second).await;
    let third = join(&second.session);
    commit(store.as_ref(), &third).await;
    assert_eq!(third.session.short_links.len(), 2);
    assert_eq!(found(&doctors).await, None);
    for link in &third.session.short_links {
        assert_eq!(found(&link.digest).await, Some(created.session_id.clone()));
    }
    assert_eq!(found(&patients).await, Some(created.session_id));
    for unknown in ["", "digest", "$ne"] {
        assert_eq!(found(unknown).await, None);
    }
}

pub(crate) async fn labels_may_hold_any_text(backend: &Backend) {
    let texts = [
        "a.b",
        ".",
        "$set",
        "$",
        "_id",
        "0",
        "ünïcödé",
        "数字",
        "👩‍⚕️",
        "'\"\\`;--",
        " ",
        "{\"a\":1}",
        "true",
    ];
    let labels: Labels = texts
        .iter()
        .map(|text| ((*text).to_owned(), text.chars().rev().collect()))
        .chain([("empty".to_owned(), String::new())])
        .collect();
    let mut with_labels = request("labels");
    with_labels.labels = labels.clone();
    let first = stored(backend.store.as_ref(), unplaced(with_labels, None)).await;
    let read = backend.other.get(&first.session.session_id).await.unwrap();
    assert_eq!(read.unwrap().labels, labels);

    let mut fewer = labels;
    fewer.remove("a.b");
    fewer.insert("$set".to_owned(), "changed".to_owned());
    let change = update(
        &first.session,
        SessionUpdate {
            labels: Some(fewer),
            ..SessionUpdate::default()
        },
    );
    let expected = commit(backend.store.as_ref(), &change).await;
    let read = backend.other.get(&expected.session_id).await.unwrap();
    assert_eq!(read, Some(expected));
}

pub(crate) async fn an_update_clears_fields(backend: &Backend) {
    let mut full = request("cleared");
    full.schedule = Schedule {
        start: Some(at(1000)),
        end: Some(at(2000)),
    };
    full.labels = Labels::from([("ward".to_owned(), "7".to_owned())]);
    let mut session = stored(backend.store.as_ref(), unplaced(full, None))
        .await
        .session;
    let steps = [
        SessionUpdate {
            scheduled_start_time: Some(None),
            ..SessionUpdate::default()
        },
        SessionUpdate {
            scheduled_end_time: Some(None),
            labels: Some(Labels::new()),
            ..SessionUpdate::default()
        },
        SessionUpdate {
            scheduled_end_time: Some(Some(at(3000))),
            ..SessionUpdate::default()
        },
    ];
    for step in steps {
        session = commit(backend.store.as_ref(), &update(&session, step)).await;
        let read = backend.other.get(&session.session_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&session));
    }
}

pub(crate) async fn an_ended_session_keeps_its_end_time_and_cause(backend: &Backend) {
    for (appointment, reason) in [("ended", "no show – ünd $more"), ("ended-silently", "")] {
        let created = insert(backend.store.as_ref(), appointment).await.session;
        let ended = commit(backend.store.as_ref(), &end(&created, reason)).await;
        assert_eq!(ended.state, SessionState::Ended);
        assert!(ended.end_time.is_some());
        let read = backend.other.get(&created.session_id).await.unwrap();
        assert_eq!(read, Some(ended));
    }
}

pub(crate) async fn an_incarnation_is_taken_once(backend: &Backend) {
    let first = insert(backend.store.as_ref(), "taken").await.session;
    let mut other = request("taken");
    other.doctor_id = user("doctor-2");
    for handle in [&backend.store, &backend.other] {
        let late = unplaced(other.clone(), None);
        let outcome = handle.insert(new_session(late.clone(), 3)).await.unwrap();
        assert_eq!(outcome, Inserted::Taken);
        assert_eq!(handle.get(&late.session_id).await.unwrap(), None);
        assert_eq!(handle.events(&late.session_id, 0, 10).await.unwrap(), None);
        let all = of_appointment(handle.as_ref(), &first.appointment_id).await;
        assert_eq!(all, std::slice::from_ref(&first));
    }
}

pub(crate) async fn an_insert_decides_over_the_latest_session(backend: &Backend) {
    let appointment_id = request("decided").appointment_id;
    let mut previous: Option<Session> = None;
    let mut all = Vec::new();
    for n in 0..12 {
        let new = unplaced(request("decided"), previous.as_ref());
        let expected = previous.clone();
        let insert = NewSession::new(appointment_id.clone(), move |latest| {
            assert_eq!(latest, expected);
            new_session(new.clone(), 3).decide(latest)
        });
        let outcome = backend.handle(n).insert(insert).await.unwrap();
        let Inserted::Stored(change) = outcome else {
            panic!("{outcome:?}");
        };
        all.insert(0, change.session.clone());
        previous = Some(change.session);

        let keep = NewSession::new(appointment_id.clone(), |latest| {
            Insert::Keep(Box::new(latest.expect("there is one")))
        });
        let outcome = backend.handle(n + 1).insert(keep).await.unwrap();
        assert_eq!(
            Some(outcome),
            previous
                .clone()
                .map(|latest| Inserted::Kept(Box::new(latest)))
        );
    }
    assert_eq!(
        of_appointment(backend.store.as_ref(), &appointment_id).await,
        all
    );
    // What was kept used up no turn.
    let next = insert(backend.store.as_ref(), "decided-next").await.session;
    assert_eq!(next.place.node_id.as_str(), "sfu-1");
}

pub(crate) async fn the_latest_session_has_the_highest_incarnation(backend: &Backend) {
    let mut sessions: Vec<Session> = Vec::new();
    // More than nine, so that an order of texts would show.
    for n in 0..12 {
        let next = unplaced(request("again"), sessions.last());
        let created = stored(backend.handle(n).as_ref(), next).await.session;
        assert_eq!(created.incarnation, i64::try_from(n).unwrap() + 1);
        let latest = backend
            .handle(n + 1)
            .latest_session(&created.appointment_id)
            .await;
        assert_eq!(latest.unwrap().as_ref(), Some(&created));
        let ended = commit(backend.store.as_ref(), &end(&created, "over")).await;
        sessions.push(ended);
    }
    for session in &sessions {
        let read = backend.store.get(&session.session_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(session));
    }
    sessions.reverse();
    let all = of_appointment(backend.store.as_ref(), &sessions[0].appointment_id).await;
    assert_eq!(all, sessions);
}

pub(crate) async fn one_of_racing_inserts_is_stored(backend: &Backend) {
    for round in 0..5 {
        let appointment = format!("insert-race-{round}");
        let racers = (0..32).map(|n| {
            let store = Arc::clone(backend.handle(n));
            let unplaced = unplaced(request(&appointment), None);
            tokio::spawn(async move { store.insert(new_session(unplaced, 3)).await.unwrap() })
        });
        let winners: Vec<_> = join_all(racers)
            .await
            .into_iter()
            .filter_map(|outcome| match outcome.unwrap() {
                Inserted::Stored(change) => Some(change.session),
                _ => None,
            })
            .collect();
        assert_eq!(winners.len(), 1);
        let appointment_id = request(&appointment).appointment_id;
        let all = of_appointment(backend.store.as_ref(), &appointment_id).await;
        assert_eq!(all, winners);
    }
}

pub(crate) async fn inserts_of_many_callers_are_all_stored(backend: &Backend) {
    let callers = (0..200).map(|n| {
        let store = Arc::clone(backend.handle(n));
        tokio::spawn(async move { insert(store.as_ref(), &format!("many-{n}")).await })
    });
    for outcome in join_all(callers).await {
        let Change {
            session,
            events: expected,
        } = outcome.unwrap();
        let read = backend.store.get(&session.session_id).await.unwrap();
        let events = backend.store.events(&session.session_id, 0, 10).await;
        assert_eq!(read, Some(session));
        assert_eq!(events.unwrap(), Some(expected));
    }
}

pub(crate) async fn a_commit_over_another_version_stores_nothing(backend: &Backend) {
    let store = backend.store.as_ref();
    let first = insert(store, "versions").await.session;
    let second = commit(store, &join(&first)).await;
    let third = commit(store, &end(&second, "over")).await;

    // Too old: as another instance that read earlier would do it.
    let stale = [
        join(&first),
        end(&first, "other"),
        join(&second),
        end(&second, "other"),
    ];
    for change in stale {
        let outcome = backend.other.commit(&change).await.unwrap();
        assert_eq!(outcome, Committed::Conflict);
    }
    // Too new: over a version that was never stored.
    let mut ahead = third.clone();
    ahead.version += 1;
    assert_eq!(
        store.commit(&join(&ahead)).await.unwrap(),
        Committed::Conflict
    );
    // Of a session that was never stored.
    let nowhere =
        unplaced(request("nowhere"), None).place(first.place.node_id.clone(), Driver::Builtin);
    let outcome = store.commit(&join(&nowhere.session)).await.unwrap();
    assert_eq!(outcome, Committed::Conflict);
    assert_eq!(store.get(&nowhere.session.session_id).await.unwrap(), None);

    let read = store.get(&first.session_id).await.unwrap();
    assert_eq!(read, Some(third));
    assert_eq!(sequences(store, &first.session_id).await, [1, 2, 3]);
}

pub(crate) async fn one_of_racing_commits_is_stored(backend: &Backend) {
    let mut session = insert(backend.store.as_ref(), "commit-race").await.session;
    for _ in 0..5 {
        let racers = (0..64).map(|n| {
            let store = Arc::clone(backend.handle(n));
            let change = join(&session);
            tokio::spawn(async move { (store.commit(&change).await.unwrap(), change) })
        });
        let winners: Vec<_> = join_all(racers)
            .await
            .into_iter()
            .map(|outcome| outcome.unwrap())
            .filter(|(outcome, _)| *outcome == Committed::Stored)
            .collect();
        assert_eq!(winners.len(), 1);
        let (_, winner) = &winners[0];
        let after = winner.base_version();
        let events = backend.store.events(&session.session_id, after, 10).await;
        assert_eq!(events.unwrap(), Some(winner.events.clone()));
        session = winner.session.clone();
        let read = backend.store.get(&session.session_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&session));
    }
}

pub(crate) async fn racing_changes_leave_no_gap(backend: &Backend) {
    const TASKS: usize = 8;
    const CHANGES: usize = 12;
    let session = insert(backend.store.as_ref(), "gapless").await.session;
    let tasks = (0..TASKS).map(|n| {
        let (store, session_id) = (Arc::clone(backend.handle(n)), session.session_id.clone());
        tokio::spawn(async move {
            let mut made = Vec::new();
            for _ in 0..CHANGES {
                let change = commit_in_a_loop(store.as_ref(), &session_id, join).await;
                made.extend(change.events);
            }
            made
        })
    });
    let mut made: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .flat_map(|outcome| outcome.unwrap())
        .collect();
    made.sort_by_key(|event| event.sequence);
    let version = i64::try_from(TASKS * CHANGES).unwrap() + 1;
    let stored = backend.store.events(&session.session_id, 1, 1000).await;
    assert_eq!(stored.unwrap(), Some(made));
    let expected: Vec<_> = (1..=version).collect();
    let sequences = sequences(backend.store.as_ref(), &session.session_id).await;
    assert_eq!(sequences, expected);
    let read = backend.other.get(&session.session_id).await.unwrap();
    assert_eq!(read.unwrap().version, version);
}

pub(crate) async fn sessions_are_counted_by_state(backend: &Backend) {
    let store = backend.store.as_ref();
    let counted = |created, active, ended| {
        HashMap::from([
            (SessionState::Created, created),
            (SessionState::Active, active),
            (SessionState::Ended, ended),
        ])
    };
    assert_eq!(store.count_by_state().await.unwrap(), counted(0, 0, 0));
    for n in 0..5 {
        let session = insert(store, &format!("count-{n}")).await.session;
        if n < 2 {
            commit(store, &end(&session, "")).await;
        }
    }
    assert_eq!(
        backend.other.count_by_state().await.unwrap(),
        counted(3, 0, 2)
    );
}

pub(crate) async fn the_way_of_a_call_reads_back_as_it_was_stored(backend: &Backend) {
    let store = &backend.store;
    for (number, media) in MediaMode::ALL.iter().copied().enumerate() {
        let wanted = SessionRequest {
            media: Requested::explicit(media),
            region: Some(Region::parse("eu-1").expect("a good region")),
            end_to_end_encrypted: media == MediaMode::Sfu,
            ..request(&format!("way-{number}"))
        };
        let note = PlacementNote {
            time: at(1_800_000_000_123),
            rotation: "eu-1+sfu".to_owned(),
            turn: 7,
            // One of each, as a decision over many nodes has them.
            considered: (Verdict::ALL.iter().zip(1..))
                .map(|(verdict, n): (_, u32)| (node(&format!("sfu-{n}")), *verdict))
                .collect(),
        };
        let unplaced = unplaced(wanted, None);
        let placed = note.clone();
        let new = NewSession::new(unplaced.request.appointment_id.clone(), move |_| {
            let (unplaced, placed) = (unplaced.clone(), placed.clone());
            Insert::New(AtTurn::of_every_turn(move |_| {
                let change = unplaced.place(node("sfu-1"), Driver::LiveKit);
                change.with_placement(placed)
            }))
        });
        let created = match store.insert(new).await.unwrap() {
            Inserted::Stored(change) => change.session,
            other => panic!("{other:?}"),
        };
        let medium = match media {
            MediaMode::Sfu => Medium::Sfu,
            MediaMode::Auto | MediaMode::PeerToPeer => Medium::PeerToPeer,
        };
        assert_eq!((created.media, created.medium), (media, medium));
        assert_eq!(created.end_to_end_encrypted, media == MediaMode::Sfu);
        assert_eq!(created.placement, Some(note));
        let read = backend.other.get(&created.session_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&created));
        let latest = store.latest_session(&created.appointment_id).await.unwrap();
        assert_eq!(latest.as_ref(), Some(&created));

        // Moved, and then again over what was read.
        let mut session = read.expect("it exists");
        for (name, driver) in [("sfu-2", Driver::OpenVidu), ("sfu-1", Driver::LiveKit)] {
            let moved = session
                .move_to(node(name), driver, &Actor::Backend, crate::sample::now())
                .expect("the backend may");
            session = commit(store.as_ref(), &moved).await;
            let read = backend.other.get(&session.session_id).await.unwrap();
            assert_eq!(read.as_ref(), Some(&session));
            let events = store.events(&session.session_id, 0, 100).await.unwrap();
            let stored = events.expect("it exists");
            assert_eq!(stored.last(), moved.events.last());
        }
        let former = session.former_room.as_ref().map(|room| room.generation);
        assert_eq!(former, (media == MediaMode::Sfu).then_some(2));
        assert_eq!(session.region, created.region);
        assert_eq!((session.media, session.place.generation), (media, 3));
    }
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).expect("a good id")
}
