//! Background tasks: idempotent, without input, running until stopped.

mod count_sessions;
mod end_overdue;
mod follow_feed;
mod heartbeat;
mod measure_clock;
mod probe_store;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::readiness::ReadinessState;
use crate::store::Stores;
use crate::telemetry::metrics::Metrics;

/// The pause before a task that panicked is restarted.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Settings of background work.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often the store is probed.
    pub probe_interval: Duration,
    /// How long the store may take to answer a probe.
    pub probe_timeout: Duration,
    /// How often sessions are counted.
    pub count_interval: Duration,
    /// How often overdue sessions are ended.
    pub overdue_interval: Duration,
    /// How often the instance writes its heartbeat.
    pub heartbeat_interval: Duration,
    /// How long an instance may miss its heartbeat.
    pub lease_secs: u64,
    /// How long the participants of a dead instance may reconnect.
    pub grace: Duration,
}

/// The dependencies of the tasks.
#[derive(Clone)]
pub struct Parts {
    /// The application.
    pub app: Arc<App>,
    /// The store.
    pub stores: Stores,
    /// Set by whether the store answers.
    pub readiness: ReadinessState,
    /// The service's metrics.
    pub metrics: Arc<Metrics>,
}

/// Starts every task on `tasks`. Tasks end when `stop` is cancelled; the heartbeat and the feed continue until `closing`,
/// because participants stay connected during the drain.
pub fn start_tasks(
    config: &Config,
    parts: &Parts,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    closing: &CancellationToken,
) {
    let spawn = |stop: &CancellationToken, task: Task| {
        let (config, parts) = (config.clone(), parts.clone());
        let make_task = move || task(config.clone(), parts.clone());
        tasks.spawn(run_supervised(stop.clone(), make_task));
    };
    spawn(stop, |config, parts| {
        Box::pin(probe_store::run(config, parts))
    });
    spawn(stop, |config, parts| {
        Box::pin(count_sessions::run(config, parts))
    });
    spawn(stop, |config, parts| {
        Box::pin(measure_clock::run(config, parts))
    });
    spawn(stop, |config, parts| {
        Box::pin(end_overdue::run(config, parts))
    });
    spawn(closing, |config, parts| {
        Box::pin(heartbeat::run(config, parts))
    });
    spawn(closing, |_, parts| Box::pin(follow_feed::run(parts)));
}

type Task = fn(Config, Parts) -> Pin<Box<dyn Future<Output = ()> + Send>>;

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
