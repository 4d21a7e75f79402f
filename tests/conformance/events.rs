//! events: no gaps from any position, also during writes.

use std::sync::Arc;

use futures::future::join_all;
use video_session::domain::actor::Actor;
use video_session::domain::change::Change;
use video_session::domain::event::{Event, EventKind};
use video_session::domain::session::{Session, SessionUpdate};
use video_session::domain::time::Timestamp;
use video_session::store::{FeedCursor, SessionStore};

use crate::backend::Backend;
use crate::feed::Reader;
use crate::sample::{commit, commit_in_a_loop, end, insert, join, update, user};

/// A session with that many events, and the events.
pub(crate) async fn history(
    store: &dyn SessionStore,
    appointment: &str,
    length: usize,
) -> (Session, Vec<Event>) {
    let created = insert(store, appointment).await;
    let (mut session, mut events) = (created.session, created.events);
    while events.len() < length {
        let change = join(&session);
        session = commit(store, &change).await;
        events.extend(change.events);
    }
    (session, events)
}

pub(crate) async fn every_kind_reads_back_as_it_was_stored(backend: &Backend) {
    let store = backend.store.as_ref();
    let created = insert(store, "kinds").await;
    let joined = join(&created.session);
    let mut session = commit(store, &joined).await;
    let updated = update(
        &session,
        SessionUpdate {
            doctor_id: Some(user("doctor-2")),
            scheduled_start_time: Some(Some(Timestamp::from_millis(1))),
            ..SessionUpdate::default()
        },
    );
    session = commit(store, &updated).await;
    let ended = end(&session, "a reason with $ign . and ünicode");
    commit(store, &ended).await;
    let changes = [created, joined, updated, ended];
    let expected: Vec<_> = changes
        .into_iter()
        .flat_map(|change| change.events)
        .collect();
    let read = backend.other.events(&session.session_id, 0, 10).await;
    assert_eq!(read.unwrap().unwrap(), expected);
    let names: Vec<_> = expected.iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        names,
        [
            "session.created",
            "session.joined",
            "session.updated",
            "session.ended"
        ]
    );
    // The name of the former doctor goes with them.
    assert!(matches!(expected[2].kind, EventKind::Updated { ref fields } if fields.len() == 3));
}

pub(crate) async fn one_event_of_each_kind_reads_back(backend: &Backend) {
    let store = backend.store.as_ref();
    let mut session = insert(store, "each-kind").await.session;
    let before = session.version;
    let now = crate::sample::now();
    let events: Vec<_> = (before + 1..)
        .zip(EventKind::examples())
        .map(|(sequence, kind)| {
            let session_id = session.session_id.clone();
            Event::new(sequence, session_id, now, Actor::Backend, kind)
        })
        .collect();
    session.version = events.last().expect("there are some").sequence;
    let change = Change { session, events };
    commit(store, &change).await;
    let session_id = &change.session.session_id;
    let read = backend.other.events(session_id, before, 100).await;
    assert_eq!(read.unwrap().unwrap(), change.events);
    let mut reader = Reader::from(&backend.others, &FeedCursor::start(), 100);
    reader.read_to_end().await;
    assert_eq!(reader.events_of(session_id)[1..], change.events);
}

pub(crate) async fn any_part_can_be_read(backend: &Backend) {
    let (session, events) = history(backend.store.as_ref(), "parts", 7).await;
    for after in -1..10_i64 {
        for limit in [1, 2, 6, 7, 8, 500] {
            let skipped = usize::try_from(after).unwrap_or(0);
            let expected: Vec<_> = events.iter().skip(skipped).take(limit).cloned().collect();
            let read = backend
                .other
                .events(&session.session_id, after, limit)
                .await;
            assert_eq!(
                read.unwrap(),
                Some(expected),
                "after {after}, at most {limit}"
            );
        }
    }
    let far = backend
        .store
        .events(&session.session_id, i64::MAX, 10)
        .await;
    assert_eq!(far.unwrap(), Some(Vec::new()));
}

pub(crate) async fn a_long_history_has_no_gap_from_anywhere(backend: &Backend) {
    const LENGTH: usize = 300;
    let (session, events) = history(backend.store.as_ref(), "long", LENGTH).await;
    for after in 0..=LENGTH {
        let from = i64::try_from(after).unwrap();
        let read = backend
            .handle(after)
            .events(&session.session_id, from, 500)
            .await;
        assert_eq!(read.unwrap().unwrap(), events[after..], "after {after}");
    }
    for page in [1, 10, 50, 64, 299] {
        let mut read: Vec<Event> = Vec::new();
        loop {
            let after = read.last().map_or(0, |event| event.sequence);
            let next = backend.store.events(&session.session_id, after, page).await;
            let next = next.unwrap().unwrap();
            assert!(next.len() <= page);
            if next.is_empty() {
                break;
            }
            read.extend(next);
        }
        assert_eq!(read, events, "{page} at a time");
    }
    let read = backend.other.get(&session.session_id).await.unwrap();
    assert_eq!(read, Some(session));
}

pub(crate) async fn readers_see_no_gap_while_writers_write(backend: &Backend) {
    const WRITERS: usize = 4;
    const CHANGES: usize = 50;
    const LAST: i64 = (WRITERS * CHANGES) as i64 + 1;
    let session_id = insert(backend.store.as_ref(), "watched")
        .await
        .session
        .session_id;
    let writers = (0..WRITERS).map(|n| {
        let (store, session_id) = (Arc::clone(backend.handle(n)), session_id.clone());
        tokio::spawn(async move {
            for _ in 0..CHANGES {
                commit_in_a_loop(store.as_ref(), &session_id, join).await;
            }
        })
    });
    let readers = [1, 3, 500].into_iter().enumerate().map(|(n, page)| {
        let (store, session_id) = (Arc::clone(backend.handle(n)), session_id.clone());
        tokio::spawn(async move {
            let mut after = 0;
            while after < LAST {
                let events = store
                    .events(&session_id, after, page)
                    .await
                    .unwrap()
                    .unwrap();
                for event in events {
                    assert_eq!(event.sequence, after + 1);
                    after = event.sequence;
                }
                // And everything again from the start.
                let all = store.events(&session_id, 0, 500).await.unwrap().unwrap();
                let sequences: Vec<_> = all.iter().map(|event| event.sequence).collect();
                let expected: Vec<_> = (1..).take(all.len()).collect();
                assert_eq!(sequences, expected);
                assert!(i64::try_from(all.len()).unwrap() >= after);
            }
        })
    });
    let all: Vec<_> = writers.chain(readers).collect();
    for task in join_all(all).await {
        task.unwrap();
    }
}
