//! How many calls may be in progress at once. Health takes no place among them: it answers at once, from memory, and its
//! streams have a limit of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tower::{Layer, Service};

use super::Config;
use super::methods::is_health;
use super::status::status;
use crate::domain::error::Error;

#[derive(Clone)]
pub(super) struct InFlightLayer {
    room: Arc<Semaphore>,
    retry_after: Duration,
}

impl InFlightLayer {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            room: Arc::new(Semaphore::new(config.in_flight_max)),
            retry_after: config.retry_after,
        }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight {
            inner,
            layer: self.clone(),
        }
    }
}

#[derive(Clone)]
pub(super) struct InFlight<S> {
    inner: S,
    layer: InFlightLayer,
}

impl<S> Service<Request<Body>> for InFlight<S>
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
        if is_health(request.uri().path()) {
            return Box::pin(self.inner.call(request));
        }
        let Ok(permit) = Arc::clone(&self.layer.room).try_acquire_owned() else {
            let retry_after = self.layer.retry_after;
            let refusal = status(Error::Overloaded { retry_after });
            return Box::pin(async move { Ok(refusal.into_http()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _permit = permit;
            answer.await
        })
    }
}
