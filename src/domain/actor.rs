//! Who acts: an argument of everything that the application does, and a part of every event.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::cause::{EndCause, LeaveCause};
use super::id::UserId;
use super::named::named;
use super::role::Role;

/// Who acts on a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// A caller that shows the internal secret.
    Backend,
    /// A participant, from the page.
    Participant {
        /// In this role.
        role: Role,
        /// Under this id.
        user_id: UserId,
    },
    /// The service itself.
    System(SystemCause),
}

/// Why the service acts by itself.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    IntoStaticStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum SystemCause {
    /// The session's window closed.
    TimeOver,
    /// The session has been empty for too long.
    Empty,
    /// A participant's connection was lost and did not come back in time.
    ConnectionLost,
    /// The instance that held a participant's connection is dead.
    InstanceDead,
}

named!(SystemCause);

impl Actor {
    /// The participant who acts; `None` when it is no participant.
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::Participant { user_id, .. } => Some(user_id),
            Self::Backend | Self::System(_) => None,
        }
    }

    /// What a session's end is put down to when this actor ends it.
    pub fn end_cause(&self) -> EndCause {
        match self {
            Self::Backend => EndCause::Backend,
            Self::Participant { .. } => EndCause::Host,
            Self::System(SystemCause::Empty) => EndCause::Empty,
            Self::System(
                SystemCause::TimeOver | SystemCause::ConnectionLost | SystemCause::InstanceDead,
            ) => EndCause::TimeOver,
        }
    }

    /// What a participant's leaving is put down to when this actor ends their stay.
    pub fn leave_cause(&self) -> LeaveCause {
        match self {
            Self::Participant { .. } => LeaveCause::Left,
            Self::Backend | Self::System(_) => LeaveCause::Lost,
        }
    }

    /// One actor of each kind, and of each cause: what every store and edge must carry.
    pub fn examples() -> Vec<Self> {
        let participant = Self::Participant {
            role: Role::Doctor,
            user_id: UserId::from_stored("doctor-1".into()),
        };
        let system = SystemCause::ALL.iter().map(|cause| Self::System(*cause));
        [Self::Backend, participant]
            .into_iter()
            .chain(system)
            .collect()
    }
}
