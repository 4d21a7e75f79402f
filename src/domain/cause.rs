//! Why a session ended, and why a participant left.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::named::named;

/// What ended a session.
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
pub enum EndCause {
    /// The backend, by EndSession.
    Backend,
    /// The host, from the page.
    Host,
    /// Its window closed.
    TimeOver,
    /// It had no participants for too long.
    Empty,
}

impl EndCause {
    /// The cause of sessions stored without one: only EndSession existed then.
    pub fn of_former_versions() -> Self {
        Self::Backend
    }

    /// The reason that is stored if the actor gave none.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Backend => "",
            Self::Host => "ended by the host",
            Self::TimeOver => "the join window closed",
            Self::Empty => "all participants left",
        }
    }
}

/// Why a participant left.
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
pub enum LeaveCause {
    /// They left.
    Left,
    /// Their connection was lost and did not come back in time.
    Lost,
    /// They were removed.
    Removed,
    /// The session ended.
    SessionEnded,
    /// They connected again, in another role.
    Replaced,
}

named!(EndCause, LeaveCause);
