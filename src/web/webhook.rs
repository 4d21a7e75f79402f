//! Messages of SFU nodes. They are hints: a message that is lost, late or repeated only changes when the service checks the room.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::app::{Reconciler, WebhookRefused};
use crate::domain::id::NodeId;
use crate::sfu::InvalidWebhook;

/// Limits of a node's message.
#[derive(Debug, Clone, Copy)]
pub struct WebhookLimits {
    /// Its size.
    pub bytes_max: usize,
    /// How long it may take to arrive.
    pub timeout: Duration,
}

/// Takes the messages of SFU nodes.
#[derive(Clone)]
pub struct Webhooks {
    /// Looks at the rooms that the messages are about.
    pub reconciler: Arc<Reconciler>,
    /// Limits of the messages.
    pub limits: WebhookLimits,
}

/// `POST /webhooks/sfu/{node_id}`
pub(super) async fn take(
    State(webhooks): State<Webhooks>,
    Path(node_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let Ok(node_id) = NodeId::parse(node_id) else {
        return StatusCode::NOT_FOUND;
    };
    let reading = timeout(
        webhooks.limits.timeout,
        to_bytes(body, webhooks.limits.bytes_max),
    );
    let Ok(Ok(body)) = reading.await else {
        return StatusCode::BAD_REQUEST;
    };
    let authorization = headers.get(AUTHORIZATION);
    let authorization = authorization.map_or(&[][..], |value| value.as_bytes());
    match webhooks
        .reconciler
        .note_webhook(&node_id, &body, authorization)
    {
        Ok(()) => StatusCode::OK,
        Err(WebhookRefused::UnknownNode) => StatusCode::NOT_FOUND,
        Err(WebhookRefused::Invalid(error)) => {
            tracing::warn!(node_id = node_id.as_str(), %error, "a webhook was refused");
            match error {
                InvalidWebhook::Forged | InvalidWebhook::Expired => StatusCode::UNAUTHORIZED,
                // It is the node's own.
                InvalidWebhook::Malformed => StatusCode::BAD_REQUEST,
            }
        }
    }
}
