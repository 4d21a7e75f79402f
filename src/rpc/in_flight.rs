//! Limits the calls in progress at once. Health checks do not count: they are answered from memory, and their streams have
//! a limit of their own.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::sync::Semaphore;
use tonic::body::Body;

use super::Config;
use super::methods::is_health;
use super::middleware::{Answer, Middleware, Next};
use super::status::status;
use crate::domain::error::Error;

#[derive(Clone)]
pub(super) struct InFlight {
    permits: Arc<Semaphore>,
    retry_after: Duration,
}

impl InFlight {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(config.in_flight_max)),
            retry_after: config.retry_after,
        }
    }
}

impl Middleware for InFlight {
    type Body = Body;

    fn call<S: Next>(&self, request: Request<Body>, next: &mut S) -> Answer<Body, S::Error> {
        if is_health(request.uri().path()) {
            return Box::pin(next.call(request));
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let retry_after = self.retry_after;
            let overloaded = status(Error::Overloaded { retry_after });
            return Box::pin(async move { Ok(overloaded.into_http()) });
        };
        let answer = next.call(request);
        Box::pin(async move {
            let _permit = permit;
            answer.await
        })
    }
}
