//! Settings of the older services' APIs.

use std::net::SocketAddr;
use std::time::Duration;

use strum::VariantNames as _;

use super::SECS_MAX;
use super::env::Env;
use super::urls::{ORIGINS_RULE, list_entries, origin_headers};
use crate::legacy::{Config, LegacyApi, RoomsConfig};
use crate::web;

/// Which APIs are served, and where; none by default. `web`: what the edge for browsers has in common with them.
pub(super) fn read(
    env: &mut Env<'_>,
    addr: Option<SocketAddr>,
    web: Option<&web::Config>,
) -> Option<Config> {
    let rule = format!(
        "must be names separated by commas, of {}",
        LegacyApi::VARIANTS.join(", ")
    );
    let apis = env.parse("LEGACY_APIS", "", &rule, |text| {
        list_entries(text)
            .map(|name| name.parse().ok())
            .collect::<Option<Vec<LegacyApi>>>()
    });
    let cors_origins = env.parse("LEGACY_CORS_ORIGINS", "", ORIGINS_RULE, origin_headers);
    let rooms = read_rooms(env);
    let apis = apis?;
    if !apis.is_empty() && addr.is_none() && env.optional("LEGACY_ADDR").is_none() {
        env.report_fault("LEGACY_ADDR", "must be set when LEGACY_APIS is");
    }
    if apis.is_empty() && addr.is_some() {
        env.report_fault("LEGACY_APIS", "must be set when LEGACY_ADDR is");
    }
    let rooms = rooms?;
    if apis.contains(&LegacyApi::Rooms) && !rooms.are_open {
        env.report_fault(
            "LEGACY_ROOMS_OPEN",
            "must be true when LEGACY_APIS names rooms: anybody may list the rooms and enter them, without a secret",
        );
    }
    let web = web?;
    let cors_origins = cors_origins?;
    Some(Config {
        apis,
        rooms: RoomsConfig {
            create_needs_secret: rooms.create_needs_secret,
            requests_per_minute: web.requests_per_minute,
            rooms_per_minute: rooms.rooms_per_minute,
            sockets_per_minute: rooms.sockets_per_minute,
            sockets_per_address: rooms.sockets_per_address,
            age_max: rooms.age_max,
            empty_timeout: rooms.empty_timeout,
            listed_max: rooms.listed_max,
            origins: cors_origins.clone(),
            trusted_proxies: web.trusted_proxies.clone(),
            socket: web.socket.clone(),
        },
        cors_origins,
        openvidu: None,
    })
}

struct Rooms {
    are_open: bool,
    create_needs_secret: bool,
    rooms_per_minute: u32,
    sockets_per_minute: u32,
    sockets_per_address: usize,
    age_max: Duration,
    empty_timeout: Duration,
    listed_max: usize,
}

fn read_rooms(env: &mut Env<'_>) -> Option<Rooms> {
    let are_open = env.parse(
        "LEGACY_ROOMS_OPEN",
        "false",
        "must be true or false",
        |text| text.parse().ok(),
    );
    let create_needs_secret = env.parse(
        "LEGACY_ROOMS_CREATE",
        "open",
        "must be open or secret",
        |text| match text {
            "open" => Some(false),
            "secret" => Some(true),
            _ => None,
        },
    );
    let rooms_per_minute = env.number("LEGACY_ROOMS_PER_MINUTE", 10, 1, 1_000_000);
    let sockets_per_minute = env.number("LEGACY_ROOMS_SOCKETS_PER_MINUTE", 120, 1, 1_000_000);
    let sockets_per_address = env.number("LEGACY_ROOMS_SOCKETS_PER_ADDRESS", 200, 1, 1_000_000);
    let age_max_secs = env.number("LEGACY_ROOMS_AGE_MAX_SECS", 86_400, 60, SECS_MAX);
    let empty_secs = env.number("LEGACY_ROOMS_EMPTY_TIMEOUT_SECS", 0, 0, SECS_MAX);
    let listed_max = env.number("LEGACY_ROOMS_LISTED_MAX", 1000, 1, 10_000);
    Some(Rooms {
        are_open: are_open?,
        create_needs_secret: create_needs_secret?,
        rooms_per_minute,
        sockets_per_minute,
        sockets_per_address,
        age_max: Duration::from_secs(age_max_secs),
        empty_timeout: Duration::from_secs(empty_secs),
        listed_max,
    })
}
