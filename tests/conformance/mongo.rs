//! The MongoDB store: where the suite runs on it, and what only it promises.
//!
//! The suite runs on the peer that `.ci/run` installs and, besides, on the server that TEST_MONGO_URI names, in a database
//! of its own. The peer passes every case as it stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use secrecy::SecretString;
use video_session::domain::id::{SessionId, random_id};
use video_session::store::mongo::{Config, MongoStore, client_options};
use video_session::store::{
    Committed, Inserted, SessionStore as _, StoreError, StoreHealth as _, Stores,
};

use crate::backend::{Backend, Raw};
use crate::events::history;
use crate::peers::MongoPeer;
use crate::sample::{
    commit, end, insert, join, new_session, request, scheduled_to_end_before, unplaced,
};

/// Long enough for a machine under load: these tests are not about time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much later than others a write may become visible.
const OVERLAP: Duration = Duration::from_secs(5);

/// A database of its own on some server.
pub(crate) struct Server {
    uri: String,
    database: String,
}

/// The peer, and the server that TEST_MONGO_URI names.
pub(crate) fn servers() -> Vec<Server> {
    static PEER: OnceLock<MongoPeer> = OnceLock::new();
    let peer = PEER.get_or_init(|| MongoPeer::start(0));
    let named = std::env::var("TEST_MONGO_URI").ok();
    [Some(format!("mongodb://{}", peer.addr)), named]
        .into_iter()
        .flatten()
        .map(|uri| Server {
            uri,
            database: format!("video_session_test_{}", random_id()),
        })
        .collect()
}

/// The commands that a client sent, and the first names in them.
#[derive(Clone, Default)]
pub(crate) struct Commands(Arc<Mutex<Vec<Document>>>);

impl Commands {
    /// What was sent since the last call, as `command collection`.
    pub(crate) fn take(&self) -> Vec<String> {
        let sent = std::mem::take(&mut *self.0.lock().unwrap());
        let name = |command: &Document| {
            let (name, value) = command.iter().next().expect("a command has a name");
            format!("{name} {}", value.as_str().unwrap_or_default())
        };
        sent.iter().map(name).collect()
    }
}

impl Server {
    pub(crate) fn config(&self) -> Config {
        Config {
            uri: SecretString::from(self.uri.clone()),
            timeout: TIMEOUT,
            index_timeout: TIMEOUT,
            pool_max: 32,
            pool_min: 0,
            connecting_max: 8,
            feed_overlap: OVERLAP,
        }
    }

    pub(crate) async fn options(&self) -> ClientOptions {
        let mut options = client_options(&self.config()).await.expect("a good URI");
        options.default_database = Some(self.database.clone());
        options
    }

    pub(crate) async fn store(&self) -> Arc<MongoStore> {
        Arc::new(MongoStore::new(self.options().await, &self.config()).expect("good options"))
    }

    /// A store whose feed does not look back, so that a test need not wait for it to go on.
    pub(crate) async fn store_without_overlap(&self) -> Stores {
        let config = Config {
            feed_overlap: Duration::ZERO,
            ..self.config()
        };
        let store = MongoStore::new(self.options().await, &config).expect("good options");
        Stores::of(Arc::new(store))
    }

    /// A store whose commands are recorded.
    pub(crate) async fn recorded_store(&self) -> (Arc<MongoStore>, Commands) {
        let (mut options, commands) = (self.options().await, Commands::default());
        let record = commands.clone();
        options.command_event_handler = Some(EventHandler::callback(move |event| {
            if let CommandEvent::Started(started) = event {
                record.0.lock().unwrap().push(started.command);
            }
        }));
        let store = MongoStore::new(options, &self.config()).expect("good options");
        (Arc::new(store), commands)
    }

    pub(crate) async fn backend(&self) -> Backend {
        let (first, second) = (self.store().await, self.store().await);
        let (first, second) = (Stores::of(first), Stores::of(second));
        Backend::new(first, second, Raw::Mongo(self.raw().await))
    }

    pub(crate) async fn raw(&self) -> Database {
        let client = Client::with_options(self.options().await).expect("good options");
        client.database(&self.database)
    }

    pub(crate) async fn clean_up(self, backend: Backend) {
        backend.stores.health.close().await;
        backend.others.health.close().await;
        self.drop_database().await;
    }

    pub(crate) async fn drop_database(self) {
        self.raw()
            .await
            .drop()
            .await
            .expect("a database of our own");
    }
}

/// Polls until `condition` gives something.
async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn document(database: &Database, session_id: &SessionId) -> Document {
    let sessions = database.collection::<Document>("sessions");
    let found = sessions.find_one(doc! {"_id": session_id.as_str()}).await;
    found.unwrap().expect("the session is stored")
}

async fn archived(database: &Database, session_id: &SessionId) -> Vec<i64> {
    let archive = database.collection::<Document>("session_events");
    let cursor = archive
        .find(doc! {"session_id": session_id.as_str()})
        .sort(doc! {"sequence": 1})
        .await
        .unwrap();
    let documents: Vec<Document> = futures::TryStreamExt::try_collect(cursor).await.unwrap();
    let sequence = |document: &Document| document.get_i64("sequence").unwrap();
    documents.iter().map(sequence).collect()
}

fn tail(document: &Document) -> Vec<i64> {
    let events = document.get_array("tail").unwrap().iter();
    let sequence = |event: &mongodb::bson::Bson| event.as_document().unwrap().get_i64("sequence");
    events.map(|event| sequence(event).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_session_joined_often_is_a_small_document_and_a_cheap_commit() {
    const LENGTH: i64 = 300;
    for server in servers() {
        let (store, commands) = server.recorded_store().await;
        let raw = server.raw().await;
        let mut session = insert(store.as_ref(), "often").await.session;
        let first_size = document(&raw, &session.session_id)
            .await
            .to_vec()
            .unwrap()
            .len();
        commands.take();
        let mut sent = Vec::new();
        for version in 2..=LENGTH {
            session = commit(store.as_ref(), &join(&session)).await;
            sent.extend(commands.take());
            if version % 50 == 0 {
                let size = document(&raw, &session.session_id)
                    .await
                    .to_vec()
                    .unwrap()
                    .len();
                assert!(size < first_size + 64 * 300, "{size} bytes at {version}");
            }
        }
        // The last archiving leaves nothing older than itself.
        let last_archived = LENGTH - LENGTH % 16;
        let document = until("the tail is moved", async || {
            let document = document(&raw, &session.session_id).await;
            let moved = tail(&document)
                .first()
                .is_none_or(|first| *first > last_archived - 16);
            moved.then_some(document)
        })
        .await;
        let size = document.to_vec().unwrap().len();
        assert!(size < first_size + 32 * 300, "{size} bytes at the end");
        let archived = archived(&raw, &session.session_id).await;
        let expected: Vec<_> = (1..=*archived.last().unwrap()).collect();
        assert_eq!(archived, expected, "nothing is archived twice or left out");
        assert_eq!(document.get_i64("version").unwrap(), LENGTH);

        sent.extend(commands.take());
        let mut counts: HashMap<String, i64> = HashMap::new();
        for command in sent {
            *counts.entry(command).or_default() += 1;
        }
        let archivings = LENGTH / 16;
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        let updates = count("update sessions");
        assert!(
            (LENGTH - 1..=LENGTH - 1 + archivings).contains(&updates),
            "{counts:?}"
        );
        assert!(count("insert session_events") <= archivings, "{counts:?}");
        assert!(count("find sessions") <= archivings, "{counts:?}");
        let known = ["update sessions", "insert session_events", "find sessions"];
        assert!(
            counts.keys().all(|name| known.contains(&name.as_str())),
            "{counts:?}"
        );
        store.close().await;
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_commit_with_a_lost_outcome_is_recognised() {
    for server in servers() {
        let (store, other) = (server.store().await, server.store().await);
        let raw = server.raw().await;
        let created = insert(store.as_ref(), "lost").await.session;
        let change = join(&created);
        let mut session = commit(store.as_ref(), &change).await;
        for handle in [&store, &other] {
            assert_eq!(handle.commit(&change).await.unwrap(), Committed::Stored);
        }
        // Others have gone on since, and in the end the event has left the document.
        let mut archived_it = false;
        while !archived_it {
            session = commit(other.as_ref(), &join(&session)).await;
            assert_eq!(store.commit(&change).await.unwrap(), Committed::Stored);
            // The same place, another write.
            let rival = join(&created);
            assert_eq!(store.commit(&rival).await.unwrap(), Committed::Conflict);
            archived_it = !tail(&document(&raw, &created.session_id).await).contains(&2);
            assert!(session.version < 200, "the tail was never moved");
        }
        for handle in [&store, &other] {
            assert_eq!(handle.commit(&change).await.unwrap(), Committed::Stored);
            assert_eq!(
                handle.commit(&join(&created)).await.unwrap(),
                Committed::Conflict
            );
        }
        let read = store.get(&created.session_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&session), "nothing was applied twice");
        let events = crate::sessions::sequences(store.as_ref(), &created.session_id).await;
        assert_eq!(events, (1..=session.version).collect::<Vec<_>>());
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_full_tail_is_moved_before_anything_is_added() {
    for server in servers() {
        let store = server.store().await;
        let raw = server.raw().await;
        let (session, events) = history(store.as_ref(), "full", 10).await;
        // As when every archiving since has failed: the document as sixty-four commits would have left it.
        let mut document = document(&raw, &session.session_id).await;
        let mut session = session;
        let mut expected: Vec<_> = events.iter().map(|event| event.write_id.clone()).collect();
        let mut tail_events = document.get_array("tail").unwrap().clone();
        while tail_events.len() < 64 {
            let change = join(&session);
            let mut event = tail_events.last().unwrap().as_document().unwrap().clone();
            event.insert("sequence", change.session.version);
            event.insert("write_id", change.write_id());
            tail_events.push(event.into());
            expected.push(change.write_id().to_owned());
            session = change.session;
        }
        document.insert("tail", tail_events);
        document.insert("version", session.version);
        let filter = doc! {"_id": session.session_id.as_str()};
        let sessions = raw.collection::<Document>("sessions");
        sessions.replace_one(filter, document).await.unwrap();

        let change = join(&session);
        assert_eq!(store.commit(&change).await.unwrap(), Committed::Stored);
        expected.push(change.write_id().to_owned());
        let read = store
            .events(&session.session_id, 0, 500)
            .await
            .unwrap()
            .unwrap();
        let read: Vec<_> = read.into_iter().map(|event| event.write_id).collect();
        assert_eq!(read, expected);
        let sequences = archived(&raw, &session.session_id).await;
        assert_eq!(sequences, (1..=64).collect::<Vec<_>>());
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn an_unreadable_event_is_moved_like_any_other() {
    for server in servers() {
        let store = server.store().await;
        let raw = server.raw().await;
        let mut session = insert(store.as_ref(), "future").await.session;
        let filter = doc! {"_id": session.session_id.as_str()};
        let future = doc! {"$set": {"tail.0.type": "session.from-the-future"}};
        let sessions = raw.collection::<Document>("sessions");
        sessions.update_one(filter, future).await.unwrap();
        // More than the document has room for.
        for _ in 0..100 {
            session = commit(store.as_ref(), &join(&session)).await;
        }
        let moved = until("the event is moved", async || {
            let archived = archived(&raw, &session.session_id).await;
            (archived.first() == Some(&1)).then_some(archived)
        });
        moved.await;
        let later = store.events(&session.session_id, 1, 500).await.unwrap();
        assert_eq!(later.unwrap().len(), 100);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn an_interrupted_spill_is_finished_by_the_next() {
    for server in servers() {
        let store = server.store().await;
        let raw = server.raw().await;
        let (mut session, mut events) = history(store.as_ref(), "cut-short", 10).await;
        // Copied to the archive, not yet taken out of the document.
        let document = document(&raw, &session.session_id).await;
        let copies = document.get_array("tail").unwrap().iter().map(|event| {
            let mut copy = event.as_document().unwrap().clone();
            let sequence = copy.get_i64("sequence").unwrap();
            copy.insert("_id", format!("{}:{sequence}", session.session_id));
            copy.insert("session_id", session.session_id.as_str());
            copy
        });
        let archive = raw.collection::<Document>("session_events");
        archive.insert_many(copies).await.unwrap();

        while session.version < 40 {
            let read = store.events(&session.session_id, 0, 500).await.unwrap();
            assert_eq!(read.as_ref(), Some(&events));
            let change = join(&session);
            session = commit(store.as_ref(), &change).await;
            events.extend(change.events);
        }
        until("the tail is moved", async || {
            let archived = archived(&raw, &session.session_id).await;
            (archived.len() >= 32).then_some(())
        })
        .await;
        let read = store.events(&session.session_id, 0, 500).await.unwrap();
        assert_eq!(read, Some(events));
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn an_insert_with_a_lost_outcome_is_recognised() {
    for server in servers() {
        let store = server.store().await;
        let unplaced = unplaced(request("lost-insert"), None);
        let first = store
            .insert(new_session(unplaced.clone(), 3))
            .await
            .unwrap();
        assert!(matches!(first, Inserted::Stored(_)));
        let stored = store.get(&unplaced.session_id).await.unwrap();
        // Exactly the same session again, as the driver does when a connection breaks before the answer comes.
        let again = store
            .insert(new_session(unplaced.clone(), 3))
            .await
            .unwrap();
        assert!(matches!(again, Inserted::Stored(_)), "it is our own");
        assert_eq!(store.get(&unplaced.session_id).await.unwrap(), stored);
        let events = crate::sessions::sequences(store.as_ref(), &unplaced.session_id).await;
        assert_eq!(events, [1]);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn indexes_are_made_once_and_before_anything_else() {
    for server in servers() {
        let (store, commands) = server.recorded_store().await;
        let callers = (0..16).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                match n % 3 {
                    0 => store.ping().await.unwrap(),
                    1 => drop(insert(store.as_ref(), &format!("first-{n}")).await),
                    _ => drop(store.count_by_state().await.unwrap()),
                }
            })
        });
        for caller in futures::future::join_all(callers.collect::<Vec<_>>()).await {
            caller.unwrap();
        }
        let sent = commands.take();
        assert_eq!(
            sent[..2],
            ["createIndexes sessions", "createIndexes session_events"]
        );
        let made = |command: &&String| command.starts_with("createIndexes");
        assert_eq!(sent.iter().filter(made).count(), 2);

        let raw = server.raw().await;
        let sessions = raw.collection::<Document>("sessions");
        let names = sessions.list_index_names().await.unwrap();
        assert_eq!(names.len(), 12, "{names:?}");
        // A second instance, and a later start, find them.
        let again = server.store().await;
        again.ping().await.unwrap();
        assert_eq!(sessions.list_index_names().await.unwrap(), names);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn an_unreadable_document_is_reported() {
    for server in servers() {
        let store = server.store().await;
        let session = insert(store.as_ref(), "unreadable").await.session;
        let raw = server.raw().await;
        let sessions = raw.collection::<Document>("sessions");
        let filter = doc! {"_id": session.session_id.as_str()};
        let unknown_state = doc! {"$set": {"state": "from-the-future"}};
        sessions
            .update_one(filter.clone(), unknown_state)
            .await
            .unwrap();
        let read = store.get(&session.session_id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
        let no_version = doc! {"$unset": {"doctor_id": ""}};
        sessions.update_one(filter, no_version).await.unwrap();
        let read = store.get(&session.session_id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn a_document_that_cannot_be_changed_is_named_and_foreign_ones_take_no_place() {
    for server in servers() {
        let store = server.store().await;
        let session = insert(store.as_ref(), "unchangeable").await.session;
        let raw = server.raw().await;
        let sessions = raw.collection::<Document>("sessions");
        let filter = doc! {"_id": session.session_id.as_str()};
        let no_list = doc! {"$set": {"tail": "x", "scheduled_end_time_ms": 1_i64}};
        sessions.update_one(filter, no_list).await.unwrap();
        let committed = store.commit(&join(&session)).await;
        let Err(StoreError::Corrupt { session_id, .. }) = committed else {
            panic!("{committed:?}");
        };
        assert_eq!(session_id.as_ref(), Some(&session.session_id));
        for n in 0..3 {
            let foreign = doc! {"_id": n, "appointment_id": format!("foreign-{n}"), "state": "created", "scheduled_end_time_ms": 1_i64};
            sessions.insert_one(foreign).await.unwrap();
        }
        let overdue = store
            .overdue_sessions(scheduled_to_end_before(crate::sample::now()), 1)
            .await
            .unwrap();
        assert_eq!(overdue, [session.session_id]);
        server.drop_database().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the MongoDB peer; .ci/run installs it"]
async fn an_unavailable_server_is_reported_in_time() {
    let peer = MongoPeer::start(0);
    let config = Config {
        uri: SecretString::from(format!("mongodb://{}/gone", peer.addr)),
        timeout: Duration::from_secs(2),
        index_timeout: Duration::from_secs(20),
        pool_max: 4,
        pool_min: 0,
        connecting_max: 2,
        feed_overlap: OVERLAP,
    };
    let port = peer.addr.rsplit(':').next().unwrap().parse().unwrap();
    let options = client_options(&config).await.unwrap();
    let store = MongoStore::new(options, &config).unwrap();
    until("the peer has warmed up", async || store.ping().await.ok()).await;
    let session = insert(&store, "gone").await.session;
    drop(peer);
    let started = std::time::Instant::now();
    let read = store.get(&session.session_id).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    let ended = store.commit(&end(&session, "")).await;
    assert!(
        matches!(ended, Err(StoreError::Unavailable(_))),
        "{ended:?}"
    );
    assert!(
        started.elapsed() < 5 * config.timeout,
        "{:?}",
        started.elapsed()
    );
    // Another one, which is empty, in its place.
    let _peer = MongoPeer::start(port);
    until("the store answers again", async || store.ping().await.ok()).await;
    assert_eq!(store.get(&session.session_id).await.unwrap(), None);
}
