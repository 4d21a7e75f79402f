//! Lets callers in by the secret. Runs before anything of a request is parsed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::connections::Peer;
use super::methods::is_health;
use super::status::status;
use crate::auth::secret::{InternalSecrets, Shown};
use crate::domain::error::Error;
use crate::telemetry::metrics::Metrics;

/// The metadata that carries the secret.
const SECRET_HEADER: &str = "x-internal-secret";

#[derive(Clone)]
pub(super) struct GateLayer {
    secrets: Arc<InternalSecrets>,
    metrics: Arc<Metrics>,
}

impl GateLayer {
    pub(super) fn new(secrets: Arc<InternalSecrets>, metrics: Arc<Metrics>) -> Self {
        Self { secrets, metrics }
    }

    fn check_secret(&self, request: &Request<Body>) -> Result<(), Error> {
        let mut shown = request.headers().get_all(SECRET_HEADER).iter();
        // Of several, none is taken: whoever added the others is not who added the first.
        let only = shown.next().filter(|_| shown.next().is_none());
        let given = request.headers().contains_key(SECRET_HEADER);
        let secret = only.map(HeaderValue::as_bytes).or(given.then_some(b""));
        if self.secrets.check(secret)? == Shown::Previous {
            self.metrics.previous_secret_calls.inc();
        }
        Ok(())
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate {
            inner,
            gate: self.clone(),
        }
    }
}

#[derive(Clone)]
pub(super) struct Gate<S> {
    inner: S,
    gate: GateLayer,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_health(request.uri().path()) {
            if let Err(error) = self.gate.check_secret(&request) {
                return Box::pin(async move { Ok(status(error).into_http()) });
            }
            if let Some(peer) = request.extensions().get::<Peer>() {
                peer.note_secret();
            }
        }
        Box::pin(self.inner.call(request))
    }
}
