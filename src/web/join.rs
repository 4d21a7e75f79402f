//! The join page. Exchanges a link's token for a cookie, and shows the page at an address without the token.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::appointment::{self, appointment};
use super::page_error::PageError;
use super::{Edge, cookie, in_app};
use crate::api::names::parse_own_name;
use crate::app::signalling::{
    AuthorizedParticipant, EntryDenied, ParticipantIdentity, VerifiedCredential,
};
use crate::auth::short_code::ShortCode;
use crate::auth::token::{PageHints, Purpose, is_cut};
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
    /// Whether the participant stays in the browser of another app, although calls may fail there.
    stay: Option<String>,
}

impl JoinQuery {
    /// What is added to a link for a participant who stays in the browser of another app.
    pub(super) const STAY: &str = "stay=1";

    pub(super) fn stays_in_app(&self) -> bool {
        self.stay.is_some()
    }

    /// The slot; empty if there is none.
    pub(super) fn slot(&self) -> &str {
        self.p.as_deref().unwrap_or("")
    }
}

/// `GET /join/{session_id}`
pub(super) async fn page(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default().0;
    let stays = query.stays_in_app();
    let hints = query.page_hints(&headers);
    let outcome = match SessionId::parse(path_text(session_id)) {
        Err(_) => Err(PageError::UnknownSession),
        Ok(session_id) => match query {
            JoinQuery {
                token: Some(token), ..
            } => exchange_token(&edge, &session_id, &token, stays, &hints, &headers).await,
            JoinQuery { p: Some(slot), .. } => {
                show_page(&edge, &session_id, &slot, &hints, &headers).await
            }
            JoinQuery {
                token: None,
                p: None,
                ..
            } => Err(PageError::MissingToken),
        },
    };
    outcome.unwrap_or_else(|error| {
        (edge.assets).error_page_for(&hints, &error, &headers, &edge.config)
    })
}

impl JoinQuery {
    /// What the credential says that the request carries, in its address or its cookie.
    pub(super) fn page_hints(&self, headers: &HeaderMap) -> PageHints {
        let cookie = || cookie::read(headers, self.p.as_deref()?);
        let credential = self.token.as_deref().or_else(cookie);
        credential.map(PageHints::read).unwrap_or_default()
    }
}

/// Treats a malformed address as an unknown one.
pub(super) fn path_text(part: Result<Path<String>, PathRejection>) -> String {
    part.map(|Path(text)| text).unwrap_or_default()
}

async fn exchange_token(
    edge: &Edge,
    session_id: &SessionId,
    token: &str,
    stays_in_app: bool,
    hints: &PageHints,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    // Mail programs take the punctuation after a link for a part of it.
    let token = token.trim_end_matches(|c: char| !is_of_token(c));
    let verified = edge
        .signalling
        .verify_credential(token, Purpose::Join, session_id)
        .map_err(|denied| match denied {
            EntryDenied::Forged if is_cut(token) => PageError::MissingToken,
            denied => PageError::from(denied),
        })?;
    let response = enter(edge, &verified).await?;
    Ok(match in_app::app_of(headers) {
        Some(app) if !stays_in_app => {
            let page = edge.config.links.page_path(session_id);
            let address = format!("{page}?token={token}&{}", JoinQuery::STAY);
            edge.assets
                .in_app_page(headers, &edge.config, hints, app, &address)
        }
        // The address that the app passes on to another browser must work there.
        Some(_) => match edge.signalling.find_short_code(&verified).await {
            Some(code) => at(response, &passed_on(edge, &verified, &code)),
            None => response,
        },
        None => response,
    })
}

/// The address of a participant's page, with their short link's code for other browsers.
pub(super) fn passed_on(edge: &Edge, verified: &VerifiedCredential, code: &ShortCode) -> String {
    let identity = &verified.identity;
    let slot = cookie::slot(&identity.session_id, &identity.user_id);
    let page = edge.config.links.slot_path(&identity.session_id, &slot);
    format!("{page}#j={}", code.as_str())
}

/// Whether a token can end with this character.
fn is_of_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// Exchanges a credential for the page's cookie. That also works before the join window opens and while the store is unavailable,
/// because a page that retries must not have the credential in its address.
pub(super) async fn enter(
    edge: &Edge,
    verified: &VerifiedCredential,
) -> Result<Response, PageError> {
    let signalling = &edge.signalling;
    let session_id = &verified.identity.session_id;
    let session = match signalling.authorized_session(verified).await {
        Ok(session) => Some(session),
        Err(reason) => match PageError::from(reason) {
            PageError::StoreUnavailable => None,
            error => return Err(error),
        },
    };
    let slot = cookie::slot(session_id, &verified.identity.user_id);
    let (credential, good_for) = signalling.issue_page_credential(verified, session.as_ref())?;
    let path = edge.config.links.page_path(session_id);
    let set_cookie = cookie::set(&edge.config, &path, &slot, &credential, good_for);
    let location = edge.config.links.slot_path(session_id, &slot);
    let headers = [(LOCATION, location), (SET_COOKIE, set_cookie)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// A redirect, to another address.
pub(super) fn at(mut redirect: Response, address: &str) -> Response {
    if let Ok(address) = HeaderValue::from_str(address) {
        redirect.headers_mut().insert(LOCATION, address);
    }
    redirect
}

async fn show_page(
    edge: &Edge,
    session_id: &SessionId,
    slot: &str,
    hints: &PageHints,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    let authorized = match authorize_cookie(edge, session_id, slot, headers).await {
        Err(PageError::TooEarly { opens, .. }) => {
            let appointment = appointment(edge, session_id, slot, headers).await?;
            return Err(PageError::TooEarly {
                opens,
                starts: appointment.schedule.start,
                doctor_name: appointment.doctor_name,
                calendar: appointment
                    .link
                    .map(|_| edge.config.links.calendar_path(session_id, slot)),
            });
        }
        authorized => authorized?,
    };
    let AuthorizedParticipant { identity, session } = authorized;
    let start = session.schedule.start.map(|start| start.to_string());
    let ask_name = identity.name.is_empty();
    let values = [
        ("session_id", session_id.as_str()),
        ("slot", slot),
        ("name", &identity.name),
        ("ask_name", flag(ask_name)),
        ("publishes", flag(identity.role.may(Action::Publish))),
        ("role", identity.role.name()),
        ("doctor", &session.doctor_name),
        ("starts_at", start.as_deref().unwrap_or_default()),
        ("stills", flag(edge.signalling.allows_stills())),
    ];
    Ok(edge.assets.page(headers, &edge.config, hints, &values))
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

/// `GET /join/{session_id}/ice`: the STUN and TURN servers, so that a page can test its connection before it joins.
pub(super) async fn ice(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let (session_id, query) = (path_text(session_id), query.unwrap_or_default().0);
    match authorize_request(&edge, session_id, query, &headers).await {
        Ok(authorized) => Json(edge.signalling.ice_for_test(&authorized)).into_response(),
        Err(error) => edge.assets.error_page(&error, &headers, &edge.config),
    }
}

/// Authorizes a request of the page by its slot's cookie.
async fn authorize_request(
    edge: &Edge,
    session_id: String,
    query: JoinQuery,
    headers: &HeaderMap,
) -> Result<AuthorizedParticipant, PageError> {
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    let slot = query.p.ok_or(PageError::MissingToken)?;
    authorize_cookie(edge, &session_id, &slot, headers).await
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
    Ok(authorize_request(edge, session_id, query, headers)
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

/// `GET /join/{session_id}/appointment.ics`
pub(super) async fn calendar_file(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<JoinQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default().0;
    let hints = query.page_hints(&headers);
    let outcome = match SessionId::parse(path_text(session_id)) {
        Err(_) => Err(PageError::UnknownSession),
        Ok(session_id) => {
            appointment::calendar_file(&edge, &session_id, query.slot(), &hints, &headers).await
        }
    };
    outcome.unwrap_or_else(|error| {
        (edge.assets).error_page_for(&hints, &error, &headers, &edge.config)
    })
}

/// Any other address.
pub(super) async fn not_found(State(edge): State<Edge>, headers: HeaderMap) -> Response {
    edge.assets
        .error_page(&PageError::NotFound, &headers, &edge.config)
}
