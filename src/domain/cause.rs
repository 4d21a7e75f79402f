//! Why a session ended, and why a participant is gone.

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
    /// Everybody had left.
    Empty,
}

impl EndCause {
    /// What is taken for the cause where none was stored: there was only EndSession then.
    pub fn of_former_versions() -> Self {
        Self::Backend
    }

    /// The reason that is noted where nobody gave one.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Backend => "",
            Self::Host => "ended by the host",
            Self::TimeOver => "time over",
            Self::Empty => "everybody left",
        }
    }
}

/// Why a participant is gone.
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
    /// They came again, in another role.
    Replaced,
}

named!(EndCause, LeaveCause);
