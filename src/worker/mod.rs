//! What is done without being asked: each task is idempotent, takes no input, and runs until told to stop.

mod count_sessions;
mod end_overdue;
mod keep_alive;
mod measure_clock;
mod probe_store;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::rpc::Health;
use crate::store::SessionStore;
use crate::telemetry::metrics::Metrics;

/// Settings of background work.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often the store is probed.
    pub probe_interval: Duration,
    /// How long it may take to answer a probe.
    pub probe_timeout: Duration,
    /// How often sessions are counted.
    pub count_interval: Duration,
    /// How often sessions whose time is over are looked for.
    pub overdue_interval: Duration,
    /// How often the instance says that it lives.
    pub beat_interval: Duration,
    /// How long it is believed to live without saying so.
    pub lease_secs: u64,
}

/// What the tasks work with.
#[derive(Clone)]
pub struct Parts {
    /// The application.
    pub app: Arc<App>,
    /// The store.
    pub store: Arc<dyn SessionStore>,
    /// Told whether the store answers.
    pub health: Health,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
}

/// Starts every task on `tasks`; they end when `stop` is cancelled. That this instance lives is said until `closing`: while
/// it drains, its participants are still here.
pub fn start(
    config: &Config,
    parts: &Parts,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    closing: &CancellationToken,
) {
    tasks.spawn(until(
        stop.clone(),
        probe_store::run(config.clone(), parts.clone()),
    ));
    tasks.spawn(until(
        stop.clone(),
        count_sessions::run(config.clone(), parts.clone()),
    ));
    tasks.spawn(until(
        stop.clone(),
        measure_clock::run(config.clone(), parts.clone()),
    ));
    tasks.spawn(until(
        stop.clone(),
        end_overdue::run(config.clone(), parts.clone()),
    ));
    tasks.spawn(until(
        closing.clone(),
        keep_alive::run(config.clone(), parts.clone()),
    ));
}

async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    let _ = stop.run_until_cancelled(task).await;
}
