//! What becomes of sessions by themselves: those whose time is over end, and participants whose instance died are gone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::changes::Decision;
use super::liveness::Liveness;
use super::unreadable::Part;
use super::{App, Config};
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;
use crate::domain::participant::LeaveCause;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// How many sessions are dealt with at a time.
const BATCH: usize = 100;
/// How many sessions that were set aside are tried again at a time.
const RETRIES: usize = 10;
/// How many instances are watched. Those that nobody needs to hear of any more are forgotten, and make room.
const INSTANCES_MAX: usize = 1000;

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
        // However many of those that are found are set aside, a batch of others is found, too.
        let limit = BATCH + self.unreadable.len();
        let overdue = self
            .stores
            .sessions
            .overdue(ends_before, empty_before, limit)
            .await
            .map_err(|error| self.store_error(&error))?;
        let mut still_there = Vec::new();
        for session_id in self.without_set_aside(overdue) {
            match self.end_if_over(&session_id).await {
                Ok(true) => {}
                // Others are changing it right now; it is found again.
                Err(Error::Contention { .. } | Error::Overloaded { .. }) => {}
                Err(error @ Error::StoreUnavailable { .. }) => return Err(error),
                Ok(false) | Err(_) => still_there.push(session_id),
            }
        }
        self.set_aside_what_stays(still_there);
        Ok(())
    }

    /// A session that was found over twice in a row and did not end is not as the store's indexes have it, or cannot be
    /// changed: however many there are of them, they must not be all that is found.
    fn set_aside_what_stays(&self, still_there: Vec<SessionId>) {
        let still_there: HashSet<_> = still_there.into_iter().collect();
        let before = std::mem::replace(&mut *self.lock_still_over(), still_there.clone());
        let damaged = StoreError::corrupt("its time is over, and it cannot be ended");
        for session_id in before.intersection(&still_there) {
            self.unreadable
                .set_aside(session_id, Part::Commit, &damaged, Instant::now());
        }
    }

    /// Nothing panics while it holds this lock.
    fn lock_still_over(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.still_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a session if its time is over; whether it has ended.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub(super) async fn end_if_over(&self, session_id: &SessionId) -> Result<bool, Error> {
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
                Some(change) => Decision::Commit(Box::new(change), true),
                None => Decision::Keep(false),
            })
        })
        .await
    }

    /// Tries sessions again that could not be read: an operator may have repaired them.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn retry_unreadable_sessions(&self) -> Result<(), Error> {
        for (session_id, part) in self.unreadable.due(Instant::now(), RETRIES) {
            let read = match part {
                Part::Record => self.stores.sessions.get(&session_id).await.map(drop),
                Part::Commit => {
                    self.unreadable.readmit(&session_id);
                    continue;
                }
                Part::Events { after } => {
                    let events = self
                        .stores
                        .sessions
                        .events(&session_id, after, PAGE_SIZE_MAX);
                    events.await.map(drop)
                }
            };
            match read {
                Ok(()) => self.unreadable.release(&session_id),
                Err(StoreError::Corrupt { .. }) => {
                    self.unreadable.postpone(&session_id, Instant::now());
                }
                Err(error) => return Err(self.store_error(&error)),
            }
        }
        Ok(())
    }

    /// Says that this instance lives.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn beat(&self, liveness: &mut Liveness) -> Result<(), Error> {
        let mark = liveness.next_mark(Timestamp::now());
        let beaten = self.stores.instances.beat(&self.instance_id, mark).await;
        beaten.map_err(|error| self.store_error(&error))
    }

    /// Looks at the marks of the other instances, and returns the instances that are dead.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn find_dead_instances(&self, liveness: &mut Liveness) -> Result<Vec<String>, Error> {
        let marks = self.stores.instances.instances(INSTANCES_MAX).await;
        let mut marks = marks.map_err(|error| self.store_error(&error))?;
        marks.retain(|(instance_id, _)| *instance_id != self.instance_id);
        Ok(liveness.observe(marks, Instant::now()))
    }

    /// Lets the participants of dead instances leave, unless they have connected to another by now, and forgets instances
    /// that have none left. May be dropped at any point; what is left is found again.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; what is left is found again the next time.
    pub async fn sweep_dead_instances(&self, dead: &[String]) -> Result<(), Error> {
        for instance_id in dead {
            let limit = BATCH + self.unreadable.len();
            let held = self.stores.instances.held_by(instance_id, limit).await;
            let held = held.map_err(|error| self.store_error(&error))?;
            // Only once nobody is left: what could not be changed now is found again.
            if held.is_empty() {
                let forgotten = self.stores.instances.forget_instance(instance_id).await;
                forgotten.map_err(|error| self.store_error(&error))?;
            }
            for session_id in self.without_set_aside(held) {
                go_on(self.remove_participants_of(&session_id, instance_id).await)?;
            }
        }
        Ok(())
    }

    /// How long a participant may be away.
    pub fn grace(&self) -> Duration {
        self.config.reconnect_grace
    }

    /// Compares this machine's clock with the store's, where the store has one of its own.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn measure_clock_skew(&self) -> Result<(), Error> {
        let sent = Timestamp::now();
        let clock = self.stores.health.clock().await;
        let received = Timestamp::now();
        let Some(clock) = clock.map_err(|error| self.store_error(&error))? else {
            return Ok(());
        };
        let skew = ClockSkew::of(sent, clock, received);
        self.metrics.clock_skew(skew.millis);
        self.clock_watch.report(skew, self.config.clock_skew_warn);
        Ok(())
    }

    fn without_set_aside(&self, found: Vec<SessionId>) -> Vec<SessionId> {
        let mut found = found;
        found.retain(|session_id| !self.unreadable.contains(session_id));
        found
    }

    async fn remove_participants_of(
        &self,
        session_id: &SessionId,
        instance_id: &str,
    ) -> Result<(), Error> {
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
fn go_on(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error @ Error::StoreUnavailable { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// How far this machine's clock is ahead of the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClockSkew {
    /// Milliseconds; negative when this machine's clock is behind.
    millis: i64,
    /// By how much that may be wrong, since nobody knows when between question and answer the store read its clock.
    uncertainty_millis: i64,
}

impl ClockSkew {
    /// From when the question was sent and the answer received by this machine's clock, and what the answer said.
    fn of(sent: Timestamp, clock: Timestamp, received: Timestamp) -> Self {
        let [sent, clock, received] = [sent, clock, received].map(Timestamp::as_millis);
        // Negative when this machine's clock was set back in between; then nothing is certain either.
        let half = (received - sent) / 2;
        Self {
            millis: sent + half - clock,
            uncertainty_millis: half.abs(),
        }
    }

    fn exceeds(self, limit: Duration) -> bool {
        let certain = self.millis.saturating_abs() - self.uncertainty_millis;
        u128::try_from(certain).is_ok_and(|certain| certain > limit.as_millis())
    }
}

/// Remembers whether the log has been told that the clocks differ.
#[derive(Default)]
pub(super) struct ClockWatch {
    differ: AtomicBool,
}

impl ClockWatch {
    fn report(&self, skew: ClockSkew, limit: Duration) {
        let differ = skew.exceeds(limit);
        if self.differ.swap(differ, Ordering::Relaxed) == differ {
            return;
        }
        let skew_ms = skew.millis;
        if differ {
            tracing::warn!(
                skew_ms,
                "this machine's clock and the store's differ by more than CLOCK_SKEW_WARN_MS"
            );
        } else {
            tracing::info!(skew_ms, "this machine's clock and the store's agree again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_measured_halfway_and_exceeds_a_limit_only_for_certain() {
        let at = Timestamp::from_millis;
        let limit = Duration::from_secs(5);
        let skew = |sent, clock, received| ClockSkew::of(at(sent), at(clock), at(received));
        assert_eq!(skew(1000, 1010, 1020).millis, 0);
        assert_eq!(skew(61_000, 1010, 61_020).millis, 60_000);
        assert_eq!(skew(1000, 61_010, 1020).millis, -60_000);
        assert!(skew(61_000, 1010, 61_020).exceeds(limit));
        assert!(skew(1000, 61_010, 1020).exceeds(limit));
        assert!(!skew(6000, 1000, 6000).exceeds(limit));
        assert!(skew(6001, 1000, 6001).exceeds(limit));
        // The answer took so long that the clocks may agree.
        assert!(!skew(1000, 1000, 15_000).exceeds(limit));
        assert!(!skew(15_000, 1000, 1000).exceeds(limit));
    }
}
