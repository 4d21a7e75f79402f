//! SFU nodes, as the operator configured them.

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::id::{NodeId, Region};
use super::label::Labels;
use super::named::named;
use super::place::Driver;
use super::time::Timestamp;

/// The greatest weight of a node.
pub const WEIGHT_MAX: u32 = 100;

/// A media server, as the operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SfuNode {
    /// Its name.
    pub node_id: NodeId,
    /// The address for participants; empty if the operator gave none.
    pub url: String,
    /// Its driver.
    pub driver: Driver,
    /// Where it is; `None` if the operator did not say.
    pub region: Option<Region>,
    /// Its share of new sessions, relative to the other nodes: 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// The operator's notes.
    pub labels: Labels,
    /// Whether the configuration lets it have new sessions. An operator can also drain a node while the service runs; see
    /// [`NodeState`](super::node_record::NodeState).
    pub accepts_sessions: bool,
}

impl SfuNode {
    /// A node without a region, with the weight of most nodes.
    pub fn new(node_id: NodeId, url: String, driver: Driver) -> Self {
        Self {
            node_id,
            url,
            driver,
            region: None,
            weight: 1,
            labels: Labels::new(),
            accepts_sessions: true,
        }
    }
}

/// What a node's driver can do for a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Media passes through the node: more than two participants who publish.
    pub carries_media: bool,
    /// Media can be encrypted from browser to browser.
    pub encrypts_end_to_end: bool,
}

/// What is on a node: its sessions that have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUse {
    /// The node, which the configuration may no longer have.
    pub node_id: NodeId,
    /// Sessions to which a participant has connected.
    pub sessions_live: u64,
    /// Sessions to which none has connected yet.
    pub sessions_scheduled: u64,
    /// Connected participants.
    pub participants: u64,
    /// The latest scheduled end.
    pub last_scheduled_end: Option<Timestamp>,
    /// Sessions without a scheduled end.
    pub sessions_without_end: u64,
}

/// Whether a node answers.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum NodeHealth {
    /// This instance has not probed it yet, or its driver needs no probes.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not answer this instance, but perhaps others.
    Unreachable,
    /// It answers no live instance.
    Lost,
}

named!(NodeHealth);

impl NodeHealth {
    /// Whether new sessions may be placed on such a node.
    pub fn is_usable(self) -> bool {
        match self {
            Self::Unknown | Self::Up => true,
            Self::Unreachable | Self::Lost => false,
        }
    }
}
