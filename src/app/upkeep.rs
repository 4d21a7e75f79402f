//! What becomes of sessions by themselves: those whose time is over end, and participants whose instance died are gone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::access::StoreAccess;
use super::changes::{Changes, Decision};
use super::clock::Clock;
use super::liveness::Liveness;
use super::sessions::{EndingConfig, Sessions};
use super::unreadable::Part;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;
use crate::domain::time::Timestamp;
use crate::store::{InstanceStore, StoreError, StoreHealth};
use crate::telemetry::metrics::Metrics;

/// How many sessions are dealt with at a time.
const BATCH: usize = 100;
/// How many sessions that were set aside are tried again at a time.
const RETRIES: usize = 10;
/// How many instances are watched. Those that nobody needs to hear of any more are forgotten, and make room.
const INSTANCES_MAX: usize = 1000;

/// Ends sessions that are over, and participants' stays whose instance is dead.
pub struct Upkeep {
    pub(super) access: Arc<StoreAccess>,
    pub(super) instances: Arc<dyn InstanceStore>,
    pub(super) store: Arc<dyn StoreHealth>,
    pub(super) changes: Arc<Changes>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: UpkeepConfig,
    /// Names this process, for as long as it runs.
    pub(super) instance_id: String,
    /// What was found over when sessions were last looked for, and did not end.
    pub(super) still_over: Mutex<HashSet<SessionId>>,
    pub(super) clock_watch: ClockWatch,
}

/// What upkeep goes by.
#[derive(Debug, Clone, Copy)]
pub struct UpkeepConfig {
    /// When sessions end by themselves.
    pub ending: EndingConfig,
    /// How far this machine's clock and the store's may differ without a warning.
    pub clock_skew_warn: Duration,
}

impl Upkeep {
    /// Ends the sessions whose time is over.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; what is left is found again the next time.
    pub async fn end_overdue(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let ends_before = now.minus_secs(self.config.ending.window.late_secs);
        let empty_before = self
            .config
            .ending
            .empty_timeout
            .map(|timeout| now.minus_secs(timeout.as_secs()));
        // However many of those that are found are set aside, a batch of others is found, too.
        let limit = BATCH + self.access.unreadable.len();
        let overdue = self
            .access
            .sessions
            .overdue_sessions(ends_before, empty_before, limit)
            .await
            .map_err(|error| self.access.error(&error))?;
        let mut still_there = Vec::new();
        for session_id in self.without_set_aside(overdue) {
            match self.sessions.end_if_over(&session_id).await {
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
            self.access
                .unreadable
                .set_aside(session_id, Part::Commit, &damaged, Instant::now());
        }
    }

    /// Nothing panics while it holds this lock.
    fn lock_still_over(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.still_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries sessions again that could not be read: an operator may have repaired them.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn retry_unreadable_sessions(&self) -> Result<(), Error> {
        for (session_id, part) in self.access.unreadable.due(Instant::now(), RETRIES) {
            let read = match part {
                Part::Record => self.access.sessions.get(&session_id).await.map(drop),
                Part::Commit => {
                    self.access.unreadable.readmit(&session_id);
                    continue;
                }
                Part::Events { after } => {
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

    /// Says that this instance lives.
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

    /// Looks at the heartbeats of the other instances, and returns the instances that are dead.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    pub async fn find_dead_instances(&self, liveness: &mut Liveness) -> Result<Vec<String>, Error> {
        let heartbeats = self.instances.heartbeats(INSTANCES_MAX).await;
        let mut marks = marks.map_err(|error| self.access.error(&error))?;
        marks.retain(|(instance_id, _)| *instance_id != self.instance_id);
        Ok(liveness.observe_heartbeats(heartbeats, Instant::now()))
    }

    /// Lets the participants of dead instances leave, unless they have connected to another by now, and forgets instances
    /// that have none left. May be dropped at any point; what is left is found again.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; what is left is found again the next time.
    pub async fn sweep_dead_instances(&self, dead: &[String]) -> Result<(), Error> {
        for instance_id in dead {
            let limit = BATCH + self.access.unreadable.len();
            let held = self.instances.sessions_held_by(instance_id, limit).await;
            let held = held.map_err(|error| self.access.error(&error))?;
            // Only once nobody is left: what could not be changed now is found again.
            if held.is_empty() {
                let forgotten = self.instances.remove_instance(instance_id).await;
                forgotten.map_err(|error| self.access.error(&error))?;
            }
            for session_id in self.without_set_aside(held) {
                go_on(self.remove_participants_of(&session_id, instance_id).await)?;
            }
        }
        Ok(())
    }

    /// Compares this machine's clock with the store's, where the store has one of its own.
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

    async fn remove_participants_of(
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
                    let change = session.departed(user_id, instance_id, &actor, now)?;
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
