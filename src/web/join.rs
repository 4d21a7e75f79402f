//! The join page: a link's token is exchanged for a cookie, and the page itself is shown at an address without it.

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::{Edge, cookie};
use crate::api::names::parse_own_name;
use crate::app::signalling::{AuthorizedParticipant, ParticipantIdentity};
use crate::auth::token::Purpose;
use crate::domain::error::Error;
use crate::domain::id::SessionId;
use crate::domain::role::Action;

/// The most that a name takes in JSON: 256 characters, each of them escaped.
const NAME_BYTES_MAX: usize = 4096;

/// What a join page's address may carry. Has no `Debug`: it holds a credential.
#[derive(Default, Deserialize)]
pub(super) struct JoinQuery {
    /// The join token, in a link as it was handed out.
    token: Option<String>,
    /// The participant's slot, once the token was exchanged.
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
    let outcome = match SessionId::parse(text(session_id)) {
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

/// An address that was mangled on its way is answered like one that is wrong.
pub(super) fn text(part: Result<Path<String>, PathRejection>) -> String {
    part.map(|Path(text)| text).unwrap_or_default()
}

/// Also done before the door opens and while the store is away: a page that tries again must not have the token in its
/// address.
async fn exchange(edge: &Edge, session_id: &SessionId, token: &str) -> Result<Response, Refusal> {
    let signalling = &edge.signalling;
    let identity = signalling.verify_credential(token, Purpose::Join, session_id)?;
    if let Err(reason) = signalling.authorized_session(&identity).await {
        match Refusal::from(reason) {
            Refusal::StoreAway => {}
            refusal => return Err(refusal),
        }
    }
    let slot = cookie::slot(session_id, &identity.user_id);
    let (credential, good_for) = signalling.issue_page_credential(&identity)?;
    let set_cookie = cookie::set(&edge.config, session_id, &slot, &credential, good_for);
    let location = edge.config.links.slot_path(session_id, &slot);
    let headers = [(LOCATION, location), (SET_COOKIE, set_cookie)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

async fn show(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let identity = bearer(edge, session_id, slot, headers).await?.identity;
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

/// The participant whom the cookie in a slot names.
pub(super) async fn bearer(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    headers: &HeaderMap,
) -> Result<AuthorizedParticipant, Refusal> {
    if !cookie::is_slot(slot) {
        return Err(Refusal::MissingToken);
    }
    let credential = cookie::read(headers, slot).ok_or(Refusal::MissingToken)?;
    Ok(edge
        .signalling
        .authorize_participant(credential, Purpose::Page, session_id)
        .await?)
}

/// `POST /join/{session_id}/name`: somebody whose link came without a name gives one, which the session keeps. It travels in a
/// body, because addresses end up in the logs of proxies.
pub(super) async fn name(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (session_id, query) = (text(session_id), query.unwrap_or_default().0);
    let outcome = match namer(&edge, session_id, query, &headers).await {
        Ok(identity) => match read_name(&edge, body).await {
            Ok(name) => keep_name(&edge, &identity, &name).await,
            Err(fault) => return (StatusCode::UNPROCESSABLE_ENTITY, fault).into_response(),
        },
        Err(refusal) => Err(refusal),
    };
    outcome.unwrap_or_else(|refusal| edge.assets.refuse(&refusal, &headers, &edge.config))
}

/// Who gives a name. Asked before the body is read, for which nobody else is waited.
async fn namer(
    edge: &Edge,
    session_id: String,
    query: JoinQuery,
    headers: &HeaderMap,
) -> Result<ParticipantIdentity, Refusal> {
    if !edge.config.is_own_origin(headers) {
        return Err(Refusal::Origin);
    }
    let session_id = SessionId::parse(session_id).map_err(|_| Refusal::UnknownSession)?;
    let slot = query.p.ok_or(Refusal::MissingToken)?;
    Ok(bearer(edge, &session_id, &slot, headers).await?.identity)
}

async fn read_name(edge: &Edge, body: Body) -> Result<String, String> {
    let reading = tokio::time::timeout(
        edge.config.connections.header_timeout,
        to_bytes(body, NAME_BYTES_MAX),
    );
    let body = reading
        .await
        .map_err(|_| "the body took too long")?
        .map_err(|_| "the body is too large, or broke off")?;
    let fault = r#"the body must be {"name": "…"}, in JSON"#;
    let fields: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| fault)?;
    let name = fields.get("name").and_then(Value::as_str).ok_or(fault)?;
    parse_own_name(name)
}

async fn keep_name(
    edge: &Edge,
    identity: &ParticipantIdentity,
    name: &str,
) -> Result<Response, Refusal> {
    match edge.signalling.name_participant(identity, name).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(Error::NameGiven) => {
            let told = "another name was given already, here or with the link";
            Ok((StatusCode::CONFLICT, told).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

/// Any other address.
pub(super) async fn not_found(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    edge.assets
        .refuse(&Refusal::NotFound, &headers, &edge.config)
}
