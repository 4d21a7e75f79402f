//! Lets callers in: by the secret, and as long as there is room. Runs before anything of a request is parsed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::{Layer, Service};

use super::Config;
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
    room: Arc<Semaphore>,
    /// Apart, so that those without the secret cannot keep out those with it.
    health_room: Arc<Semaphore>,
    retry_after: Duration,
}

impl GateLayer {
    pub(super) fn new(
        secrets: Arc<InternalSecrets>,
        metrics: Arc<Metrics>,
        config: &Config,
    ) -> Self {
        Self {
            secrets,
            metrics,
            room: Arc::new(Semaphore::new(config.in_flight_max)),
            health_room: Arc::new(Semaphore::new(config.in_flight_max)),
            retry_after: config.retry_after,
        }
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
        let is_health = is_health(request.uri().path());
        if !is_health {
            let mut shown = request.headers().get_all(SECRET_HEADER).iter();
            // Of several, none is taken: whoever added the others is not who added the first.
            let only = shown.next().filter(|_| shown.next().is_none());
            let given = request.headers().contains_key(SECRET_HEADER);
            let secret = only.map(HeaderValue::as_bytes).or(given.then_some(b""));
            match self.gate.secrets.check(secret) {
                Ok(Shown::Current) => {}
                Ok(Shown::Previous) => {
                    self.gate.metrics.previous_secret_calls.inc();
                }
                Err(error) => return refuse(error),
            }
        }
        let room = if is_health {
            &self.gate.health_room
        } else {
            &self.gate.room
        };
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
            return refuse(Error::Overloaded {
                retry_after: self.gate.retry_after,
            });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _permit = permit;
            answer.await
        })
    }
}

fn refuse<E: 'static>(
    error: Error,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>> {
    Box::pin(async move { Ok(status(error).into_http()) })
}
