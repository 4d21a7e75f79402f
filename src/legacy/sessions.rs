//! The API of the Telemedicine Video Call Service: a session for an appointment, and a link to join it. docs/legacy/sessions.md says
//! what is the same and what is not.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use prost::Message as _;
use serde_json::{Number, Value, json};

use super::{Answer, Edge, LegacyApi, Routes, answer, message, with_retry};
use crate::api::error::{CallError, CallFault};
use crate::domain::error::{Error, Reason};
use crate::domain::id::SessionId;
use crate::proto::v1;
use crate::rest::http_status;
use crate::rpc::EncodedStatus;

const CREATE: &str = "/videosession.v1.VideoSessionService/CreateSession";
const JOIN: &str = "/videosession.v1.VideoSessionService/JoinSession";

const NO_SECRET: &str = "Unauthorized: Missing X-Internal-Secret header";
const WRONG_SECRET: &str = "Unauthorized: Invalid X-Internal-Secret header";
const FIELDS_MISSING: &str = "Missing required fields: appointmentId, doctorId, patientId";
const USER_MISSING: &str = "Missing required field: userId";
const ROLE_INVALID: &str = "Invalid role. Must be \"doctor\" or \"patient\"";
const NO_SESSION: &str = "Session not found or has ended";

/// What clients are told if nothing more fitting is known.
const CREATE_FAILED: &str = "Failed to create session";
const JOIN_FAILED: &str = "Failed to generate join URL";

/// The description of a field that is not set, as `api` writes it.
const IS_REQUIRED: &str = "is required";

pub(super) fn routes(edge: &Edge) -> Routes {
    let with_edge = |methods: MethodRouter<Edge>| methods.with_state(edge.clone());
    vec![
        ("/health", with_edge(get(health))),
        ("/sessions", with_edge(post(create))),
        ("/sessions/{session_id}/join", with_edge(post(join))),
        ("/join/{session_id}", with_edge(get(page))),
    ]
}

async fn health(State(edge): State<Edge>) -> Json<Value> {
    edge.count(LegacyApi::Sessions, "GET /health");
    Json(json!({"status": "OK", "message": "Video service is running"}))
}

async fn create(State(edge): State<Edge>, request: Request) -> Answer {
    edge.count(LegacyApi::Sessions, "POST /sessions");
    let created = edge.make(CREATE, request, create_request).await;
    match created {
        Ok(v1::CreateSessionResponse { session, .. }) => {
            let session = session.unwrap_or_default();
            let body = json!({
                "sessionId": session.session_id,
                "roomName": session.room_name,
                "sfuNodeId": session.sfu_node_id,
                "baseUrl": session.base_url,
            });
            answer(StatusCode::OK, body)
        }
        Err(error) => refused(&error, FIELDS_MISSING, CREATE_FAILED),
    }
}

async fn join(
    State(edge): State<Edge>,
    Path(session_id): Path<String>,
    request: Request,
) -> Answer {
    edge.count(LegacyApi::Sessions, "POST /sessions/{sessionId}/join");
    let read = move |body: &[u8]| join_request(&session_id, body);
    match edge.make(JOIN, request, read).await {
        Ok(v1::JoinSessionResponse {
            join_url,
            expires_in,
            ..
        }) => {
            let secs = expires_in.unwrap_or_default().seconds;
            answer(
                StatusCode::OK,
                json!({"joinUrl": join_url, "expiresIn": secs}),
            )
        }
        Err(error) => refused(&error, USER_MISSING, JOIN_FAILED),
    }
}

/// The page is at the address for browsers; links of the older service may lead here.
async fn page(
    State(edge): State<Edge>,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    edge.count(LegacyApi::Sessions, "GET /join/{sessionId}");
    let Ok(session_id) = SessionId::parse(session_id) else {
        return message(StatusCode::NOT_FOUND, NO_SESSION).into_response();
    };
    let page = edge.links.page(&session_id);
    let address = query.map_or_else(|| page.clone(), |query| format!("{page}?{query}"));
    Redirect::temporary(&address).into_response()
}

fn create_request(body: &[u8]) -> Result<Vec<u8>, CallError> {
    let body = object(body)?;
    let request = v1::CreateSessionRequest {
        appointment_id: id(&body["appointmentId"]),
        doctor_id: id(&body["doctorId"]),
        patient_id: id(&body["patientId"]),
        ..Default::default()
    };
    Ok(request.encode_to_vec())
}

fn join_request(session_id: &str, body: &[u8]) -> Result<Vec<u8>, CallError> {
    let body = object(body)?;
    let role = match body["role"].as_str() {
        Some("doctor") => v1::Role::Doctor,
        Some("patient") => v1::Role::Patient,
        _ => v1::Role::Unspecified,
    };
    let request = v1::JoinSessionRequest {
        session_id: session_id.to_owned(),
        role: role.into(),
        user_id: id(&body["userId"]),
        ..Default::default()
    };
    Ok(request.encode_to_vec())
}

/// A body without anything is an object without anything, as the older service took it.
fn object(body: &[u8]) -> Result<Value, CallError> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|_| Error::field("body", "is not valid JSON"))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Error::field("body", "must be a JSON object").into())
    }
}

/// An id. Callers may give the document that the id belongs to: it has it as `user._id`, `user` or `_id`.
fn id(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number_text(number),
        Value::Object(document) => {
            let inner = document.get("user").or_else(|| document.get("_id"));
            inner.map(id).unwrap_or_default()
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => String::new(),
    }
}

/// A number as JavaScript writes it: 900.0 is 900.
fn number_text(number: &Number) -> String {
    let text = number.to_string();
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// An error as the older service told it; `missing` if a field is not set, `failed` if nothing fits.
fn refused(error: &EncodedStatus, missing: &str, failed: &str) -> Answer {
    let reason = error.reason();
    let is = |expected: Reason| reason == expected.as_str();
    let is_faulty = |field: &str| error.violations().any(|(name, _)| name == field);
    if reason == CallFault::SecretMissing.as_str() {
        return message(StatusCode::UNAUTHORIZED, NO_SECRET);
    }
    if reason == CallFault::SecretInvalid.as_str() {
        return message(StatusCode::UNAUTHORIZED, WRONG_SECRET);
    }
    if is(Reason::Validation) {
        let text = if is_faulty("role") {
            ROLE_INVALID
        } else if error.violations().any(|(_, fault)| fault == IS_REQUIRED) {
            missing
        } else if is_faulty("session_id") {
            return message(StatusCode::NOT_FOUND, NO_SESSION);
        } else {
            &error.message
        };
        return message(StatusCode::BAD_REQUEST, text);
    }
    if is(Reason::SessionNotFound) || is(Reason::SessionEnded) || is(Reason::JoinTooLate) {
        return message(StatusCode::NOT_FOUND, NO_SESSION);
    }
    if is(Reason::NotAParticipant) {
        let role = error.metadata("role").unwrap_or("user");
        let text = format!("User does not match {role} for this session");
        return message(StatusCode::FORBIDDEN, &text);
    }
    if is(Reason::JoinTooEarly) {
        return message(StatusCode::FORBIDDEN, &error.message);
    }
    let status = if is(Reason::NoNodeAvailable) {
        // The caller can do nothing about it but to wait.
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        http_status(error, false)
    };
    let told = match status {
        StatusCode::CONFLICT | StatusCode::FORBIDDEN => message(status, &error.message),
        _ => answer(status, json!({"message": failed, "error": error.message})),
    };
    with_retry(told, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_be_a_document_that_has_it() {
        for (given, expected) in [
            (json!("a"), "a"),
            (json!(" a "), "a"),
            (json!(7), "7"),
            (json!(900.0), "900"),
            (json!(1e3), "1000"),
            (json!({"_id": "a"}), "a"),
            (json!({"_id": "doctor-1", "user": "a"}), "a"),
            (
                json!({"_id": "doctor-1", "user": {"_id": "a", "name": "x"}}),
                "a",
            ),
            (json!({"name": "x"}), ""),
            (json!(null), ""),
            (json!(false), ""),
            (json!(["a"]), ""),
        ] {
            assert_eq!(id(&given), expected, "{given}");
        }
    }
}
