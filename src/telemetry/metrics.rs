//! The service's metrics, in Prometheus' text format.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency histograms, in seconds: from a read of memory to the longest wait for a store.
const LATENCY_BUCKETS_SECS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LegacyLabels {
    api: &'static str,
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabel {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabel {
    role: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CloseLabel {
    close_code: u16,
}

/// The labels of a metric that is absent until it has a value.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QualityLabels {
    level: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MoveLabels {
    cause: &'static str,
    to: &'static str,
}

/// The service's metrics.
pub struct Metrics {
    registry: Registry,
    rpcs: Family<RpcLabels, Counter>,
    legacy_calls: Family<LegacyLabels, Counter>,
    rpc_seconds: Family<MethodLabel, Histogram>,
    store_operations: Family<OperationLabels, Counter>,
    store_seconds: Family<OperationLabel, Histogram>,
    sessions: Family<StateLabel, Gauge>,
    assignments: Family<NodeLabel, Counter>,
    moves: Family<MoveLabels, Counter>,
    tokens: Family<RoleLabel, Counter>,
    signalling_ended: Family<CloseLabel, Counter>,
    call_quality: Family<QualityLabels, Counter>,
    store_up: Gauge,
    /// Has a value only with a bus between instances.
    bus_up: Family<NoLabels, Gauge>,
    bus_dropped: Family<ReasonLabel, Counter>,
    clock_skew_seconds: Gauge<f64, AtomicU64>,
    unreadable_sessions: Gauge,
    /// Calls with the previous internal secret.
    pub previous_secret_calls: Counter,
    /// Batches of changes that lost a race against another instance.
    pub commit_conflicts: Counter,
    /// Streams of WatchSession that are open.
    pub watch_streams: Gauge,
    /// Pages of doctors' days that are open.
    pub doctor_streams: Gauge,
    /// Signalling connections that are open.
    pub signalling_connections: Gauge,
    /// Pages' connections to SFU nodes that are open through this instance.
    pub door_connections: Gauge,
    /// Requests to reconcile a room that were dropped because too many waited.
    pub reconciliations_dropped: Counter,
    /// Participants who were removed from a room of an SFU node because the session did not have them.
    pub room_strangers_removed: Counter,
    /// Relayed messages that this instance dropped.
    pub relays_dropped: Counter,
    /// Messages that Redis took from this instance for other instances.
    pub bus_sent: Counter,
    /// Messages of other instances that arrived here.
    pub bus_received: Counter,
    /// Connections to Redis that could not be opened or broke.
    pub bus_failures: Counter,
    /// Other instances that the store knows and the bus hears.
    pub bus_instances_heard: Gauge,
    /// Calls that have begun and not ended, streams included.
    pub rpcs_in_flight: Gauge,
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS_SECS)
}

/// Registers a metric and returns it.
fn register<M: prometheus_client::registry::Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn register_latency<L>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Histogram>
where
    L: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
{
    let family: Family<L, Histogram> = Family::new_with_constructor(latency_histogram);
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

impl Default for Metrics {
    #[expect(clippy::too_many_lines, reason = "a list")]
    fn default() -> Self {
        let mut registry = Registry::with_prefix("video_session");
        let r = &mut registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The running version", build);
        Self {
            rpcs: register(
                r,
                "rpcs",
                "Finished calls, by method and gRPC code",
                Family::default(),
            ),
            legacy_calls: register(
                r,
                "legacy_calls",
                "Calls of the older services' APIs, by API and route",
                Family::default(),
            ),
            rpc_seconds: register_latency(
                r,
                "rpc_duration",
                "Duration of calls up to the last byte",
            ),
            rpcs_in_flight: register(
                r,
                "rpcs_in_flight",
                "Calls that have begun and not ended, streams included",
                Gauge::default(),
            ),
            store_operations: register(
                r,
                "store_operations",
                "Store operations, by outcome",
                Family::default(),
            ),
            store_seconds: register_latency(
                r,
                "store_operation_duration",
                "Duration of store operations",
            ),
            store_up: register(
                r,
                "store_up",
                "Whether the store answered the last probe: 1 or 0",
                Gauge::default(),
            ),
            bus_up: register(
                r,
                "bus_up",
                "Whether the bus between instances is connected: 1 or 0; absent without REDIS_URL",
                Family::default(),
            ),
            bus_sent: register(
                r,
                "bus_sent",
                "Messages that Redis took from this instance for other instances",
                Counter::default(),
            ),
            bus_received: register(
                r,
                "bus_received",
                "Messages of other instances that arrived here",
                Counter::default(),
            ),
            bus_failures: register(
                r,
                "bus_failures",
                "Connections to Redis that could not be opened or broke",
                Counter::default(),
            ),
            bus_instances_heard: register(
                r,
                "bus_instances_heard",
                "Other instances that share the store and are heard on the bus",
                Gauge::default(),
            ),
            bus_dropped: register(
                r,
                "bus_dropped",
                "Messages between instances that were lost here, by reason",
                Family::default(),
            ),
            clock_skew_seconds: {
                let gauge = Gauge::default();
                let help = "How far this machine's clock is ahead of the store's; 0 with the embedded store";
                r.register_with_unit("clock_skew", help, Unit::Seconds, gauge.clone());
                gauge
            },
            unreadable_sessions: register(
                r,
                "unreadable_sessions",
                "Unreadable sessions that this instance has set aside",
                Gauge::default(),
            ),
            sessions: register(
                r,
                "sessions",
                "Sessions in the store, by state; counted every SESSION_COUNT_INTERVAL_SECS",
                Family::default(),
            ),
            assignments: register(
                r,
                "sfu_assignments",
                "Sessions that this instance assigned, by SFU node",
                Family::default(),
            ),
            moves: register(
                r,
                "sfu_sessions_moved",
                "Sessions that this instance moved, by cause, to another place on a node or to the browsers",
                Family::default(),
            ),
            tokens: register(
                r,
                "join_tokens_issued",
                "Join tokens that this instance issued, by role",
                Family::default(),
            ),
            signalling_ended: register(
                r,
                "signalling_ended",
                "Signalling connections that ended, by close code; 0: the connection broke",
                Family::default(),
            ),
            call_quality: {
                let family = Family::default();
                let help = "Time of participants in calls, by the quality of their connection";
                r.register_with_unit("call_quality", help, Unit::Seconds, family.clone());
                family
            },
            signalling_connections: register(
                r,
                "signalling_connections",
                "Signalling connections of participants' pages that are open",
                Gauge::default(),
            ),
            door_connections: register(
                r,
                "door_connections",
                "Connections of participants' pages to SFU nodes that are open through this instance",
                Gauge::default(),
            ),
            reconciliations_dropped: register(
                r,
                "sfu_reconciliations_dropped",
                "Requests to reconcile a room of an SFU node that were dropped because too many waited",
                Counter::default(),
            ),
            room_strangers_removed: register(
                r,
                "sfu_strangers_removed",
                "Participants who were removed from a room of an SFU node because their session did not have them",
                Counter::default(),
            ),
            relays_dropped: register(
                r,
                "signalling_relays_dropped",
                "Messages between participants that were dropped because this instance was too slow",
                Counter::default(),
            ),
            previous_secret_calls: register(
                r,
                "previous_secret_calls",
                "Calls with INTERNAL_SECRET_PREVIOUS",
                Counter::default(),
            ),
            commit_conflicts: register(
                r,
                "commit_conflicts",
                "Batches of changes that lost a race against another instance and were decided again",
                Counter::default(),
            ),
            doctor_streams: register(
                r,
                "doctor_streams",
                "Pages of doctors' days that are open",
                Gauge::default(),
            ),
            watch_streams: register(
                r,
                "watch_streams",
                "Streams of WatchSession that are open",
                Gauge::default(),
            ),
            registry,
        }
    }
}

impl Metrics {
    /// Records a finished call.
    pub fn record_rpc(&self, method: &'static str, code: &'static str, took: Duration) {
        self.rpcs.get_or_create(&RpcLabels { method, code }).inc();
        self.rpc_seconds
            .get_or_create(&MethodLabel { method })
            .observe(took.as_secs_f64());
    }

    /// Counts a call of an older service's API.
    pub fn count_legacy_call(&self, api: &'static str, route: &'static str) {
        let labels = LegacyLabels { api, route };
        self.legacy_calls.get_or_create(&labels).inc();
    }

    /// Records a finished store operation.
    pub fn record_store_operation(
        &self,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.store_operations
            .get_or_create(&OperationLabels { operation, outcome })
            .inc();
        self.store_seconds
            .get_or_create(&OperationLabel { operation })
            .observe(took.as_secs_f64());
    }

    /// Records the result of a store probe.
    pub fn set_store_up(&self, up: bool) {
        self.store_up.set(i64::from(up));
    }

    /// Records whether the bus between instances is connected.
    pub fn set_bus_up(&self, up: bool) {
        self.bus_up.get_or_create(&[]).set(i64::from(up));
    }

    /// Counts messages between instances that were lost here.
    pub fn count_bus_dropped(&self, reason: &'static str, count: u64) {
        if count > 0 {
            let labels = ReasonLabel { reason };
            self.bus_dropped.get_or_create(&labels).inc_by(count);
        }
    }

    /// Sets how far this machine's clock is ahead of the store's; negative if it is behind.
    pub fn set_clock_skew(&self, millis: i64) {
        let size = Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
        self.clock_skew_seconds
            .set(if millis < 0 { -size } else { size });
    }

    /// Sets the number of unreadable sessions that are set aside.
    pub fn set_unreadable_sessions(&self, count: usize) {
        self.unreadable_sessions
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets the number of sessions in a state.
    pub fn set_sessions(&self, state: &'static str, count: u64) {
        self.sessions
            .get_or_create(&StateLabel { state })
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a session that was assigned to a node.
    pub fn count_assignment(&self, node: &str) {
        let node = node.to_owned();
        self.assignments.get_or_create(&NodeLabel { node }).inc();
    }

    /// Counts a session that was moved.
    pub fn count_move(&self, cause: &'static str, to: &'static str) {
        self.moves.get_or_create(&MoveLabels { cause, to }).inc();
    }

    /// Counts an issued join token.
    pub fn count_token(&self, role: &'static str) {
        self.tokens.get_or_create(&RoleLabel { role }).inc();
    }

    /// Counts the end of a signalling connection; `None`: the connection broke.
    pub fn count_signalling_end(&self, close_code: Option<u16>) {
        let close_code = close_code.unwrap_or(0);
        self.signalling_ended
            .get_or_create(&CloseLabel { close_code })
            .inc();
    }

    /// Counts a participant's seconds in a call at a level of quality; `reason` is empty for the good one.
    pub fn count_call_quality(&self, level: &'static str, reason: &'static str, secs: u32) {
        if secs > 0 {
            let labels = QualityLabels { level, reason };
            self.call_quality
                .get_or_create(&labels)
                .inc_by(u64::from(secs));
        }
    }

    /// All metrics, as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
