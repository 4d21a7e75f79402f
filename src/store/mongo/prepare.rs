//! The indexes, without which nothing is read or written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use super::error::within;
use super::{MongoStore, documents, tail};
use crate::store::StoreError;

/// How often the indexes are looked after: without the unique ones, an appointment could get two sessions.
const INDEX_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// When the indexes were last known to exist. Forgotten when a connection breaks: the server that answers next may be one that was
/// restored, or emptied.
#[derive(Clone, Default)]
pub(super) struct Prepared(Arc<Mutex<Option<Instant>>>);

impl Prepared {
    pub(super) fn invalidate(&self) {
        *self.lock() = None;
    }

    /// Nothing panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MongoStore {
    /// Lets the next operation make the indexes again, when that was done some time ago. Making one that exists is free, and an
    /// index that was dropped is found.
    pub(super) fn recheck_indexes_if_due(&self) {
        let mut prepared = self.prepared.lock();
        if prepared.is_some_and(|since| since.elapsed() > INDEX_CHECK_INTERVAL) {
            *prepared = None;
        }
    }

    /// Goes on in a task of its own when the caller stops waiting; others wait for it as long as they care to.
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
            // With the version, so that the feed need not look at documents that it knows.
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
