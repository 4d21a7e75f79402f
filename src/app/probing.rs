//! Probes the SFU nodes that carry media, each by a task of its own, so that a slow one delays no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use super::drivers::{Drivers, DriversByNode};
use super::moving::Mover;
use super::node_operations::NodeOperations;
use super::nodes::{NodeStart, Nodes};
use super::reconcile::Reconciler;
use crate::domain::health::ProbeFailure;
use crate::domain::id::NodeId;
use crate::sfu::{NodeStatus, Outage, SfuDriver, SfuError};

/// The pause before a probe task that panicked is restarted.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// After a failure, a node is probed this many times as often, so that the loss is noticed soon after its time is over.
const FAILING_RATE: u32 = 4;

/// Settings of probing.
#[derive(Debug, Clone, Copy)]
pub struct ProbeConfig {
    /// The time from the beginning of a probe to the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How often a node is asked what it carries.
    pub load_interval: Duration,
}

/// Probes the nodes.
pub(super) struct Prober {
    pub(super) drivers: Arc<Drivers>,
    pub(super) nodes: Arc<Nodes>,
    pub(super) operations: Arc<NodeOperations>,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) mover: Arc<Mover>,
    pub(super) config: ProbeConfig,
}

/// A node that is probed.
struct Probed {
    driver: Arc<dyn SfuDriver>,
    task: AbortHandle,
}

/// What the probes of a node keep for the next one.
#[derive(Default)]
struct Memory {
    last_error: Option<SfuError>,
    /// The process whose start is recorded.
    incarnation: Option<String>,
    loaded_at: Option<Instant>,
    /// Whether a probe has failed since the rooms were last listed: some may be left from before.
    is_back: bool,
}

impl Prober {
    /// Probes all nodes, and follows the operator's changes, until it is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut changes = self.drivers.watch();
        let mut tasks = JoinSet::new();
        let mut probed = HashMap::new();
        loop {
            let drivers = changes.borrow_and_update().clone();
            self.follow(drivers, &mut probed, &mut tasks);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
                Some(ended) = tasks.join_next() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        tracing::error!("the probes of an SFU node panicked and are restarted");
                        tokio::time::sleep(RESTART_PAUSE).await;
                    }
                }
            }
        }
    }

    fn follow(
        self: &Arc<Self>,
        drivers: DriversByNode,
        probed: &mut HashMap<NodeId, Probed>,
        tasks: &mut JoinSet<()>,
    ) {
        probed.retain(|node_id, probed| {
            let driver = drivers.get(node_id);
            let stays = driver.is_some_and(|driver| Arc::ptr_eq(driver, &probed.driver));
            if !stays {
                probed.task.abort();
            }
            stays && !probed.task.is_finished()
        });
        for (node_id, driver) in drivers {
            if !driver.capabilities().carries_media || probed.contains_key(&node_id) {
                continue;
            }
            let (prober, id) = (Arc::clone(self), node_id.clone());
            let probing = Arc::clone(&driver);
            let task = tasks.spawn(async move { prober.probe_repeatedly(&id, &*probing).await });
            probed.insert(node_id, Probed { driver, task });
        }
    }

    async fn probe_repeatedly(&self, node_id: &NodeId, driver: &dyn SfuDriver) {
        let mut memory = Memory::default();
        loop {
            let began = tokio::time::Instant::now();
            let probe = timeout(self.config.timeout, driver.check_health());
            let outcome = probe
                .await
                .unwrap_or(Err(SfuError::Unavailable(Outage::TimedOut)));
            let pause = match outcome {
                Ok(status) => {
                    self.note_success(node_id, driver, status, &mut memory)
                        .await;
                    self.config.interval
                }
                Err(error) => {
                    self.note_failure(node_id, error, &mut memory);
                    self.config.interval / FAILING_RATE
                }
            };
            sleep_until(began + pause).await;
        }
    }

    fn note_failure(&self, node_id: &NodeId, error: SfuError, memory: &mut Memory) {
        let failure = error.failure();
        if failure == ProbeFailure::Misconfigured && memory.last_error != Some(error) {
            tracing::error!(node = node_id.as_str(), %error, "an SFU node cannot be used");
        }
        memory.last_error = Some(error);
        memory.is_back = true;
        self.nodes.note_error(node_id, Some(error));
        self.nodes.note_probe(node_id, Err(failure), Instant::now());
    }

    async fn note_success(
        &self,
        node_id: &NodeId,
        driver: &dyn SfuDriver,
        status: NodeStatus,
        memory: &mut Memory,
    ) {
        memory.last_error = None;
        self.nodes.note_error(node_id, None);
        self.nodes.note_probe(node_id, Ok(()), Instant::now());
        if let Some(incarnation) = status.incarnation
            && memory.incarnation.as_ref() != Some(&incarnation)
        {
            match self.operations.note_start(node_id, &incarnation).await {
                Ok(start) => {
                    if start == NodeStart::Again {
                        self.mover.request_new_rooms(node_id);
                    }
                    memory.incarnation = Some(incarnation);
                }
                // The next probe repeats it.
                Err(error) => {
                    let reason = error.reason().as_str();
                    tracing::debug!(reason, "the start of an SFU node was not recorded");
                }
            }
        }
        if memory.is_back {
            // Rooms of sessions that moved away meanwhile end now, not with the next regular run.
            let rooms = timeout(self.config.timeout, self.reconciler.request_rooms(node_id));
            memory.is_back = !matches!(rooms.await, Ok(Ok(())));
        }
        let is_load_due =
            (memory.loaded_at).is_none_or(|at| at.elapsed() >= self.config.load_interval);
        if is_load_due {
            let load = timeout(self.config.timeout, driver.read_load()).await;
            self.nodes
                .note_load(node_id, load.ok().and_then(Result::ok));
            memory.loaded_at = Some(Instant::now());
        }
    }
}
