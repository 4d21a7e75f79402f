//! Error pages for participants.

#![warn(clippy::wildcard_enum_match_arm)]

use axum::http::StatusCode;

use crate::app::signalling::EntryDenied;
use crate::auth::token::InvalidToken;
use crate::domain::error::{Error, ParticipantError};
use crate::domain::time::Timestamp;

/// An error shown as a page. Its code names the page's texts in web/i18n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PageError {
    MissingToken,
    Forged,
    Expired,
    TooEarly {
        opens: Timestamp,
        /// When the appointment starts, if that is known.
        starts: Option<Timestamp>,
        /// With whom, if that is known and they are not the doctor.
        doctor_name: Option<String>,
        /// Where the appointment's calendar file is, if there is one.
        calendar: Option<String>,
    },
    TooLate,
    OtherSession,
    Ended,
    Removed,
    UnknownSession,
    NotFound,
    RateLimited,
    StoreUnavailable,
    NotInvited,
    Origin,
    Internal,
}

impl PageError {
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
            Self::StoreUnavailable => "store-away",
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
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<InvalidToken> for PageError {
    fn from(error: InvalidToken) -> Self {
        match error {
            InvalidToken::Expired => Self::Expired,
            InvalidToken::Forged => Self::Forged,
        }
    }
}

impl From<EntryDenied> for PageError {
    fn from(reason: EntryDenied) -> Self {
        match reason {
            EntryDenied::Expired => Self::Expired,
            EntryDenied::Forged => Self::Forged,
            EntryDenied::OtherSession => Self::OtherSession,
            EntryDenied::Session(error) => Self::from(error),
        }
    }
}

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        match error.for_participant() {
            ParticipantError::SessionUnknown => Self::UnknownSession,
            ParticipantError::SessionEnded => Self::Ended,
            ParticipantError::NotOpenYet { opens } => Self::TooEarly {
                opens,
                starts: None,
                doctor_name: None,
                calendar: None,
            },
            ParticipantError::WindowClosed => Self::TooLate,
            ParticipantError::Removed => Self::Removed,
            ParticipantError::NotInvited => Self::NotInvited,
            ParticipantError::Busy | ParticipantError::TryAgain => Self::StoreUnavailable,
            // The page makes no request that these answer.
            ParticipantError::NotAllowed
            | ParticipantError::ParticipantUnknown
            | ParticipantError::SessionFull
            | ParticipantError::Fault => Self::Internal,
        }
    }
}
