//! Writes this instance's heartbeat, and disconnects the participants of dead instances.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::liveness::{Liveness, LivenessTimes};
use super::{SESSIONS_PER_RUN_MAX, Upkeep, ticks};
use crate::app::changes::Decision;
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Error;
use crate::domain::id::SessionId;

/// The maximum number of instances observed. Dead instances without participants are deleted.
const INSTANCES_MAX: usize = 1000;

impl Upkeep {
    pub(super) async fn watch_instances(&self) {
        let interval = self.config.heartbeat_interval;
        let mut liveness = Liveness::new(LivenessTimes {
            heartbeat_interval: interval,
            lease: Duration::from_secs(self.config.lease_secs),
            grace: self.config.grace,
        });
        let mut ticks = ticks(interval);
        loop {
            ticks.tick().await;
            // The store has logged the failure; the next tick repeats the work.
            if self.write_heartbeat(&mut liveness).await.is_err() {
                continue;
            }
            if let Ok(dead) = self.find_dead_instances(&mut liveness).await {
                // The heartbeat continues during a long sweep.
                let _ = timeout(interval, self.sweep_dead_instances(&dead)).await;
            }
        }
    }

    /// Writes this instance's heartbeat.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    async fn write_heartbeat(&self, liveness: &mut Liveness) -> Result<(), Error> {
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
    async fn find_dead_instances(&self, liveness: &mut Liveness) -> Result<Vec<String>, Error> {
        let heartbeats = self.instances.heartbeats(INSTANCES_MAX).await;
        let mut heartbeats = heartbeats.map_err(|error| self.access.error(&error))?;
        heartbeats.retain(|(instance_id, _)| *instance_id != self.instance_id);
        let others: Vec<_> = heartbeats.iter().map(|(other, _)| other.clone()).collect();
        let dead = liveness.observe_heartbeats(heartbeats, Instant::now());
        self.feed.note_instances(&others, &dead);
        Ok(dead)
    }

    /// Disconnects the participants of dead instances unless they have moved to another instance, and deletes instances without
    /// participants. May be dropped at any point.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; the next run finds what is left.
    async fn sweep_dead_instances(&self, dead: &[String]) -> Result<(), Error> {
        for instance_id in dead {
            let limit = SESSIONS_PER_RUN_MAX + self.access.unreadable.len();
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
