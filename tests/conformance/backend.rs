//! The stores that the suite runs on.

use std::path::Path;
use std::sync::Arc;

use mongodb::Database;
use mongodb::bson::{Bson, Document, deserialize_from_bson, doc, serialize_to_bson};
use rusqlite::params;
use serde_json::Value;
use tempfile::TempDir;
use video_session::domain::id::SessionId;
use video_session::store::observed::ObservedStore;
use video_session::store::sqlite::{Config, SqliteStore};
use video_session::store::{SessionStore, Stores};
use video_session::telemetry::metrics::Metrics;

/// An empty store.
pub(crate) struct Backend {
    /// The sessions of `stores`.
    pub(crate) store: Arc<dyn SessionStore>,
    /// The sessions of `others`.
    pub(crate) other: Arc<dyn SessionStore>,
    /// The store.
    pub(crate) stores: Stores,
    /// Another handle on the same data, as another instance has it; the same handle where only one may exist.
    pub(crate) others: Stores,
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
    pub(crate) fn new(stores: Stores, others: Stores, raw: Raw) -> Self {
        Self {
            store: Arc::clone(&stores.sessions),
            other: Arc::clone(&others.sessions),
            stores,
            others,
            raw,
        }
    }

    /// Sets a field of a session's record behind the store's back: `name`, or `list.0.name`.
    pub(crate) async fn set_field(&self, session_id: &SessionId, field: &str, value: Value) {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql =
                    "UPDATE sessions SET body = json_set(body, ?2, json(?3)) WHERE session_id = ?1";
                let values = params![session_id.as_str(), json_path(field), value.to_string()];
                assert_eq!(database(dir).execute(sql, values).unwrap(), 1);
            }
            Raw::Mongo(database) => {
                let set = doc! {"$set": {field: serialize_to_bson(&value).unwrap()}};
                update(database, session_id, set).await;
            }
        }
    }

    /// A field of a session's record as it is stored.
    pub(crate) async fn field(&self, session_id: &SessionId, field: &str) -> Option<Value> {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql = "SELECT body -> ?2 FROM sessions WHERE session_id = ?1";
                let values = params![session_id.as_str(), json_path(field)];
                let found: Option<String> = database(dir)
                    .query_row(sql, values, |row| row.get(0))
                    .unwrap();
                found.map(|text| serde_json::from_str(&text).unwrap())
            }
            Raw::Mongo(database) => {
                let sessions = database.collection::<Document>("sessions");
                let filter = doc! {"_id": session_id.as_str()};
                let document = sessions.find_one(filter).await.unwrap().unwrap();
                let mut value: Value = deserialize_from_bson(Bson::Document(document)).unwrap();
                field.split('.').try_for_each(|name| {
                    let inner = match name.parse::<usize>() {
                        Ok(index) => value.get_mut(index),
                        Err(_) => value.get_mut(name),
                    };
                    value = inner?.take();
                    Some(())
                })?;
                Some(value)
            }
        }
    }

    /// Gives a session's first event an unknown type.
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

    /// Writes a heartbeat as a version did that observed no nodes.
    pub(crate) async fn write_former_heartbeat(&self, instance_id: &str, number: i64) {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql = "INSERT INTO instances (instance_id, expires_ms) VALUES (?1, ?2)";
                let changed = database(dir).execute(sql, params![instance_id, number]);
                assert_eq!(changed.unwrap(), 1);
            }
            Raw::Mongo(database) => {
                let instances = database.collection::<Document>("instances");
                let document = doc! {"_id": instance_id, "expires_ms": number};
                instances.insert_one(document).await.unwrap();
            }
        }
    }

    /// Sets a field of a node's record behind the store's back.
    pub(crate) async fn set_node_field(&self, node_id: &str, field: &str, value: Value) {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql = "UPDATE nodes SET body = json_set(body, ?2, json(?3)) WHERE node_id = ?1";
                let values = params![node_id, json_path(field), value.to_string()];
                assert_eq!(database(dir).execute(sql, values).unwrap(), 1);
            }
            Raw::Mongo(database) => {
                let set = doc! {"$set": {field: serialize_to_bson(&value).unwrap()}};
                let nodes = database.collection::<Document>("nodes");
                let outcome = nodes.update_one(doc! {"_id": node_id}, set).await.unwrap();
                assert_eq!(outcome.matched_count, 1);
            }
        }
    }

    /// A field of a node's record as it is stored.
    pub(crate) async fn node_field(&self, node_id: &str, field: &str) -> Option<Value> {
        match &self.raw {
            Raw::Embedded(dir) => {
                let sql = "SELECT body -> ?2 FROM nodes WHERE node_id = ?1";
                let values = params![node_id, json_path(field)];
                let found: Option<String> = database(dir)
                    .query_row(sql, values, |row| row.get(0))
                    .unwrap();
                found.map(|text| serde_json::from_str(&text).unwrap())
            }
            Raw::Mongo(database) => {
                let nodes = database.collection::<Document>("nodes");
                let document = nodes.find_one(doc! {"_id": node_id}).await.unwrap()?;
                let value: Value = deserialize_from_bson(Bson::Document(document)).unwrap();
                value.get(field).cloned()
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

/// `list.0.name` as SQLite writes it.
fn json_path(field: &str) -> String {
    field.split('.').fold("$".to_owned(), |path, name| {
        if name.parse::<usize>().is_ok() {
            format!("{path}[{name}]")
        } else {
            format!("{path}.{name}")
        }
    })
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

fn embedded(wrap: impl FnOnce(Stores) -> Stores) -> Backend {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let stores = wrap(Stores::of(Arc::new(open(dir.path()))));
    Backend::new(stores.clone(), stores, Raw::Embedded(dir))
}

pub(crate) fn sqlite() -> Backend {
    embedded(|stores| stores)
}

pub(crate) fn observed() -> Backend {
    embedded(|stores| {
        let metrics = Arc::new(Metrics::default());
        Stores::of(Arc::new(ObservedStore::new(stores, metrics)))
    })
}

mod only_embedded {
    use super::*;
    use crate::feed::Reader;
    use crate::sample::{commit, end, insert, join, request, scheduled_to_end_before};
    use video_session::domain::id::AppointmentId;
    use video_session::domain::participant::Admission;
    use video_session::domain::place::Driver;
    use video_session::domain::session::SessionState;
    use video_session::domain::time::Timestamp;
    use video_session::domain::unknown::UnknownFields;
    use video_session::store::sqlite::OpenError;
    use video_session::store::{
        Committed, FeedCursor, Heartbeat, OverdueBounds, StoreError, StoreHealth as _,
    };

    #[tokio::test]
    async fn a_reopened_store_has_what_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = Vec::new();
        for n in 0..4 {
            let store = open(dir.path());
            for earlier in 0..n {
                let id = request(&format!("reopen-{earlier}")).appointment_id;
                assert!(store.latest_session(&id).await.unwrap().is_some());
            }
            let change = insert(&store, &format!("reopen-{n}")).await;
            nodes.push(change.session.place.node_id.to_string());
            store.close().await;
        }
        assert_eq!(
            nodes,
            ["sfu-1", "sfu-2", "sfu-3", "sfu-1"],
            "the rotation goes on where it was"
        );
    }

    #[tokio::test]
    async fn an_unchangeable_session_does_not_block_others() {
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
    async fn a_closed_store_has_stored_queued_writes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(open(dir.path()));
        let inserts: Vec<_> = (0..50)
            .map(|n| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let unplaced = crate::sample::unplaced(request(&format!("close-{n}")), None);
                    store.insert(crate::sample::new_session(unplaced, 3)).await
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
            let over = store
                .overdue_sessions(scheduled_to_end_before(at(1_730_000_600_001)), 10)
                .await;
            assert_eq!(
                over.unwrap(),
                [id],
                "its end is known, the ended one is left alone"
            );
            store.close().await;
        }
        let store = open(dir.path());
        let appointment_id = AppointmentId::parse("appt-2").unwrap();
        let ended = store
            .latest_session(&appointment_id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (ended.state, &*ended.end_reason),
            (SessionState::Ended, "over")
        );
        let change = insert(&store, "appt-3").await;
        assert_eq!(
            change.session.place.node_id.as_str(),
            "sfu-3",
            "the rotation goes on"
        );
        let joined = commit(&store, &join(&change.session)).await;
        commit(&store, &end(&joined, "")).await;
    }

    /// A file as the version before the feed wrote it.
    const SCHEMA_2: &str = include_str!("../fixtures/schema_2.sql");

    #[tokio::test]
    async fn a_file_of_the_second_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let db = rusqlite::Connection::open(dir.path().join("video-session.db")).unwrap();
        db.execute_batch(SCHEMA_2).unwrap();
        drop(db);
        let live = SessionId::from_stored("sess_0192a0b1c2d37e4f8a5b6c7d8e9f0a1b".to_owned());
        let ended = SessionId::from_stored("sess_0192a0b1c2d47e4f8a5b6c7d8e9f0a1c".to_owned());
        // The second time, there is nothing left to do.
        for _ in 0..2 {
            let stores = Stores::of(Arc::new(open(dir.path())));
            let mut reader = Reader::from(&stores, &FeedCursor::start(), 2);
            reader.read_to_end().await;
            for (session_id, length) in [(&live, 4), (&ended, 2)] {
                let events = stores.sessions.events(session_id, 0, 10).await;
                let events = events.unwrap().unwrap();
                assert_eq!(events.len(), length);
                assert_eq!(
                    reader.events_of(session_id),
                    events,
                    "the feed has them, too"
                );
            }
            let session = stores.sessions.get(&live).await.unwrap().unwrap();
            assert_eq!(session.place.room_name, format!("room_{live}"));
            assert_eq!(
                (session.place.driver, session.place.generation),
                (Driver::Builtin, 1)
            );
            assert_eq!(session.participants[0].display_name, "Dr. One");
            assert_eq!(session.unknown_fields, UnknownFields::default());
            let held = stores.instances.sessions_held_by("one", 10).await.unwrap();
            assert_eq!(held, std::slice::from_ref(&live));
            stores.health.close().await;
        }
        let stores = Stores::of(Arc::new(open(dir.path())));
        let now = stores.feed.now().await.unwrap();
        let session = stores.sessions.get(&live).await.unwrap().unwrap();
        let change = join(&session);
        commit(stores.sessions.as_ref(), &change).await;
        let mut reader = Reader::from(&stores, &now, 10);
        reader.read_to_end().await;
        assert_eq!(reader.events_of(&live), change.events);
    }

    /// A file as the version before the states of nodes wrote it.
    const SCHEMA_3: &str = include_str!("../fixtures/schema_3.sql");

    #[tokio::test]
    async fn a_file_of_the_third_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let db = rusqlite::Connection::open(dir.path().join("video-session.db")).unwrap();
        db.execute_batch(SCHEMA_3).unwrap();
        drop(db);
        // The second time, there is nothing left to do.
        for _ in 0..2 {
            let stores = Stores::of(Arc::new(open(dir.path())));
            let mut reader = Reader::from(&stores, &FeedCursor::start(), 2);
            reader.read_to_end().await;
            let live = SessionId::from_stored("sess_0192a0b1c2d37e4f8a5b6c7d8e9f0a1b".to_owned());
            assert_eq!(reader.events_of(&live).len(), 4);
            let heartbeats = stores.instances.heartbeats(10).await.unwrap();
            assert_eq!(heartbeats, [Heartbeat::new("one", 7)]);
            assert_eq!(stores.nodes.node_records().await.unwrap(), []);
            let uses = stores.nodes.node_uses().await.unwrap();
            assert_eq!(uses.len(), 1, "the ended one is on none");
            let on_node = &uses[0];
            assert_eq!((on_node.sessions_live, on_node.participants), (1, 1));
            stores.health.close().await;
        }
        let stores = Stores::of(Arc::new(open(dir.path())));
        let change = insert(stores.sessions.as_ref(), "appt-3").await;
        let node_id = change.session.place.node_id;
        assert_eq!(node_id.as_str(), "sfu-3", "the rotation goes on");
    }

    /// A file as the version before own empty timeouts wrote it.
    const SCHEMA_4: &str = include_str!("../fixtures/schema_4.sql");

    #[tokio::test]
    async fn a_file_of_the_fourth_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let db = rusqlite::Connection::open(dir.path().join("video-session.db")).unwrap();
        db.execute_batch(SCHEMA_4).unwrap();
        drop(db);
        // The second time, there is nothing left to do.
        for _ in 0..2 {
            let store = open(dir.path());
            let id = SessionId::from_stored("sess_0192a0b1c2d37e4f8a5b6c7d8e9f0a1b".to_owned());
            let session = store.get(&id).await.unwrap().expect("it was stored");
            assert_eq!(session.empty_timeout_secs, None);
            assert!(!session.open_to_guests);
            let bounds = OverdueBounds {
                ends_before: Timestamp::from_millis(0),
                empty_before: None,
                empty_deadline_before: Timestamp::MAX,
            };
            assert_eq!(store.overdue_sessions(bounds, 10).await.unwrap(), []);
            store.close().await;
        }
    }

    /// A file as the version before short links wrote it.
    const SCHEMA_5: &str = include_str!("../fixtures/schema_5.sql");

    #[tokio::test]
    async fn a_file_of_the_fifth_schema_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let db = rusqlite::Connection::open(dir.path().join("video-session.db")).unwrap();
        db.execute_batch(SCHEMA_5).unwrap();
        drop(db);
        // The second time, there is a link already.
        for links in [0, 1] {
            let store = open(dir.path());
            let id = SessionId::from_stored("sess_0192a0b1c2d37e4f8a5b6c7d8e9f0a1b".to_owned());
            let session = store.get(&id).await.unwrap().expect("it was stored");
            assert_eq!(session.short_links.len(), links);
            let joined = join(&session);
            assert_eq!(store.commit(&joined).await.unwrap(), Committed::Stored);
            let digest = &joined.session.short_links[0].digest;
            let found = store.session_by_short_link(digest).await.unwrap();
            assert_eq!(found.map(|session| session.session_id), Some(id));
            store.close().await;
        }
    }

    #[tokio::test]
    async fn only_a_store_that_others_can_use_is_shared() {
        assert!(!sqlite().stores.health.is_shared());
        assert!(!observed().stores.health.is_shared());
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
