//! The port of sessions and their events.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::page::SessionQuery;
use crate::domain::session::{Session, SessionState};
use crate::domain::time::Timestamp;

/// A session for a turn. Turns count up from 0 and are unique within their rotation; a store does not know their purpose.
pub struct AtTurn {
    /// The rotation that counts the turn. Its name is stored; the default rotation's is empty.
    pub rotation: String,
    usable_turn: Box<dyn Fn(u64) -> u64 + Send + Sync>,
    change: Box<dyn FnOnce(u64) -> Change + Send + Sync>,
}

impl AtTurn {
    /// `usable_turn` returns the first turn from another on that the session can take; the turns before it are passed over.
    /// `change` returns the session for such a turn, at version 1, and its first event.
    pub fn new(
        rotation: String,
        usable_turn: impl Fn(u64) -> u64 + Send + Sync + 'static,
        change: impl FnOnce(u64) -> Change + Send + Sync + 'static,
    ) -> Self {
        Self {
            rotation,
            usable_turn: Box::new(usable_turn),
            change: Box::new(change),
        }
    }

    /// A session that can take every turn of the default rotation.
    pub fn of_every_turn(change: impl FnOnce(u64) -> Change + Send + Sync + 'static) -> Self {
        Self::new(String::new(), |turn| turn, change)
    }

    /// The first turn from `turn` on that the session can take.
    pub fn usable_turn(&self, turn: u64) -> u64 {
        (self.usable_turn)(turn)
    }

    /// The session for a turn that it can take.
    pub fn change(self, turn: u64) -> Change {
        (self.change)(turn)
    }
}

/// A session to store for an appointment. It depends on the appointment's latest session, and on the turn that the store assigns.
#[derive(Clone)]
pub struct NewSession {
    /// The appointment.
    pub appointment_id: AppointmentId,
    decide: Arc<Decide>,
}

/// What an insert does, by the appointment's latest session.
pub enum Insert {
    /// Stores a new session.
    New(AtTurn),
    /// Stores nothing: no session may follow this latest one.
    Keep(Box<Session>),
    /// Stores nothing: the new session is refused.
    Refuse(Error),
}

type Decide = dyn Fn(Option<Session>) -> Insert + Send + Sync;

impl NewSession {
    /// `decide` is given the appointment's latest session. It must have no effects: it may be called again, and its answer dropped.
    pub fn new(
        appointment_id: AppointmentId,
        decide: impl Fn(Option<Session>) -> Insert + Send + Sync + 'static,
    ) -> Self {
        Self {
            appointment_id,
            decide: Arc::new(decide),
        }
    }

    /// Decides over the appointment's latest session.
    pub fn decide(&self, latest: Option<Session>) -> Insert {
        (self.decide)(latest)
    }
}

/// A listed session that this version cannot read.
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
    /// The session is stored, with its turn.
    Stored(Box<Change>),
    /// No session may follow the appointment's latest one, which is returned; nothing was stored.
    Kept(Box<Session>),
    /// The new session was refused; nothing was stored.
    Refused(Error),
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

/// Which sessions are overdue: those that one of the bounds is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverdueBounds {
    /// Scheduled to end before this.
    pub ends_before: Timestamp,
    /// Without participants since before this; `None`: such sessions are not overdue.
    pub empty_before: Option<Timestamp>,
    /// Empty, with a deadline of their own before this.
    pub empty_deadline_before: Timestamp,
}

/// Stores sessions and their events.
///
/// A write that answers `Ok` is durable: it survives the loss of the process and, on MongoDB, of a minority of the
/// replica set. A write that fails or is dropped is applied entirely or not at all.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The session with this id.
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// The session of the appointment with the highest incarnation.
    async fn latest_session(
        &self,
        appointment_id: &AppointmentId,
    ) -> Result<Option<Session>, StoreError>;

    /// The session that has a short link with this digest.
    async fn session_by_short_link(&self, digest: &str) -> Result<Option<Session>, StoreError>;

    /// Reads the appointment's latest session. If a new one may follow it, takes the next turn of its rotation that it can take,
    /// and stores the new session and its first event, unless the appointment already has that incarnation. All instances share
    /// the turns; each is taken once. One write; the turn is only used up with the session if the store supports that.
    async fn insert(&self, new: NewSession) -> Result<Inserted, StoreError>;

    /// Stores a session's next version and its events in one atomic write, only over the version before it.
    async fn commit(&self, change: &Change) -> Result<Committed, StoreError>;

    /// The sessions that match a query, newest first. Unreadable ones are included, and count towards the limit.
    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError>;

    /// The events of a session with a sequence greater than `after`, oldest first, at most `limit` of them and without a
    /// gap; `None` if the session does not exist.
    async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError>;

    /// How many sessions are in each state.
    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError>;

    /// Live sessions that are overdue. At most `limit`, in no order.
    async fn overdue_sessions(
        &self,
        bounds: OverdueBounds,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError>;
}
