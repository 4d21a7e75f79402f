//! Domain errors as gRPC statuses: the only place that names codes.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::methods::is_health;
use crate::domain::error::{Error, Reason};

/// The `domain` of every ErrorInfo.
const ERROR_DOMAIN: &str = "videosession.v1";

/// A reason's gRPC code.
pub fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::Validation | Reason::MessageMalformed => Code::InvalidArgument,
        Reason::MessageTooLarge | Reason::Overloaded | Reason::SessionFull => {
            Code::ResourceExhausted
        }
        Reason::RequestIncomplete | Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::EncodingUnsupported | Reason::MethodUnknown => Code::Unimplemented,
        Reason::SecretMissing | Reason::SecretInvalid => Code::Unauthenticated,
        Reason::SessionNotFound | Reason::ParticipantNotFound => Code::NotFound,
        Reason::SessionEnded | Reason::JoinTooEarly | Reason::JoinTooLate => {
            Code::FailedPrecondition
        }
        Reason::NotAParticipant | Reason::ParticipantRemoved | Reason::NotAllowed => {
            Code::PermissionDenied
        }
        Reason::AppointmentConflict | Reason::NameGiven => Code::AlreadyExists,
        Reason::VersionMismatch | Reason::Contention => Code::Aborted,
        Reason::StoreUnavailable | Reason::ShuttingDown => Code::Unavailable,
        Reason::Internal => Code::Internal,
    }
}

/// The status that tells a caller of an error.
pub(super) fn status(error: Error) -> Status {
    let reason = error.reason();
    let code = code_of(reason);
    let message = error.message();
    let metadata: HashMap<String, String> = error
        .metadata()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata);
    if let Some(retry_after) = error.retry_after() {
        details.set_retry_info(Some(retry_after));
    }
    if code == Code::FailedPrecondition {
        details.add_precondition_failure_violation(reason.as_str(), "session", &message);
    }
    if let Error::Validation(violations) = error {
        let violations: Vec<_> = violations
            .into_iter()
            .map(|violation| FieldViolation::new(violation.field, violation.description))
            .collect();
        details.set_bad_request(violations);
    }
    Status::with_error_details(code, message, details)
}

/// The status that ends a call of a method before or instead of its handler. Health's protocol has codes only.
pub(super) fn early_status(path: &str, error: Error) -> Status {
    if is_health(path) {
        Status::new(code_of(error.reason()), error.message())
    } else {
        status(error)
    }
}

/// What a status that carries no details stands for: the gRPC library made it, before or instead of a handler.
pub(super) fn bare(code: Code, method_is_known: bool) -> Error {
    match code {
        Code::Unimplemented if method_is_known => Error::EncodingUnsupported,
        Code::Unimplemented => Error::MethodUnknown,
        Code::OutOfRange | Code::ResourceExhausted => Error::MessageTooLarge,
        // What it calls an internal error is a request that it could not decode.
        Code::Internal => Error::MessageMalformed,
        _ => Error::Internal,
    }
}

/// A code's name in logs and metrics.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
