//! Settings shared by all edges: the service's public address, and limits on requests.

use super::SECS_MAX;
use super::env::Env;
use super::urls::parse_base_url;
use crate::api::Config;
use crate::api::links::Links;

pub(super) fn read(
    env: &mut Env<'_>,
    dev_port: Option<u16>,
    warnings: &mut Vec<&'static str>,
) -> Option<Config> {
    let participants_max = env.number("MAX_PARTICIPANTS", 8, 2, 50);
    let doctor_link_ttl_secs_max = env.number("DOCTOR_LINK_TTL_SECS_MAX", 12 * 3600, 1, SECS_MAX);
    let base_url = client_base_url(env, dev_port, warnings);
    Some(Config {
        participants_max,
        doctor_link_ttl_secs_max,
        links: Links::new(base_url?),
    })
}

/// Reads the base URL: the origin as browsers write it, without a slash at its end. With `--dev`, the default has the port of
/// this process.
fn client_base_url(
    env: &mut Env<'_>,
    dev_port: Option<u16>,
    warnings: &mut Vec<&'static str>,
) -> Option<String> {
    const BASE_URL_DEFAULT: &str = "http://localhost:4000";
    let default = match dev_port {
        Some(port) if port != 0 => format!("http://localhost:{port}"),
        _ => BASE_URL_DEFAULT.to_owned(),
    };
    let url = env.parse(
        "CLIENT_BASE_URL",
        &default,
        "must be an http:// or https:// URL without user, password and query, with a path of letters, digits and . _ ~ - and no segments . or ..",
        parse_base_url,
    );
    if dev_port.is_none() && env.optional("CLIENT_BASE_URL").is_none() {
        warnings.push("CLIENT_BASE_URL is not set: join links point to this machine");
    }
    if url.as_deref().is_some_and(is_insecure_remote) {
        warnings.push("CLIENT_BASE_URL is http://: browsers allow cameras and microphones on https:// pages only");
    }
    url
}

/// Whether a URL is plain HTTP and not of this machine; browsers allow no cameras there.
fn is_insecure_remote(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(authority, |(host, _)| host);
    !(host == "localhost"
        || host.ends_with(".localhost")
        || host == "[::1]"
        || host.starts_with("127."))
}
