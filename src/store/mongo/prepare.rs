//! Creates the indexes before anything is read or written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use super::error::within;
use super::{MongoStore, documents, tail};
use crate::store::StoreError;

/// How often the indexes are rechecked: without the unique ones, an appointment could get two sessions.
const INDEX_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// When the indexes were last known to exist. Invalidated when a connection breaks: the next server may
/// have been restored, or emptied.
#[derive(Clone, Default)]
pub(super) struct Prepared(Arc<Mutex<Option<Instant>>>);

impl Prepared {
    pub(super) fn invalidate(&self) {
        *self.lock() = None;
    }

    /// No code panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MongoStore {
    /// Makes the next operation create the indexes again if the last check is too old. Creating an existing index is free; a
    /// dropped index is recreated.
    pub(super) fn recheck_indexes_if_due(&self) {
        let mut prepared = self.prepared.lock();
        if prepared.is_some_and(|since| since.elapsed() > INDEX_CHECK_INTERVAL) {
            *prepared = None;
        }
    }

    /// Creates the indexes if needed. Continues in its own task if the caller stops waiting.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        if self.prepared.lock().is_some() {
            return Ok(());
        }
        let preparing = Arc::clone(&self.preparing).lock_owned().await;
        if self.prepared.lock().is_some() {
            return Ok(());
        }
        let store = self.clone();
        let making = tokio::spawn(async move {
            let _preparing = preparing;
            store.create_indexes().await?;
            *store.prepared.lock() = Some(Instant::now());
            Ok(())
        });
        making
            .await
            .map_err(|_| StoreError::unavailable("the creation of indexes was aborted"))?
    }

    async fn create_indexes(&self) -> Result<(), StoreError> {
        let sparse = || IndexOptions::builder().sparse(true).build();
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
            index(doc! {"state": 1, "empty_deadline_ms": 1}, None),
            index(doc! {"participants.instance_id": 1}, None),
            index(doc! {"short_links.digest": 1}, Some(sparse())),
            // Includes the version, so that the feed does not read documents that it has seen.
            index(
                doc! {documents::COMMIT_TIME: 1, "_id": 1, "version": 1},
                None,
            ),
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
}
