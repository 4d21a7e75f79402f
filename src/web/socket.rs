//! Signalling sockets of join pages. docs/signalling.md is the contract.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::page_error::PageError;
use super::{Edge, cookie, join};
use crate::app::signalling::{
    CloseCode, MessageOutcome, ParticipantConnection, ParticipantIdentity, Signalling,
};
use crate::domain::id::SessionId;
use crate::participant_socket::{Dialect, Page, limited, serve};

#[derive(Default, Deserialize)]
pub(super) struct SocketQuery {
    /// The participant's slot.
    #[serde(default)]
    p: String,
}

/// `GET /join/{session_id}/ws`
pub(super) async fn open(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<SocketQuery>, QueryRejection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let (session_id, query) = (join::path_text(session_id), query.unwrap_or_default().0);
    // Taken before the upgrade, so that the server does not count the connection as closed in between.
    let open = edge.connections.token();
    match authorize(&edge, session_id, &query.p, &headers).await {
        Ok(identity) => {
            let page = page(&edge, identity);
            limited(upgrade, &page.config).on_upgrade(async move |socket| {
                serve(socket, page).await;
                drop(open);
            })
        }
        Err(error) => edge.assets.error_page(&error, &headers, &edge.config),
    }
}

async fn authorize(
    edge: &Edge,
    session_id: String,
    slot: &str,
    headers: &HeaderMap,
) -> Result<ParticipantIdentity, PageError> {
    if !edge.config.is_own_origin(headers) {
        return Err(PageError::Origin);
    }
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    let authorized = join::authorize_cookie(edge, &session_id, slot, headers).await?;
    Ok(authorized.identity)
}

fn page(edge: &Edge, identity: ParticipantIdentity) -> Page<OwnDialect> {
    let session_id = &identity.session_id;
    let slot = cookie::slot(session_id, &identity.user_id);
    Page {
        door: edge.config.links.door_path(session_id, &slot).into(),
        identity,
        dialect: OwnDialect,
        signalling: Arc::clone(&edge.signalling),
        config: edge.config.socket.clone(),
        closing: edge.closing.clone(),
    }
}

/// Pages of this service say and are told what signalling says.
struct OwnDialect;

impl Dialect for OwnDialect {
    const LOST_IS_LEFT: bool = false;

    fn translate(&mut self, message: Arc<str>) -> [Option<Arc<str>>; 2] {
        [Some(message), None]
    }

    async fn handle(
        &mut self,
        signalling: &Signalling,
        connection: &ParticipantConnection,
        text: &str,
    ) -> MessageOutcome {
        signalling.handle_message(connection, text).await
    }

    fn close(&self, code: CloseCode) -> (u16, &'static str) {
        (code.number(), "")
    }
}
