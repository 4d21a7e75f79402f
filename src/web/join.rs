//! The join page. Exchanges a link's token for a cookie, and shows the page at an address without the token.

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::page_error::PageError;
use super::{Edge, cookie};
use crate::api::names::parse_own_name;
use crate::app::signalling::{AuthorizedParticipant, ParticipantIdentity};
use crate::auth::token::Purpose;
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::role::Action;

/// The size limit of a name's JSON: 256 characters, each of them escaped.
const NAME_BYTES_MAX: usize = 4096;

/// What a join page's address may carry. Has no `Debug`: it holds a credential.
#[derive(Default, Deserialize)]
pub(super) struct JoinQuery {
    /// The join token, in a link from the backend.
    token: Option<String>,
    /// The participant's slot, after the exchange.
    p: Option<String>,
}

/// `GET /join/{session_id}`
pub(super) async fn page(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default().0;
    let outcome = match SessionId::parse(path_text(session_id)) {
        Err(_) => Err(PageError::UnknownSession),
        Ok(session_id) => match query {
            JoinQuery {
                token: Some(token), ..
            } => exchange_token(&edge, &session_id, &token).await,
            JoinQuery { p: Some(slot), .. } => show_page(&edge, &session_id, &slot, &headers).await,
            JoinQuery {
                token: None,
                p: None,
            } => Err(PageError::MissingToken),
        },
    };
    outcome.unwrap_or_else(|error| edge.assets.error_page(&error, &headers, &edge.config))
}

/// Treats a malformed address as an unknown one.
pub(super) fn path_text(part: Result<Path<String>, PathRejection>) -> String {
    part.map(|Path(text)| text).unwrap_or_default()
}

/// The exchange also works before the join window opens and while the store is unavailable, because a page that retries must
/// not have the token in its address.
pub(super) async fn exchange_token(
    edge: &Edge,
    session_id: &SessionId,
    token: &str,
) -> Result<Response, PageError> {
    let signalling = &edge.signalling;
    let verified = signalling.verify_credential(token, Purpose::Join, session_id)?;
    if let Err(reason) = signalling.authorized_session(&verified).await {
        match PageError::from(reason) {
            PageError::StoreUnavailable => {}
            error => return Err(error),
        }
    }
    let slot = cookie::slot(session_id, &verified.identity.user_id);
    let (credential, good_for) = signalling.issue_page_credential(&verified)?;
    let path = edge.config.links.page_path(session_id);
    let set_cookie = cookie::set(&edge.config, &path, &slot, &credential, good_for);
    let location = edge.config.links.slot_path(session_id, &slot);
    let headers = [(LOCATION, location), (SET_COOKIE, set_cookie)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

async fn show_page(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let identity = authorize_cookie(edge, session_id, slot, headers)
        .await?
        .identity;
    let ask_name = identity.name.is_empty();
    let values = [
        ("session_id", session_id.as_str()),
        ("slot", slot),
        ("name", &identity.name),
        ("ask_name", flag(ask_name)),
        ("publishes", flag(identity.role.may(Action::Publish))),
    ];
    Ok(edge.assets.page(headers, &edge.config, &values))
}

fn flag(set: bool) -> &'static str {
    if set { "true" } else { "false" }
}

/// Authorizes the participant of a slot by its cookie.
pub(super) async fn authorize_cookie(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    headers: &HeaderMap,
) -> Result<AuthorizedParticipant, PageError> {
    if !cookie::is_slot(slot) {
        return Err(PageError::MissingToken);
    }
    let credential = cookie::read(headers, slot).ok_or(PageError::MissingToken)?;
    Ok(edge
        .signalling
        .authorize_participant(credential, Purpose::Page, session_id)
        .await?)
}

/// `POST /join/{session_id}/name`: a participant whose link has no name chooses one, and the session stores it. The name is
/// sent in the body, because proxies log addresses.
pub(super) async fn set_name(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (session_id, query) = (path_text(session_id), query.unwrap_or_default().0);
    let outcome = match authorize_naming(&edge, session_id, query, &headers).await {
        Ok(identity) => match read_name(&edge, body).await {
            Ok(name) => store_name(&edge, &identity, &name).await,
            Err(fault) => return (StatusCode::UNPROCESSABLE_ENTITY, fault).into_response(),
        },
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| edge.assets.error_page(&error, &headers, &edge.config))
}

/// Authorizes the request before its body is read.
async fn authorize_naming(
    edge: &Edge,
    session_id: String,
    query: JoinQuery,
    headers: &HeaderMap,
) -> Result<ParticipantIdentity, PageError> {
    if !edge.config.is_own_origin(headers) {
        return Err(PageError::Origin);
    }
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    let slot = query.p.ok_or(PageError::MissingToken)?;
    Ok(authorize_cookie(edge, &session_id, &slot, headers)
        .await?
        .identity)
}

async fn read_name(edge: &Edge, body: Body) -> Result<String, String> {
    let reading = tokio::time::timeout(
        edge.config.connections.header_timeout,
        to_bytes(body, NAME_BYTES_MAX),
    );
    let body = reading
        .await
        .map_err(|_| "the body did not arrive in time")?
        .map_err(|_| "the body is too large or incomplete")?;
    let fault = r#"the body must be the JSON object {"name": "…"}"#;
    let fields: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| fault)?;
    let name = fields.get("name").and_then(Value::as_str).ok_or(fault)?;
    parse_own_name(name)
}

async fn store_name(
    edge: &Edge,
    identity: &ParticipantIdentity,
    name: &str,
) -> Result<Response, PageError> {
    match edge.signalling.name_participant(identity, name).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(Error::NameGiven) => {
            let fault = "this participant already has a different name";
            Ok((StatusCode::CONFLICT, fault).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Any other address.
pub(super) async fn not_found(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    edge.assets
        .error_page(&PageError::NotFound, &headers, &edge.config)
}
