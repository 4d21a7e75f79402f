//! The API of the ChourangiHealth backend, which makes sessions and connections on an OpenVidu node: users with passwords, tokens, and
//! a connection for each caller. docs/legacy/openvidu.md says what is the same and what is not.

mod bearer;
mod body;
mod fault;
mod login;
mod session;
mod users;

pub use users::{FILE_BYTES_MAX, LineError, UserRole, Users, write_line};

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use ipnet::IpNet;
use serde_json::json;
use tokio::sync::Semaphore;

use self::fault::Fault;
use super::{Answer, Edge, LegacyApi, Routes, answer};
use crate::auth::legacy_token::LegacyTokens;
use crate::net::AddressLimit;

/// How many passwords are checked at once: each takes a thread and some megabytes.
const PASSWORD_CHECKS_MAX: usize = 2;

/// Settings of this API.
#[derive(Debug, Clone)]
pub struct Config {
    /// The users.
    pub users: Arc<Users>,
    /// Issues and verifies their tokens.
    pub tokens: Arc<LegacyTokens>,
    /// How long a token is valid.
    pub token_ttl: Duration,
    /// How long a session lasts.
    pub session_age_max: Duration,
    /// Logins that an address may try per minute, and sessions for trial.
    pub logins_per_minute: u32,
    /// Proxies whose X-Forwarded-For is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest body.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// When to try again what failed for now.
    pub retry_after: Duration,
}

/// What the handlers share.
#[derive(Clone)]
struct OpenVidu {
    edge: Edge,
    config: Arc<Config>,
    logins: Arc<AddressLimit>,
    /// Separate, so that trying the node out takes nobody's logins.
    trials: Arc<AddressLimit>,
    password_checks: Arc<Semaphore>,
}

impl OpenVidu {
    fn count(&self, route: &'static str) {
        self.edge.count(LegacyApi::OpenVidu, route);
    }
}

pub(super) fn routes(edge: &Edge, config: &Config) -> Routes {
    let limit = || Arc::new(AddressLimit::per_minute(config.logins_per_minute));
    let state = OpenVidu {
        edge: edge.clone(),
        config: Arc::new(config.clone()),
        logins: limit(),
        trials: limit(),
        password_checks: Arc::new(Semaphore::new(PASSWORD_CHECKS_MAX)),
    };
    let with_state = |methods: MethodRouter<OpenVidu>| methods.with_state(state.clone());
    vec![
        ("/", with_state(get(root))),
        ("/health", with_state(get(health))),
        ("/api/auth/login", with_state(post(login::login))),
        ("/protected", with_state(get(protected))),
        ("/test-openvidu", with_state(get(session::try_node))),
        ("/api/video/session", with_state(post(session::connect))),
    ]
}

async fn root(State(openvidu): State<OpenVidu>) -> Answer {
    openvidu.count("GET /");
    let body = json!({"message": "OpenVidu FastAPI POC running"});
    answer(StatusCode::OK, body)
}

async fn health(State(openvidu): State<OpenVidu>) -> Answer {
    openvidu.count("GET /health");
    answer(StatusCode::OK, json!({"status": "ok"}))
}

async fn protected(State(openvidu): State<OpenVidu>, request: Request) -> Result<Answer, Fault> {
    openvidu.count("GET /protected");
    let caller = bearer::authenticate(&openvidu.config, request.headers())?;
    let body = json!({"message": "Protected route accessed", "user": caller.claims});
    Ok(answer(StatusCode::OK, body))
}
