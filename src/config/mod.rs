//! All settings, read once at start. Each part of the service has a `Config` of its own; this file names the settings that
//! fill them.

mod browsers;
pub mod env;
mod urls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use crate::app::tickets::IceConfig;
use crate::auth::token::{KeySource, SECRET_BYTES_MIN};
use crate::domain::id::{ID_RULE, NodeId, random_id};
use crate::domain::node::{Rotation, SfuNode};
use crate::domain::session::JoinWindow;
use crate::rpc::Tls;
use crate::store::{mongo, sqlite};
use crate::telemetry::LogFormat;
use crate::{app, auth, rpc, telemetry, web, worker};
use env::{Env, Fault};
use urls::{parse_base_url, parse_url};

/// A week: no door stands open, and no token is good, for longer.
const SECS_MAX: u64 = 7 * 24 * 3600;
/// A minute: nobody waits longer for a store, a poll or a probe.
const MILLIS_MAX: u64 = 60_000;
const GRPC_ADDR_DEFAULT: &str = "0.0.0.0:50051";

/// How the service is to be run.
#[derive(Clone)]
pub struct Config {
    /// True with `--dev`: loopback only, generated secrets.
    pub dev: bool,
    /// Where gRPC is served.
    pub grpc_addr: SocketAddr,
    /// Where metrics and public keys are served.
    pub admin_addr: SocketAddr,
    /// Where participants' browsers are served.
    pub http_addr: SocketAddr,
    /// Where health alone is served, in plain text, if anywhere.
    pub health_addr: Option<SocketAddr>,
    /// Which store.
    pub store: StoreConfig,
    /// The secret that callers show.
    pub internal_secret: SecretString,
    /// Whether that secret was made up by `--dev`.
    pub internal_secret_is_generated: bool,
    /// The one before it, while rotating.
    pub internal_secret_previous: Option<SecretString>,
    /// Join tokens.
    pub tokens: auth::token::Config,
    /// The SFU nodes.
    pub rotation: Rotation,
    /// The application's limits.
    pub app: app::Config,
    /// The gRPC edge.
    pub rpc: rpc::Config,
    /// Connections to the address for operators.
    pub admin: web::ConnectionLimits,
    /// The edge that browsers see.
    pub web: web::Config,
    /// STUN and TURN.
    pub ice: IceConfig,
    /// TLS, if it is on.
    pub tls: Option<Tls>,
    /// Background work.
    pub worker: worker::Config,
    /// Logs and traces.
    pub telemetry: telemetry::Config,
    /// How long calls are still taken after readiness has gone.
    pub drain_delay: Duration,
    /// How long calls in progress may take to finish after that.
    pub drain_timeout: Duration,
    /// What deserves a word at start, though it is not wrong.
    pub warnings: Vec<&'static str>,
}

/// Which store, and its settings.
#[derive(Clone)]
pub enum StoreConfig {
    /// MONGO_URI is not set.
    Embedded(sqlite::Config),
    /// MONGO_URI is set.
    Mongo(mongo::Config),
}

impl StoreConfig {
    /// What operators call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Mongo(_) => "mongodb",
        }
    }
}

/// Where a probe finds health.
#[derive(Debug, Clone, Copy)]
pub struct HealthTarget {
    /// Where to ask.
    pub addr: SocketAddr,
    /// Whether it answers in TLS only.
    pub tls: bool,
}

impl HealthTarget {
    /// Reads only the settings that it takes: a probe has no secrets.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(env: Env<'_>, dev: bool) -> Result<Self, Vec<Fault>> {
        let mut env = env;
        let grpc_addr = address(&mut env, "GRPC_ADDR", GRPC_ADDR_DEFAULT, dev);
        let health_addr = health_address(&mut env, dev);
        let tls = health_addr.is_none() && env.optional("TLS_CERT_FILE").is_some();
        let target = health_addr.or(grpc_addr).map(|addr| Self { addr, tls });
        env.finish(target)
    }
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn read(env: Env<'_>, dev: bool) -> Result<Self, Vec<Fault>> {
        let mut env = env;
        let config = read(&mut env, dev);
        env.finish(config)
    }
}

/// `None` when something is missing for which there is no value to go on with; it has been reported then.
pub fn read(env: &mut Env<'_>, dev: bool) -> Option<Config> {
    let mut warnings = Vec::new();
    let grpc_addr = address(env, "GRPC_ADDR", GRPC_ADDR_DEFAULT, dev);
    let admin_addr = address(env, "ADMIN_ADDR", "127.0.0.1:9464", dev);
    let http_addr = address(env, "HTTP_ADDR", "0.0.0.0:4000", dev);
    let health_addr = health_address(env, dev);
    report_clashes(
        env,
        &[
            ("GRPC_ADDR", grpc_addr),
            ("ADMIN_ADDR", admin_addr),
            ("HTTP_ADDR", http_addr),
            ("HEALTH_ADDR", health_addr),
        ],
    );
    let (internal_secret, internal_secret_previous) = internal_secrets(env, dev, &mut warnings);
    let tokens = tokens(env, dev);
    let rotation = env.parse(
        "SFU_NODES",
        "sfu-1",
        &format!(
            "must be names, or name=url pairs, separated by commas; each name once, and {ID_RULE}; each url ws://, wss://, http:// or https://, without user and password"
        ),
        parse_nodes,
    );
    let retry_after = millis(env, "RETRY_AFTER_MS", 1000);
    let store_timeout = millis(env, "STORE_TIMEOUT_MS", 2000);
    let store = store(env, store_timeout);
    let app = app_config(env, retry_after, store_timeout);
    let dev_port = http_addr.filter(|_| dev).map(|addr| addr.port());
    let client_base_url = client_base_url(env, dev_port, &mut warnings);
    let rpc = rpc_config(env, retry_after, &client_base_url);
    let web = browsers::web_config(env, client_base_url, dev_port);
    let admin = web.as_ref().map(|web| browsers::admin_limits(env, web));
    let ice = browsers::ice_config(env);
    let tls = tls(env);
    if tls.is_some() && health_addr.is_none() {
        warnings.push("TLS is on and HEALTH_ADDR is not set: Kubernetes' gRPC probes and `healthcheck` speak plain text");
    }
    let worker = worker_config(env, store_timeout, app.stay.reconnect_grace);
    let telemetry = telemetry_config(env, dev);
    let drain_delay_default = if dev { 0 } else { 5 };
    let drain_delay = env.number("DRAIN_DELAY_SECS", drain_delay_default, 0, 3600);
    let drain_timeout = env.number("DRAIN_TIMEOUT_SECS", 20, 0, 3600);
    Some(Config {
        dev,
        grpc_addr: grpc_addr?,
        admin_addr: admin_addr?,
        http_addr: http_addr?,
        health_addr,
        store,
        internal_secret: internal_secret?,
        internal_secret_is_generated: env.optional("INTERNAL_SECRET").is_none(),
        internal_secret_previous,
        tokens: tokens?,
        rotation: rotation?,
        app,
        rpc,
        admin: admin?,
        web: web?,
        ice: ice?,
        tls,
        worker,
        telemetry: telemetry?,
        drain_delay: Duration::from_secs(drain_delay),
        drain_timeout: Duration::from_secs(drain_timeout),
        warnings,
    })
}

fn millis(env: &mut Env<'_>, setting: &'static str, default: u64) -> Duration {
    Duration::from_millis(env.number(setting, default, 1, MILLIS_MAX))
}

fn address(
    env: &mut Env<'_>,
    setting: &'static str,
    default: &str,
    dev: bool,
) -> Option<SocketAddr> {
    let rule = "must be an address and a port, as in 0.0.0.0:50051";
    let addr = env.parse(setting, default, rule, |text| text.parse().ok())?;
    Some(if dev { loopback(addr) } else { addr })
}

fn health_address(env: &mut Env<'_>, dev: bool) -> Option<SocketAddr> {
    let text = env.optional("HEALTH_ADDR")?;
    let addr = text.parse().ok();
    if addr.is_none() {
        env.fault(
            "HEALTH_ADDR",
            "must be an address and a port, as in 0.0.0.0:50052",
        );
    }
    addr.map(|addr| if dev { loopback(addr) } else { addr })
}

/// Reports every address that cannot be bound since another is.
fn report_clashes(env: &mut Env<'_>, addrs: &[(&'static str, Option<SocketAddr>)]) {
    for (index, (setting, addr)) in addrs.iter().enumerate() {
        for (other, other_addr) in &addrs[..index] {
            if let (Some(addr), Some(other_addr)) = (addr, other_addr)
                && clash(*addr, *other_addr)
            {
                env.fault(setting, format!("must not take the port of {other}"));
            }
        }
    }
}

/// Whether two addresses cannot be listened on together. Port 0 is another one each time.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let holds = |all: IpAddr, ip: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && ip.is_ipv4(),
        // It takes IPv4's connections, too.
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (one_ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = one_ip == other_ip || holds(one_ip, other_ip) || holds(other_ip, one_ip);
    one.port() != 0 && one.port() == other.port() && overlap
}

/// `--dev` is reachable from this machine only, whatever address is set.
fn loopback(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_loopback() {
        addr
    } else {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), addr.port())
    }
}

/// A secret, made up with `--dev` when there is none.
fn secret(env: &mut Env<'_>, setting: &'static str) -> Option<SecretString> {
    env.optional(setting).map(SecretString::from)
}

fn generated_secret() -> SecretString {
    SecretString::from(random_id() + &random_id())
}

fn internal_secrets(
    env: &mut Env<'_>,
    dev: bool,
    warnings: &mut Vec<&'static str>,
) -> (Option<SecretString>, Option<SecretString>) {
    use secrecy::ExposeSecret as _;
    const LENGTH_ADVISED: usize = 16;
    let printable = |secret: &SecretString| {
        let text = secret.expose_secret();
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    let rule = "must be printable ASCII, as it travels in a header";
    let current = secret(env, "INTERNAL_SECRET");
    if current.as_ref().is_some_and(|secret| !printable(secret)) {
        env.fault("INTERNAL_SECRET", rule);
    }
    let previous = secret(env, "INTERNAL_SECRET_PREVIOUS");
    if previous.as_ref().is_some_and(|secret| !printable(secret)) {
        env.fault("INTERNAL_SECRET_PREVIOUS", rule);
    }
    if current.is_none() && !dev {
        env.fault(
            "INTERNAL_SECRET",
            "must be set (or use --dev, which is not for production)",
        );
    }
    if current
        .as_ref()
        .is_some_and(|secret| secret.expose_secret().len() < LENGTH_ADVISED)
    {
        warnings.push("INTERNAL_SECRET is shorter than 16 characters and may be guessed");
    }
    let current = current.or_else(|| dev.then(generated_secret));
    (current, previous)
}

fn tokens(env: &mut Env<'_>, dev: bool) -> Option<auth::token::Config> {
    let secret_key = signing_secret(env, "VIDEO_JWT_SECRET");
    let secret_previous = signing_secret(env, "VIDEO_JWT_SECRET_PREVIOUS");
    let pem_key = private_key(env, "VIDEO_JWT_PRIVATE_KEY_FILE");
    let pem_previous = private_key(env, "VIDEO_JWT_PRIVATE_KEY_PREVIOUS_FILE");
    let current = match (secret_key, pem_key) {
        (Some(_), Some(_)) => {
            env.fault(
                "VIDEO_JWT_SECRET",
                "must not be set together with VIDEO_JWT_PRIVATE_KEY_FILE (a former secret goes into VIDEO_JWT_SECRET_PREVIOUS)",
            );
            None
        }
        (Some(key), None) | (None, Some(key)) => Some(key),
        (None, None) if dev => Some(KeySource::Secret(generated_secret())),
        (None, None) => {
            env.fault(
                "VIDEO_JWT_SECRET",
                format!("must be set, to at least {SECRET_BYTES_MIN} bytes (or VIDEO_JWT_PRIVATE_KEY_FILE, or use --dev)"),
            );
            None
        }
    };
    let named = |env: &mut Env<'_>, setting, default| {
        env.parse(setting, default, "must not be empty", |text| {
            Some(text.to_owned())
        })
    };
    let issuer = named(env, "VIDEO_JWT_ISSUER", "video-session");
    let audience = named(env, "VIDEO_JWT_AUDIENCE", "video-session-join");
    Some(auth::token::Config {
        current: current?,
        previous: secret_previous.into_iter().chain(pem_previous).collect(),
        issuer: issuer?,
        audience: audience?,
    })
}

/// A key that has been tried; one that is at fault is reported and left out, but counts as given.
fn usable(env: &mut Env<'_>, setting: &'static str, key: KeySource) -> KeySource {
    if let Err(error) = key.check() {
        env.fault(setting, error.to_string());
    }
    key
}

fn signing_secret(env: &mut Env<'_>, setting: &'static str) -> Option<KeySource> {
    let key = secret(env, setting).map(KeySource::Secret)?;
    Some(usable(env, setting, key))
}

fn private_key(env: &mut Env<'_>, setting: &'static str) -> Option<KeySource> {
    let bytes = file(env, setting)?;
    let Ok(pem) = String::from_utf8(bytes) else {
        env.fault(setting, "must name a PEM file");
        return None;
    };
    Some(usable(
        env,
        setting,
        KeySource::Pem(SecretString::from(pem)),
    ))
}

/// The contents of the file that a setting names.
fn file(env: &mut Env<'_>, setting: &'static str) -> Option<Vec<u8>> {
    let path = env.optional(setting)?;
    match std::fs::read(Path::new(&path)) {
        Ok(contents) => Some(contents),
        Err(error) => {
            env.fault(
                setting,
                format!("names a file that cannot be read: {}", error.kind()),
            );
            None
        }
    }
}

fn parse_nodes(text: &str) -> Option<Rotation> {
    let mut nodes: Vec<SfuNode> = Vec::new();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let (name, url) = entry.split_once('=').unwrap_or((entry, ""));
        let node = SfuNode {
            node_id: NodeId::parse(name.trim()).ok()?,
            url: url.trim().to_owned(),
        };
        let with_url = entry.contains('=');
        let good_url = parse_url(&node.url, &["ws", "wss", "http", "https"]).is_some();
        let known = nodes.iter().any(|other| other.node_id == node.node_id);
        if known || (with_url && !good_url) {
            return None;
        }
        nodes.push(node);
    }
    Rotation::new(nodes)
}

fn store(env: &mut Env<'_>, timeout: Duration) -> StoreConfig {
    let data_dir = env
        .parse("DATA_DIR", "./data", "must be a path", |text| {
            Some(PathBuf::from(text))
        })
        .unwrap_or_default();
    let embedded = sqlite::Config {
        data_dir,
        readers: env.number("SQLITE_READERS", 2, 1, 64),
        queue_max: env.number("SQLITE_QUEUE_MAX", 4096, 1, 1_000_000),
        batch_max: env.number("SQLITE_BATCH_MAX", 256, 1, 10_000),
    };
    let uri = secret(env, "MONGO_URI");
    let pool_max = env.number("MONGO_POOL_MAX", 64, 1, 10_000);
    let pool_min = env.number("MONGO_POOL_MIN", 4, 0, 10_000);
    let index_timeout_secs = env.number("MONGO_INDEX_TIMEOUT_SECS", 600, 1, 24 * 3600);
    let connecting_max = env.number("MONGO_CONNECTING_MAX", 8, 1, 1000);
    if pool_min > pool_max {
        env.fault("MONGO_POOL_MIN", "must not be more than MONGO_POOL_MAX");
    }
    let Some(uri) = uri else {
        return StoreConfig::Embedded(embedded);
    };
    if !mongo::is_uri(&uri) {
        env.fault(
            "MONGO_URI",
            "must be a MongoDB connection string, with special characters of user and password percent-encoded",
        );
    }
    StoreConfig::Mongo(mongo::Config {
        uri,
        timeout,
        index_timeout: Duration::from_secs(index_timeout_secs),
        pool_max,
        pool_min,
        connecting_max,
        feed_overlap: millis(env, "MONGO_FEED_OVERLAP_MS", 5000),
    })
}

fn app_config(env: &mut Env<'_>, retry_after: Duration, store_timeout: Duration) -> app::Config {
    let empty_timeout_secs = env.number("EMPTY_TIMEOUT_SECS", 0, 0, SECS_MAX);
    app::Config {
        token_ttl_secs: env.number("JOIN_TOKEN_TTL_SECS", 3600, 1, SECS_MAX),
        store: app::StorePatience {
            timeout: store_timeout,
            retry_after,
        },
        contention: app::ContentionConfig {
            attempts_max: env.number("COMMIT_ATTEMPTS_MAX", 64, 1, 10_000),
            wait: millis(env, "CONTENTION_WAIT_MS", 2500),
        },
        watch: app::WatchConfig {
            poll: millis(env, "WATCH_POLL_MS", 500),
            streams_max: env.number("WATCH_STREAMS_MAX", 1000, 1, 1_000_000),
        },
        stay: app::StayConfig {
            page_ttl: Duration::from_secs(env.number(
                "JOIN_PAGE_TTL_SECS",
                12 * 3600,
                60,
                SECS_MAX,
            )),
            reconnect_grace: Duration::from_secs(env.number("RECONNECT_GRACE_SECS", 15, 0, 300)),
        },
        ending: app::EndingConfig {
            window: JoinWindow {
                early_secs: env.number("JOIN_EARLY_SECS", 900, 0, SECS_MAX),
                late_secs: env.number("JOIN_LATE_SECS", 3600, 0, SECS_MAX),
            },
            empty_timeout: (empty_timeout_secs > 0)
                .then(|| Duration::from_secs(empty_timeout_secs)),
        },
        unreadable: app::UnreadableConfig {
            retry: Duration::from_secs(env.number("UNREADABLE_RETRY_SECS", 300, 1, 24 * 3600)),
            max: env.number("UNREADABLE_SESSIONS_MAX", 10_000, 1, 1_000_000),
        },
        clock_skew_warn: millis(env, "CLOCK_SKEW_WARN_MS", 5000),
    }
}

/// Its origin as browsers write it, and no slash at its end. With `--dev`, links lead to the port that this process serves.
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
        "must be an http:// or https:// URL without user, password and query, its path of letters, digits and . _ ~ -, with no part . or ..",
        parse_base_url,
    );
    if dev_port.is_none() && env.optional("CLIENT_BASE_URL").is_none() {
        warnings.push("CLIENT_BASE_URL is not set: join links point to this machine");
    }
    if url.as_deref().is_some_and(is_plain_and_elsewhere) {
        warnings.push("CLIENT_BASE_URL is http://: browsers give cameras and microphones to https:// pages only");
    }
    url
}

/// Browsers trust plain http with cameras on this very machine only.
fn is_plain_and_elsewhere(url: &str) -> bool {
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

fn rpc_config(
    env: &mut Env<'_>,
    retry_after: Duration,
    client_base_url: &Option<String>,
) -> rpc::Config {
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
    rpc::Config {
        participants_max: env.number("MAX_PARTICIPANTS", 8, 2, 50),
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
        client_base_url: client_base_url.clone().unwrap_or_default(),
        retry_after,
    }
}

fn tls(env: &mut Env<'_>) -> Option<Tls> {
    let given = ["TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"]
        .map(|setting| (setting, env.optional(setting).is_some()));
    let [(_, has_certificate), (_, has_key), (_, has_ca)] = given;
    let certificate = file(env, "TLS_CERT_FILE");
    let key = file(env, "TLS_KEY_FILE");
    let client_ca = file(env, "TLS_CLIENT_CA_FILE");
    if has_certificate != has_key || (has_ca && !has_certificate) {
        for (setting, _) in given.into_iter().take(2).filter(|(_, given)| !given) {
            env.fault(setting, "must be set when another TLS_ setting is");
        }
        return None;
    }
    let tls = Tls {
        certificate: certificate?,
        key: key?,
        client_ca,
    };
    if tls.check().is_err() {
        env.fault(
            "TLS_CERT_FILE",
            "does not go together with TLS_KEY_FILE and TLS_CLIENT_CA_FILE, or one of them is no PEM file",
        );
    }
    Some(tls)
}

fn worker_config(env: &mut Env<'_>, store_timeout: Duration, grace: Duration) -> worker::Config {
    let config = worker::Config {
        probe_interval: millis(env, "STORE_PROBE_INTERVAL_MS", 1000),
        probe_timeout: store_timeout,
        count_interval: Duration::from_secs(env.number("SESSION_COUNT_INTERVAL_SECS", 30, 1, 3600)),
        overdue_interval: millis(env, "OVERDUE_INTERVAL_MS", 500),
        beat_interval: millis(env, "INSTANCE_BEAT_MS", 2000),
        lease_secs: env.number("INSTANCE_LEASE_SECS", 12, 1, 3600),
        grace,
    };
    if Duration::from_secs(config.lease_secs) < 2 * config.beat_interval {
        env.fault(
            "INSTANCE_LEASE_SECS",
            "must be at least twice INSTANCE_BEAT_MS",
        );
    }
    config
}

fn telemetry_config(env: &mut Env<'_>, dev: bool) -> Option<telemetry::Config> {
    let format_default = if dev { "pretty" } else { "json" };
    let format = env.parse(
        "LOG_FORMAT",
        format_default,
        "must be json or pretty",
        |text| match text {
            "json" => Some(LogFormat::Json),
            "pretty" => Some(LogFormat::Pretty),
            _ => None,
        },
    );
    let filter = env.parse(
        "LOG_FILTER",
        "info",
        "must be a level (error, warn, info, debug, trace) or a tracing filter",
        |text| telemetry::is_filter(text).then(|| text.to_owned()),
    );
    let otlp_endpoint = env.optional("OTEL_EXPORTER_OTLP_ENDPOINT");
    if otlp_endpoint
        .as_ref()
        .is_some_and(|url| parse_url(url, &["http"]).is_none())
    {
        env.fault(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "must be an http:// URL, of a collector nearby, without user and password",
        );
    }
    Some(telemetry::Config {
        format: format?,
        filter: filter?,
        otlp_endpoint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn read_with(settings: &[(&str, &str)], dev: bool) -> Result<Config, Vec<Fault>> {
        let lookup = |name: &str| {
            settings
                .iter()
                .find(|(setting, _)| *setting == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::read(Env::new(&lookup), dev)
    }

    fn faulty(settings: &[(&str, &str)]) -> Vec<&'static str> {
        let mut all = vec![("INTERNAL_SECRET", SECRET), ("VIDEO_JWT_SECRET", SECRET)];
        all.retain(|(name, _)| !settings.iter().any(|(other, _)| other == name));
        all.extend_from_slice(settings);
        match read_with(&all, false) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| fault.setting).collect(),
        }
    }

    #[test]
    fn two_secrets_are_enough() {
        assert_eq!(faulty(&[]), [""; 0]);
    }

    #[test]
    fn production_needs_its_secrets_and_says_so_at_once() {
        let faults = read_with(&[], false).err().expect("refused");
        let settings: Vec<_> = faults.iter().map(|fault| fault.setting).collect();
        assert_eq!(settings, ["INTERNAL_SECRET", "VIDEO_JWT_SECRET"]);
    }

    #[test]
    fn no_fault_repeats_a_value() {
        let bad = "hunter2-hunter2";
        let names = [
            "GRPC_ADDR",
            "HEALTH_ADDR",
            "VIDEO_JWT_SECRET",
            "VIDEO_JWT_PRIVATE_KEY_FILE",
            "TLS_CERT_FILE",
            "LOG_FORMAT",
            "JOIN_EARLY_SECS",
            "CLIENT_BASE_URL",
            "MONGO_URI",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "GRPC_REFLECTION",
        ];
        let settings = names.map(|name| (name, bad));
        let faults = read_with(&settings, false).err().expect("refused");
        for name in names {
            assert!(
                faults.iter().any(|fault| fault.setting == name),
                "{name} was not reported"
            );
        }
        assert!(faults.iter().all(|fault| !fault.to_string().contains(bad)));
    }

    #[test]
    fn dev_makes_up_different_secrets_and_stays_on_this_machine() {
        let config = || read_with(&[("GRPC_ADDR", "0.0.0.0:7000")], true).expect("starts");
        let (one, other) = (config(), config());
        assert_ne!(
            one.internal_secret.expose_secret(),
            other.internal_secret.expose_secret()
        );
        assert_eq!(one.grpc_addr, "127.0.0.1:7000".parse().expect("an address"));
        assert_eq!(one.drain_delay, Duration::ZERO);
    }

    #[test]
    fn addresses_that_cannot_be_bound_together_are_refused() {
        for (one, other) in [
            ("127.0.0.1:7000", "127.0.0.1:7000"),
            ("0.0.0.0:7000", "127.0.0.1:7000"),
            ("192.0.2.1:7000", "0.0.0.0:7000"),
            ("[::]:7000", "127.0.0.1:7000"),
            ("[::1]:7000", "[::]:7000"),
        ] {
            let settings = ["GRPC_ADDR", "ADMIN_ADDR", "HTTP_ADDR", "HEALTH_ADDR"];
            for (index, first) in settings.iter().enumerate() {
                for second in &settings[index + 1..] {
                    let faults = faulty(&[(first, one), (second, other)]);
                    assert_eq!(faults, [*second], "{one} {other}");
                }
            }
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:7000", "127.0.0.1:7001"),
            ("127.0.0.1:7000", "127.0.0.2:7000"),
            ("0.0.0.0:7000", "[::1]:7000"),
        ] {
            let faults = faulty(&[("GRPC_ADDR", one), ("HEALTH_ADDR", other)]);
            assert_eq!(faults, [""; 0], "{one} {other}");
        }
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        let config = read_with(
            &[
                ("HTTP_ADDR", "127.0.0.1:4321"),
                ("CLIENT_BASE_URL", "HTTPS://Clinic.Example:443/Care/"),
                ("HTTP_ALLOWED_ORIGINS", "https://Portal.Example:443"),
                ("FRAME_ANCESTORS", "self https://Portal.Example"),
            ],
            true,
        );
        let web = config.expect("good settings").web;
        assert_eq!(web.client_base_url, "https://clinic.example/Care");
        assert_eq!(web.frame_ancestors, "'self' https://portal.example");
        // Those of --dev are this machine's names.
        let allowed = [
            "https://portal.example",
            "http://localhost:4321",
            "http://127.0.0.1:4321",
            "http://[::1]:4321",
        ];
        assert_eq!(web.allowed_origins, allowed);
    }

    #[test]
    fn urls_with_a_user_or_a_port_that_does_not_exist_are_refused() {
        for (setting, good) in [
            ("SFU_NODES", "a=wss://x.example"),
            ("CLIENT_BASE_URL", "https://x.example"),
            ("HTTP_ALLOWED_ORIGINS", "https://x.example"),
            ("FRAME_ANCESTORS", "https://x.example"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x.example"),
        ] {
            assert_eq!(faulty(&[(setting, good)]), [""; 0]);
            for bad in [
                good.replace("://", "://user:pw@"),
                format!("{good}:99999"),
                format!("{good}/../y"),
                format!("{good}/./y"),
                format!("{good}/%2E%2e/y"),
            ] {
                assert_eq!(faulty(&[(setting, &bad)]), [setting], "{bad}");
            }
        }
        for (setting, bad) in [
            ("STUN_URLS", "stun:x.example:99999"),
            ("STUN_URLS", "stun:user@x.example"),
        ] {
            assert_eq!(faulty(&[(setting, bad)]), [setting], "{bad}");
        }
        let turn = [
            ("TURN_URLS", "turn:x.example:99999"),
            ("TURN_SECRET", SECRET),
        ];
        assert!(faulty(&turn).contains(&"TURN_URLS"));
    }

    #[test]
    fn origins_that_no_browser_sends_are_refused() {
        for (setting, value) in [
            ("HTTP_ALLOWED_ORIGINS", "https://*.example.com"),
            ("FRAME_ANCESTORS", "none https://portal.example.com"),
        ] {
            assert_eq!(faulty(&[(setting, value)]), [setting]);
        }
        assert_eq!(
            faulty(&[("FRAME_ANCESTORS", "https://*.example.com")]),
            [""; 0]
        );
    }

    #[test]
    fn nodes_are_names_or_pairs() {
        let ids = |text: &str| {
            parse_nodes(text).map(|rotation| {
                let nodes = rotation.nodes().iter();
                nodes
                    .map(|node| format!("{}>{}", node.node_id, node.url))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(" a , ,b "), Some(vec!["a>".into(), "b>".into()]));
        assert_eq!(
            ids("a=wss://x/y,b=ws://z"),
            Some(vec!["a>wss://x/y".into(), "b>ws://z".into()])
        );
        for bad in ["", ",", "a,a", "a=", "a=ftp://x", "a b", "=wss://x"] {
            assert_eq!(ids(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn both_kinds_of_key_at_once_are_refused() {
        let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ed25519.pem");
        let key = ("VIDEO_JWT_PRIVATE_KEY_FILE", pem);
        assert_eq!(faulty(&[key, ("VIDEO_JWT_SECRET", "")]), [""; 0]);
        assert_eq!(faulty(&[key]), ["VIDEO_JWT_SECRET"]);
    }

    #[test]
    fn a_file_that_is_not_there_and_half_a_pair_are_refused() {
        let missing = std::env::temp_dir().join("video-session-no-such-key.pem");
        let faults = faulty(&[(
            "VIDEO_JWT_PRIVATE_KEY_FILE",
            missing.to_str().expect("utf-8"),
        )]);
        assert_eq!(faults, ["VIDEO_JWT_PRIVATE_KEY_FILE"]);
        assert_eq!(
            faulty(&[("TLS_CERT_FILE", "x"), ("TLS_KEY_FILE", "")]),
            ["TLS_CERT_FILE", "TLS_KEY_FILE"]
        );
    }
}
