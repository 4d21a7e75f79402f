//! Errors for the callers of every edge: the domain's, and those of calls that do not reach the domain.

#![warn(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::auth::secret::SecretError;
use crate::domain::error::{Error, ErrorClass, Violation};

/// The namespace of reasons: the `domain` of every google.rpc.ErrorInfo.
pub const REASON_DOMAIN: &str = "videosession.v1";

/// Why a call fails before it reaches the domain. The names are published, like
/// [`Reason`](crate::domain::error::Reason)s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CallFault {
    /// The bytes are not a message of the method.
    MessageMalformed,
    /// The message is larger than the service accepts.
    MessageTooLarge,
    /// The message has an unsupported compression.
    EncodingUnsupported,
    /// No such method.
    MethodUnknown,
    /// The message did not arrive in time.
    RequestIncomplete,
    /// The caller's deadline has passed; the change may or may not have been made.
    DeadlineExceeded,
    /// The call carries no internal secret.
    SecretMissing,
    /// The call carries a wrong internal secret.
    SecretInvalid,
}

/// The error of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The call did not reach the domain.
    Fault(CallFault),
    /// An error of the domain.
    Domain(Error),
}

/// The kind of an error. Each edge maps it to its protocol's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallClass {
    /// The caller is not authenticated.
    Unauthenticated,
    /// The call took too long.
    TimedOut,
    /// The service does not know the method or the encoding.
    Unsupported,
    /// A class of the domain's errors.
    Domain(ErrorClass),
}

/// Everything that callers get of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDescription {
    /// The reason, for programs; see docs/errors.md.
    pub reason: &'static str,
    /// The kind of error.
    pub class: CallClass,
    /// The message, for developers.
    pub message: String,
    /// The variable parts of the message.
    pub metadata: Vec<(&'static str, String)>,
    /// The faults of the request's fields, if there are any.
    pub violations: Vec<Violation>,
    /// When to try again, if the same request may succeed then.
    pub retry_after: Option<Duration>,
}

impl CallFault {
    /// Its name in google.rpc.ErrorInfo.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of error.
    pub fn class(self) -> CallClass {
        match self {
            Self::MessageMalformed => CallClass::Domain(ErrorClass::Invalid),
            Self::MessageTooLarge => CallClass::Domain(ErrorClass::LimitReached),
            Self::EncodingUnsupported | Self::MethodUnknown => CallClass::Unsupported,
            Self::RequestIncomplete | Self::DeadlineExceeded => CallClass::TimedOut,
            Self::SecretMissing | Self::SecretInvalid => CallClass::Unauthenticated,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::MessageMalformed => "the request is not a valid message of this method",
            Self::MessageTooLarge => "the request is too large (GRPC_MESSAGE_BYTES_MAX)",
            Self::EncodingUnsupported => "send the request uncompressed",
            Self::MethodUnknown => "this service has no such method",
            Self::RequestIncomplete => "the complete request did not arrive in time",
            Self::DeadlineExceeded => {
                "the call's deadline has passed; the change may or may not have been made"
            }
            Self::SecretMissing => "the internal secret is missing: send it as x-internal-secret",
            Self::SecretInvalid => "the internal secret is wrong, or there is more than one",
        }
    }
}

impl CallError {
    /// The kind of error.
    pub fn class(&self) -> CallClass {
        match self {
            Self::Fault(fault) => fault.class(),
            Self::Domain(error) => CallClass::Domain(error.class()),
        }
    }

    /// One error of every reason, for tests and for checking documents.
    pub fn examples() -> Vec<Self> {
        let faults = CallFault::VARIANTS.iter().copied().map(Self::Fault);
        let domain = Error::examples().into_iter().map(Self::Domain);
        faults.chain(domain).collect()
    }
}

impl From<CallFault> for CallError {
    fn from(fault: CallFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

impl From<SecretError> for CallError {
    fn from(error: SecretError) -> Self {
        Self::Fault(match error {
            SecretError::Missing => CallFault::SecretMissing,
            SecretError::Invalid => CallFault::SecretInvalid,
        })
    }
}

impl From<CallError> for ErrorDescription {
    fn from(error: CallError) -> Self {
        let class = error.class();
        match error {
            CallError::Fault(fault) => Self {
                reason: fault.as_str(),
                class,
                message: fault.message().to_owned(),
                metadata: Vec::new(),
                violations: Vec::new(),
                retry_after: None,
            },
            CallError::Domain(error) => Self {
                reason: error.reason().as_str(),
                class,
                message: error.message(),
                metadata: error.metadata(),
                retry_after: error.retry_after(),
                violations: error.into_violations(),
            },
        }
    }
}
