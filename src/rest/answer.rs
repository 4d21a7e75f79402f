//! Writes answers and errors as JSON.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use crate::api::error::CallFault;
use crate::domain::error::Reason;
use crate::rpc::EncodedStatus;

/// The HTTP status of each code of google/rpc/code.proto, as that file lists them.
const HTTP_STATUSES: [StatusCode; 17] = [
    StatusCode::OK,
    // CANCELLED: the caller has gone, so nobody reads it.
    StatusCode::BAD_REQUEST,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::BAD_REQUEST,
    StatusCode::GATEWAY_TIMEOUT,
    StatusCode::NOT_FOUND,
    StatusCode::CONFLICT,
    StatusCode::FORBIDDEN,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_REQUEST,
    StatusCode::CONFLICT,
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_IMPLEMENTED,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::UNAUTHORIZED,
];

/// Every field is written, also with its default, so that clients need not know defaults.
const OPTIONS: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

/// Writes errors.
#[derive(Debug, Clone)]
pub(super) struct Errors {
    /// `google.rpc.Status`, with the types of its details beside it.
    status: MessageDescriptor,
}

impl Errors {
    /// `None` if the library's descriptors are not as they should be.
    pub(super) fn new() -> Option<Self> {
        let pool = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok()?;
        Some(Self {
            status: pool.get_message_by_name("google.rpc.Status")?,
        })
    }

    /// An error as JSON.
    pub(super) fn json(&self, error: &EncodedStatus) -> Vec<u8> {
        let status = decode(&self.status, &error.encoded);
        let json = status.and_then(|status| write(&status));
        json.unwrap_or_else(|| b"{}".to_vec())
    }

    /// An error as a response. `has_precondition`: whether the request had If-Match.
    pub(super) fn response(&self, error: &EncodedStatus, has_precondition: bool) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(secs) = retry_after_secs(error) {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        let status = http_status(error, has_precondition);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        (status, headers, json_response(self.json(error))).into_response()
    }
}

/// The value of Retry-After. It has whole seconds; trying earlier is what it is to prevent.
pub fn retry_after_secs(error: &EncodedStatus) -> Option<u64> {
    let time = error.retry_after()?;
    Some(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// The HTTP status of an error. `has_precondition`: whether the request had If-Match.
pub fn http_status(error: &EncodedStatus, has_precondition: bool) -> StatusCode {
    let reason = error.reason();
    if reason == CallFault::MessageTooLarge.as_str() {
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    if reason == CallFault::MethodUnknown.as_str() {
        return StatusCode::NOT_FOUND;
    }
    if reason == CallFault::EncodingUnsupported.as_str() {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    if reason == Reason::VersionMismatch.as_str() && has_precondition {
        return StatusCode::PRECONDITION_FAILED;
    }
    let index = usize::try_from(error.code).unwrap_or(usize::MAX);
    let status = HTTP_STATUSES.get(index).copied();
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// `None` if the bytes are not that message.
fn decode(message: &MessageDescriptor, encoded: &[u8]) -> Option<DynamicMessage> {
    DynamicMessage::decode(message.clone(), encoded).ok()
}

fn write(message: &DynamicMessage) -> Option<Vec<u8>> {
    let mut json = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut json, &OPTIONS).ok()?;
    Some(json.into_inner())
}

/// An answer as a response, with the session's version as its entity tag.
pub(super) fn response(message: &MessageDescriptor, encoded: &[u8]) -> Option<Response> {
    let message = decode(message, encoded)?;
    let mut response = json_response(write(&message)?).into_response();
    if let Some(version) = session_version(&message)
        && let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\""))
    {
        response.headers_mut().insert(ETAG, tag);
    }
    Some(response)
}

fn json_response(json: Vec<u8>) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        // It may hold a token.
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from(json))
}

fn session_version(message: &DynamicMessage) -> Option<i64> {
    if !message.has_field_by_name("session") {
        return None;
    }
    let session = message.get_field_by_name("session")?;
    let version = session.as_message()?.get_field_by_name("version")?;
    version.as_i64()
}

/// An item of a stream as JSON, with the sequence of the event that it carries.
pub(super) fn item(message: &MessageDescriptor, encoded: &[u8]) -> Option<(Option<i64>, Vec<u8>)> {
    let message = decode(message, encoded)?;
    Some((event_sequence(&message), write(&message)?))
}

fn event_sequence(message: &DynamicMessage) -> Option<i64> {
    let event = message.get_field_by_name("event")?;
    let sequence = event.as_message()?.get_field_by_name("sequence")?;
    sequence.as_i64()
}
