//! Exchanges a password for a token.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde_json::json;

use super::OpenVidu;
use super::bearer::now;
use super::body::Object;
use super::fault::Fault;
use super::users::UserRole;
use crate::auth::legacy_token::LegacyClaims;
use crate::auth::password::PASSWORD_BYTES_MAX;
use crate::legacy::{Answer, answer, client};
use crate::net::AddressLimit;

/// How long a login waits for those before it.
const TURN_WAIT: Duration = Duration::from_secs(3);

pub(super) async fn login(
    State(openvidu): State<OpenVidu>,
    request: Request,
) -> Result<Answer, Fault> {
    openvidu.count("POST /api/auth/login");
    openvidu.limit(&openvidu.logins, &request)?;
    let body = Object::receive(request, &openvidu.config).await?;
    let (name, password) = match (body.text(&["username"]), body.text(&["password"])) {
        (Ok(name), Ok(password)) => (name, password),
        (Err(name), Err(password)) => return Err(name.and(password)),
        (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => return Err(fault),
    };
    if password.len() > PASSWORD_BYTES_MAX {
        let message = format!("ensure this value has at most {PASSWORD_BYTES_MAX} bytes");
        let kind = "value_error.any_str.max_length";
        return Err(Fault::invalid(Some("password"), &message, kind));
    }
    let role = openvidu.check_password(name, password).await?;
    let role = role.ok_or_else(|| Fault::unauthorized("Invalid credentials"))?;
    let config = &openvidu.config;
    let ttl_secs = i64::try_from(config.token_ttl.as_secs()).unwrap_or(i64::MAX);
    let claims = LegacyClaims {
        sub: name.to_owned(),
        role: role.name().to_owned(),
        exp: now().as_secs().saturating_add(ttl_secs),
    };
    let token = config
        .tokens
        .issue(&claims)
        .map_err(|_| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))?;
    let body = json!({"access_token": token, "token_type": "bearer", "role": role.name()});
    Ok(answer(StatusCode::OK, body))
}

impl OpenVidu {
    /// Counts the request against its address's limit.
    pub(super) fn limit(&self, limit: &AddressLimit, request: &Request) -> Result<(), Fault> {
        let proxies = &self.config.trusted_proxies;
        let address = client(request.extensions(), request.headers(), proxies);
        limit.check(address).map_err(|wait| {
            let status = StatusCode::TOO_MANY_REQUESTS;
            Fault::for_now(status, "Too many attempts from this address", wait)
        })
    }

    /// The role of the user who has this password.
    async fn check_password(&self, name: &str, password: &str) -> Result<Option<UserRole>, Fault> {
        let busy = || {
            let (status, wait) = (StatusCode::SERVICE_UNAVAILABLE, self.config.retry_after);
            Fault::for_now(status, "Too many users log in at once", wait)
        };
        let turn = Arc::clone(&self.password_checks).acquire_owned();
        let turn = tokio::time::timeout(TURN_WAIT, turn).await;
        let Ok(Ok(turn)) = turn else {
            return Err(busy());
        };
        let users = Arc::clone(&self.config.users);
        let (name, password) = (name.to_owned(), password.to_owned());
        // The check goes on if the client leaves, and keeps its turn until it ends.
        let checking = tokio::task::spawn_blocking(move || {
            let role = users.check(&name, password.as_bytes());
            drop(turn);
            role
        });
        checking.await.map_err(|_| busy())
    }
}
