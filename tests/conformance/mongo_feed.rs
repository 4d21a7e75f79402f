//! The feed on MongoDB: what it costs, and what it finds although times and visibility differ.

use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use video_session::domain::id::SessionId;
use video_session::store::{FeedCursor, SessionStore as _, StoreHealth as _, Stores};

use crate::events::history;
use crate::feed::Reader;
use crate::mongo::servers;
use crate::sample::{commit, insert, join};

async fn update(database: &Database, session_id: &SessionId, update: Document) {
    let sessions = database.collection::<Document>("sessions");
    let filter = doc! {"_id": session_id.as_str()};
    let outcome = sessions.update_one(filter, update).await.unwrap();
    assert_eq!(outcome.matched_count, 1);
}

/// Moves a new session's creation to a time.
async fn stamp(database: &Database, session_id: &SessionId, millis: i64) {
    let time = DateTime::from_millis(millis);
    let set = doc! {"$set": {"commit_time": time, "commit_times.1": time}};
    update(database, session_id, set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_page_costs_its_expected_queries() {
    for server in servers() {
        let (store, commands) = server.recorded_store().await;
        store.ping().await.unwrap();
        let stores = Stores::of(store);
        let sessions = stores.sessions.as_ref();
        let quiet = insert(sessions, "feed-cost-quiet").await.session;
        let (mut session, _) = history(sessions, "feed-cost", 5).await;
        commands.take();
        let now = stores.feed.now().await.unwrap();
        assert_eq!(commands.take(), ["find sessions", "find sessions"]);
        let mut reader = Reader::from(&stores, &now, 100);
        for _ in 0..3 {
            assert!(!reader.step().await);
            assert_eq!(commands.take(), ["find sessions"], "nothing happened");
        }
        session = commit(sessions, &join(&session)).await;
        commit(sessions, &join(&quiet)).await;
        commands.take();
        reader.step().await;
        assert_eq!(commands.take(), ["find sessions", "find sessions"]);
        assert_eq!(reader.events_of(&session.session_id).len(), 1);
        assert_eq!(reader.events_of(&quiet.session_id).len(), 1);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_change_that_becomes_visible_late_is_not_missed() {
    const AT: i64 = 1_790_000_000_000;
    for server in servers() {
        let stores = Stores::of(server.store().await);
        let raw = server.raw().await;
        for (name, time) in [("feed-old", AT), ("feed-newest", AT + 60_000)] {
            let session = insert(stores.sessions.as_ref(), name).await.session;
            stamp(&raw, &session.session_id, time).await;
        }
        let mut reader = Reader::from(&stores, &FeedCursor::start(), 100);
        reader.read_to_end().await;
        // Its time is before the newest that was read.
        let late = insert(stores.sessions.as_ref(), "feed-late").await;
        let session_id = &late.session.session_id;
        stamp(&raw, session_id, AT + 58_000).await;
        reader.read_to_end().await;
        assert_eq!(reader.events_of(session_id), late.events);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_session_that_moves_on_before_it_is_read_loses_nothing() {
    const AT: i64 = 1_700_000_000_000;
    for server in servers() {
        let stores = server.store_without_overlap().await;
        let sessions = stores.sessions.as_ref();
        let raw = server.raw().await;
        let mut all = Vec::new();
        for n in 0..8 {
            let session = insert(sessions, &format!("feed-moves-{n}")).await.session;
            stamp(&raw, &session.session_id, AT + n * 60_000).await;
            all.push(session);
        }
        let mut reader = Reader::from(&stores, &FeedCursor::start(), 1);
        for _ in 0..3 {
            assert!(reader.step().await);
        }
        // The reader has yet to come to where this one stands, and passes that place when it is gone.
        let moving = commit(sessions, &join(&all[5])).await;
        reader.read_to_end().await;
        for session in &all {
            let events = sessions.events(&session.session_id, 0, 10).await.unwrap();
            assert_eq!(reader.events_of(&session.session_id), events.unwrap());
        }
        assert_eq!(reader.events_of(&moving.session_id).len(), 2);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_session_of_a_former_version_appears_with_its_next_change() {
    for server in servers() {
        let store = server.store().await;
        let stores = Stores::of(store.clone());
        let (former, _) = history(store.as_ref(), "feed-former", 20).await;
        let session_id = &former.session_id;
        let unset = doc! {"$unset": {"commit_time": "", "commit_times": ""}};
        update(&server.raw().await, session_id, unset).await;
        let empty = stores.feed.now().await.unwrap();
        insert(store.as_ref(), "feed-new").await;
        let now = stores.feed.now().await.unwrap();
        for cursor in [&now, &FeedCursor::start()] {
            let mut reader = Reader::from(&stores, cursor, 100);
            reader.read_to_end().await;
            assert_eq!(
                reader.events_of(session_id),
                [],
                "nothing says when it changed"
            );
        }
        let change = join(&former);
        commit(store.as_ref(), &change).await;
        for cursor in [&now, &empty] {
            let mut reader = Reader::from(&stores, cursor, 100);
            reader.read_to_end().await;
            assert_eq!(reader.events_of(session_id).last(), change.events.last());
        }
        let mut reader = Reader::from(&stores, &FeedCursor::start(), 100);
        reader.read_to_end().await;
        let all = store.events(session_id, 0, 100).await.unwrap();
        assert_eq!(reader.events_of(session_id), all.unwrap());
        server.drop_database().await;
    }
}
