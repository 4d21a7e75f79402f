//! HTTP for operators and SFU nodes: metrics, public keys, and messages of nodes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::webhook::{self, Webhooks};
use super::{ConnectionLimits, server};
use crate::auth::token::Tokens;
use crate::telemetry::metrics::Metrics;

/// How long SFU nodes may cache the keys; a key rotation must take longer.
const JWKS_CACHE: &str = "public, max-age=300";
/// OpenMetrics text, the format of the metrics' encoder.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin address serves.
#[derive(Clone, FromRef)]
pub struct Parts {
    /// At `/.well-known/jwks.json`.
    pub tokens: Arc<Tokens>,
    /// At `/metrics`.
    pub metrics: Arc<Metrics>,
    /// At `/webhooks/sfu/{node_id}`.
    pub webhooks: Webhooks,
}

/// Serves until `stop` is cancelled.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/webhooks/sfu/{node_id}", post(webhook::take))
        .with_state(parts);
    server::run(listener, router, limits, &[], TaskTracker::new(), stop).await;
}

async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPEN_METRICS)], parts.metrics.encode())
}

async fn jwks(State(parts): State<Parts>) -> impl IntoResponse {
    (
        [(CACHE_CONTROL, JWKS_CACHE)],
        axum::Json(parts.tokens.jwks()),
    )
}
