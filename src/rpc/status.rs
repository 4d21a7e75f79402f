//! Converts errors to gRPC statuses; the only place that names codes.

#![warn(clippy::wildcard_enum_match_arm)]

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::methods::is_health;
use crate::api::error::{CallClass, CallError, CallFault, ErrorDescription, REASON_DOMAIN};
use crate::domain::error::{Error, ErrorClass};

/// The gRPC code of a class of errors.
pub fn code_of(class: CallClass) -> Code {
    match class {
        CallClass::Unauthenticated => Code::Unauthenticated,
        CallClass::TimedOut => Code::DeadlineExceeded,
        CallClass::Unsupported => Code::Unimplemented,
        CallClass::Domain(class) => match class {
            ErrorClass::Invalid => Code::InvalidArgument,
            ErrorClass::NotFound => Code::NotFound,
            ErrorClass::AlreadyExists => Code::AlreadyExists,
            ErrorClass::WrongState => Code::FailedPrecondition,
            ErrorClass::Denied => Code::PermissionDenied,
            ErrorClass::Conflict => Code::Aborted,
            ErrorClass::LimitReached => Code::ResourceExhausted,
            ErrorClass::Unavailable => Code::Unavailable,
            ErrorClass::Internal => Code::Internal,
        },
    }
}

/// An error as a status.
pub(super) fn status(error: impl Into<CallError>) -> Status {
    let ErrorDescription {
        reason,
        class,
        message,
        metadata,
        violations,
        retry_after,
    } = error.into().into();
    let metadata: HashMap<String, String> = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let mut details = ErrorDetails::with_error_info(reason, REASON_DOMAIN, metadata);
    if let Some(retry_after) = retry_after {
        details.set_retry_info(Some(retry_after));
    }
    if class == CallClass::Domain(ErrorClass::WrongState) {
        details.add_precondition_failure_violation(reason, "session", &message);
    }
    if !violations.is_empty() {
        let violations: Vec<_> = violations
            .into_iter()
            .map(|violation| FieldViolation::new(violation.field, violation.description))
            .collect();
        details.set_bad_request(violations);
    }
    Status::with_error_details(code_of(class), message, details)
}

/// The status of a call that ends before its handler runs. Health's protocol has codes only.
pub(super) fn status_before_handler(path: &str, error: impl Into<CallError>) -> Status {
    let error = error.into();
    if is_health(path) {
        let description = ErrorDescription::from(error);
        Status::new(code_of(description.class), description.message)
    } else {
        status(error)
    }
}

/// The error behind a status without details, which the gRPC library made before a handler ran.
pub(super) fn error_of_bare_status(code: Code, method_is_known: bool) -> CallError {
    match code {
        Code::Unimplemented if method_is_known => CallFault::EncodingUnsupported.into(),
        Code::Unimplemented => CallFault::MethodUnknown.into(),
        Code::OutOfRange | Code::ResourceExhausted => CallFault::MessageTooLarge.into(),
        // The library's code for a request that it could not decode.
        Code::Internal => CallFault::MessageMalformed.into(),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Error::Internal.into(),
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
