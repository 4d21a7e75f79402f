//! The application's limits.

use std::time::Duration;

use super::env::Env;
use super::{SECS_MAX, millis, upkeep};
use crate::app::{
    Config, ContentionConfig, DoctorsConfig, EndingConfig, MoveConfig, ProbeConfig,
    ReconcileConfig, SignallingTimes, StoreWaitConfig, UnreadableConfig, WatchConfig,
};
use crate::domain::session::JoinWindow;

pub(super) fn read(env: &mut Env<'_>, retry_after: Duration, store_timeout: Duration) -> Config {
    let reconnect_grace = Duration::from_secs(env.number("RECONNECT_GRACE_SECS", 15, 0, 300));
    let empty_timeout_secs = env.number("EMPTY_TIMEOUT_SECS", 0, 0, SECS_MAX);
    Config {
        token_ttl_secs: env.number("JOIN_TOKEN_TTL_SECS", 3600, 1, SECS_MAX),
        store: StoreWaitConfig {
            timeout: store_timeout,
            retry_after,
        },
        contention: ContentionConfig {
            attempts_max: env.number("COMMIT_ATTEMPTS_MAX", 64, 1, 10_000),
            wait: millis(env, "CONTENTION_WAIT_MS", 2500),
        },
        watch: WatchConfig {
            poll: millis(env, "WATCH_POLL_MS", 500),
            poll_with_bus: millis(env, "WATCH_POLL_WITH_BUS_MS", 10_000),
            streams_max: env.number("WATCH_STREAMS_MAX", 1000, 1, 1_000_000),
        },
        allows_stills: env
            .parse("PAGE_STILLS", "false", "must be true or false", |text| {
                text.parse().ok()
            })
            .unwrap_or_default(),
        doctors: DoctorsConfig {
            sessions_max: env.number("DOCTOR_SESSIONS_MAX", 200, 1, 1000),
            list_interval: Duration::from_secs(env.number(
                "DOCTOR_LIST_INTERVAL_SECS",
                10,
                1,
                3600,
            )),
            streams_max: env.number("DOCTOR_STREAMS_MAX", 1000, 1, 1_000_000),
            streams_per_doctor_max: env.number("DOCTOR_STREAMS_PER_DOCTOR", 8, 1, 1000),
        },
        signalling: SignallingTimes {
            page_ttl: Duration::from_secs(env.number(
                "JOIN_PAGE_TTL_SECS",
                12 * 3600,
                60,
                SECS_MAX,
            )),
            reconnect_grace,
        },
        ending: EndingConfig {
            window: JoinWindow {
                early_secs: env.number("JOIN_EARLY_SECS", 900, 0, SECS_MAX),
                late_secs: env.number("JOIN_LATE_SECS", 3600, 0, SECS_MAX),
            },
            empty_timeout: (empty_timeout_secs > 0)
                .then(|| Duration::from_secs(empty_timeout_secs)),
        },
        unreadable: UnreadableConfig {
            retry: Duration::from_secs(env.number("UNREADABLE_RETRY_SECS", 300, 1, 24 * 3600)),
            max: env.number("UNREADABLE_SESSIONS_MAX", 10_000, 1, 1_000_000),
        },
        node_ticket_ttl: Duration::from_secs(env.number("SFU_TICKET_TTL_SECS", 600, 10, SECS_MAX)),
        reconcile: ReconcileConfig {
            waiting_max: env.number("SFU_RECONCILE_QUEUE_MAX", 10_000, 1, 1_000_000),
            concurrent_max: env.number("SFU_RECONCILE_CONCURRENCY", 16, 1, 1024),
        },
        probes: ProbeConfig {
            interval: millis(env, "NODE_PROBE_INTERVAL_MS", 1000),
            timeout: millis(env, "NODE_PROBE_TIMEOUT_MS", 2000),
            load_interval: Duration::from_secs(env.number("NODE_LOAD_INTERVAL_SECS", 10, 1, 3600)),
        },
        moves: MoveConfig {
            retry: millis(env, "NODE_MOVE_RETRY_MS", 1000),
            concurrent_max: env.number("NODE_MOVE_CONCURRENCY", 32, 1, 1024),
            overlap_secs: env.number("NODE_MOVE_OVERLAP_SECS", 30, 0, 3600),
        },
        upkeep: upkeep::read(env, store_timeout, reconnect_grace),
    }
}
