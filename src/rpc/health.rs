//! grpc.health.v1. `""` is liveness and depends on nothing; the API's services are readiness.
//!
//! Uses only the wire types of tonic-health. Its implementation answers Watch on an unknown service with an error instead of
//! the protocol's SERVICE_UNKNOWN, and delays the shutdown while a client watches.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{Stream, StreamExt as _, unfold};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::status::status;
use super::{NODE_SERVICE_NAME, SERVICE_NAME};
use crate::domain::error::Error;
use crate::readiness::{Readiness, ReadinessState};

/// The service name of liveness.
const LIVENESS: &str = "";

/// Answers health checks from the instance's readiness.
#[derive(Clone)]
pub struct Health {
    readiness: ReadinessState,
    /// Cancelled when streams must end.
    closing: CancellationToken,
    shutting_down: Error,
    watches: Arc<Semaphore>,
}

impl Health {
    /// Cancelling `closing` ends the streams with `shutting_down`; at most `watches_max` are open at once.
    pub fn new(
        readiness: ReadinessState,
        closing: CancellationToken,
        shutting_down: Error,
        watches_max: usize,
    ) -> Self {
        Self {
            readiness,
            closing,
            shutting_down,
            watches: Arc::new(Semaphore::new(watches_max)),
        }
    }
}

fn serving_status(service: &str, readiness: Readiness) -> ServingStatus {
    match (service, readiness) {
        (LIVENESS, _) | (SERVICE_NAME | NODE_SERVICE_NAME, Readiness::Ready) => {
            ServingStatus::Serving
        }
        (SERVICE_NAME | NODE_SERVICE_NAME, Readiness::NotReady | Readiness::Draining) => {
            ServingStatus::NotServing
        }
        _ => ServingStatus::ServiceUnknown,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // Only Watch may answer SERVICE_UNKNOWN.
        match serving_status(&request.get_ref().service, self.readiness.get()) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            known => Ok(Response::new(response(known))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = Arc::clone(&self.watches)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("too many health watch streams"))?;
        let watcher = Watcher {
            _permit: permit,
            service: request.into_inner().service,
            readiness: self.readiness.watch(),
            closing: self.closing.clone(),
            shutting_down: self.shutting_down.clone(),
            last_sent: None,
            ended: false,
        };
        Ok(Response::new(unfold(watcher, Watcher::next_status).boxed()))
    }
}

struct Watcher {
    _permit: OwnedSemaphorePermit,
    service: String,
    readiness: watch::Receiver<Readiness>,
    closing: CancellationToken,
    shutting_down: Error,
    last_sent: Option<ServingStatus>,
    ended: bool,
}

impl Watcher {
    async fn next_status(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let readiness = *self.readiness.borrow_and_update();
            let current = serving_status(&self.service, readiness);
            if self.last_sent != Some(current) {
                self.last_sent = Some(current);
                return Some((Ok(response(current)), self));
            }
            tokio::select! {
                () = self.closing.cancelled() => {
                    self.ended = true;
                    let error = status(self.shutting_down.clone());
                    return Some((Err(error), self));
                }
                changed = self.readiness.changed() => changed.ok()?,
            }
        }
    }
}
