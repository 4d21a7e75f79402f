//! The medium of a session: the way that the participants' audio and video take.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::named::named;

/// The medium that the backend asked for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum MediaMode {
    /// Two publishers connect to each other; with the third, the call moves to the node if the node can carry it.
    #[default]
    Auto,
    /// Browsers always connect to each other.
    PeerToPeer,
    /// The node always carries the call.
    Sfu,
}

/// The medium in use.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
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
pub enum Medium {
    /// Browsers connect to each other.
    #[default]
    PeerToPeer,
    /// The session's node carries the call.
    Sfu,
}

/// Why a session got another place or another medium.
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
pub enum MoveCause {
    /// A third participant who publishes joined.
    ThirdPublisher,
    /// The node was lost.
    NodeLost,
    /// The node is being drained.
    NodeDrained,
    /// The backend asked for it.
    Backend,
}

named!(MediaMode, Medium, MoveCause);

/// Up to this number of publishers, an [`Auto`](MediaMode::Auto) session needs no node: each sends its video once.
pub const DIRECT_PUBLISHERS_MAX: usize = 2;
