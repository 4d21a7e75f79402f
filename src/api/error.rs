//! Errors as every edge tells them: the domain's, and those of a call before it reaches the domain.

#![warn(clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::auth::secret::SecretError;
use crate::domain::error::{Error, ErrorClass, Violation};

/// The namespace of reasons: the `domain` of every google.rpc.ErrorInfo.
pub const REASON_DOMAIN: &str = "videosession.v1";

/// Why a call fails before the domain is asked, or instead of it. The names are published, as
/// [`Reason`](crate::domain::error::Reason)s are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CallFault {
    /// The bytes are not the message that the method takes.
    MessageMalformed,
    /// The message is larger than the service takes.
    MessageTooLarge,
    /// The message is compressed in a way that the service does not know.
    EncodingUnsupported,
    /// No such method.
    MethodUnknown,
    /// The message did not arrive in time.
    RequestIncomplete,
    /// The deadline that the caller set has passed; the change may or may not have been made.
    DeadlineExceeded,
    /// The call carries no internal secret.
    SecretMissing,
    /// The call carries a wrong internal secret.
    SecretInvalid,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// By the edge.
    Fault(CallFault),
    /// By the application.
    Refused(Error),
}

/// What kind of answer a refused call gets. Each edge maps it to its protocol's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallClass {
    /// The caller has not shown who it is.
    Unauthenticated,
    /// The call took too long.
    TimedOut,
    /// The service does not know the method or the encoding.
    Unsupported,
    /// As errors of the domain are answered.
    Domain(ErrorClass),
}

/// All that a caller is told of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDescription {
    /// For programs; see docs/errors.md.
    pub reason: &'static str,
    /// The kind of answer.
    pub class: CallClass,
    /// For the developer who reads the caller's log.
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

    /// The kind of answer.
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
            Self::MessageTooLarge => "the request is larger than this service takes",
            Self::EncodingUnsupported => "send the request uncompressed",
            Self::MethodUnknown => "this service has no such method",
            Self::RequestIncomplete => "the request did not arrive in full in time",
            Self::DeadlineExceeded => {
                "the call's deadline has passed; the change may or may not have been made"
            }
            Self::SecretMissing => "the metadata x-internal-secret is missing",
            Self::SecretInvalid => "the metadata x-internal-secret is wrong",
        }
    }
}

impl CallError {
    /// The kind of answer.
    pub fn class(&self) -> CallClass {
        match self {
            Self::Fault(fault) => fault.class(),
            Self::Refused(error) => CallClass::Domain(error.class()),
        }
    }

    /// One error of every reason, for tests and for checking documents.
    pub fn examples() -> Vec<Self> {
        let faults = CallFault::VARIANTS.iter().copied().map(Self::Fault);
        let refused = Error::examples().into_iter().map(Self::Refused);
        faults.chain(refused).collect()
    }
}

impl From<CallFault> for CallError {
    fn from(fault: CallFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
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
            CallError::Refused(error) => Self {
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
