//! Reads from the store for calls: limits their time, translates errors for the caller, and sets aside sessions that cannot be
//! read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::unreadable::{Unreadable, UnreadablePart};
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::store::{SessionStore, StoreError};

/// How long calls wait for the store, and the advice after a timeout.
#[derive(Debug, Clone, Copy)]
pub struct StoreWaitConfig {
    /// How long a call may wait for all its store operations together.
    pub timeout: Duration,
    /// How long a caller is asked to wait before trying again.
    pub retry_after: Duration,
}

/// The application's shared access to stored sessions.
pub(super) struct StoreAccess {
    pub(super) sessions: Arc<dyn SessionStore>,
    pub(super) unreadable: Unreadable,
    pub(super) wait: StoreWaitConfig,
}

impl StoreAccess {
    /// Reads a session.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub(super) async fn session(&self, session_id: &SessionId) -> Result<Session, Error> {
        self.within_budget(self.read_session(session_id)).await
    }

    /// As [`StoreAccess::session`], for callers that bound the time themselves.
    pub(super) async fn read_session(&self, session_id: &SessionId) -> Result<Session, Error> {
        let found = self.sessions.get(session_id).await;
        found
            .map_err(|error| self.error(&error))?
            .ok_or(Error::SessionNotFound)
    }

    /// Finds the session that has a short link with this digest.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub(super) async fn session_by_short_link(
        &self,
        digest: &str,
    ) -> Result<Option<Session>, Error> {
        self.within_budget(async {
            let found = self.sessions.session_by_short_link(digest).await;
            found.map_err(|error| self.error(&error))
        })
        .await
    }

    /// Reads the events of a session after a sequence, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub(super) async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        self.within_budget(async {
            let events = self.sessions.events(session_id, after, limit).await;
            events
                .map_err(|error| self.error_about(UnreadablePart::Events { after }, &error))?
                .ok_or(Error::SessionNotFound)
        })
        .await
    }

    /// Limits the time of a call's store operations, all together.
    pub(super) async fn within_budget<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.wait.timeout, work)
            .await
            .unwrap_or_else(|_| Err(self.store_timeout_error()))
    }

    /// Logs that the store took too long, and returns the error for the caller.
    pub(super) fn store_timeout_error(&self) -> Error {
        tracing::warn!("the store did not answer within STORE_TIMEOUT_MS");
        Error::StoreUnavailable {
            retry_after: self.wait.retry_after,
        }
    }

    /// The error if other instances keep changing the session.
    pub(super) fn contention_error(&self) -> Error {
        Error::Contention {
            retry_after: self.wait.retry_after,
        }
    }

    /// The error if this instance is overloaded.
    pub(super) fn overloaded_error(&self) -> Error {
        Error::Overloaded {
            retry_after: self.wait.retry_after,
        }
    }

    /// The error if the instance drains.
    pub(super) fn shutting_down_error(&self) -> Error {
        Error::ShuttingDown {
            retry_after: self.wait.retry_after,
        }
    }

    /// The caller's error for a store's error, whose details the store has logged. A session that cannot be read is set aside.
    pub(super) fn error(&self, error: &StoreError) -> Error {
        self.error_about(UnreadablePart::Record, error)
    }

    /// As [`StoreAccess::error`], for a commit.
    pub(super) fn commit_error(&self, error: &StoreError) -> Error {
        self.error_about(UnreadablePart::Commit, error)
    }

    fn error_about(&self, part: UnreadablePart, error: &StoreError) -> Error {
        let retry_after = self.wait.retry_after;
        match error {
            StoreError::Unavailable(_) => Error::StoreUnavailable { retry_after },
            StoreError::Overloaded => Error::Overloaded { retry_after },
            StoreError::Corrupt { session_id, .. } => {
                if let Some(session_id) = session_id {
                    self.unreadable
                        .set_aside(session_id, part, error, Instant::now());
                }
                Error::Internal
            }
        }
    }
}
