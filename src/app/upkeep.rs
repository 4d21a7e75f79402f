//! What becomes of sessions by themselves: those whose time is over end, and participants whose instance died are gone.

use super::changes::Decision;
use std::time::Duration;

use super::{App, Config};
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::participant::LeaveCause;
use crate::domain::time::Timestamp;

/// How many sessions are dealt with at a time.
const BATCH: usize = 100;

impl App {
    /// Ends the sessions whose time is over.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; what is left is found again the next time.
    pub async fn end_overdue(&self) -> Result<(), Error> {
        let now = Timestamp::now();
        let ends_before = now.minus_secs(self.config.window.late_secs);
        let empty_before = self
            .config
            .empty_timeout
            .map(|timeout| now.minus_secs(timeout.as_secs()));
        let overdue = self
            .store
            .overdue(ends_before, empty_before, BATCH)
            .await
            .map_err(|error| self.store_error(&error))?;
        for session_id in overdue {
            go_on(self.end_if_over(&session_id).await)?;
        }
        Ok(())
    }

    /// Ends a session if its time is over.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub(super) async fn end_if_over(&self, session_id: &SessionId) -> Result<(), Error> {
        self.change(session_id, |session| {
            // As it is now: it may have been moved, or entered, since it was found.
            let Config {
                window,
                empty_timeout,
                ..
            } = &self.config;
            let now = Timestamp::now();
            let cause = session.ends_by_itself(window, *empty_timeout, now);
            let change =
                cause.and_then(|cause| session.ended(cause, cause.reason().to_owned(), now));
            Ok(match change {
                Some(change) => Decision::Commit(Box::new(change), ()),
                None => Decision::Keep(()),
            })
        })
        .await
    }

    /// Says that this instance lives.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn beat(&self, lease_secs: u64) -> Result<(), Error> {
        let expires = Timestamp::now().plus_secs(lease_secs);
        let beaten = self.store.beat(&self.instance_id, expires).await;
        beaten.map_err(|error| self.store_error(&error))
    }

    /// The participants of instances that no longer say that they live are gone, unless they have connected to another by
    /// now. For that they have the grace, from when their instance was last heard of.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; what is left is found again the next time.
    pub async fn bury_the_dead(&self, lease_secs: u64) -> Result<(), Error> {
        let unavailable = |error| self.store_error(&error);
        let longer_than_lease = self.grace().as_secs().saturating_sub(lease_secs);
        let dead = self
            .store
            .dead_instances(Timestamp::now().minus_secs(longer_than_lease))
            .await
            .map_err(unavailable)?;
        for instance_id in dead {
            let held = self
                .store
                .held_by(&instance_id, BATCH)
                .await
                .map_err(unavailable)?;
            for session_id in &held {
                go_on(self.bury(session_id, &instance_id).await)?;
            }
            // Only once nobody is left: what could not be changed now is found again.
            if held.is_empty() {
                self.store
                    .forget_instance(&instance_id)
                    .await
                    .map_err(unavailable)?;
            }
        }
        Ok(())
    }

    /// How long a participant may be away.
    pub fn grace(&self) -> Duration {
        self.config.reconnect_grace
    }

    async fn bury(&self, session_id: &SessionId, instance_id: &str) -> Result<(), Error> {
        loop {
            let left = self
                .change(session_id, |session| {
                    let lost = session
                        .participants
                        .iter()
                        .find(|participant| participant.instance_id == instance_id);
                    let change = lost.and_then(|participant| {
                        let user_id = &participant.user_id;
                        session.departed(user_id, instance_id, LeaveCause::Lost, Timestamp::now())
                    });
                    Ok(match change {
                        Some(change) => Decision::Commit(Box::new(change), true),
                        None => Decision::Keep(false),
                    })
                })
                .await?;
            if !left {
                return Ok(());
            }
        }
    }
}

/// One session that cannot be read or changed does not stand in the way of the others; a store that is away does.
fn go_on<T>(outcome: Result<T, Error>) -> Result<(), Error> {
    match outcome {
        Err(error @ (Error::StoreUnavailable { .. } | Error::Overloaded { .. })) => Err(error),
        _ => Ok(()),
    }
}
