//! Settings of background work.

use std::time::Duration;

use super::env::Env;
use super::millis;
use crate::app::UpkeepConfig;

pub(super) fn read(env: &mut Env<'_>, store_timeout: Duration, grace: Duration) -> UpkeepConfig {
    let config = UpkeepConfig {
        probe_interval: millis(env, "STORE_PROBE_INTERVAL_MS", 1000),
        probe_timeout: store_timeout,
        count_interval: Duration::from_secs(env.number("SESSION_COUNT_INTERVAL_SECS", 30, 1, 3600)),
        overdue_interval: millis(env, "OVERDUE_INTERVAL_MS", 500),
        rooms_interval: Duration::from_secs(env.number("SFU_RECONCILE_SECS", 60, 1, 3600)),
        heartbeat_interval: millis(env, "INSTANCE_BEAT_MS", 2000),
        lease_secs: env.number("INSTANCE_LEASE_SECS", 12, 1, 3600),
        grace,
        clock_skew_warn: millis(env, "CLOCK_SKEW_WARN_MS", 5000),
    };
    if Duration::from_secs(config.lease_secs) < 2 * config.heartbeat_interval {
        env.report_fault(
            "INSTANCE_LEASE_SECS",
            "must be at least twice INSTANCE_BEAT_MS",
        );
    }
    config
}
