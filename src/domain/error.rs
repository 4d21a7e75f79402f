//! Everything that can go wrong for a caller: a closed set, ignorant of transport.
//!
//! [`Reason`] is the machine-readable half, [`Error::message`] the human one. What went wrong inside (a driver's error, a
//! path) is logged where it happened and never becomes part of an [`Error`].

use std::time::Duration;

use super::access::Role;
use super::id::SessionId;
use super::time::Timestamp;

/// One fault of one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path, in proto names.
    pub field: &'static str,
    /// What is wrong with it; never repeats the value.
    pub description: String,
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The request is malformed; all its faults.
    Validation(Vec<Violation>),
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
    /// No session has that id, or the appointment has none.
    SessionNotFound,
    /// The session has ended.
    SessionEnded {
        /// Which.
        session_id: SessionId,
    },
    /// The join window has not opened yet.
    JoinTooEarly {
        /// When it opens.
        opens: Timestamp,
    },
    /// The join window has closed.
    JoinTooLate {
        /// When it closed.
        closed: Timestamp,
    },
    /// The user is not the one stored for that role.
    NotAParticipant {
        /// The role asked for.
        role: Role,
    },
    /// The user was removed from the session.
    ParticipantRemoved,
    /// Nobody of that id is in the session.
    ParticipantNotFound,
    /// The participant's role does not allow that.
    NotAllowed,
    /// The participant gave another name before.
    NameGiven,
    /// As many as may be are connected.
    SessionFull,
    /// The appointment's live session differs from the one asked for.
    AppointmentConflict {
        /// The live session.
        session_id: SessionId,
        /// The fields that differ.
        fields: Vec<&'static str>,
    },
    /// The session is not at the version that the caller expects.
    VersionMismatch {
        /// The caller's.
        expected: i64,
        /// The stored one.
        stored: i64,
    },
    /// Others kept changing the session while this call tried to.
    Contention {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store cannot be reached, or did not answer in time; the change may or may not have been made.
    StoreUnavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The service has all the work that it takes.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The instance is shutting down; another one will answer.
    ShuttingDown {
        /// When to try again.
        retry_after: Duration,
    },
    /// A fault of the service.
    Internal,
}

macro_rules! reasons {
    ($($name:ident = $text:literal,)+) => {
        /// The machine-readable name of an [`Error`]; never changes once published. Listed in docs/errors.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is documented as the Error of the same name")]
        pub enum Reason { $($name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its text in google.rpc.ErrorInfo.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

reasons! {
    Validation = "VALIDATION_FAILED",
    MessageMalformed = "MESSAGE_MALFORMED",
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    EncodingUnsupported = "ENCODING_UNSUPPORTED",
    MethodUnknown = "METHOD_UNKNOWN",
    RequestIncomplete = "REQUEST_INCOMPLETE",
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    SecretMissing = "SECRET_MISSING",
    SecretInvalid = "SECRET_INVALID",
    SessionNotFound = "SESSION_NOT_FOUND",
    SessionEnded = "SESSION_ENDED",
    JoinTooEarly = "JOIN_TOO_EARLY",
    JoinTooLate = "JOIN_TOO_LATE",
    NotAParticipant = "NOT_A_PARTICIPANT",
    ParticipantRemoved = "PARTICIPANT_REMOVED",
    ParticipantNotFound = "PARTICIPANT_NOT_FOUND",
    NotAllowed = "NOT_ALLOWED",
    NameGiven = "NAME_GIVEN",
    SessionFull = "SESSION_FULL",
    AppointmentConflict = "APPOINTMENT_CONFLICT",
    VersionMismatch = "VERSION_MISMATCH",
    Contention = "CONTENTION",
    StoreUnavailable = "STORE_UNAVAILABLE",
    Overloaded = "OVERLOADED",
    ShuttingDown = "SHUTTING_DOWN",
    Internal = "INTERNAL",
}

impl Error {
    /// The fault of a single field.
    pub fn field(field: &'static str, description: impl Into<String>) -> Self {
        Self::Validation(vec![Violation {
            field,
            description: description.into(),
        }])
    }

    /// Its machine-readable name.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Validation(_) => Reason::Validation,
            Self::MessageMalformed => Reason::MessageMalformed,
            Self::MessageTooLarge => Reason::MessageTooLarge,
            Self::EncodingUnsupported => Reason::EncodingUnsupported,
            Self::MethodUnknown => Reason::MethodUnknown,
            Self::RequestIncomplete => Reason::RequestIncomplete,
            Self::DeadlineExceeded => Reason::DeadlineExceeded,
            Self::SecretMissing => Reason::SecretMissing,
            Self::SecretInvalid => Reason::SecretInvalid,
            Self::SessionNotFound => Reason::SessionNotFound,
            Self::SessionEnded { .. } => Reason::SessionEnded,
            Self::JoinTooEarly { .. } => Reason::JoinTooEarly,
            Self::JoinTooLate { .. } => Reason::JoinTooLate,
            Self::NotAParticipant { .. } => Reason::NotAParticipant,
            Self::ParticipantRemoved => Reason::ParticipantRemoved,
            Self::ParticipantNotFound => Reason::ParticipantNotFound,
            Self::NotAllowed => Reason::NotAllowed,
            Self::NameGiven => Reason::NameGiven,
            Self::SessionFull => Reason::SessionFull,
            Self::AppointmentConflict { .. } => Reason::AppointmentConflict,
            Self::VersionMismatch { .. } => Reason::VersionMismatch,
            Self::Contention { .. } => Reason::Contention,
            Self::StoreUnavailable { .. } => Reason::StoreUnavailable,
            Self::Overloaded { .. } => Reason::Overloaded,
            Self::ShuttingDown { .. } => Reason::ShuttingDown,
            Self::Internal => Reason::Internal,
        }
    }

    /// What to tell a developer who reads the caller's log.
    pub fn message(&self) -> String {
        match self {
            Self::Validation(violations) => {
                let faults: Vec<_> = violations
                    .iter()
                    .map(|v| format!("{}: {}", v.field, v.description))
                    .collect();
                faults.join("; ")
            }
            Self::MessageMalformed => "the request is not a valid message of this method".into(),
            Self::MessageTooLarge => "the request is larger than this service takes".into(),
            Self::EncodingUnsupported => "send the request uncompressed".into(),
            Self::MethodUnknown => "this service has no such method".into(),
            Self::RequestIncomplete => "the request did not arrive in full in time".into(),
            Self::DeadlineExceeded => {
                "the call's deadline has passed; the change may or may not have been made".into()
            }
            Self::SecretMissing => "the metadata x-internal-secret is missing".into(),
            Self::SecretInvalid => "the metadata x-internal-secret is wrong".into(),
            Self::SessionNotFound => "there is no such session".into(),
            Self::SessionEnded { .. } => {
                "the session has ended; create a new one for the appointment".into()
            }
            Self::JoinTooEarly { opens } => format!("the session can be joined from {opens} on"),
            Self::JoinTooLate { closed } => format!("the session could be joined until {closed}"),
            Self::NotAParticipant { role } => {
                format!("the user is not the {} of this session", role.name())
            }
            Self::ParticipantRemoved => {
                "the user was removed from the session; what they were given before is no longer good".into()
            }
            Self::ParticipantNotFound => "nobody of that id is in the session".into(),
            Self::NotAllowed => "the participant's role does not allow that".into(),
            Self::NameGiven => "the participant gave another name before".into(),
            Self::SessionFull => "as many participants as may be are connected".into(),
            Self::AppointmentConflict { session_id, fields } => format!(
                "the appointment has the live session {session_id} with another {}; change it with UpdateSession or end it",
                fields.join(", ")
            ),
            Self::VersionMismatch { expected, stored } => {
                format!("the session is at version {stored}, not {expected}; read it again")
            }
            Self::Contention { .. } => {
                "others keep changing the session; nothing was changed, try again".into()
            }
            Self::StoreUnavailable { .. } => {
                "the store did not answer; the change may or may not have been made, try again"
                    .into()
            }
            Self::Overloaded { .. } => "the service has too much to do; try again".into(),
            Self::ShuttingDown { .. } => "this instance is shutting down; try again".into(),
            Self::Internal => "a fault of the service; its log has more".into(),
        }
    }

    /// The variable parts of the message, for machines. Published keys never disappear.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::SessionEnded { session_id } => vec![("session_id", session_id.to_string())],
            Self::JoinTooEarly { opens } => vec![("opens_at", opens.to_string())],
            Self::JoinTooLate { closed } => vec![("closed_at", closed.to_string())],
            Self::NotAParticipant { role } => vec![("role", role.name().to_owned())],
            Self::AppointmentConflict { session_id, fields } => vec![
                ("session_id", session_id.to_string()),
                ("field", fields.join(",")),
            ],
            Self::VersionMismatch { expected, stored } => vec![
                ("expected_version", expected.to_string()),
                ("stored_version", stored.to_string()),
            ],
            Self::Validation(_)
            | Self::MessageMalformed
            | Self::MessageTooLarge
            | Self::EncodingUnsupported
            | Self::MethodUnknown
            | Self::RequestIncomplete
            | Self::DeadlineExceeded
            | Self::SecretMissing
            | Self::SecretInvalid
            | Self::SessionNotFound
            | Self::ParticipantRemoved
            | Self::ParticipantNotFound
            | Self::NotAllowed
            | Self::NameGiven
            | Self::SessionFull
            | Self::Contention { .. }
            | Self::StoreUnavailable { .. }
            | Self::Overloaded { .. }
            | Self::ShuttingDown { .. }
            | Self::Internal => Vec::new(),
        }
    }

    /// When to try again, if trying again unchanged can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Contention { retry_after }
            | Self::StoreUnavailable { retry_after }
            | Self::Overloaded { retry_after }
            | Self::ShuttingDown { retry_after } => Some(*retry_after),
            Self::Validation(_)
            | Self::MessageMalformed
            | Self::MessageTooLarge
            | Self::EncodingUnsupported
            | Self::MethodUnknown
            | Self::RequestIncomplete
            | Self::DeadlineExceeded
            | Self::SecretMissing
            | Self::SecretInvalid
            | Self::SessionNotFound
            | Self::SessionEnded { .. }
            | Self::JoinTooEarly { .. }
            | Self::JoinTooLate { .. }
            | Self::NotAParticipant { .. }
            | Self::ParticipantRemoved
            | Self::ParticipantNotFound
            | Self::NotAllowed
            | Self::NameGiven
            | Self::SessionFull
            | Self::AppointmentConflict { .. }
            | Self::VersionMismatch { .. }
            | Self::Internal => None,
        }
    }
}
