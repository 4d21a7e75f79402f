//! The page of a doctor's day. Exchanges a link's token for a cookie, shows the page at an address without the token, and lets the
//! doctor into a session.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::page_error::PageError;
use super::{Edge, cookie, join};
use crate::app::DoctorIdentity;
use crate::auth::doctor_token::DoctorPurpose;
use crate::auth::token::Purpose;
use crate::domain::id::SessionId;

/// What the page's address may carry. Has no `Debug`: it holds a credential.
#[derive(Default, Deserialize)]
pub(super) struct DoctorQuery {
    /// The token, in a link from the backend.
    token: Option<String>,
    /// The doctor's slot, after the exchange.
    p: Option<String>,
}

/// `GET /doctor`
pub(super) async fn page(
    State(edge): State<Edge>,
    query: Result<Query<DoctorQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let outcome = match query.unwrap_or_default().0 {
        DoctorQuery {
            token: Some(token), ..
        } => exchange_token(&edge, &token),
        DoctorQuery { p: Some(slot), .. } => show_page(&edge, &slot, &headers),
        DoctorQuery {
            token: None,
            p: None,
        } => Err(PageError::MissingToken),
    };
    let shown = |error| (edge.assets).doctor_error_page(&error, &headers, &edge.config);
    outcome.unwrap_or_else(shown)
}

/// A link may be opened again until it expires, so a preview that opens it uses nothing up.
fn exchange_token(edge: &Edge, token: &str) -> Result<Response, PageError> {
    let doctor = edge.doctors.authorize(token, DoctorPurpose::Link)?;
    let slot = cookie::doctor_slot(&doctor.user_id);
    let (credential, good_for) = edge.doctors.issue_page_credential(&doctor)?;
    // Tokens are valid for a little longer, because clocks differ, but a browser drops such a cookie at once.
    if good_for.is_zero() {
        return Err(PageError::Expired);
    }
    let links = &edge.config.links;
    let path = links.doctor_path();
    let set_cookie = cookie::set(&edge.config, &path, &slot, &credential, good_for);
    let headers = [
        (LOCATION, links.doctor_slot_path(&slot)),
        (SET_COOKIE, set_cookie),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

fn show_page(edge: &Edge, slot: &str, headers: &HeaderMap) -> Result<Response, PageError> {
    let doctor = authorize_cookie(edge, slot, headers)?;
    let keepalive = edge.config.doctor_events.keepalive.as_millis().to_string();
    let values = [
        ("slot", slot),
        ("name", &doctor.name),
        ("keepalive", &keepalive),
    ];
    Ok(edge.assets.doctor_page(headers, &edge.config, &values))
}

/// Authorizes the doctor of a slot by its cookie.
pub(super) fn authorize_cookie(
    edge: &Edge,
    slot: &str,
    headers: &HeaderMap,
) -> Result<DoctorIdentity, PageError> {
    if !cookie::is_slot(slot) {
        return Err(PageError::MissingToken);
    }
    let credential = cookie::read(headers, slot).ok_or(PageError::MissingToken)?;
    Ok(edge.doctors.authorize(credential, DoctorPurpose::Page)?)
}

/// `POST /doctor/enter/{session_id}`: lets the doctor into one of their sessions, as if they had opened a new join link. The answer
/// has the address of the join page and its cookie; no address ever has the token.
pub(super) async fn enter(
    State(edge): State<Edge>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<DoctorQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let (session_id, query) = (join::path_text(session_id), query.unwrap_or_default().0);
    let slot = query.p.unwrap_or_default();
    match enter_session(&edge, session_id, &slot, &headers).await {
        Ok(entered) => entered,
        Err(error) => fault(&error),
    }
}

async fn enter_session(
    edge: &Edge,
    session_id: String,
    slot: &str,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    if !edge.config.is_own_origin(headers) {
        return Err(PageError::Origin);
    }
    let doctor = authorize_cookie(edge, slot, headers)?;
    let session_id = SessionId::parse(session_id).map_err(|_| PageError::UnknownSession)?;
    let issued = edge.doctors.join(&doctor, session_id.clone()).await?;
    let token = &issued.token.jwt;
    let verified = (edge.signalling).verify_credential(token, Purpose::Join, &session_id)?;
    let exchanged = join::enter(edge, &verified).await?;
    let header = |name| exchanged.headers().get(name).cloned();
    let (Some(location), Some(set_cookie)) = (header(LOCATION), header(SET_COOKIE)) else {
        return Err(PageError::Internal);
    };
    let location = location.to_str().map_err(|_| PageError::Internal)?;
    let body = Json(json!({ "location": location }));
    Ok(([(SET_COOKIE, set_cookie)], body).into_response())
}

/// An error that the page explains itself.
pub(super) fn fault(error: &PageError) -> Response {
    let opens = match error {
        PageError::TooEarly { opens, .. } => Some(opens.as_millis()),
        _ => None,
    };
    let body = Json(json!({ "code": error.code(), "opens": opens }));
    (error.status(), body).into_response()
}
