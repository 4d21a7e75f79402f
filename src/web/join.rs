//! The join page: a link's token is exchanged for a cookie, and the page itself is shown at an address without it.

use axum::extract::{Path, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::refusal::Refusal;
use super::{Edge, cookie};
use crate::auth::token::Purpose;
use crate::domain::id::SessionId;

/// What a join page's address may carry. Has no `Debug`: it holds a credential.
#[derive(Deserialize)]
pub(super) struct JoinQuery {
    /// The join token, in a link as it was handed out.
    token: Option<String>,
    /// The participant's slot, once the token was exchanged.
    p: Option<String>,
}

/// `GET /join/{session_id}`
pub(super) async fn page(
    State(edge): State<Edge>,
    Path(session_id): Path<String>,
    Query(query): Query<JoinQuery>,
    headers: HeaderMap,
) -> Response {
    let outcome = match SessionId::parse(session_id) {
        Err(_) => Err(Refusal::UnknownSession),
        Ok(session_id) => match query {
            JoinQuery {
                token: Some(token), ..
            } => exchange(&edge, &session_id, &token).await,
            JoinQuery { p: Some(slot), .. } => show(&edge, &session_id, &slot, &headers).await,
            JoinQuery {
                token: None,
                p: None,
            } => Err(Refusal::MissingToken),
        },
    };
    outcome.unwrap_or_else(|refusal| edge.assets.refuse(&refusal, &headers, &edge.config))
}

/// Also done before the door opens: the page that waits for it must not have the token in its address.
async fn exchange(edge: &Edge, session_id: &SessionId, token: &str) -> Result<Response, Refusal> {
    let (pass, _) = edge.app.identify(token, Purpose::Join, session_id).await?;
    let slot = cookie::slot(session_id, &pass.user_id);
    let (credential, good_for) = edge.app.stay_credential(&pass)?;
    let set_cookie = cookie::set(&edge.config, session_id, &slot, &credential, good_for);
    let location = format!("{}/join/{session_id}?p={slot}", edge.config.prefix());
    let headers = [(LOCATION, location), (SET_COOKIE, set_cookie)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

async fn show(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if !cookie::is_slot(slot) {
        return Err(Refusal::MissingToken);
    }
    let credential = cookie::read(headers, slot).ok_or(Refusal::MissingToken)?;
    let pass = edge
        .app
        .let_in(credential, Purpose::Stay, session_id)
        .await?;
    let values = [
        ("session_id", session_id.as_str()),
        ("slot", slot),
        ("name", &pass.claims.name),
        // A name comes with the token only: nobody's word for it is taken here.
        ("ask_name", "false"),
        ("role", pass.role.name()),
    ];
    Ok(edge.assets.page(headers, &edge.config, &values))
}

/// Any other address.
pub(super) async fn not_found(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    edge.assets
        .refuse(&Refusal::NotFound, &headers, &edge.config)
}
