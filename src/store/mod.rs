//! Where sessions are kept: one port, with the promises that every implementation keeps (tests/conformance).

pub mod mongo;
pub mod observed;
mod record;
pub mod sqlite;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::change::Change;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::node::Rotation;
use crate::domain::page::SessionQuery;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;

/// What a store could not do. Its text is for the log, never for a caller.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is full, cannot be written to, or did not answer in time. A write may or may not have been
    /// made.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It has more work queued than it takes; nothing was done.
    #[error("the store's queue is full")]
    Overloaded,
    /// It holds something that this version cannot read.
    #[error("the store holds an unreadable record")]
    Corrupt {
        /// The session whose record or events it is, where that is known.
        session_id: Option<SessionId>,
        /// What cannot be read, without any value.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// It and everything that led to it, in one line for the log: a JSON log line shows no causes by itself.
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// An [`StoreError::Unavailable`] from whatever a driver reports.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A [`StoreError::Corrupt`] from whatever a parser reports.
    pub fn corrupt(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Corrupt {
            session_id: None,
            source: source.into(),
        }
    }

    /// Names the session that a [`StoreError::Corrupt`] is about; leaves other errors as they are.
    pub fn about(self, session_id: &SessionId) -> Self {
        match self {
            Self::Corrupt { source, .. } => Self::Corrupt {
                session_id: Some(session_id.clone()),
                source,
            },
            other => other,
        }
    }
}

/// A session that a list found and that this version cannot read.
#[derive(Debug)]
pub struct UnreadableSession {
    /// Its id.
    pub session_id: SessionId,
    /// Why it cannot be read.
    pub error: StoreError,
}

/// A row of a list.
pub type ListedSession = Result<Session, UnreadableSession>;

/// The outcome of [`SessionStore::insert`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// The session is stored, on its node.
    Stored(Box<Change>),
    /// Another session took this incarnation of the appointment first; nothing was stored.
    Taken,
}

/// The outcome of [`SessionStore::commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The change is stored.
    Stored,
    /// The session is not at the version before the change; nothing was stored.
    Conflict,
}

/// Keeps sessions and their events.
///
/// A write that answers `Ok` is durable: it survives the loss of the process and, on MongoDB, of a minority of the
/// replica set. A write that answers an error, or is dropped, happened entirely or not at all.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The session of that id.
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// The session of the appointment with the highest incarnation.
    async fn latest(&self, appointment_id: &AppointmentId) -> Result<Option<Session>, StoreError>;

    /// Takes the next turn of the rotation that all instances share, and stores the session on that turn's node with
    /// its first event, unless its appointment has that incarnation already.
    async fn insert(
        &self,
        session: UnplacedSession,
        rotation: &Arc<Rotation>,
    ) -> Result<Inserted, StoreError>;

    /// Stores a session's next version and its events in one atomic write, over the version before it and no other.
    async fn commit(&self, change: &Change) -> Result<Committed, StoreError>;

    /// The sessions that a query asks for, newest first. One that cannot be read takes its place among the others, and
    /// counts for the limit.
    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError>;

    /// The events of a session with a sequence greater than `after`, oldest first, at most `limit` of them and without a
    /// gap; `None` when there is no such session.
    async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError>;

    /// How many sessions are in each state.
    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError>;

    /// Live sessions that are over by the clock: scheduled to end before `ends_before`, or with nobody in them since before
    /// `empty_before`. At most `limit`, in no order.
    async fn overdue(
        &self,
        ends_before: Timestamp,
        empty_before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError>;

    /// Says that an instance lives: replaces its mark by another one.
    async fn beat(&self, instance_id: &str, mark: i64) -> Result<(), StoreError>;

    /// The instances that have a mark, and their marks. At most `limit`, by id.
    async fn instances(&self, limit: usize) -> Result<Vec<(String, i64)>, StoreError>;

    /// Sessions with participants whose connections an instance holds. At most `limit`, in no order.
    async fn held_by(&self, instance_id: &str, limit: usize) -> Result<Vec<SessionId>, StoreError>;

    /// Forgets an instance that holds nobody any more.
    async fn forget_instance(&self, instance_id: &str) -> Result<(), StoreError>;

    /// Whether other instances can use the store at the same time, so that what they do must be looked for.
    fn is_shared(&self) -> bool;

    /// Answers if the store can be reached.
    async fn ping(&self) -> Result<(), StoreError>;

    /// What the store's clock says; `None` where the store has no clock but this machine's.
    async fn clock(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Finishes what it was given and lets go of what it holds.
    async fn close(&self);
}
