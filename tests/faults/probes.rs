//! What an operator sees: health, metrics, the process; and what a caller is told.

use std::time::{Duration, Instant};

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::service::Service;

const SERVICE: &str = "videosession.v1.VideoSessionService";

pub(crate) struct Probes {
    health: HealthClient<Channel>,
    metrics_url: String,
    pid: u32,
}

impl Probes {
    pub(crate) async fn of(service: &Service) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", service.grpc)).unwrap();
        let admin = service.listening["admin_addr"].as_str().unwrap();
        Self {
            health: HealthClient::new(endpoint.connect().await.unwrap()),
            metrics_url: format!("http://{admin}/metrics"),
            pid: service.child.id(),
        }
    }

    async fn check(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = self.health.clone().check(request).await.unwrap();
        answer.into_inner().status()
    }

    pub(crate) async fn is_live(&self) -> bool {
        self.check("").await == ServingStatus::Serving
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.check(SERVICE).await == ServingStatus::Serving
    }

    /// Waits for readiness to come or go, which must not take longer; returns how long it took.
    pub(crate) async fn ready(&self, ready: bool, limit: Duration) -> Duration {
        until("readiness changes", limit, async || {
            self.is_ready().await == ready
        })
        .await
    }

    /// A metric whose value is a whole number, named with its labels and the space before the value.
    pub(crate) async fn gauge(&self, name: &str) -> i64 {
        self.find_gauge(name).await.expect("the metric exists")
    }

    /// As [`Self::gauge`], of a metric that may not have been counted yet.
    pub(crate) async fn find_gauge(&self, name: &str) -> Option<i64> {
        let text = reqwest::get(&self.metrics_url).await.unwrap();
        let text = text.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().parse().unwrap())
    }

    /// Waits until no call is in progress.
    pub(crate) async fn idle(&self) {
        let limit = Duration::from_secs(10);
        until("no call is in progress", limit, async || {
            self.gauge("video_session_rpcs_in_flight ").await == 0
        })
        .await;
    }

    /// How many files and sockets the process has open.
    pub(crate) fn open_files(&self) -> usize {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
        fds.count()
    }

    /// The process's memory, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let text = line.unwrap().trim().strip_suffix(" kB").unwrap();
        text.parse().unwrap()
    }
}

/// Polls until `condition` holds, which must not take longer than `limit`; returns how long it took.
pub(crate) async fn until(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    started.elapsed()
}

/// The answer of a service whose store is lost: says so, and when to try again.
pub(crate) fn assert_store_unavailable(what: &str, status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{what}: {status:?}");
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    assert_eq!(reason, Some("STORE_UNAVAILABLE"), "{what}: {status:?}");
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    assert!(
        retry.is_some_and(|delay| delay > Duration::ZERO),
        "{what}: {status:?}"
    );
}
