//! Background upkeep: ends overdue sessions and sweeps dead instances.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::access::StoreAccess;
use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::liveness::Liveness;
use super::sessions::{EndingConfig, Sessions};
use super::unreadable::UnreadablePart;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;
use crate::domain::time::Timestamp;
use crate::store::{InstanceStore, StoreError, StoreHealth};
use crate::telemetry::metrics::Metrics;

/// The maximum number of sessions per run.
const BATCH: usize = 100;
/// The maximum number of sessions set aside that are tried again per run.
const RETRIES: usize = 10;
/// The maximum number of instances observed. Dead instances without participants are deleted.
const INSTANCES_MAX: usize = 1000;

/// Ends overdue sessions and sweeps dead instances.
pub struct Upkeep {
    pub(super) access: Arc<StoreAccess>,
    pub(super) instances: Arc<dyn InstanceStore>,
    pub(super) store: Arc<dyn StoreHealth>,
    pub(super) changes: Arc<Changes>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: UpkeepConfig,
    /// Identifies this process.
    pub(super) instance_id: String,
    /// Overdue sessions that the last run could not end.
    pub(super) unended_overdue: Mutex<HashSet<SessionId>>,
    pub(super) clock_watch: ClockWatch,
}

/// Settings of upkeep.
#[derive(Debug, Clone, Copy)]
pub struct UpkeepConfig {
    /// When the service ends sessions.
    pub ending: EndingConfig,
    /// How far this machine's clock and the store's may differ without a warning.
    pub clock_skew_warn: Duration,
}

impl Upkeep {
    /// Ends overdue sessions.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; the next run finds what is left.
    pub async fn end_overdue_sessions(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let ends_before = now.minus_secs(self.config.ending.window.late_secs);
        let empty_before = self
            .config
            .ending
            .empty_timeout
            .map(|timeout| now.minus_secs(timeout.as_secs()));
        // Finds a full batch even if many of the sessions found are set aside.
        let limit = BATCH + self.access.unreadable.len();
        let overdue = self
            .access
            .sessions
            .overdue_sessions(ends_before, empty_before, limit)
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
        self.unended_overdue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries unreadable sessions again, because an operator may have repaired them.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn retry_unreadable_sessions(&self) -> Result<(), Error> {
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

    /// Writes this instance's heartbeat.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn write_heartbeat(&self, liveness: &mut Liveness) -> Result<(), Error> {
        let heartbeat = liveness.next_heartbeat(self.clock.now());
        let written = self
            .instances
            .write_heartbeat(&self.instance_id, heartbeat)
            .await;
        written.map_err(|error| self.access.error(&error))
    }

    /// Reads the other instances' heartbeats and returns the dead instances.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn find_dead_instances(&self, liveness: &mut Liveness) -> Result<Vec<String>, Error> {
        let heartbeats = self.instances.heartbeats(INSTANCES_MAX).await;
        let mut heartbeats = heartbeats.map_err(|error| self.access.error(&error))?;
        heartbeats.retain(|(instance_id, _)| *instance_id != self.instance_id);
        Ok(liveness.observe_heartbeats(heartbeats, Instant::now()))
    }

    /// Disconnects the participants of dead instances unless they have moved to another instance, and deletes instances without
    /// participants. May be dropped at any point.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; the next run finds what is left.
    pub async fn sweep_dead_instances(&self, dead: &[String]) -> Result<(), Error> {
        for instance_id in dead {
            let limit = BATCH + self.access.unreadable.len();
            let held = self.instances.sessions_held_by(instance_id, limit).await;
            let held = held.map_err(|error| self.access.error(&error))?;
            // Only when no participant is left; the next run finds failed changes again.
            if held.is_empty() {
                let deleted = self.instances.remove_instance(instance_id).await;
                deleted.map_err(|error| self.access.error(&error))?;
            }
            for session_id in self.without_set_aside(held) {
                continue_unless_store_unavailable(
                    self.release_participants_of(&session_id, instance_id).await,
                )?;
            }
        }
        Ok(())
    }

    /// Compares this machine's clock with the store's, if the store has its own.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn measure_clock_skew(&self) -> Result<(), Error> {
        let sent = self.clock.now();
        let clock = self.store.server_time().await;
        let received = self.clock.now();
        let Some(clock) = clock.map_err(|error| self.access.error(&error))? else {
            return Ok(());
        };
        let skew = ClockSkew::of(sent, clock, received);
        self.metrics.set_clock_skew(skew.millis);
        self.clock_watch.report(skew, self.config.clock_skew_warn);
        Ok(())
    }

    fn without_set_aside(&self, found: Vec<SessionId>) -> Vec<SessionId> {
        let mut found = found;
        found.retain(|session_id| !self.access.unreadable.contains(session_id));
        found
    }

    async fn release_participants_of(
        &self,
        session_id: &SessionId,
        instance_id: &str,
    ) -> Result<(), Error> {
        loop {
            let left = self
                .changes
                .change(session_id, |session| {
                    let lost = session
                        .participants
                        .iter()
                        .find(|participant| participant.instance_id == instance_id);
                    let Some(participant) = lost else {
                        return Ok(Decision::Keep(false));
                    };
                    let user_id = &participant.user_id;
                    let actor = Actor::System(SystemCause::InstanceDead);
                    let now = self.clock.now();
                    let change =
                        session.disconnect_participant(user_id, instance_id, &actor, now)?;
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

/// A failure on one session must not stop the others, unless the store is unavailable.
fn continue_unless_store_unavailable(outcome: Result<(), Error>) -> Result<(), Error> {
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
    /// The possible error: the store read its clock at an unknown time between request and answer.
    uncertainty_millis: i64,
}

impl ClockSkew {
    /// The skew, from this machine's times of the request and the answer, and the store's time.
    fn of(sent: Timestamp, clock: Timestamp, received: Timestamp) -> Self {
        let [sent, clock, received] = [sent, clock, received].map(Timestamp::as_millis);
        // Negative if this machine's clock was set back in between; the result is uncertain then too.
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

/// Remembers whether it was logged that the clocks differ.
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
    fn a_skew_is_measured_halfway_and_exceeds_a_limit_only_if_certain() {
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
