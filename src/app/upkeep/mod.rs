//! Background work: repeated, idempotent tasks that run until they are stopped.

mod clock;
mod instances;
mod liveness;
mod nodes;
mod overdue;
mod rooms;
mod store;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::StoreAccess;
use super::changes::Changes;
use super::clock::Clock;
use super::drivers::Drivers;
use super::feed::FeedReader;
use super::moving::Mover;
use super::node_operations::NodeOperations;
use super::probing::Prober;
use super::reconcile::Reconciler;
use super::sessions::{EndingConfig, Sessions};
use crate::domain::id::SessionId;
use crate::readiness::ReadinessState;
use crate::store::{InstanceStore, StoreHealth};
use crate::telemetry::metrics::Metrics;

/// The maximum number of sessions per run of a task.
const SESSIONS_PER_RUN_MAX: usize = 100;
/// The pause before a task that panicked is restarted.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Settings of background work.
#[derive(Debug, Clone)]
pub struct UpkeepConfig {
    /// How often the store is probed.
    pub probe_interval: Duration,
    /// How long the store may take to answer a probe.
    pub probe_timeout: Duration,
    /// How often sessions are counted.
    pub count_interval: Duration,
    /// How often overdue sessions are ended.
    pub overdue_interval: Duration,
    /// How often all rooms of the SFU nodes are reconciled.
    pub rooms_interval: Duration,
    /// How often the instance writes its heartbeat.
    pub heartbeat_interval: Duration,
    /// How long an instance may miss its heartbeat.
    pub lease_secs: u64,
    /// How long the participants of a dead instance may reconnect.
    pub grace: Duration,
    /// How far this machine's clock and the store's may differ without a warning.
    pub clock_skew_warn: Duration,
    /// How often the operators' states of SFU nodes are read.
    pub node_poll_interval: Duration,
}

/// Probes the store, ends overdue sessions, sweeps dead instances, follows the states of SFU nodes and reads the feed.
pub struct Upkeep {
    pub(super) access: Arc<StoreAccess>,
    pub(super) instances: Arc<dyn InstanceStore>,
    pub(super) store: Arc<dyn StoreHealth>,
    pub(super) changes: Arc<Changes>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) feed: FeedReader,
    pub(super) drivers: Arc<Drivers>,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) nodes: Arc<NodeOperations>,
    pub(super) prober: Arc<Prober>,
    pub(super) mover: Arc<Mover>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    /// Set by whether the store answers.
    pub(super) readiness: ReadinessState,
    pub(super) config: UpkeepConfig,
    /// When the service ends sessions.
    pub(super) ending: EndingConfig,
    /// Identifies this process.
    pub(super) instance_id: String,
    pub(super) memory: Memory,
}

/// What a run of a task keeps for the next.
#[derive(Default)]
pub(super) struct Memory {
    /// Overdue sessions that the last run could not end.
    unended_overdue: Mutex<HashSet<SessionId>>,
    clock_watch: clock::ClockWatch,
}

type Task = fn(Arc<Upkeep>) -> BoxFuture<'static, ()>;

impl Upkeep {
    /// Starts every task on `tasks`. Tasks end when `stop` is cancelled; the heartbeat and the feed continue until `closing`,
    /// because participants stay connected during the drain.
    pub fn start_tasks(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        closing: &CancellationToken,
    ) {
        let spawn = |stop: &CancellationToken, task: Task| {
            let upkeep = Arc::clone(self);
            let make_task = move || task(Arc::clone(&upkeep));
            tasks.spawn(run_supervised(stop.clone(), make_task));
        };
        spawn(stop, |upkeep| {
            async move { upkeep.probe_store_repeatedly().await }.boxed()
        });
        spawn(stop, |upkeep| {
            async move { upkeep.count_sessions_repeatedly().await }.boxed()
        });
        spawn(stop, |upkeep| {
            async move { upkeep.measure_clock_repeatedly().await }.boxed()
        });
        spawn(stop, |upkeep| {
            async move { upkeep.end_overdue_sessions_repeatedly().await }.boxed()
        });
        spawn(stop, |upkeep| {
            async move { upkeep.request_rooms_repeatedly().await }.boxed()
        });
        spawn(closing, |upkeep| {
            async move { Arc::clone(&upkeep.reconciler).work().await }.boxed()
        });
        spawn(closing, |upkeep| {
            async move { upkeep.read_node_states_repeatedly().await }.boxed()
        });
        spawn(closing, |upkeep| {
            async move { Arc::clone(&upkeep.prober).run().await }.boxed()
        });
        spawn(closing, |upkeep| {
            async move { upkeep.mover.run().await }.boxed()
        });
        spawn(closing, |upkeep| {
            async move { upkeep.watch_instances().await }.boxed()
        });
        spawn(closing, |upkeep| {
            async move { upkeep.feed.run().await }.boxed()
        });
    }

    fn without_set_aside(&self, found: Vec<SessionId>) -> Vec<SessionId> {
        let mut found = found;
        found.retain(|session_id| !self.access.unreadable.contains(session_id));
        found
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Runs a task until `stop` is cancelled. A panicking task is restarted, because its absence would go unnoticed.
async fn run_supervised<T>(stop: CancellationToken, mut make_task: impl FnMut() -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut running = tokio::spawn(make_task());
        match stop.run_until_cancelled(&mut running).await {
            Some(_) => tracing::error!("a background task panicked and is restarted"),
            None => {
                running.abort();
                // Ignores the error that aborting causes.
                let _ = running.await;
                return;
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(RESTART_PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_panicking_task_is_restarted_until_it_is_stopped() {
        let (stop, starts) = (CancellationToken::new(), AtomicUsize::new(0));
        let (sender, mut second) = mpsc::channel::<()>(1);
        let supervision = run_supervised(stop.clone(), || {
            let is_first = starts.fetch_add(1, Ordering::Relaxed) == 0;
            let sender = sender.clone();
            async move {
                assert!(!is_first, "a fault");
                let _ = sender.send(()).await;
                pending().await
            }
        });
        let stopping = async {
            second.recv().await.expect("the task is restarted");
            stop.cancel();
        };
        tokio::join!(supervision, stopping);
        assert_eq!(starts.load(Ordering::Relaxed), 2);
    }
}
