//! Checks the internal secret of every call, before anything of the request is parsed.

use std::sync::Arc;

use http::{HeaderValue, Request};
use tonic::body::Body;

use super::connections::Peer;
use super::methods::is_health;
use super::middleware::{Answer, Middleware, Next};
use super::status::status;
use crate::auth::secret::{AcceptedSecret, InternalSecrets, SecretError};
use crate::telemetry::metrics::Metrics;

/// The metadata that carries the secret.
pub const SECRET_HEADER: &str = "x-internal-secret";

/// In the extensions of a call within the process: an edge has admitted the caller by a rule of its own, so the call needs no secret.
/// No listener makes extensions of what callers send.
#[derive(Debug, Clone, Copy)]
pub struct AdmittedByEdge;

#[derive(Clone)]
pub(super) struct SecretCheck {
    secrets: Arc<InternalSecrets>,
    metrics: Arc<Metrics>,
}

impl SecretCheck {
    pub(super) fn new(secrets: Arc<InternalSecrets>, metrics: Arc<Metrics>) -> Self {
        Self { secrets, metrics }
    }

    fn check_secret(&self, request: &Request<Body>) -> Result<(), SecretError> {
        let mut values = request.headers().get_all(SECRET_HEADER).iter();
        // Several secrets are refused: a proxy may have added one.
        let only = values.next().filter(|_| values.next().is_none());
        let given = request.headers().contains_key(SECRET_HEADER);
        let secret = only.map(HeaderValue::as_bytes).or(given.then_some(b""));
        if self.secrets.check(secret)? == AcceptedSecret::Previous {
            self.metrics.previous_secret_calls.inc();
        }
        Ok(())
    }
}

impl Middleware for SecretCheck {
    type Body = Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Body, S::Error> {
        let is_admitted = request.extensions().get::<AdmittedByEdge>().is_some();
        if !is_admitted && !is_health(request.uri().path()) {
            if let Err(error) = self.check_secret(&request) {
                return Box::pin(async move { Ok(status(error).into_http()) });
            }
            if let Some(peer) = request.extensions().get::<Peer>() {
                peer.mark_trusted();
            }
        }
        Box::pin(next.call(request))
    }
}
