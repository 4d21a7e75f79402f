//! All settings, read once at start. Each part of the service has its own `Config`, independent of the environment; the file
//! of the same name here reads its settings. This file combines them and checks settings that depend on each other.

mod addresses;
mod api;
mod app;
mod bus;
pub mod env;
mod ice;
mod legacy;
mod nodes;
mod nodes_file;
mod openvidu;
mod page;
mod rest;
mod rpc;
mod secrets;
mod sfu;
mod store;
mod telemetry;
#[cfg(test)]
mod tests;
mod tokens;
mod upkeep;
mod urls;
mod web;

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use crate::app::media::IceConfig;
use crate::auth::token;
use crate::bus::redis::RedisConfig;
use crate::domain::health::HealthTimes;
use crate::legacy::Config as LegacyConfig;
use crate::rpc::Tls;
use crate::sfu::bounded::Limits;
use addresses::Addresses;
use env::{Env, Fault};
use secrets::Secrets;

pub use addresses::HealthTarget;
pub use nodes_file::{DriverSettings, NodeSettings, NodesFile};
pub use openvidu::find_unfit_node;
pub use store::StoreConfig;

/// The maximum for join windows and for the lifetime of credentials: a week.
const SECS_MAX: u64 = 7 * 24 * 3600;
/// The maximum for store waits, polls and probes: a minute.
const MILLIS_MAX: u64 = 60_000;

/// All settings of the service.
#[derive(Clone)]
pub struct Config {
    /// True with `--dev`: loopback only, generated secrets.
    pub dev: bool,
    /// The address of gRPC.
    pub grpc_addr: SocketAddr,
    /// The address of metrics and public keys.
    pub admin_addr: SocketAddr,
    /// The address for participants' browsers.
    pub http_addr: SocketAddr,
    /// The address for health only, in plain text, if set.
    pub health_addr: Option<SocketAddr>,
    /// The address of the JSON edge, if it is on.
    pub rest_addr: Option<SocketAddr>,
    /// The address of the older services' APIs, if it is set.
    pub legacy_addr: Option<SocketAddr>,
    /// The store.
    pub store: StoreConfig,
    /// The bus between instances, if there is one.
    pub redis: Option<RedisConfig>,
    /// The secret that callers must show.
    pub internal_secret: SecretString,
    /// Whether `--dev` generated that secret.
    pub internal_secret_is_generated: bool,
    /// The previous secret, during a rotation.
    pub internal_secret_previous: Option<SecretString>,
    /// Join tokens.
    pub tokens: token::Config,
    /// The SFU nodes with their drivers; at least one.
    pub nodes: Vec<NodeSettings>,
    /// The file that lists them; `None` if SFU_NODES does.
    pub nodes_file: Option<NodesFile>,
    /// Limits of calls to SFU nodes.
    pub sfu: Limits,
    /// When an SFU node counts as down and as up.
    pub node_health: HealthTimes,
    /// The application's limits.
    pub app: crate::app::Config,
    /// The settings shared by all edges.
    pub api: crate::api::Config,
    /// The gRPC edge.
    pub rpc: crate::rpc::Config,
    /// The JSON edge.
    pub rest: crate::rest::Config,
    /// The older services' APIs that are served.
    pub legacy: LegacyConfig,
    /// Connection limits of the admin address.
    pub admin: crate::web::ConnectionLimits,
    /// The edge for browsers.
    pub web: crate::web::Config,
    /// STUN and TURN.
    pub ice: IceConfig,
    /// TLS, if it is on.
    pub tls: Option<Tls>,
    /// Logs and traces.
    pub telemetry: crate::telemetry::Config,
    /// How long calls are still accepted after the service stops being ready.
    pub drain_delay: Duration,
    /// How long calls in progress may take to finish after that.
    pub drain_timeout: Duration,
    /// Warnings to log at start.
    pub warnings: Vec<&'static str>,
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    /// All faults.
    pub fn read(env: Env<'_>, dev: bool) -> Result<Self, Vec<Fault>> {
        let mut env = env;
        let config = read(&mut env, dev);
        env.finish(config)
    }
}

/// Returns `None` if a setting is unusable and has no fallback; its fault has been reported then.
pub fn read(env: &mut Env<'_>, dev: bool) -> Option<Config> {
    let mut warnings = Vec::new();
    let Addresses {
        grpc,
        admin: admin_addr,
        http,
        health,
        rest: rest_addr,
        legacy: legacy_addr,
    } = addresses::read(env, dev);
    let Secrets {
        current,
        is_generated,
        previous,
    } = secrets::read(env, dev, &mut warnings);
    let tokens = tokens::read(env, dev);
    let nodes_file = nodes::read_file_setting(env);
    let nodes = nodes::read(env, nodes_file.as_ref());
    let node_health = nodes::read_health(env);
    let sfu = sfu::read(env);
    let retry_after = millis(env, "RETRY_AFTER_MS", 1000);
    let store_timeout = millis(env, "STORE_TIMEOUT_MS", 2000);
    let store = store::read(env, store_timeout);
    let redis = bus::read(env);
    if redis.is_some() && matches!(store, StoreConfig::Embedded(_)) {
        warnings.push("REDIS_URL is set and MONGO_URI is not: no other instance can use the embedded store, so there is none to reach");
    }
    let app = app::read(env, retry_after, store_timeout);
    let dev_port = http.filter(|_| dev).map(|addr| addr.port());
    let api = api::read(env, dev_port, &mut warnings);
    let rpc = rpc::read(env, retry_after);
    let rest = rest::read(env);
    let links = api.as_ref().map(|api| api.links.clone());
    let clinic = page::read(env, dev);
    let web = web::read(env, links, clinic, dev_port);
    if let (Some(nodes), Some(web)) = (&nodes, &web) {
        check_livekit_client(env, nodes, web);
    }
    let legacy = read_legacy(env, legacy_addr, &nodes, &tokens, &rpc, &web);
    let admin = web.as_ref().map(|web| web::read_admin_limits(env, web));
    let ice = ice::read(env);
    let tls = rpc::read_tls(env);
    if tls.is_some() && health.is_none() {
        warnings.push("TLS is on and HEALTH_ADDR is not set: Kubernetes' gRPC probes and `healthcheck` speak plain text");
    }
    let telemetry = telemetry::read(env, dev);
    let drain_delay_default = if dev { 0 } else { 5 };
    let drain_delay = env.number("DRAIN_DELAY_SECS", drain_delay_default, 0, 3600);
    let drain_timeout = env.number("DRAIN_TIMEOUT_SECS", 20, 0, 3600);
    Some(Config {
        dev,
        grpc_addr: grpc?,
        admin_addr: admin_addr?,
        http_addr: http?,
        health_addr: health,
        rest_addr,
        legacy_addr,
        store,
        redis,
        internal_secret: current?,
        internal_secret_is_generated: is_generated,
        internal_secret_previous: previous,
        tokens: tokens?,
        nodes: nodes?,
        nodes_file,
        sfu,
        node_health,
        app,
        api: api?,
        rpc,
        rest: rest?,
        legacy: legacy?,
        admin: admin?,
        web: web?,
        ice: ice?,
        tls,
        telemetry: telemetry?,
        drain_delay: Duration::from_secs(drain_delay),
        drain_timeout: Duration::from_secs(drain_timeout),
        warnings,
    })
}

/// The older services' APIs, some of which share settings with others.
fn read_legacy(
    env: &mut Env<'_>,
    addr: Option<SocketAddr>,
    nodes: &Option<Vec<NodeSettings>>,
    join_tokens: &Option<token::Config>,
    rpc: &crate::rpc::Config,
    web: &Option<crate::web::Config>,
) -> Option<LegacyConfig> {
    let legacy = legacy::read(env, addr, web.as_ref());
    let shared = openvidu::Shared {
        apis: legacy.as_ref().map_or(&[], |legacy| &legacy.apis),
        nodes: nodes.as_deref(),
        join_tokens: join_tokens.as_ref(),
        rpc,
        trusted_proxies: web.as_ref().map_or(&[], |web| &web.trusted_proxies),
    };
    let openvidu = openvidu::read(env, &shared);
    Some(LegacyConfig {
        openvidu,
        ..legacy?
    })
}

fn millis(env: &mut Env<'_>, setting: &'static str, default: u64) -> Duration {
    Duration::from_millis(env.number(setting, default, 1, MILLIS_MAX))
}

/// Pages reach LiveKit nodes with a library that is not part of the service.
fn check_livekit_client(env: &mut Env<'_>, nodes: &[NodeSettings], web: &crate::web::Config) {
    if !nodes.iter().any(NodeSettings::needs_livekit_client) {
        return;
    }
    if let Err(error) = crate::web::check_livekit_client(&web.livekit_client_dir) {
        env.report_fault("LIVEKIT_CLIENT_DIR", error.to_string());
    }
}
