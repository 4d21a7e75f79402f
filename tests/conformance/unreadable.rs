//! What cannot be read: records that are damaged, and those that a newer version wrote.

use std::collections::HashSet;

use serde_json::json;
use video_session::domain::event::EventKind;
use video_session::domain::id::SessionId;
use video_session::domain::page::{SessionFilter, SessionQuery};
use video_session::domain::session::Schedule;
use video_session::domain::time::Timestamp;
use video_session::store::StoreError;

use crate::backend::Backend;
use crate::sample::{
    commit, insert, join, request, scheduled_to_end_before, stored, unplaced, user,
};

/// The session that an error names.
fn named(error: &StoreError) -> Option<&SessionId> {
    match error {
        StoreError::Corrupt { session_id, .. } => session_id.as_ref(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn an_unreadable_session_is_named(backend: &Backend) {
    let store = backend.store.as_ref();
    let damages = [
        ("labels", json!(7)),
        ("state", json!("from-the-future")),
        ("admission", json!("from-the-future")),
        ("participants", json!([{"user_id": "user-1"}])),
        ("version", json!("one")),
    ];
    for (field, value) in damages {
        let session = insert(store, &format!("broken-{field}")).await.session;
        let before = store.get(&session.session_id).await.unwrap();
        assert_eq!(before.as_ref(), Some(&session));
        backend.set_field(&session.session_id, field, value).await;
        let read = store.get(&session.session_id).await.unwrap_err();
        assert_eq!(named(&read), Some(&session.session_id), "{field}");
        let read = store
            .latest_session(&session.appointment_id)
            .await
            .unwrap_err();
        assert_eq!(named(&read), Some(&session.session_id), "{field}");
    }
}

pub(crate) async fn an_unreadable_event_is_named(backend: &Backend) {
    let store = backend.store.as_ref();
    let created = insert(store, "broken-event").await.session;
    let session = commit(store, &join(&created)).await;
    // Of a known type, and without what that needs.
    backend
        .set_type_of_first_event(&session.session_id, "participant.muted")
        .await;
    for limit in [1, 10] {
        let read = store.events(&session.session_id, 0, limit).await;
        assert_eq!(named(&read.unwrap_err()), Some(&session.session_id));
    }
    // The session itself is none the worse, and so is the event after it.
    let read = store.get(&session.session_id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&session));
    let second = store.events(&session.session_id, 1, 1).await.unwrap();
    assert_eq!(second.unwrap()[0].sequence, 2);
}

/// As an instance of a newer version beside this one may write.
pub(crate) async fn events_of_a_newer_version_are_skipped(backend: &Backend) {
    let store = backend.store.as_ref();
    let created = insert(store, "newer-event").await.session;
    let session = commit(store, &join(&created)).await;
    let name = "recording.started".to_owned();
    backend
        .set_type_of_first_event(&session.session_id, &name)
        .await;
    let events = store.events(&session.session_id, 0, 10).await.unwrap();
    let kinds: Vec<_> = events
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds[0], EventKind::Unknown { name });
    assert_eq!(kinds.len(), 2);
    commit(store, &join(&session)).await;
}

pub(crate) async fn unreadable_sessions_take_their_places_in_a_list(backend: &Backend) {
    const COUNT: i64 = 12;
    let store = backend.store.as_ref();
    let mut all = Vec::new();
    let mut broken = HashSet::new();
    for n in 0..COUNT {
        let mut unplaced = unplaced(request(&format!("row-{n}")), None);
        let made = Timestamp::from_millis(1_790_000_000_000 + n);
        (unplaced.create_time, unplaced.session_id) = (made, SessionId::generate(made));
        let session_id = stored(store, unplaced).await.session.session_id;
        // The newest, the oldest, and several in a row.
        if [0, 4, 5, 6, COUNT - 1].contains(&n) {
            backend.set_field(&session_id, "labels", json!(7)).await;
            broken.insert(session_id.clone());
        }
        all.insert(0, session_id);
    }
    let of_user = SessionFilter {
        user_id: Some(user("doctor-1")),
        ..SessionFilter::default()
    };
    for filter in [SessionFilter::default(), of_user] {
        for limit in [1, 2, 5, 12, 100] {
            let mut read: Vec<SessionId> = Vec::new();
            loop {
                let query = SessionQuery {
                    filter: filter.clone(),
                    before: read.last().cloned(),
                    limit,
                };
                let page = backend.other.list(&query).await.unwrap();
                assert_eq!(page.len(), limit.min(all.len() - read.len()));
                for row in page {
                    let (session_id, readable) = match row {
                        Ok(session) => (session.session_id, true),
                        Err(row) => {
                            assert_eq!(named(&row.error), Some(&row.session_id));
                            (row.session_id, false)
                        }
                    };
                    assert_ne!(readable, broken.contains(&session_id));
                    read.push(session_id);
                }
                if read.len() == all.len() {
                    break;
                }
            }
            assert_eq!(read, all, "{limit} a page");
        }
    }
}

pub(crate) async fn filters_find_unreadable_sessions(backend: &Backend) {
    let store = backend.store.as_ref();
    let mut asked = request("over");
    asked.schedule = Schedule {
        start: None,
        end: Some(Timestamp::from_millis(1000)),
    };
    let session = stored(store, unplaced(asked, None)).await.session;
    backend
        .set_field(&session.session_id, "labels", json!(7))
        .await;
    let overdue = store
        .overdue_sessions(scheduled_to_end_before(Timestamp::from_millis(2000)), 10)
        .await;
    assert_eq!(overdue.unwrap(), [session.session_id]);
}
