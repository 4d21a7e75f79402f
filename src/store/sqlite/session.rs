//! Sessions and their events.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{SqliteStore, about, list, queries, short_link};
use crate::domain::change::Change;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::page::SessionQuery;
use crate::domain::session::{Session, SessionState};
use crate::store::{
    Committed, Inserted, ListedSession, NewSession, OverdueBounds, SessionStore, StoreError,
};

#[async_trait]
impl SessionStore for SqliteStore {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
        let wanted = session_id.clone();
        let read = self.readers.read(move |db| queries::get(db, &wanted));
        read.await.map_err(|error| about(error, session_id))
    }

    async fn latest_session(
        &self,
        appointment_id: &AppointmentId,
    ) -> Result<Option<Session>, StoreError> {
        let appointment_id = appointment_id.clone();
        self.readers
            .read(move |db| queries::latest_session(db, &appointment_id))
            .await
    }

    async fn session_by_short_link(&self, digest: &str) -> Result<Option<Session>, StoreError> {
        let digest = digest.to_owned();
        self.readers
            .read(move |db| short_link::session(db, &digest))
            .await
    }

    async fn insert(&self, new: NewSession) -> Result<Inserted, StoreError> {
        self.writer
            .write(move |db| queries::insert(db, &new))
            .await?
    }

    async fn commit(&self, change: &Change) -> Result<Committed, StoreError> {
        let session_id = &change.session.session_id;
        let change = change.clone();
        let write = self.writer.write(move |db| queries::commit(db, &change));
        write.await.map_err(|error| about(error, session_id))
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError> {
        let query = query.clone();
        self.readers.read(move |db| list::list(db, &query)).await
    }

    async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        let wanted = session_id.clone();
        let read = self
            .readers
            .read(move |db| queries::events(db, &wanted, after, limit));
        read.await.map_err(|error| about(error, session_id))
    }

    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError> {
        self.lister.read(queries::count_by_state).await
    }

    async fn overdue_sessions(
        &self,
        bounds: OverdueBounds,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.readers
            .read(move |db| queries::overdue_sessions(db, bounds, limit))
            .await
    }
}
