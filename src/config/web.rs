//! Settings of the edge for browsers: the join page and signalling sockets.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::env::Env;
use super::urls::{ORIGINS_RULE, exact_origins, list_entries, parse_origin};
use crate::api::links::Links;
use crate::participant_socket::Config as SocketConfig;
use crate::web::{
    Clinic, Config, ConnectionLimits, DoctorEventsConfig, DoorConfig, LingerLimits, WebhookLimits,
};

fn secs(env: &mut Env<'_>, setting: &'static str, default: u64, most: u64) -> Duration {
    Duration::from_secs(env.number(setting, default, 1, most))
}

/// With `--dev`, pages under any name of this machine may open signalling connections.
pub(super) fn read(
    env: &mut Env<'_>,
    links: Option<Links>,
    clinic: Option<Clinic>,
    dev_port: Option<u16>,
) -> Option<Config> {
    let allowed_origins = env.parse("HTTP_ALLOWED_ORIGINS", "", ORIGINS_RULE, exact_origins);
    let dev_origins = dev_port.map(|port| {
        ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("http://{host}:{port}"))
    });
    let allowed_origins = allowed_origins.map(|mut allowed| {
        allowed.extend(dev_origins.into_iter().flatten());
        allowed
    });
    let frame_ancestors = frame_ancestors(env);
    let trusted_proxies = env.parse(
        "TRUSTED_PROXIES",
        "",
        "must be addresses or networks, as in 10.0.0.0/8, separated by commas",
        |text| {
            list_entries(text)
                .map(|entry| {
                    let network = entry.parse::<IpNet>().ok();
                    network.or_else(|| {
                        entry
                            .parse()
                            .ok()
                            .map(|address: IpAddr| IpNet::from(address))
                    })
                })
                .collect::<Option<Vec<_>>>()
        },
    );
    let requests_per_minute = env.number("HTTP_REQUESTS_PER_MINUTE", 600, 1, 1_000_000);
    let connections = ConnectionLimits {
        connections_max: env.number("HTTP_CONNECTIONS_MAX", 20_000, 1, 1_000_000),
        per_address_max: env.number("HTTP_CONNECTIONS_PER_ADDRESS", 1000, 1, 1_000_000),
        header_timeout: secs(env, "HTTP_HEADER_TIMEOUT_SECS", 10, 600),
        write_timeout: secs(env, "HTTP_WRITE_TIMEOUT_SECS", 30, 600),
        linger: LingerLimits {
            time: secs(env, "HTTP_LINGER_SECS", 2, 60),
            bytes_max: env.number("HTTP_LINGER_BYTES_MAX", 16_777_216, 1024, 1_073_741_824),
        },
    };
    let socket = SocketConfig {
        message_bytes_max: env.number("WS_MESSAGE_BYTES_MAX", 65_536, 1024, 1_048_576),
        messages_per_second: env.number("WS_MESSAGES_PER_SECOND", 50, 1, 10_000),
        messages_burst: env.number("WS_MESSAGES_BURST", 250, 1, 100_000),
        queue_max: env.number("WS_QUEUE_MAX", 256, 128, 10_000),
        ping_interval: secs(env, "WS_PING_SECS", 2, 60),
        silence_max: secs(env, "WS_SILENCE_SECS", 5, 300),
        send_timeout: secs(env, "WS_SEND_TIMEOUT_SECS", 5, 300),
    };
    let livekit_client_dir = livekit_client_dir(env);
    if socket.silence_max <= socket.ping_interval {
        env.report_fault("WS_SILENCE_SECS", "must be more than WS_PING_SECS");
    }
    let door = DoorConfig {
        buffer_bytes: env.number("DOOR_BUFFER_BYTES", 16_384, 1024, 1_048_576),
        silence_max: secs(env, "DOOR_SILENCE_SECS", 60, 3600),
    };
    let doctor_events = DoctorEventsConfig {
        keepalive: secs(env, "DOCTOR_EVENTS_KEEPALIVE_SECS", 10, 60),
        age_max: secs(env, "DOCTOR_EVENTS_AGE_MAX_SECS", 1800, 604_800),
    };
    Some(Config {
        links: links?,
        clinic: clinic?,
        allowed_origins: allowed_origins?,
        frame_ancestors: frame_ancestors?,
        trusted_proxies: trusted_proxies?,
        requests_per_minute,
        connections,
        socket,
        livekit_client_dir: livekit_client_dir?,
        door,
        doctor_events,
        webhooks: WebhookLimits {
            bytes_max: env.number("SFU_WEBHOOK_BYTES_MAX", 1_048_576, 1024, 67_108_864),
            timeout: secs(env, "SFU_WEBHOOK_TIMEOUT_SECS", 10, 600),
        },
    })
}

fn livekit_client_dir(env: &mut Env<'_>) -> Option<PathBuf> {
    env.parse(
        "LIVEKIT_CLIENT_DIR",
        "./vendor/livekit-client",
        "must be a path",
        |text| Some(PathBuf::from(text)),
    )
}

fn frame_ancestors(env: &mut Env<'_>) -> Option<String> {
    env.parse(
        "FRAME_ANCESTORS",
        "'none'",
        "must be none, self or a list of origins separated by spaces",
        |text| {
            let source = |source: &str| match source {
                // `.env` files drop the quotes.
                "none" | "'none'" => Some("'none'".to_owned()),
                "self" | "'self'" => Some("'self'".to_owned()),
                origin => parse_origin(origin),
            };
            let sources: Vec<_> = list_entries(text).map(source).collect::<Option<_>>()?;
            // Browsers ignore 'none' beside other sources.
            let is_plain = sources.len() == 1 || !sources.iter().any(|source| source == "'none'");
            (!sources.is_empty() && is_plain).then(|| sources.join(" "))
        },
    )
}

/// Limits of the admin address. Its timeouts are those of the address for browsers.
pub(super) fn read_admin_limits(env: &mut Env<'_>, web: &Config) -> ConnectionLimits {
    ConnectionLimits {
        connections_max: env.number("ADMIN_CONNECTIONS_MAX", 64, 1, 100_000),
        per_address_max: usize::MAX,
        ..web.connections
    }
}
