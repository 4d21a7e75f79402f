//! A session's document contains its newest events; older ones move to an archive, so that the document stays small even after
//! ten thousand joins.
//!
//! Events are copied to the archive before they leave the document, and readers read the document first: events that it no
//! longer contains are in the archive by then.

use mongodb::bson::{DateTime, Document, doc};
use mongodb::error::{Error, ErrorKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::MongoStore;
use super::documents::{COMMIT_TIME, COMMIT_TIMES};
use super::error::within;
use crate::domain::change::Change;
use crate::domain::id::SessionId;
use crate::store::record::EventRecord;
use crate::store::{Committed, StoreError};

/// The collection of older events.
pub(super) const ARCHIVE: &str = "session_events";
/// The tail is archived in the background each time the version passes a multiple of this.
const ARCHIVE_EVERY: i64 = 16;
/// A document with an event here accepts no more: it stays bounded even if archiving always fails.
pub(super) const LAST_PLACE: &str = "tail.63";
/// The server's code for a violated unique index.
const DUPLICATE_KEY: i32 = 11000;

/// Why a commit matched nothing.
pub(super) enum UnmatchedCommit {
    /// It had been applied already, or another change came first.
    Settled(Committed),
    /// The tail was full, and was archived: the commit may match now.
    TailMoved,
}

/// The events in a session's document. As plain documents, they can be archived even if this version cannot read them.
#[derive(Deserialize)]
pub(super) struct Tail<E = EventRecord> {
    version: i64,
    #[serde(rename = "tail", default = "Vec::new")]
    pub(super) events: Vec<E>,
    #[serde(default)]
    commit_times: CommitTimes,
}

/// The commit times of a tail's events, by the server's clock, keyed by the version after their change. A former version
/// records none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct CommitTimes(pub(super) Document);

impl CommitTimes {
    /// The commit time of an event's change.
    pub(super) fn of(&self, sequence: i64) -> Option<DateTime> {
        let changes = self.0.iter().filter_map(|(version, time)| {
            let version: i64 = version.parse().ok()?;
            (version >= sequence).then_some((version, time.as_datetime()?))
        });
        let (_, time) = changes.min_by_key(|(version, _)| *version)?;
        Some(*time)
    }

    /// The update that removes the times of the events up to a sequence.
    fn removed_up_to(&self, sequence: i64) -> Document {
        let gone = self.0.keys().filter(|version| {
            let version: Result<i64, _> = version.parse();
            version.is_ok_and(|version| version <= sequence)
        });
        gone.map(|version| (format!("{COMMIT_TIMES}.{version}"), "".into()))
            .collect()
    }
}

/// The fields that every stored event has.
pub(super) trait StoredEvent: DeserializeOwned + Send + Sync + 'static {
    fn sequence(&self) -> i64;
    fn write_id(&self) -> &str;
}

impl StoredEvent for EventRecord {
    fn sequence(&self) -> i64 {
        self.sequence
    }

    fn write_id(&self) -> &str {
        &self.write_id
    }
}

impl StoredEvent for Document {
    fn sequence(&self) -> i64 {
        self.get_i64("sequence").unwrap_or_default()
    }

    fn write_id(&self) -> &str {
        self.get_str("write_id").unwrap_or_default()
    }
}

impl<E: StoredEvent> Tail<E> {
    /// Whether it contains every event after a sequence. Also correct for a tail that was read from that sequence on, because its
    /// first event, or its absence, gives the same result.
    pub(super) fn covers_events_after(&self, after: i64) -> bool {
        let oldest = self
            .events
            .first()
            .map_or(self.version + 1, StoredEvent::sequence);
        oldest.saturating_sub(1) <= after
    }

    fn holds(&self, change: &Change) -> bool {
        self.events
            .iter()
            .any(|event| event.write_id() == change.write_id())
    }
}

impl MongoStore {
    /// Reads all events in the document.
    pub(super) async fn tail<E: StoredEvent>(
        &self,
        session_id: &SessionId,
    ) -> Result<Option<Tail<E>>, StoreError> {
        self.find_tail(session_id, doc! {"version": 1, "tail": 1, COMMIT_TIMES: 1})
            .await
    }

    /// Reads only the first event after a sequence in the document.
    pub(super) async fn first_of_tail(
        &self,
        session_id: &SessionId,
        after: i64,
    ) -> Result<Option<Tail>, StoreError> {
        let first = doc! {"$elemMatch": {"sequence": {"$gt": after}}};
        self.find_tail(session_id, doc! {"version": 1, "tail": first})
            .await
    }

    async fn find_tail<E: StoredEvent>(
        &self,
        session_id: &SessionId,
        projection: Document,
    ) -> Result<Option<Tail<E>>, StoreError> {
        let sessions = self.sessions().await?.clone_with_type::<Tail<E>>();
        let filter = doc! {"_id": session_id.as_str()};
        let found = within(self.timeout, async move {
            sessions.find_one(filter).projection(projection).await
        })
        .await;
        found.map_err(|error| error.about(session_id))
    }

    pub(super) async fn archived<E: StoredEvent>(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<E>, StoreError> {
        let archive = self.database.collection::<E>(ARCHIVE);
        let filter = doc! {"session_id": session_id.as_str(), "sequence": {"$gt": after}};
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = within(self.timeout, async move {
            let cursor = archive
                .find(filter)
                .sort(doc! {"sequence": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect(cursor).await
        })
        .await;
        found.map_err(|error| error.about(session_id))
    }

    /// Finds why a commit matched nothing. Archives the tail if it is full.
    pub(super) async fn explain_unmatched(
        &self,
        change: &Change,
    ) -> Result<UnmatchedCommit, StoreError> {
        let session_id = &change.session.session_id;
        let Some(tail) = self.tail::<Document>(session_id).await? else {
            return Ok(UnmatchedCommit::Settled(Committed::Conflict));
        };
        if tail.holds(change) || self.archive_holds(change, &tail).await? {
            return Ok(UnmatchedCommit::Settled(Committed::Stored));
        }
        if tail.version == change.base_version() {
            archive_tail(self, session_id.clone(), tail).await?;
            return Ok(UnmatchedCommit::TailMoved);
        }
        Ok(UnmatchedCommit::Settled(Committed::Conflict))
    }

    async fn archive_holds(
        &self,
        change: &Change,
        tail: &Tail<Document>,
    ) -> Result<bool, StoreError> {
        let before = change.base_version();
        if tail.version <= before || tail.covers_events_after(before) {
            return Ok(false);
        }
        let session_id = &change.session.session_id;
        let archived = self.archived::<Document>(session_id, before, 1).await?;
        Ok(archived
            .first()
            .is_some_and(|event| event.write_id() == change.write_id()))
    }

    /// Archives the tail in the background, if it is due.
    pub(super) fn archive_tail_if_due(&self, change: &Change) {
        if change.session.version / ARCHIVE_EVERY == change.base_version() / ARCHIVE_EVERY {
            return;
        }
        let (store, session_id) = (self.clone(), change.session.session_id.clone());
        tokio::spawn(async move {
            let archived = match store.tail(&session_id).await {
                Ok(Some(tail)) => archive_tail(&store, session_id, tail).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = archived {
                tracing::warn!(
                    error = error.chain(),
                    "older events could not be archived; they stay in the session's document until the next attempt"
                );
            }
        });
    }
}

async fn archive_tail(
    store: &MongoStore,
    session_id: SessionId,
    tail: Tail<Document>,
) -> Result<(), StoreError> {
    let Some(last) = tail.events.last().map(StoredEvent::sequence) else {
        return Ok(());
    };
    let Tail {
        version: _,
        events,
        commit_times,
    } = tail;
    let documents = events.into_iter().map(|mut event| {
        if let Some(time) = commit_times.of(event.sequence()) {
            event.insert(COMMIT_TIME, time);
        }
        event.insert("_id", format!("{session_id}:{}", event.sequence()));
        event.insert("session_id", session_id.as_str());
        event
    });
    let documents: Vec<_> = documents.collect();
    let mut moved = doc! {"$pull": {"tail": {"sequence": {"$lte": last}}}};
    let unset = commit_times.removed_up_to(last);
    if !unset.is_empty() {
        moved.insert("$unset", unset);
    }
    let archive = store.database.collection::<Document>(ARCHIVE);
    let sessions = store.database.collection::<Document>("sessions");
    within(store.timeout, async move {
        match archive.insert_many(documents).ordered(false).await {
            Ok(_) => {}
            Err(error) if only_duplicates(&error) => {}
            Err(error) => return Err(error),
        }
        sessions
            .update_one(doc! {"_id": session_id.as_str()}, moved)
            .await?;
        Ok(())
    })
    .await
}

/// Whether the only failure is that the archive already had the events, as after an interrupted attempt.
fn only_duplicates(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::InsertMany(failure) => {
            failure.write_concern_error.is_none()
                && failure
                    .write_errors
                    .as_ref()
                    .is_some_and(|errors| errors.iter().all(|error| error.code == DUPLICATE_KEY))
        }
        _ => false,
    }
}
