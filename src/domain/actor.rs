//! The actor: an argument of every operation of the application, and a part of every event.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::cause::{EndCause, LeaveCause};
use super::id::UserId;
use super::medium::MoveCause;
use super::named::named;
use super::role::Role;

/// The one that acts on a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// A caller with the internal secret.
    Backend,
    /// A participant, from the page.
    Participant {
        /// The participant's role.
        role: Role,
        /// The participant's user id.
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
    /// The session's node was lost.
    NodeLost,
    /// The session's node is being drained.
    NodeDrained,
}

named!(SystemCause);

impl Actor {
    /// The acting participant's user id; `None` if the actor is not a participant.
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::Participant { user_id, .. } => Some(user_id),
            Self::Backend | Self::System(_) => None,
        }
    }

    /// The cause recorded when this actor ends a session.
    pub fn end_cause(&self) -> EndCause {
        match self {
            Self::Backend => EndCause::Backend,
            Self::Participant { .. } => EndCause::Host,
            Self::System(SystemCause::Empty) => EndCause::Empty,
            Self::System(
                SystemCause::TimeOver
                | SystemCause::ConnectionLost
                | SystemCause::InstanceDead
                | SystemCause::NodeLost
                | SystemCause::NodeDrained,
            ) => EndCause::TimeOver,
        }
    }

    /// The cause recorded when this actor moves a session.
    pub fn move_cause(&self) -> MoveCause {
        match self {
            Self::System(SystemCause::NodeLost) => MoveCause::NodeLost,
            Self::System(SystemCause::NodeDrained) => MoveCause::NodeDrained,
            Self::Backend | Self::Participant { .. } | Self::System(_) => MoveCause::Backend,
        }
    }

    /// The cause recorded when this actor disconnects a participant.
    pub fn leave_cause(&self) -> LeaveCause {
        match self {
            Self::Participant { .. } => LeaveCause::Left,
            Self::Backend | Self::System(_) => LeaveCause::Lost,
        }
    }

    /// One actor of each kind and cause; every store and edge must support them all.
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
