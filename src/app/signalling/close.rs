//! Close codes of connections. docs/signalling.md tells pages how to react to each.

#![warn(clippy::wildcard_enum_match_arm)]

use strum::VariantArray;

use crate::domain::error::{Error, ParticipantError};

/// Why a connection is closed by the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum CloseCode {
    /// The participant left.
    Left,
    /// The instance is shutting down, or the page must reconnect.
    GoingAway,
    /// A message was too large: WebSocket's own code for that.
    MessageTooBig,
    /// A fault of the service: WebSocket's own code for that.
    Internal,
    /// The cookie is no longer valid.
    CredentialInvalid,
    /// The participant was removed.
    Removed,
    /// The session has ended.
    Ended,
    /// The participant connected elsewhere.
    Replaced,
    /// Too many messages.
    Flood,
    /// The page reads too slowly.
    TooSlow,
    /// The session is full.
    Full,
    /// The store does not answer.
    StoreUnavailable,
}

impl CloseCode {
    /// Every code.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::Left => 1000,
            Self::GoingAway => 1001,
            Self::MessageTooBig => 1009,
            Self::Internal => 1011,
            Self::CredentialInvalid => 4001,
            Self::Removed => 4003,
            Self::Ended => 4004,
            Self::Replaced => 4005,
            Self::Flood => 4008,
            Self::TooSlow => 4009,
            Self::Full => 4010,
            Self::StoreUnavailable => 4013,
        }
    }

    /// The code for an error while connecting, after the handshake.
    pub fn of(error: &Error) -> Self {
        match error.for_participant() {
            ParticipantError::SessionEnded => Self::Ended,
            ParticipantError::Removed => Self::Removed,
            ParticipantError::SessionFull => Self::Full,
            ParticipantError::Busy => Self::StoreUnavailable,
            ParticipantError::TryAgain => Self::GoingAway,
            ParticipantError::NotInvited
            | ParticipantError::NotOpenYet { .. }
            | ParticipantError::WindowClosed => Self::CredentialInvalid,
            // Connecting never causes these.
            ParticipantError::SessionUnknown
            | ParticipantError::NotAllowed
            | ParticipantError::ParticipantUnknown
            | ParticipantError::Fault => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_error_while_connecting_has_its_close_code() {
        let retry_after = Duration::from_secs(1);
        for (error, code) in [
            (Error::Contention { retry_after }, CloseCode::GoingAway),
            (Error::ShuttingDown { retry_after }, CloseCode::GoingAway),
            (
                Error::StoreUnavailable { retry_after },
                CloseCode::StoreUnavailable,
            ),
            (
                Error::Overloaded { retry_after },
                CloseCode::StoreUnavailable,
            ),
            (Error::Internal, CloseCode::Internal),
            (Error::ParticipantRemoved, CloseCode::Removed),
            (Error::SessionFull, CloseCode::Full),
        ] {
            assert_eq!(CloseCode::of(&error), code, "{error:?}");
        }
    }
}
