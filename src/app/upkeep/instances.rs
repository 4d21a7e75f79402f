//! Writes this instance's heartbeat, disconnects the participants of dead instances, and finds the SFU nodes that answer no live
//! instance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use super::liveness::{Liveness, LivenessTimes};
use super::{SESSIONS_PER_RUN_MAX, Upkeep, ticks};
use crate::app::changes::Decision;
use crate::app::nodes::{NodeBook, Nodes};
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Error;
use crate::domain::id::{NodeId, SessionId};
use crate::store::Heartbeat;

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
        let mut book = self.nodes.nodes.watch();
        let mut told = self.nodes.nodes.unreachable();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // The other instances learn at once that a node does not answer, or answers again.
                () = unreachable_nodes_changed(&mut book, &self.nodes.nodes, &told) => {}
            }
            told = self.nodes.nodes.unreachable();
            // The store has logged the failure; the next tick repeats the work.
            if self.write_heartbeat(&mut liveness, &told).await.is_err() {
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
    async fn write_heartbeat(
        &self,
        liveness: &mut Liveness,
        lost_nodes: &[NodeId],
    ) -> Result<(), Error> {
        let heartbeat = Heartbeat {
            instance_id: self.instance_id.clone(),
            number: liveness.next_heartbeat(self.clock.now()),
            lost_nodes: Some(lost_nodes.to_vec()),
        };
        let written = self.instances.write_heartbeat(&heartbeat).await;
        written.map_err(|error| self.access.error(&error))
    }

    /// Reads the other instances' heartbeats, returns the dead instances, and finds the lost nodes.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]
    async fn find_dead_instances(&self, liveness: &mut Liveness) -> Result<Vec<String>, Error> {
        let heartbeats = self.instances.heartbeats(INSTANCES_MAX).await;
        let mut heartbeats = heartbeats.map_err(|error| self.access.error(&error))?;
        heartbeats.retain(|heartbeat| heartbeat.instance_id != self.instance_id);
        let others: Vec<_> = heartbeats
            .iter()
            .map(|heartbeat| heartbeat.instance_id.clone())
            .collect();
        let numbers = heartbeats
            .iter()
            .map(|heartbeat| (heartbeat.instance_id.clone(), heartbeat.number));
        let dead = liveness.observe_heartbeats(numbers, Instant::now());
        self.feed.note_instances(&others, &dead);
        let live = heartbeats
            .into_iter()
            .filter(|heartbeat| liveness.is_fresh(&heartbeat.instance_id));
        let lost_nodes: Vec<_> = live.filter_map(|heartbeat| heartbeat.lost_nodes).collect();
        self.nodes.nodes.set_lost_of_all(&lost_nodes);
        self.nodes.record_losses().await?;
        Ok(dead)
    }

    /// Takes over what dead instances were to do on nodes, disconnects their participants unless they have moved to another instance,
    /// and deletes instances without participants. May be dropped at any point.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]; the next run finds what is left.
    async fn sweep_dead_instances(&self, dead: &[String]) -> Result<(), Error> {
        for instance_id in dead {
            for node_id in self.nodes.take_over_renewals(instance_id).await? {
                self.mover.request_new_rooms(&node_id);
            }
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

/// Waits until other nodes than `told` do not answer this instance.
async fn unreachable_nodes_changed(
    book: &mut watch::Receiver<Arc<NodeBook>>,
    nodes: &Nodes,
    told: &[NodeId],
) {
    while nodes.unreachable() == told {
        if book.changed().await.is_err() {
            std::future::pending::<()>().await;
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
