//! All settings, read once at start. Each part of the service has a `Config` of its own, which knows no environment; the file
//! here of the same name reads the settings that fill it. This file puts them together and checks what concerns several.

mod addresses;
mod api;
mod app;
pub mod env;
mod ice;
mod nodes;
mod rpc;
mod secrets;
mod store;
mod telemetry;
#[cfg(test)]
mod tests;
mod tokens;
mod urls;
mod web;
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use crate::app::tickets::IceConfig;
use crate::auth::token;
use crate::domain::node::Rotation;
use crate::rpc::Tls;
use addresses::Addresses;
use env::{Env, Fault};
use secrets::Secrets;

pub use addresses::HealthTarget;
pub use store::StoreConfig;

/// The longest join window and the longest life of a credential: a week.
const SECS_MAX: u64 = 7 * 24 * 3600;
/// The longest wait for a store, a poll or a probe: a minute.
const MILLIS_MAX: u64 = 60_000;

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
    pub tokens: token::Config,
    /// The SFU nodes.
    pub rotation: Rotation,
    /// The application's limits.
    pub app: crate::app::Config,
    /// What every edge shares.
    pub api: crate::api::Config,
    /// The gRPC edge.
    pub rpc: crate::rpc::Config,
    /// Connections to the address for operators.
    pub admin: crate::web::ConnectionLimits,
    /// The edge that browsers see.
    pub web: crate::web::Config,
    /// STUN and TURN.
    pub ice: IceConfig,
    /// TLS, if it is on.
    pub tls: Option<Tls>,
    /// Background work.
    pub worker: crate::worker::Config,
    /// Logs and traces.
    pub telemetry: crate::telemetry::Config,
    /// How long calls are still taken after readiness has gone.
    pub drain_delay: Duration,
    /// How long calls in progress may take to finish after that.
    pub drain_timeout: Duration,
    /// What deserves a word at start, though it is not wrong.
    pub warnings: Vec<&'static str>,
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
    let Addresses {
        grpc,
        admin: admin_addr,
        http,
        health,
    } = addresses::read(env, dev);
    let Secrets {
        current,
        is_generated,
        previous,
    } = secrets::read(env, dev, &mut warnings);
    let tokens = tokens::read(env, dev);
    let rotation = nodes::read(env);
    let retry_after = millis(env, "RETRY_AFTER_MS", 1000);
    let store_timeout = millis(env, "STORE_TIMEOUT_MS", 2000);
    let store = store::read(env, store_timeout);
    let app = app::read(env, retry_after, store_timeout);
    let dev_port = http.filter(|_| dev).map(|addr| addr.port());
    let api = api::read(env, dev_port, &mut warnings);
    let rpc = rpc::read(env, retry_after);
    let links = api.as_ref().map(|api| api.links.clone());
    let web = web::read(env, links, dev_port);
    let admin = web.as_ref().map(|web| web::read_admin_limits(env, web));
    let ice = ice::read(env);
    let tls = rpc::read_tls(env);
    if tls.is_some() && health.is_none() {
        warnings.push("TLS is on and HEALTH_ADDR is not set: Kubernetes' gRPC probes and `healthcheck` speak plain text");
    }
    let worker = worker::read(env, store_timeout, app.signalling.reconnect_grace);
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
        store,
        internal_secret: current?,
        internal_secret_is_generated: is_generated,
        internal_secret_previous: previous,
        tokens: tokens?,
        rotation: rotation?,
        app,
        api: api?,
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
