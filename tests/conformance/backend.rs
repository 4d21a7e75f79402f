//! The stores that the suite runs on.

use std::path::Path;
use std::sync::Arc;

use mongodb::Database;
use mongodb::bson::{Document, doc, serialize_to_bson};
use rusqlite::params;
use serde_json::Value;
use tempfile::TempDir;
use video_session::domain::id::SessionId;
use video_session::store::SessionStore;
use video_session::store::observed::ObservedStore;
use video_session::store::sqlite::{Config, SqliteStore};
use video_session::telemetry::metrics::Metrics;

/// An empty store.
pub(crate) struct Backend {
    /// The store.
    pub(crate) store: Arc<dyn SessionStore>,
    /// Another handle on the same data, as another instance has it; the same handle where only one may exist.
    pub(crate) other: Arc<dyn SessionStore>,
    raw: Raw,
}

/// The way to the data that leads past the store.
pub(crate) enum Raw {
    /// The directory that holds the file.
    Embedded(TempDir),
    /// The database.
    Mongo(Database),
}

impl Backend {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        other: Arc<dyn SessionStore>,
        raw: Raw,
    ) -> Self {
        Self { store, other, raw }
    }

    /// Sets a field of a session's record behind the store's back.
    pub(crate) async fn set_field(&self, session_id: &SessionId, field: &str, value: Value) {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql = "UPDATE sessions SET body = json_set(body, '$.' || ?2, json(?3)) WHERE session_id = ?1";
                let values = params![session_id.as_str(), field, value.to_string()];
                assert_eq!(database(dir).execute(sql, values).unwrap(), 1);
            }
            Raw::Mongo(database) => {
                let set = doc! {"$set": {field: serialize_to_bson(&value).unwrap()}};
                update(database, session_id, set).await;
            }
        }
    }

    /// Gives a session's first event a type that nobody knows.
    pub(crate) async fn set_type_of_first_event(&self, session_id: &SessionId, name: &str) {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql = "UPDATE events SET body = json_set(body, '$.type', ?2) WHERE sequence = 1 \
                           AND session = (SELECT n FROM sessions WHERE session_id = ?1)";
                let changed = database(dir)
                    .execute(sql, [session_id.as_str(), name])
                    .unwrap();
                assert_eq!(changed, 1);
            }
            Raw::Mongo(database) => {
                let set = doc! {"$set": {"tail.0.type": name}};
                update(database, session_id, set).await;
            }
        }
    }

    /// Both handles in turn.
    pub(crate) fn handle(&self, n: usize) -> &Arc<dyn SessionStore> {
        if n.is_multiple_of(2) {
            &self.store
        } else {
            &self.other
        }
    }
}

fn database(dir: &TempDir) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.path().join("video-session.db")).unwrap()
}

async fn update(database: &Database, session_id: &SessionId, update: Document) {
    let sessions = database.collection::<Document>("sessions");
    let filter = doc! {"_id": session_id.as_str()};
    let outcome = sessions.update_one(filter, update).await.unwrap();
    assert_eq!(outcome.matched_count, 1);
}

pub(crate) fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(&Config {
        data_dir: dir.to_owned(),
        readers: 2,
        queue_max: 4096,
        batch_max: 256,
    })
    .expect("an empty directory can be used")
}

fn embedded(wrap: impl FnOnce(SqliteStore) -> Arc<dyn SessionStore>) -> Backend {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = wrap(open(dir.path()));
    Backend {
        other: Arc::clone(&store),
        store,
        raw: Raw::Embedded(dir),
    }
}

pub(crate) fn sqlite() -> Backend {
    embedded(|store| Arc::new(store))
}

pub(crate) fn observed() -> Backend {
    embedded(|store| {
        let metrics = Arc::new(Metrics::default());
        Arc::new(ObservedStore::new(Arc::new(store), metrics))
    })
}

mod only_embedded {
    use super::*;
    use crate::sample::{commit, end, insert, join, request};
    use video_session::domain::id::AppointmentId;
    use video_session::domain::participant::Admission;
    use video_session::domain::session::SessionState;
    use video_session::domain::time::Timestamp;
    use video_session::store::sqlite::OpenError;
    use video_session::store::{Committed, StoreError};

    #[tokio::test]
    async fn what_was_stored_is_there_when_the_store_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = Vec::new();
        for n in 0..4 {
            let store = open(dir.path());
            for earlier in 0..n {
                let id = request(&format!("reopen-{earlier}")).appointment_id;
                assert!(store.latest(&id).await.unwrap().is_some());
            }
            let change = insert(&store, &format!("reopen-{n}")).await;
            nodes.push(change.session.sfu_node_id.to_string());
            store.close().await;
        }
        assert_eq!(
            nodes,
            ["sfu-1", "sfu-2", "sfu-3", "sfu-1"],
            "the rotation goes on where it was"
        );
    }

    #[tokio::test]
    async fn a_session_that_cannot_be_changed_stands_in_no_others_way() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(open(dir.path()));
        let broken = insert(store.as_ref(), "appt-broken").await.session;
        let mut others = Vec::new();
        for n in 0..50 {
            others.push(insert(store.as_ref(), &format!("appt-{n}")).await.session);
        }
        store.close().await;
        drop(store);
        let file = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "db"))
            .unwrap();
        // The event that its next change would write is there already.
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute(
                "INSERT INTO events (session, sequence, body) \
                 SELECT n, 2, '{}' FROM sessions WHERE session_id = ?1",
                [broken.session_id.as_str()],
            )
            .unwrap();
        let store = Arc::new(open(dir.path()));
        let changes: Vec<_> = [&broken].into_iter().chain(&others).map(join).collect();
        let commits = changes.iter().map(|change| store.commit(change));
        let mut outcomes = futures::future::join_all(commits).await.into_iter();
        assert!(matches!(
            outcomes.next(),
            Some(Err(StoreError::Corrupt { .. }))
        ));
        for outcome in outcomes {
            assert_eq!(outcome.unwrap(), Committed::Stored);
        }
    }

    #[tokio::test]
    async fn a_store_that_is_closed_has_stored_what_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(open(dir.path()));
        let inserts: Vec<_> = (0..50)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let unplaced = crate::sample::unplaced(request(&format!("close-{n}")), None);
                    store.insert(unplaced, &crate::sample::rotation(3)).await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        store.close().await;
        let mut stored = Vec::new();
        for insert in inserts {
            match insert.await.unwrap() {
                Ok(video_session::store::Inserted::Stored(change)) => stored.push(change.session),
                Ok(other) => panic!("{other:?}"),
                // Came after the close.
                Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}"),
            }
        }
        drop(store);
        let store = open(dir.path());
        for session in stored {
            assert_eq!(store.get(&session.session_id).await.unwrap(), Some(session));
        }
    }

    /// A file as the first version wrote it: its tables, and sessions and events as they stood in them.
    const SCHEMA_1: &str = include_str!("../fixtures/schema_1.sql");

    #[tokio::test]
    async fn a_file_of_the_first_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("video-session.db");
        let db = rusqlite::Connection::open(&file).unwrap();
        db.execute_batch(SCHEMA_1).unwrap();
        drop(db);
        // The second time, there is nothing left to do.
        for _ in 0..2 {
            let store = open(dir.path());
            let id = SessionId::from_stored("sess_0192a0b1c2d37e4f8a5b6c7d8e9f0a1b".to_owned());
            let session = store.get(&id).await.unwrap().expect("it was stored");
            assert_eq!((session.state, session.version), (SessionState::Created, 2));
            assert_eq!(session.labels["ward"], "7");
            assert_eq!(session.admission, Admission::WhenHostPresent);
            assert_eq!(session.max_participants, 8);
            assert!(session.participants.is_empty() && session.invites.is_empty());
            let events = store.events(&id, 0, 10).await.unwrap().unwrap();
            let names: Vec<_> = events.iter().map(|event| event.kind.name()).collect();
            assert_eq!(names, ["session.created", "session.joined"]);
            let at = Timestamp::from_millis;
            let over = store.overdue(at(1_730_000_600_001), None, 10).await;
            assert_eq!(
                over.unwrap(),
                [id],
                "its end is known, the ended one is left alone"
            );
            store.close().await;
        }
        let store = open(dir.path());
        let appointment_id = AppointmentId::parse("appt-2").unwrap();
        let ended = store.latest(&appointment_id).await.unwrap().unwrap();
        assert_eq!(
            (ended.state, &*ended.end_reason),
            (SessionState::Ended, "over")
        );
        let change = insert(&store, "appt-3").await;
        assert_eq!(
            change.session.sfu_node_id.as_str(),
            "sfu-3",
            "the rotation goes on"
        );
        let joined = commit(&store, &join(&change.session)).await;
        commit(&store, &end(&joined, "")).await;
    }

    #[tokio::test]
    async fn only_a_store_that_others_can_use_is_shared() {
        assert!(!sqlite().store.is_shared());
        assert!(!observed().store.is_shared());
    }

    #[tokio::test]
    async fn a_second_process_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let config = Config {
            data_dir: dir.path().to_owned(),
            readers: 1,
            queue_max: 1,
            batch_max: 1,
        };
        assert!(matches!(SqliteStore::open(&config), Err(OpenError::InUse)));
        drop(store);
        assert!(SqliteStore::open(&config).is_ok());
    }
}
