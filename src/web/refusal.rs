//! Why a browser does not get what it asked for, as a page that a patient understands.

use axum::http::StatusCode;

use crate::app::signalling::EntryRefusal;
use crate::domain::error::Error;
use crate::domain::time::Timestamp;

/// A refusal; its code names its texts in web/i18n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    MissingToken,
    Forged,
    Expired,
    TooEarly { opens: Timestamp },
    TooLate,
    OtherSession,
    Ended,
    Removed,
    UnknownSession,
    NotFound,
    RateLimited,
    StoreAway,
    NotInvited,
    Origin,
    Internal,
}

impl Refusal {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::MissingToken => "missing-token",
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::TooEarly { .. } => "too-early",
            Self::TooLate => "too-late",
            Self::OtherSession => "other-session",
            Self::Ended => "ended",
            Self::Removed => "removed",
            Self::UnknownSession => "unknown-session",
            Self::NotFound => "not-found",
            Self::RateLimited => "rate-limited",
            Self::StoreAway => "store-away",
            Self::NotInvited => "not-invited",
            Self::Origin => "origin",
            Self::Internal => "internal",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::MissingToken | Self::Forged | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::OtherSession | Self::Removed | Self::NotInvited | Self::Origin => {
                StatusCode::FORBIDDEN
            }
            Self::UnknownSession | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Ended | Self::TooLate => StatusCode::GONE,
            Self::TooEarly { .. } => StatusCode::TOO_EARLY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::StoreAway => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<EntryRefusal> for Refusal {
    fn from(reason: EntryRefusal) -> Self {
        match reason {
            EntryRefusal::Expired => Self::Expired,
            EntryRefusal::Forged => Self::Forged,
            EntryRefusal::OtherSession => Self::OtherSession,
            EntryRefusal::Session(error) => Self::from(error),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::SessionNotFound => Self::UnknownSession,
            Error::SessionEnded { .. } => Self::Ended,
            Error::JoinTooEarly { opens } => Self::TooEarly { opens },
            Error::JoinTooLate { .. } => Self::TooLate,
            Error::ParticipantRemoved => Self::Removed,
            Error::NotAParticipant { .. } => Self::NotInvited,
            Error::StoreUnavailable { .. }
            | Error::Contention { .. }
            | Error::Overloaded { .. }
            | Error::ShuttingDown { .. } => Self::StoreAway,
            Error::Internal
            | Error::Validation(_)
            | Error::MessageMalformed
            | Error::MessageTooLarge
            | Error::RequestIncomplete
            | Error::DeadlineExceeded
            | Error::NameGiven
            | Error::EncodingUnsupported
            | Error::MethodUnknown
            | Error::SecretMissing
            | Error::SecretInvalid
            | Error::ParticipantNotFound
            | Error::NotAllowed
            | Error::SessionFull
            | Error::AppointmentConflict { .. }
            | Error::VersionMismatch { .. } => Self::Internal,
        }
    }
}
