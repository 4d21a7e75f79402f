//! Settings of the bus between instances.

use std::time::Duration;

use super::env::Env;
use super::millis;
use super::secrets::{read_file, read_secret};
use crate::bus::redis::{RedisConfig, RedisConfigError};

/// The longest prefix of channels, in characters.
const PREFIX_LENGTH_MAX: usize = 64;

/// Returns `None` without REDIS_URL.
pub(super) fn read(env: &mut Env<'_>) -> Option<RedisConfig> {
    let url = read_secret(env, "REDIS_URL");
    let sentinels = read_secret(env, "REDIS_SENTINEL_URL");
    let ca = read_file(env, "REDIS_CA_FILE");
    let rule = "must be 1 to 64 letters, digits and . _ : -";
    let prefix = env.parse("REDIS_CHANNEL_PREFIX", "video-session", rule, |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let is_valid = text.len() <= PREFIX_LENGTH_MAX && text.bytes().all(is_plain);
        is_valid.then(|| text.to_owned())
    });
    let timeout = millis(env, "REDIS_TIMEOUT_MS", 2000);
    let ping_interval = millis(env, "REDIS_PING_MS", 250);
    let retry_max = millis(env, "REDIS_RETRY_MAX_MS", 1000);
    let queue_max = env.number("REDIS_QUEUE_MAX", 4096, 1, 1_000_000);
    let queue_bytes_max = env.number("REDIS_QUEUE_BYTES_MAX", 16 << 20, 1 << 20, 1 << 30);
    if sentinels.is_some() && url.is_none() {
        env.report_fault("REDIS_SENTINEL_URL", "needs REDIS_URL".to_owned());
    }
    let config = RedisConfig {
        url: url?,
        sentinels,
        ca,
        channel_prefix: prefix?,
        timeout,
        ping_interval,
        retry_max: retry_max.max(Duration::from_millis(100)),
        queue_max,
        queue_bytes_max,
    };
    if let Err(fault) = config.check() {
        let setting = match fault {
            RedisConfigError::Url | RedisConfigError::PrimaryName => "REDIS_URL",
            RedisConfigError::Sentinels | RedisConfigError::PlainSentinels => "REDIS_SENTINEL_URL",
            RedisConfigError::Ca => "REDIS_CA_FILE",
        };
        env.report_fault(setting, fault.to_string());
    }
    Some(config)
}
