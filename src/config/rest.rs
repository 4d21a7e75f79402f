//! Settings of the JSON edge.

use std::time::Duration;

use super::SECS_MAX;
use super::env::Env;
use super::urls::{ORIGINS_RULE, origin_headers};
use crate::rest::Config;

pub(super) fn read(env: &mut Env<'_>) -> Option<Config> {
    let ignore_unknown_fields = env.parse(
        "REST_IGNORE_UNKNOWN_FIELDS",
        "false",
        "must be true or false",
        |text| text.parse().ok(),
    );
    let cors_origins = env.parse("REST_CORS_ORIGINS", "", ORIGINS_RULE, origin_headers);
    let age_max_secs = env.number("REST_EVENTS_AGE_MAX_SECS", 1800, 1, SECS_MAX);
    let keepalive_secs = env.number("REST_EVENTS_KEEPALIVE_SECS", 15, 1, 3600);
    Some(Config {
        ignore_unknown_fields: ignore_unknown_fields?,
        cors_origins: cors_origins?,
        events_keepalive: Duration::from_secs(keepalive_secs),
        events_age_max: Duration::from_secs(age_max_secs),
    })
}
