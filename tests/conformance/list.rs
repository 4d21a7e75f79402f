//! list: what it finds is compared with what a plain filter over all sessions finds.

use video_session::domain::actor::Actor;
use video_session::domain::id::{NodeId, SessionId};
use video_session::domain::page::{SessionFilter, SessionQuery};
use video_session::domain::rules::create::UnplacedSession;
use video_session::domain::session::{Session, SessionState, SessionUpdate};
use video_session::domain::time::Timestamp;
use video_session::store::SessionStore;

use crate::backend::Backend;
use crate::sample::{commit, end, request, stored, update, user};

const START_MS: i64 = 1_790_000_000_000;

fn time(n: i64) -> Timestamp {
    Timestamp::from_millis(START_MS + n)
}

fn made_at(time: Timestamp, appointment: &str, doctor: &str, patient: &str) -> UnplacedSession {
    let mut request = request(appointment);
    request.doctor_id = user(doctor);
    request.patient_id = user(patient);
    UnplacedSession {
        session_id: SessionId::generate(time),
        incarnation: 1,
        create_time: time,
        actor: Actor::Backend,
        request,
    }
}

/// Thirty sessions, two each millisecond: doctors who are patients elsewhere, three nodes, all states, two appointments
/// of several sessions. Newest first.
async fn populate(backend: &Backend) -> Vec<Session> {
    let people = ["ann", "bob", "cem", "dua"];
    let mut all = Vec::new();
    for n in 0..30_usize {
        let appointment = match n % 5 {
            0 => "many-0".to_owned(),
            1 => "many-1".to_owned(),
            _ => format!("single-{n}"),
        };
        let (doctor, patient) = (people[n % 4], people[(n + 1 + n / 10) % 4]);
        let made = time(i64::try_from(n / 2).unwrap());
        let mut unplaced = made_at(made, &appointment, doctor, patient);
        unplaced.incarnation = i64::try_from(n).unwrap() + 1;
        let store = backend.handle(n).as_ref();
        let mut session = stored(store, unplaced).await.session;
        if n % 7 == 0 {
            let mut active = update(
                &session,
                SessionUpdate {
                    scheduled_end_time: Some(Some(time(1))),
                    ..SessionUpdate::default()
                },
            );
            active.session.state = SessionState::Active;
            session = commit(store, &active).await;
        }
        if n % 3 == 0 {
            session = commit(store, &end(&session, "over")).await;
        }
        all.push(session);
    }
    all.sort_by(|a, b| b.session_id.cmp(&a.session_id));
    all
}

fn matches(filter: &SessionFilter, session: &Session) -> bool {
    let SessionFilter {
        state,
        appointment_id,
        user_id,
        sfu_node_id,
        created_after,
        created_before,
    } = filter;
    state.is_none_or(|state| session.state == state)
        && appointment_id
            .as_ref()
            .is_none_or(|id| session.appointment_id == *id)
        && user_id
            .as_ref()
            .is_none_or(|id| session.doctor_id == *id || session.patient_id == *id)
        && sfu_node_id
            .as_ref()
            .is_none_or(|id| session.place.node_id == *id)
        && created_after.is_none_or(|time| session.create_time > time)
        && created_before.is_none_or(|time| session.create_time < time)
}

fn combinations() -> Vec<SessionFilter> {
    let states = [
        None,
        Some(SessionState::Created),
        Some(SessionState::Active),
        Some(SessionState::Ended),
    ];
    let appointments = [None, Some("many-0"), Some("nowhere")];
    let users = [None, Some("ann"), Some("dua")];
    let nodes = [None, Some("sfu-2")];
    let times = [
        (None, None),
        (Some(3), None),
        (None, Some(11)),
        (Some(2), Some(9)),
    ];
    let mut all = Vec::new();
    for state in states {
        for appointment in appointments {
            for user_id in users {
                for node in nodes {
                    for (after, before) in times {
                        all.push(SessionFilter {
                            state,
                            appointment_id: appointment.map(|id| request(id).appointment_id),
                            user_id: user_id.map(user),
                            sfu_node_id: node.map(|id| NodeId::parse(id).unwrap()),
                            created_after: after.map(time),
                            created_before: before.map(time),
                        });
                    }
                }
            }
        }
    }
    all
}

async fn list(
    store: &dyn SessionStore,
    filter: &SessionFilter,
    before: Option<&SessionId>,
    limit: usize,
) -> Vec<Session> {
    let query = SessionQuery {
        filter: filter.clone(),
        before: before.cloned(),
        limit,
    };
    let listed = store.list(&query).await.unwrap();
    listed.into_iter().map(Result::unwrap).collect()
}

pub(crate) async fn every_combination_of_filters_finds_its_sessions(backend: &Backend) {
    let all = populate(backend).await;
    let cursor = &all[12].session_id;
    let mut found = 0;
    for (n, filter) in combinations().iter().enumerate() {
        let store = backend.handle(n).as_ref();
        let expected: Vec<_> = all.iter().filter(|s| matches(filter, s)).cloned().collect();
        found += expected.len();
        assert_eq!(list(store, filter, None, 100).await, expected, "{filter:?}");

        let rest: Vec<_> = expected
            .into_iter()
            .filter(|session| session.session_id < *cursor)
            .take(3)
            .collect();
        assert_eq!(
            list(store, filter, Some(cursor), 3).await,
            rest,
            "{filter:?}"
        );
    }
    assert!(found > 500, "the sample is too poor: {found}");
}

pub(crate) async fn pages_follow_each_other_without_gap_or_overlap(backend: &Backend) {
    let all = populate(backend).await;
    let filters = [
        SessionFilter::default(),
        SessionFilter {
            user_id: Some(user("bob")),
            ..SessionFilter::default()
        },
        SessionFilter {
            state: Some(SessionState::Ended),
            created_after: Some(time(1)),
            ..SessionFilter::default()
        },
    ];
    for filter in filters {
        let expected: Vec<_> = all
            .iter()
            .filter(|s| matches(&filter, s))
            .cloned()
            .collect();
        for limit in [1, 2, 7, 30, 31] {
            let mut read: Vec<Session> = Vec::new();
            loop {
                let before = read.last().map(|session| session.session_id.clone());
                let page = list(backend.store.as_ref(), &filter, before.as_ref(), limit).await;
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            assert_eq!(read, expected, "{filter:?}, {limit} a page");
        }
    }
}

pub(crate) async fn time_bounds_are_exclusive(backend: &Backend) {
    let store = backend.store.as_ref();
    let mut sessions = Vec::new();
    for n in 0..3 {
        let unplaced = made_at(time(n), &format!("bound-{n}"), "ann", "bob");
        sessions.push(stored(store, unplaced).await.session);
    }
    let between = async |after: Option<i64>, before: Option<i64>| {
        let filter = SessionFilter {
            created_after: after.map(time),
            created_before: before.map(time),
            ..SessionFilter::default()
        };
        let found = list(store, &filter, None, 10).await;
        found
            .into_iter()
            .map(|session| session.create_time.as_millis() - START_MS)
            .collect::<Vec<_>>()
    };
    assert_eq!(between(Some(0), None).await, [2, 1]);
    assert_eq!(between(Some(-1), None).await, [2, 1, 0]);
    assert_eq!(between(None, Some(2)).await, [1, 0]);
    assert_eq!(between(None, Some(3)).await, [2, 1, 0]);
    assert_eq!(between(Some(0), Some(2)).await, [1]);
    assert_eq!(between(Some(1), Some(1)).await, [0; 0]);
    assert_eq!(between(Some(2), Some(0)).await, [0; 0]);
    assert_eq!(between(Some(2), None).await, [0; 0]);
    // The ends of time.
    let filter = SessionFilter {
        created_after: Some(Timestamp::MIN),
        created_before: Some(Timestamp::MAX),
        ..SessionFilter::default()
    };
    assert_eq!(list(store, &filter, None, 10).await.len(), 3);
    let filter = SessionFilter {
        created_after: Some(Timestamp::MAX),
        ..SessionFilter::default()
    };
    assert_eq!(list(store, &filter, None, 10).await.len(), 0);
}

pub(crate) async fn a_user_is_found_as_doctor_and_as_patient_once(backend: &Backend) {
    let store = backend.store.as_ref();
    let pairs = [
        ("ann", "bob"),
        ("bob", "cem"),
        ("cem", "dua"),
        ("dua", "bob"),
    ];
    for (n, (doctor, patient)) in (0..).zip(pairs) {
        stored(
            store,
            made_at(time(n), &format!("user-{n}"), doctor, patient),
        )
        .await;
    }
    // Cannot be asked for over gRPC, yet must not be listed twice.
    stored(store, made_at(time(4), "user-4", "bob", "bob")).await;
    let filter = SessionFilter {
        user_id: Some(user("bob")),
        ..SessionFilter::default()
    };
    let of_bob = |sessions: Vec<Session>| -> Vec<String> {
        let ids = sessions.iter().map(|s| s.appointment_id.to_string());
        ids.collect()
    };
    let all = list(store, &filter, None, 10).await;
    assert_eq!(of_bob(all), ["user-4", "user-3", "user-1", "user-0"]);
    let some = list(store, &filter, None, 2).await;
    assert_eq!(of_bob(some), ["user-4", "user-3"]);
}

pub(crate) async fn a_replaced_doctor_is_not_found(backend: &Backend) {
    let store = backend.store.as_ref();
    let made = stored(store, made_at(time(0), "stand-in", "ann", "bob")).await;
    let replaced = update(
        &made.session,
        SessionUpdate {
            doctor_id: Some(user("cem")),
            ..SessionUpdate::default()
        },
    );
    let session = commit(store, &replaced).await;
    for (name, found) in [("ann", 0), ("bob", 1), ("cem", 1)] {
        let filter = SessionFilter {
            user_id: Some(user(name)),
            ..SessionFilter::default()
        };
        let listed = list(store, &filter, None, 10).await;
        assert_eq!(listed, vec![session.clone(); found], "{name}");
    }
}
