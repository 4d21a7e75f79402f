//! What can go wrong when a node is asked.

use crate::domain::health::ProbeFailure;

/// A node did not do what it was asked. Holds no text of the node's, because such texts can repeat tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SfuError {
    /// The node gave no answer, or said that it cannot answer now. The same call may succeed later.
    #[error("the SFU node is unavailable: {0}")]
    Unavailable(Outage),
    /// The node refused our key or secret.
    #[error("the SFU node refused the credentials")]
    Refused,
    /// The node or its configuration is wrong. Do not retry until an operator changes it.
    #[error("the SFU node is misconfigured: {0}")]
    Misconfigured(&'static str),
    /// The room is not on the node.
    #[error("the room is not on the SFU node")]
    RoomNotFound,
    /// The node answered with a status that does not belong to the call.
    #[error("the SFU node answered with the unexpected status {status}")]
    Unexpected {
        /// The HTTP status.
        status: u16,
    },
    /// The node's answer is too long, or is not what its kind of node answers.
    #[error("the SFU node's answer cannot be read")]
    Malformed,
}

/// How a node is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// There is no connection to it.
    #[error("it cannot be reached")]
    Unreachable,
    /// Its machine refused the connection: no process listens there.
    #[error("it refuses connections")]
    ConnectionRefused,
    /// The connection ended before the answer did.
    #[error("its connection was lost")]
    ConnectionLost,
    /// The time limit of the call passed.
    #[error("it did not answer in time")]
    TimedOut,
    /// It answered that it is busy, starting or stopping, or a proxy before it did.
    #[error("it answered with status {0}")]
    Status(u16),
}

impl SfuError {
    /// How the node fails.
    pub fn failure(self) -> ProbeFailure {
        match self {
            Self::Unavailable(Outage::TimedOut) => ProbeFailure::TimedOut,
            Self::Unavailable(Outage::ConnectionRefused) => ProbeFailure::ConnectionRefused,
            Self::Unavailable(Outage::Unreachable | Outage::ConnectionLost) => {
                ProbeFailure::Unreachable
            }
            Self::Refused => ProbeFailure::Denied,
            Self::Misconfigured(_) => ProbeFailure::Misconfigured,
            Self::Unavailable(Outage::Status(_))
            | Self::RoomNotFound
            | Self::Unexpected { .. }
            | Self::Malformed => ProbeFailure::Faulty,
        }
    }

    /// Whether the same call may succeed if it is repeated soon.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Refused
            | Self::Misconfigured(_)
            | Self::RoomNotFound
            | Self::Unexpected { .. }
            | Self::Malformed => false,
        }
    }

    /// The error for an HTTP status that carries no answer to the call.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Refused,
            408 | 429 | 502 | 503 | 504 => Self::Unavailable(Outage::Status(status)),
            _ => Self::Unexpected { status },
        }
    }
}

/// Why a webhook is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhook {
    /// The node did not send it, or it was changed on its way.
    #[error("the webhook is not the node's")]
    Forged,
    /// Its signature is too old, or from the future.
    #[error("the webhook's signature has expired, or is not valid yet: compare the clocks")]
    Expired,
    /// The node sent it, but it is not what its kind of node sends.
    #[error("the webhook cannot be read")]
    Malformed,
}
