//! Settings of the gRPC edge.

use std::time::Duration;

use super::SECS_MAX;
use super::env::Env;
use super::secrets::read_file;
use crate::rpc::{Config, Tls};

pub(super) fn read(env: &mut Env<'_>, retry_after: Duration) -> Config {
    let reflection = env.parse(
        "GRPC_REFLECTION",
        "on",
        "must be on or off",
        |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        },
    );
    let connection_age_secs = env.number("GRPC_CONNECTION_AGE_MAX_SECS", 1800, 0, SECS_MAX);
    Config {
        connection_age_max: (connection_age_secs > 0)
            .then(|| Duration::from_secs(connection_age_secs)),
        reflection: reflection.unwrap_or(true),
        message_bytes_max: env.number("GRPC_MESSAGE_BYTES_MAX", 65_536, 1024, 4_194_304),
        in_flight_max: env.number("GRPC_IN_FLIGHT_MAX", 4096, 1, 1_000_000),
        health_watches_max: env.number("HEALTH_WATCHES_MAX", 256, 1, 1_000_000),
        hello_timeout: Duration::from_secs(env.number("GRPC_HELLO_TIMEOUT_SECS", 10, 1, 3600)),
        body_timeout: Duration::from_secs(env.number("GRPC_BODY_TIMEOUT_SECS", 10, 1, 3600)),
        connections_max: env.number("GRPC_CONNECTIONS_MAX", 4096, 1, 1_000_000),
        connections_per_address_max: env.number("GRPC_CONNECTIONS_PER_ADDRESS", 1024, 1, 1_000_000),
        streams_per_connection_max: env.number("GRPC_STREAMS_PER_CONNECTION_MAX", 256, 1, 100_000),
        keepalive: Duration::from_secs(env.number("GRPC_KEEPALIVE_SECS", 30, 1, 3600)),
        http1_idle_timeout: Duration::from_secs(env.number("REST_IDLE_TIMEOUT_SECS", 75, 1, 3600)),
        retry_after,
    }
}

pub(super) fn read_tls(env: &mut Env<'_>) -> Option<Tls> {
    let given = ["TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"]
        .map(|setting| (setting, env.optional(setting).is_some()));
    let [(_, has_certificate), (_, has_key), (_, has_ca)] = given;
    let certificate = read_file(env, "TLS_CERT_FILE");
    let key = read_file(env, "TLS_KEY_FILE");
    let client_ca = read_file(env, "TLS_CLIENT_CA_FILE");
    if has_certificate != has_key || (has_ca && !has_certificate) {
        for (setting, _) in given.into_iter().take(2).filter(|(_, given)| !given) {
            env.report_fault(setting, "must be set when another TLS_ setting is");
        }
        return None;
    }
    let tls = Tls {
        certificate: certificate?,
        key: key?,
        client_ca,
    };
    if tls.check().is_err() {
        env.report_fault(
            "TLS_CERT_FILE",
            "does not match TLS_KEY_FILE and TLS_CLIENT_CA_FILE, or one of them is not a PEM file",
        );
    }
    Some(tls)
}
