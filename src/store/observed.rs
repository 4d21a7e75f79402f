//! Wraps a store: counts and times its operations, and logs its errors.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{
    Committed, EventFeed, FeedCursor, FeedError, FeedPage, Heartbeat, Inserted, InstanceStore,
    ListedSession, NewSession, NodeStore, OverdueBounds, SessionStore, StoreError, StoreHealth,
    Stores,
};
use crate::domain::change::Change;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::node::NodeUse;
use crate::domain::node_record::NodeRecord;
use crate::domain::page::SessionQuery;
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;
use crate::telemetry::metrics::Metrics;

/// A store with metrics and logs.
pub struct ObservedStore {
    inner: Stores,
    metrics: Arc<Metrics>,
}

impl ObservedStore {
    /// Observes `inner`.
    pub fn new(inner: Stores, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    async fn observe<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let mut operation = Operation {
            name: operation,
            outcome: "abandoned",
            started: Instant::now(),
            metrics: &self.metrics,
        };
        let outcome = work.await;
        operation.outcome = match &outcome {
            Ok(_) => "ok",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Overloaded) => "overloaded",
            Err(StoreError::Corrupt { .. }) => "corrupt",
        };
        match &outcome {
            // The application logs such a session once; here it would be logged at every attempt.
            Ok(_)
            | Err(StoreError::Corrupt {
                session_id: Some(_),
                ..
            }) => {}
            Err(error) => tracing::warn!(
                operation = operation.name,
                error = error.chain(),
                "a store operation failed"
            ),
        }
        outcome
    }
}

/// An operation in progress; reported when dropped, so that cancelled operations are counted too.
struct Operation<'a> {
    name: &'static str,
    outcome: &'static str,
    started: Instant,
    metrics: &'a Metrics,
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.metrics
            .record_store_operation(self.name, self.outcome, self.started.elapsed());
    }
}

#[async_trait]
impl SessionStore for ObservedStore {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.observe("get", self.inner.sessions.get(session_id))
            .await
    }

    async fn latest_session(
        &self,
        appointment_id: &AppointmentId,
    ) -> Result<Option<Session>, StoreError> {
        self.observe("latest", self.inner.sessions.latest_session(appointment_id))
            .await
    }

    async fn session_by_short_link(&self, digest: &str) -> Result<Option<Session>, StoreError> {
        let finding = self.inner.sessions.session_by_short_link(digest);
        self.observe("short_link", finding).await
    }

    async fn insert(&self, new: NewSession) -> Result<Inserted, StoreError> {
        self.observe("insert", self.inner.sessions.insert(new))
            .await
    }

    async fn commit(&self, change: &Change) -> Result<Committed, StoreError> {
        self.observe("commit", self.inner.sessions.commit(change))
            .await
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError> {
        self.observe("list", self.inner.sessions.list(query)).await
    }

    async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        self.observe(
            "events",
            self.inner.sessions.events(session_id, after, limit),
        )
        .await
    }

    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError> {
        self.observe("count_by_state", self.inner.sessions.count_by_state())
            .await
    }

    async fn overdue_sessions(
        &self,
        bounds: OverdueBounds,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.observe(
            "overdue",
            self.inner.sessions.overdue_sessions(bounds, limit),
        )
        .await
    }
}

#[async_trait]
impl InstanceStore for ObservedStore {
    async fn write_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        self.observe("beat", self.inner.instances.write_heartbeat(heartbeat))
            .await
    }

    async fn heartbeats(&self, limit: usize) -> Result<Vec<Heartbeat>, StoreError> {
        self.observe("instances", self.inner.instances.heartbeats(limit))
            .await
    }

    async fn sessions_held_by(
        &self,
        instance_id: &str,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.observe(
            "held_by",
            self.inner.instances.sessions_held_by(instance_id, limit),
        )
        .await
    }

    async fn remove_instance(&self, instance_id: &str) -> Result<(), StoreError> {
        self.observe(
            "forget_instance",
            self.inner.instances.remove_instance(instance_id),
        )
        .await
    }
}

#[async_trait]
impl NodeStore for ObservedStore {
    async fn node_records(&self) -> Result<Vec<NodeRecord>, StoreError> {
        self.observe("node_records", self.inner.nodes.node_records())
            .await
    }

    async fn node_uses(&self) -> Result<Vec<NodeUse>, StoreError> {
        self.observe("node_uses", self.inner.nodes.node_uses())
            .await
    }

    async fn save_node(&self, record: &NodeRecord) -> Result<Committed, StoreError> {
        self.observe("save_node", self.inner.nodes.save_node(record))
            .await
    }
}

#[async_trait]
impl EventFeed for ObservedStore {
    async fn now(&self) -> Result<FeedCursor, StoreError> {
        self.observe("feed_now", self.inner.feed.now()).await
    }

    async fn read(&self, from: &FeedCursor, limit: usize) -> Result<FeedPage, FeedError> {
        let read = async {
            match self.inner.feed.read(from, limit).await {
                Ok(page) => Ok(Ok(page)),
                Err(FeedError::Store(error)) => Err(error),
                // The store worked correctly.
                Err(error @ FeedError::Cursor(_)) => Ok(Err(error)),
            }
        };
        self.observe("feed_read", read).await?
    }
}

#[async_trait]
impl StoreHealth for ObservedStore {
    fn is_shared(&self) -> bool {
        self.inner.health.is_shared()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.observe("ping", self.inner.health.ping()).await
    }

    async fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.observe("clock", self.inner.health.server_time()).await
    }

    async fn lost(&self) {
        self.inner.health.lost().await;
    }

    async fn close(&self) {
        self.inner.health.close().await;
    }
}
