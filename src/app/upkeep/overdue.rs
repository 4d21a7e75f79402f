//! Ends sessions whose join window is over, or that have been empty for too long.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use super::{SESSIONS_PER_RUN_MAX, Upkeep, ticks};
use crate::app::unreadable::UnreadablePart;
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;
use crate::store::{OverdueBounds, StoreError};

/// The maximum number of sessions set aside that are tried again per run.
const RETRIES: usize = 10;

impl Upkeep {
    pub(super) async fn end_overdue_sessions_repeatedly(&self) {
        let mut ticks = ticks(self.config.overdue_interval);
        loop {
            ticks.tick().await;
            // The store has logged the failure; the next tick repeats the work.
            let _ = self.end_overdue_sessions().await;
            let _ = self.retry_unreadable_sessions().await;
        }
    }

    /// Ends overdue sessions.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; the next run finds what is left.
    async fn end_overdue_sessions(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let bounds = OverdueBounds {
            ends_before: now.minus_secs(self.ending.window.late_secs),
            empty_before: self
                .ending
                .empty_timeout
                .map(|timeout| now.minus_secs(timeout.as_secs())),
            empty_deadline_before: now,
        };
        // Finds a full batch even if many of the sessions found are set aside.
        let limit = SESSIONS_PER_RUN_MAX + self.access.unreadable.len();
        let overdue = self
            .access
            .sessions
            .overdue_sessions(bounds, limit)
            .await
            .map_err(|error| self.access.error(&error))?;
        let mut unended = Vec::new();
        for session_id in self.without_set_aside(overdue) {
            match self.sessions.end_if_overdue(&session_id).await {
                Ok(true) => {}
                // Other instances are changing it; the next run finds it.
                Err(Error::Contention { .. } | Error::Overloaded { .. }) => {}
                Err(error @ Error::StoreUnavailable { .. }) => return Err(error),
                Ok(false) | Err(_) => unended.push(session_id),
            }
        }
        self.set_aside_unended(unended);
        Ok(())
    }

    /// Sets aside sessions that were overdue twice in a row without ending: their indexes are wrong, or they cannot be changed. So
    /// such sessions never fill the whole result.
    fn set_aside_unended(&self, unended: Vec<SessionId>) {
        let unended: HashSet<_> = unended.into_iter().collect();
        let before = std::mem::replace(&mut *self.lock_unended_overdue(), unended.clone());
        let damaged = StoreError::corrupt("the session is overdue and cannot be ended");
        for session_id in before.intersection(&unended) {
            self.access.unreadable.set_aside(
                session_id,
                UnreadablePart::Commit,
                &damaged,
                Instant::now(),
            );
        }
    }

    /// No code panics while holding this lock.
    fn lock_unended_overdue(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.memory
            .unended_overdue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries unreadable sessions again, because an operator may have repaired them.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    async fn retry_unreadable_sessions(&self) -> Result<(), Error> {
        for (session_id, part) in self.access.unreadable.due(Instant::now(), RETRIES) {
            let read = match part {
                UnreadablePart::Record => self.access.sessions.get(&session_id).await.map(drop),
                UnreadablePart::Commit => {
                    self.access.unreadable.clear_for_retry(&session_id);
                    continue;
                }
                UnreadablePart::Events { after } => {
                    let events = self
                        .access
                        .sessions
                        .events(&session_id, after, PAGE_SIZE_MAX);
                    events.await.map(drop)
                }
            };
            match read {
                Ok(()) => self.access.unreadable.release(&session_id),
                Err(StoreError::Corrupt { .. }) => {
                    self.access.unreadable.postpone(&session_id, Instant::now());
                }
                Err(error) => return Err(self.access.error(&error)),
            }
        }
        Ok(())
    }
}
