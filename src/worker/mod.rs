//! What is done without being asked: each task is idempotent, takes no input, and runs until told to stop.

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

/// The pause before a task that broke off begins anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

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
    pub heartbeat_interval: Duration,
    /// How long it is believed to live without saying so.
    pub lease_secs: u64,
    /// How long the participants of a dead instance have to come back.
    pub grace: Duration,
}

/// What the tasks work with.
#[derive(Clone)]
pub struct Parts {
    /// The application.
    pub app: Arc<App>,
    /// The store.
    pub stores: Stores,
    /// Told whether the store answers.
    pub readiness: ReadinessState,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
}

/// Starts every task on `tasks`; they end when `stop` is cancelled. That this instance lives is said until `closing`: while
/// it drains, its participants are still here.
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

/// Runs a task until `stop` is cancelled. One that panics begins anew: nobody would notice that it is gone.
async fn run_supervised<T>(stop: CancellationToken, mut make_task: impl FnMut() -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut running = tokio::spawn(make_task());
        match stop.run_until_cancelled(&mut running).await {
            Some(_) => tracing::error!("background work broke off, and begins anew"),
            None => {
                running.abort();
                // Only aborting can have ended it.
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
    async fn a_task_that_panics_begins_anew_and_ends_when_told_to() {
        let (stop, begun) = (CancellationToken::new(), AtomicUsize::new(0));
        let (sender, mut second) = mpsc::channel::<()>(1);
        let supervision = run_supervised(stop.clone(), || {
            let is_first = begun.fetch_add(1, Ordering::Relaxed) == 0;
            let sender = sender.clone();
            async move {
                assert!(!is_first, "as a fault would end it");
                let _ = sender.send(()).await;
                pending().await
            }
        });
        let told = async {
            second.recv().await.expect("it begins anew");
            stop.cancel();
        };
        tokio::join!(supervision, told);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
