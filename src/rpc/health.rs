//! grpc.health.v1. `""` is liveness and depends on nothing; the API's service is readiness.
//!
//! tonic-health's own implementation answers Watch on an unknown service with an error, where the protocol wants
//! SERVICE_UNKNOWN, and holds up the shutdown as long as anybody watches; so its wire types are used, and no more.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{Stream, StreamExt as _, unfold};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use super::SERVICE_NAME;
use super::status::status;
use crate::domain::error::Error;
use crate::readiness::{Readiness, ReadinessState};

/// Liveness' name.
const LIVENESS: &str = "";

/// Answers health checks from the instance's readiness.
#[derive(Clone)]
pub struct Health {
    readiness: ReadinessState,
    /// Cancelled when streams are to end.
    closing: CancellationToken,
    shutting_down: Error,
    watches: Arc<Semaphore>,
}

impl Health {
    /// Cancelling `closing` ends the streams with `shutting_down`; no more than `watches_max` are open at once.
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

fn serving(service: &str, readiness: Readiness) -> ServingStatus {
    match (service, readiness) {
        (LIVENESS, _) | (SERVICE_NAME, Readiness::Ready) => ServingStatus::Serving,
        (SERVICE_NAME, Readiness::NotReady | Readiness::Draining) => ServingStatus::NotServing,
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
        match serving(&request.get_ref().service, self.readiness.get()) {
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
            .map_err(|_| Status::resource_exhausted("too many watch health"))?;
        let watcher = Watcher {
            _permit: permit,
            service: request.into_inner().service,
            news: self.readiness.watch(),
            closing: self.closing.clone(),
            shutting_down: self.shutting_down.clone(),
            told: None,
            ended: false,
        };
        Ok(Response::new(unfold(watcher, Watcher::step).boxed()))
    }
}

struct Watcher {
    _permit: OwnedSemaphorePermit,
    service: String,
    news: watch::Receiver<Readiness>,
    closing: CancellationToken,
    shutting_down: Error,
    told: Option<ServingStatus>,
    ended: bool,
}

impl Watcher {
    async fn step(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let readiness = *self.news.borrow_and_update();
            let current = serving(&self.service, readiness);
            if self.told != Some(current) {
                self.told = Some(current);
                return Some((Ok(response(current)), self));
            }
            tokio::select! {
                () = self.closing.cancelled() => {
                    self.ended = true;
                    let error = status(self.shutting_down.clone());
                    return Some((Err(error), self));
                }
                changed = self.news.changed() => changed.ok()?,
            }
        }
    }
}
