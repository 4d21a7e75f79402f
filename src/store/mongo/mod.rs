//! MongoDB. A session is one document that carries its version and its newest events, so that every change and the event
//! that tells of it are one atomic write without transactions; older events move to a collection of their own.
//!
//! | collection | document | indexes |
//! |---|---|---|
//! | `sessions` | a `SessionRecord` and `tail`, its newest events | `_id`; unique (appointment_id, incarnation); doctor, patient, node and state, each with `_id`; state with the scheduled end, and with the time of emptiness; the participants' instances |
//! | `session_events` | an older `EventRecord` | unique (session_id, sequence) |
//! | `counters` | `_id: "rotation"`, the next turn | `_id` |
//! | `instances` | an instance, and in `expires_ms` the mark that it changes with every beat | `_id` |

mod documents;
mod error;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, deserialize_from_slice, doc};
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, IndexOptions, ReadConcern, ReadPreference,
    ReturnDocument, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database, IndexModel};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::record::{EventRecord, SessionRecord};
use super::{Committed, Inserted, ListedSession, SessionStore, StoreError, UnreadableSession};
use crate::domain::change::Change;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::node::Rotation;
use crate::domain::page::SessionQuery;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;
use error::{is_duplicate_key, is_unknown_command, within};
use tail::Unmatched;

/// The database when the URI names none.
const DATABASE_DEFAULT: &str = "video_session";
const ROTATION: &str = "rotation";
/// How often the indexes are looked after: without the unique ones, an appointment could get two sessions.
const INDEX_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How often the driver looks whether a server is well, unless the URI says so. Only a look that fails frees it of connections that are being made on
/// a way that has gone silent: it puts no limit of its own on a new connection's first exchange.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Settings of the MongoDB store.
#[derive(Debug, Clone)]
pub struct Config {
    /// The connection string; may hold a password.
    pub uri: SecretString,
    /// How long one operation may take.
    pub timeout: Duration,
    /// How long the making of indexes may take, which on a collection restored without them may be long.
    pub index_timeout: Duration,
    /// The most connections to one server.
    pub pool_max: u32,
    /// The connections kept ready.
    pub pool_min: u32,
    /// How many connections are established at once.
    pub connecting_max: u32,
}

/// Sessions in a MongoDB database that any number of instances share.
#[derive(Clone)]
pub struct MongoStore {
    client: Client,
    database: Database,
    timeout: Duration,
    index_timeout: Duration,
    /// When the indexes were last known to exist; nothing is read or written before. Forgotten when a connection breaks:
    /// the server that answers next may be one that was restored, or emptied.
    prepared: Arc<StdMutex<Option<Instant>>>,
    /// Held while they are made.
    preparing: Arc<Mutex<()>>,
}

/// A session's document, which may be one that this version cannot read. `None` when it is none of ours: sessions are
/// named by a text.
fn read_session(document: &RawDocument) -> Option<ListedSession> {
    let session_id = SessionId::from_stored(document.get_str("_id").ok()?.to_owned());
    let record: Result<SessionRecord, _> = deserialize_from_slice(document.as_bytes());
    // What the parser says can quote a value.
    let session = record
        .map_err(|_| StoreError::corrupt("a document of an unknown form"))
        .and_then(Session::try_from);
    Some(session.map_err(|error| UnreadableSession {
        error: error.about(&session_id),
        session_id,
    }))
}

/// Nothing panics while it holds this lock.
fn lock(prepared: &StdMutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    prepared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a text is a connection string.
pub fn is_uri(uri: &SecretString) -> bool {
    ConnectionString::parse(uri.expose_secret()).is_ok()
}

/// What the driver is to do: majority writes, reads of what a majority has, every wait bounded.
///
/// # Errors
/// [`StoreError::Unavailable`] when the URI is malformed or its SRV record cannot be looked up.
pub async fn client_options(config: &Config) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(config.uri.expose_secret())
        .await
        .map_err(|error| error::store_error(&error))?;
    options.app_name = Some("video-session".into());
    options.server_selection_timeout = Some(config.timeout);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.connect_timeout = Some(config.timeout);
    options.max_pool_size = Some(config.pool_max);
    options.min_pool_size = Some(config.pool_min);
    options.max_connecting = Some(config.connecting_max);
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build(),
    );
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}

impl MongoStore {
    /// A store over these options. Connects when it is first used, so that a server that is down delays nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the driver refuses the options.
    pub fn new(
        options: ClientOptions,
        timeout: Duration,
        index_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let name = options.default_database.clone();
        let prepared: Arc<StdMutex<Option<Instant>>> = Arc::default();
        let mut options = options;
        let forgetful = Arc::clone(&prepared);
        options.cmap_event_handler = Some(EventHandler::callback(move |event| {
            if let CmapEvent::PoolCleared(_) = event {
                *lock(&forgetful) = None;
            }
        }));
        let client = Client::with_options(options).map_err(|error| error::store_error(&error))?;
        let database = client.database(name.as_deref().unwrap_or(DATABASE_DEFAULT));
        Ok(Self {
            client,
            database,
            timeout,
            index_timeout,
            prepared,
            preparing: Arc::default(),
        })
    }

    async fn sessions(&self) -> Result<Collection<RawDocumentBuf>, StoreError> {
        self.prepare().await?;
        Ok(self.database.collection("sessions"))
    }

    /// Goes on in a task of its own when the caller stops waiting; others wait for it as long as they care to.
    async fn prepare(&self) -> Result<(), StoreError> {
        if lock(&self.prepared).is_some() {
            return Ok(());
        }
        let preparing = Arc::clone(&self.preparing).lock_owned().await;
        if lock(&self.prepared).is_some() {
            return Ok(());
        }
        let store = self.clone();
        let making = tokio::spawn(async move {
            let _preparing = preparing;
            store.create_indexes().await?;
            *lock(&store.prepared) = Some(Instant::now());
            Ok(())
        });
        making
            .await
            .map_err(|_| StoreError::unavailable("the making of indexes was aborted"))?
    }

    async fn create_indexes(&self) -> Result<(), StoreError> {
        let unique = || IndexOptions::builder().unique(true).build();
        let index = |keys: Document, options: Option<IndexOptions>| {
            IndexModel::builder().keys(keys).options(options).build()
        };
        let sessions = self.database.collection::<Document>("sessions");
        let session_indexes = [
            index(
                doc! {"appointment_id": 1, "incarnation": -1},
                Some(unique()),
            ),
            index(doc! {"doctor_id": 1, "_id": -1}, None),
            index(doc! {"patient_id": 1, "_id": -1}, None),
            index(doc! {"sfu_node_id": 1, "_id": -1}, None),
            index(doc! {"state": 1, "_id": -1}, None),
            index(doc! {"state": 1, "scheduled_end_time_ms": 1}, None),
            index(doc! {"state": 1, "empty_since_ms": 1}, None),
            index(doc! {"participants.instance_id": 1}, None),
        ];
        let events = self.database.collection::<Document>(tail::ARCHIVE);
        let event_index = index(doc! {"session_id": 1, "sequence": 1}, Some(unique()));
        within(self.index_timeout, async move {
            sessions.create_indexes(session_indexes).await?;
            events.create_index(event_index).await?;
            Ok(())
        })
        .await
    }

    async fn beats(&self) -> Result<Collection<Document>, StoreError> {
        self.prepare().await?;
        Ok(self.database.collection("instances"))
    }

    /// The ids of the sessions that a filter finds.
    async fn ids(&self, filter: Document, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        let sessions = self.sessions().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut filter = filter;
        // Others than texts are none of ours, and would take the places of those that are.
        filter.insert("_id", doc! {"$gte": ""});
        let found = within(self.timeout, async move {
            let cursor = sessions
                .find(filter)
                .projection(doc! {"_id": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        Ok(found
            .iter()
            .filter_map(|document| document.get_str("_id").ok())
            .map(|id| SessionId::from_stored(id.to_owned()))
            .collect())
    }

    /// The number that this caller incremented, and so nobody else's turn: findAndModify on one document is atomic.
    async fn next_turn(&self) -> Result<u64, StoreError> {
        let counters = self.database.collection::<Document>("counters");
        let counter = within(self.timeout, async move {
            counters
                .find_one_and_update(doc! {"_id": ROTATION}, doc! {"$inc": {"turn": 1_i64}})
                .upsert(true)
                .return_document(ReturnDocument::Before)
                .await
        })
        .await?;
        // The very first turn finds no counter.
        let Some(counter) = counter else {
            return Ok(0);
        };
        let turn = counter
            .get_i64("turn")
            .map_err(|_| StoreError::corrupt("the rotation counter has no turn"))?;
        Ok(u64::try_from(turn).unwrap_or(0))
    }

    /// Brings a session's document to its next version; false when the document is not at the version before, or has no room
    /// for events.
    async fn update_over_version(&self, change: &Change) -> Result<bool, StoreError> {
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let filter = doc! {
            "_id": change.session.session_id.as_str(),
            "version": change.before(),
            tail::LAST_PLACE: {"$exists": false},
        };
        let update = documents::update(change)?;
        let matched = within(self.timeout, async move {
            let outcome = sessions.update_one(filter, update).await?;
            Ok(outcome.matched_count)
        })
        .await
        .map_err(|error| error.about(&change.session.session_id))?;
        if matched == 1 {
            self.spill_if_due(change);
        }
        Ok(matched == 1)
    }

    async fn find_one(
        &self,
        filter: Document,
        sort: Option<Document>,
    ) -> Result<Option<Session>, StoreError> {
        let sessions = self.sessions().await?;
        let found = within(self.timeout, async move {
            let mut find = sessions.find_one(filter).projection(doc! {"tail": 0});
            if let Some(sort) = sort {
                find = find.sort(sort);
            }
            find.await
        })
        .await?;
        match found.as_deref().and_then(read_session) {
            None => Ok(None),
            Some(Ok(session)) => Ok(Some(session)),
            Some(Err(unreadable)) => Err(unreadable.error),
        }
    }
}

#[async_trait]
impl SessionStore for MongoStore {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.find_one(doc! {"_id": session_id.as_str()}, None).await
    }

    async fn latest(&self, appointment_id: &AppointmentId) -> Result<Option<Session>, StoreError> {
        self.find_one(
            doc! {"appointment_id": appointment_id.as_str()},
            Some(doc! {"incarnation": -1}),
        )
        .await
    }

    async fn insert(
        &self,
        session: UnplacedSession,
        rotation: &Arc<Rotation>,
    ) -> Result<Inserted, StoreError> {
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let turn = self.next_turn().await?;
        let change = session.place(rotation.select(turn).clone());
        let document = documents::new_session(&change)?;
        let inserted = within(self.timeout, async move {
            match sessions.insert_one(document).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await?;
        if inserted {
            return Ok(Inserted::Stored(Box::new(change)));
        }
        // A write that the driver repeated after a broken connection finds itself in its own way.
        let own = self.get(&change.session.session_id).await?.is_some();
        Ok(if own {
            Inserted::Stored(Box::new(change))
        } else {
            Inserted::Taken
        })
    }

    async fn commit(&self, change: &Change) -> Result<Committed, StoreError> {
        if self.update_over_version(change).await? {
            return Ok(Committed::Stored);
        }
        match self.settle_unmatched(change).await? {
            Unmatched::Settled(committed) => Ok(committed),
            Unmatched::TailMoved if self.update_over_version(change).await? => {
                Ok(Committed::Stored)
            }
            Unmatched::TailMoved => match self.settle_unmatched(change).await? {
                Unmatched::Settled(committed) => Ok(committed),
                Unmatched::TailMoved => Ok(Committed::Conflict),
            },
        }
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError> {
        let sessions = self.sessions().await?;
        let filter = documents::filter(query);
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let documents = within(self.timeout, async move {
            let cursor = sessions
                .find(filter)
                .sort(doc! {"_id": -1})
                .limit(limit)
                .projection(doc! {"tail": 0})
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        let listed = documents.iter();
        Ok(listed
            .filter_map(|document| read_session(document))
            .collect())
    }

    async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        let tail = if limit == 1 {
            self.first_of_tail(session_id, after).await?
        } else {
            self.tail(session_id).await?
        };
        let Some(tail) = tail else {
            return Ok(None);
        };
        let archived = if tail.reaches_back_to(after) {
            Vec::new()
        } else {
            self.archived(session_id, after, limit).await?
        };
        let last = archived
            .last()
            .map_or(after, |event: &EventRecord| event.sequence);
        let newest = tail
            .events
            .into_iter()
            .filter(|event| event.sequence > last);
        archived
            .into_iter()
            .chain(newest)
            .take(limit)
            .map(|event: EventRecord| event.into_event(session_id))
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
            .map_err(|error| error.about(session_id))
    }

    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError> {
        let mut counts = HashMap::new();
        for state in SessionState::ALL.iter().copied() {
            let sessions = self.sessions().await?;
            let count = within(self.timeout, async move {
                sessions.count_documents(doc! {"state": state.name()}).await
            })
            .await?;
            counts.insert(state, count);
        }
        Ok(counts)
    }

    async fn overdue(
        &self,
        ends_before: Timestamp,
        empty_before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut over = vec![doc! {"scheduled_end_time_ms": {"$lt": ends_before.as_millis()}}];
        if let Some(empty_before) = empty_before {
            over.push(doc! {"empty_since_ms": {"$lt": empty_before.as_millis()}});
        }
        let live = vec![SessionState::Created.name(), SessionState::Active.name()];
        self.ids(doc! {"state": {"$in": live}, "$or": over}, limit)
            .await
    }

    async fn beat(&self, instance_id: &str, mark: i64) -> Result<(), StoreError> {
        let beats = self.beats().await?;
        let filter = doc! {"_id": instance_id};
        // A former version kept the end of a lease in the field, and so named it.
        let update = doc! {"$set": {"expires_ms": mark}};
        within(self.timeout, async move {
            beats.update_one(filter, update).upsert(true).await
        })
        .await?;
        Ok(())
    }

    async fn instances(&self, limit: usize) -> Result<Vec<(String, i64)>, StoreError> {
        let beats = self.beats().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = within(self.timeout, async move {
            let cursor = beats
                .find(doc! {})
                .sort(doc! {"_id": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        // What is no mark of this or a former version never moves, so its instance is found dead.
        let mark = |beat: &Document| {
            let id = beat.get_str("_id").ok()?.to_owned();
            Some((id, beat.get_i64("expires_ms").unwrap_or(0)))
        };
        Ok(found.iter().filter_map(mark).collect())
    }

    async fn held_by(&self, instance_id: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
        self.ids(doc! {"participants.instance_id": instance_id}, limit)
            .await
    }

    async fn forget_instance(&self, instance_id: &str) -> Result<(), StoreError> {
        let beats = self.beats().await?;
        let filter = doc! {"_id": instance_id};
        within(self.timeout, async move { beats.delete_one(filter).await }).await?;
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Making an index that exists is free, and finds one that somebody dropped.
        {
            let mut prepared = lock(&self.prepared);
            if prepared.is_some_and(|since| since.elapsed() > INDEX_CHECK_INTERVAL) {
                *prepared = None;
            }
        }
        self.prepare().await?;
        let database = self.database.clone();
        within(self.timeout, async move {
            database.run_command(doc! {"ping": Bson::Int32(1)}).await
        })
        .await?;
        Ok(())
    }

    async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        let database = self.database.clone();
        let answer = within(self.timeout, async move {
            let hello = database.run_command(doc! {"hello": Bson::Int32(1)}).await;
            match hello {
                // Servers that do not know the command know its former name.
                Err(error) if is_unknown_command(&error) => {
                    let former = doc! {"isMaster": Bson::Int32(1)};
                    database.run_command(former).await
                }
                answer => answer,
            }
        })
        .await?;
        let clock = answer.get_datetime("localTime").ok();
        Ok(clock.map(|clock| Timestamp::from_millis(clock.timestamp_millis())))
    }

    async fn close(&self) {
        self.client.clone().shutdown().await;
    }
}
