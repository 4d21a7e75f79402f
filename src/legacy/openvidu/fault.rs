//! Faults, told as FastAPI tells them: `{"detail": …}`.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::error::Reason;
use crate::domain::health::ProbeFailure;
use crate::legacy::answer;
use crate::rest::http_status;
use crate::rpc::EncodedStatus;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    detail: Value,
    /// When to try again, in seconds.
    retry_after_secs: Option<u64>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, detail: &str) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after_secs: None,
        }
    }

    pub(super) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// A fault that passes.
    pub(super) fn for_now(status: StatusCode, detail: &str, retry_after: Duration) -> Self {
        let whole = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self {
            retry_after_secs: Some(whole.max(1)),
            ..Self::new(status, detail)
        }
    }

    /// A fault of the body: of this field, or of the whole.
    pub(super) fn invalid(field: Option<&str>, message: &str, kind: &str) -> Self {
        let place: Vec<_> = ["body"].into_iter().chain(field).collect();
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail: json!([{"loc": place, "msg": message, "type": kind}]),
            retry_after_secs: None,
        }
    }

    /// This fault of the body and another one.
    pub(super) fn and(mut self, other: Self) -> Self {
        if let (Value::Array(faults), Value::Array(others)) = (&mut self.detail, other.detail) {
            faults.extend(others);
        }
        self
    }

    /// An error of today's API. The older service answered 500 to all of them, with the node's own text.
    pub(super) fn of(error: &EncodedStatus, retry_after: Duration) -> Self {
        let reason = error.reason();
        let is = |expected: Reason| reason == expected.as_str();
        let for_now = |detail| {
            let retry_after = error.retry_after().unwrap_or(retry_after);
            Self::for_now(StatusCode::SERVICE_UNAVAILABLE, detail, retry_after)
        };
        if is(Reason::NoNodeAvailable) {
            return for_now("No OpenVidu node can have the session now");
        }
        if is(Reason::SfuNodeUnavailable) {
            let failure = error.metadata("failure").and_then(ProbeFailure::from_name);
            let does_not_answer = matches!(
                failure,
                Some(
                    ProbeFailure::Unreachable
                        | ProbeFailure::ConnectionRefused
                        | ProbeFailure::TimedOut
                )
            );
            if does_not_answer {
                return for_now("The session's OpenVidu node does not answer");
            }
            let detail = "The session's OpenVidu node answers with a failure";
            return Self::new(StatusCode::BAD_GATEWAY, detail);
        }
        if is(Reason::SessionNotFound) {
            return Self::new(StatusCode::NOT_FOUND, "Session not found");
        }
        if is(Reason::NotAParticipant) || is(Reason::ParticipantRemoved) {
            return Self::forbidden("This user may not join this session");
        }
        if is(Reason::SessionEnded)
            || is(Reason::JoinTooLate)
            || is(Reason::JoinTooEarly)
            || is(Reason::AppointmentConflict)
        {
            return Self::new(StatusCode::CONFLICT, &error.message);
        }
        match http_status(error, false) {
            StatusCode::INTERNAL_SERVER_ERROR => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
            // Changes of other callers came first each time.
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => {
                for_now("The service cannot answer now")
            }
            StatusCode::TOO_MANY_REQUESTS => for_now("The service has too much to do now"),
            status => Self::new(status, &error.message),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut answer = answer(self.status, json!({"detail": self.detail}));
        if let Some(secs) = self.retry_after_secs {
            answer.1.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        answer.into_response()
    }
}
