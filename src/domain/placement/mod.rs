//! The choice of a node for a session: a pure function of a turn and the nodes.
//!
//! A rotation is a cycle of slots, one for each unit of a node's weight, in the order of the configuration. A turn names a slot. If
//! the slot's node cannot have a session at this time, the turn is passed over and the next one is taken, instead of dividing the
//! turns among the remaining nodes. So the slots never move while nodes fail, drain and come back: of two nodes with the same
//! weight, each has exactly one slot between two slots of the other. While both can have sessions, the numbers of their new
//! sessions therefore differ by at most one, whatever happens to the others meanwhile.
//!
//! Each kind of request (a region, a medium) has its own rotation with its own turns. With shared turns, two kinds that alternate
//! would each see only every other turn, and half of the nodes.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::id::{NodeId, Region, SessionId};
use super::medium::MediaMode;
use super::named::named;
use super::node::{Capabilities, NodeHealth, SfuNode, WEIGHT_MAX};
use super::node_record::NodeState;
use super::place::Driver;
use super::time::Timestamp;

/// A node, and what is known of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: Arc<SfuNode>,
    /// What its driver can do.
    pub capabilities: Capabilities,
    /// The operator's state.
    pub state: NodeState,
    /// Whether it answers.
    pub health: NodeHealth,
}

/// What a session needs of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Only nodes of this region.
    pub region: Option<Region>,
    /// Only nodes that carry media.
    pub needs_media_server: bool,
    /// Only nodes that leave media encrypted from browser to browser.
    pub needs_end_to_end_encryption: bool,
}

impl Wanted {
    /// What a session with this region, medium and wish for end-to-end encryption needs.
    pub fn new(region: Option<Region>, media: MediaMode, end_to_end_encrypted: bool) -> Self {
        let needs_media_server = media == MediaMode::Sfu;
        Self {
            region,
            needs_media_server,
            // Other sessions stay between browsers if their node cannot leave them encrypted.
            needs_end_to_end_encryption: needs_media_server && end_to_end_encrypted,
        }
    }

    /// The name of the rotation that counts its turns: empty without any wish, as in `eu`, `+sfu`, `eu+sfu+e2ee`. Stored, so it
    /// never changes.
    pub fn rotation_name(&self) -> String {
        let mut name = String::new();
        if let Some(region) = &self.region {
            name.push_str(region.as_str());
        }
        // A region contains no plus sign.
        if self.needs_media_server {
            name.push_str("+sfu");
        }
        if self.needs_end_to_end_encryption {
            name.push_str("+e2ee");
        }
        name
    }

    /// Why a node is not in the rotation at all.
    fn exclude(&self, candidate: &Candidate) -> Option<Verdict> {
        let Candidate {
            node, capabilities, ..
        } = candidate;
        if self.region.is_some() && self.region != node.region {
            Some(Verdict::OtherRegion)
        } else if self.needs_media_server && !capabilities.carries_media {
            Some(Verdict::LacksMedia)
        } else if self.needs_end_to_end_encryption && !capabilities.encrypts_end_to_end {
            Some(Verdict::LacksEncryption)
        } else {
            None
        }
    }
}

/// Why a node was chosen, or not. Stored by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// It has the session.
    Chosen,
    /// It could have had the session, but it was another node's turn.
    NotItsTurn,
    /// It is not in the region asked for.
    OtherRegion,
    /// It carries no media.
    LacksMedia,
    /// It cannot leave media encrypted from browser to browser.
    LacksEncryption,
    /// The configuration gives it no new sessions.
    NotAccepting,
    /// The operator is draining it.
    Draining,
    /// It did not answer this instance, or was not asked yet.
    Unreachable,
    /// It answered no instance.
    Lost,
}

named!(Verdict);

impl Verdict {
    /// What it says of the node, for developers: continues "the node …: ".
    pub fn text(self) -> &'static str {
        match self {
            Self::Chosen => "it has the session",
            Self::NotItsTurn => "it is another node's turn",
            Self::OtherRegion => "it is not in the session's region",
            Self::LacksMedia => "it carries no media, and the session is always carried by a node",
            Self::LacksEncryption => {
                "it cannot leave media encrypted from browser to browser, as the session needs it"
            }
            Self::NotAccepting => "its configuration gives it no new sessions",
            Self::Draining => "it is being drained",
            Self::Unreachable => "it does not answer this instance",
            Self::Lost => "it answers no instance",
        }
    }

    /// Why a node of the rotation cannot have a session now.
    fn of_state(candidate: &Candidate) -> Option<Self> {
        match (candidate.state, candidate.health) {
            _ if !candidate.node.accepts_sessions => Some(Self::NotAccepting),
            (NodeState::Draining, _) => Some(Self::Draining),
            // What carries media must have been found to be right before it gets any.
            (NodeState::Active, NodeHealth::Unknown) if candidate.capabilities.carries_media => {
                Some(Self::Unreachable)
            }
            (NodeState::Active, NodeHealth::Unreachable) => Some(Self::Unreachable),
            (NodeState::Active, NodeHealth::Lost) => Some(Self::Lost),
            (NodeState::Active, NodeHealth::Unknown | NodeHealth::Up) => None,
        }
    }
}

/// A decision and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The chosen node with its driver; `None` if no node can have the session.
    pub chosen: Option<(NodeId, Driver)>,
    /// The turn that the decision takes; turns before it were passed over.
    pub turn: u64,
    /// Every node with its verdict, in the order of the configuration.
    pub considered: Vec<(NodeId, Verdict)>,
}

/// The decision that gave a session its place, kept with the session so that it can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementNote {
    /// When it was made.
    pub time: Timestamp,
    /// The rotation that counted the turn.
    pub rotation: String,
    /// The turn.
    pub turn: u64,
    /// Every node with its verdict; empty if there was only one.
    pub considered: Vec<(NodeId, Verdict)>,
}

impl Placement {
    /// The note of this decision.
    pub fn into_note(self, rotation: &str, time: Timestamp) -> PlacementNote {
        let is_choice = self.considered.len() > 1;
        PlacementNote {
            time,
            rotation: rotation.to_owned(),
            turn: self.turn,
            considered: if is_choice {
                self.considered
            } else {
                Vec::new()
            },
        }
    }
}

/// Decides for a turn.
#[cfg(test)]
fn place(turn: u64, candidates: &[Candidate], wanted: &Wanted) -> Placement {
    Rotation::new(candidates, wanted).place(turn)
}

/// The slots of one kind of request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    name: String,
    members: Vec<Member>,
    /// Indexes of members.
    slots: Vec<usize>,
    has_usable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    node_id: NodeId,
    driver: Driver,
    /// `None`: it can have a session.
    verdict: Option<Verdict>,
}

impl Rotation {
    /// The rotation for a kind of request.
    pub fn new(candidates: &[Candidate], wanted: &Wanted) -> Self {
        let mut weights = Vec::new();
        let mut members = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            let excluded = wanted.exclude(candidate);
            if excluded.is_none() {
                weights.push((index, candidate.node.weight.clamp(1, WEIGHT_MAX)));
            }
            members.push(Member {
                node_id: candidate.node.node_id.clone(),
                driver: candidate.node.driver,
                verdict: excluded.or_else(|| Verdict::of_state(candidate)),
            });
        }
        Self {
            name: wanted.rotation_name(),
            has_usable: members.iter().any(|member| member.verdict.is_none()),
            members,
            slots: slots(&weights),
        }
    }

    /// Its name, under which a store counts its turns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first turn from `turn` on whose node can have a session; `None` if no node can.
    pub fn usable_turn(&self, turn: u64) -> Option<u64> {
        if !self.has_usable {
            return None;
        }
        // At the end of u64 the cycle starts over, which no service lives to see.
        (0..self.slots.len() as u64)
            .map(|passed_over| turn.wrapping_add(passed_over))
            .find(|turn| {
                self.member_at(*turn)
                    .is_some_and(|(_, member)| member.verdict.is_none())
            })
    }

    /// Decides for a turn.
    pub fn place(&self, turn: u64) -> Placement {
        let taken = self.usable_turn(turn);
        let chosen = taken.and_then(|turn| self.member_at(turn));
        let verdict_of = |(index, member): (usize, &Member)| {
            let is_chosen = chosen.is_some_and(|(chosen, _)| chosen == index);
            let verdict = match member.verdict {
                Some(verdict) => verdict,
                None if is_chosen => Verdict::Chosen,
                None => Verdict::NotItsTurn,
            };
            (member.node_id.clone(), verdict)
        };
        Placement {
            chosen: chosen.map(|(_, member)| (member.node_id.clone(), member.driver)),
            turn: taken.unwrap_or(turn),
            considered: self.members.iter().enumerate().map(verdict_of).collect(),
        }
    }

    /// Every node with its verdict, when a session moves to `chosen`.
    pub fn verdicts(&self, chosen: &NodeId) -> Vec<(NodeId, Verdict)> {
        let verdict_of = |member: &Member| {
            let is_chosen = member.node_id == *chosen;
            let verdict = if is_chosen {
                Verdict::Chosen
            } else {
                member.verdict.unwrap_or(Verdict::NotItsTurn)
            };
            (member.node_id.clone(), verdict)
        };
        self.members.iter().map(verdict_of).collect()
    }

    /// The node that [`Rotation::place`] chooses, without the reasons.
    pub fn node_at(&self, turn: u64) -> Option<(&NodeId, Driver)> {
        let (_, member) = self.member_at(self.usable_turn(turn)?)?;
        Some((&member.node_id, member.driver))
    }

    /// The node for a session that moves, among the nodes that can have it and that `fits` accepts; `None` if there is none.
    ///
    /// A move takes no turn: the turns are the new sessions', whose numbers would no longer be even. Instead, the session and its
    /// generation choose a slot of the nodes that are left. So all instances that move a session at once agree on its node, and
    /// the sessions of a lost node are spread over all others by weight. Passing over slots, as new sessions do, would give the
    /// whole of a lost node to the one that follows it in the cycle.
    pub fn node_for_move(
        &self,
        session_id: &SessionId,
        generation: i64,
        fits: impl Fn(&NodeId, Driver) -> bool,
    ) -> Option<(&NodeId, Driver)> {
        let slots: Vec<_> = (self.slots.iter())
            .filter_map(|index| self.members.get(*index))
            .filter(|member| member.verdict.is_none() && fits(&member.node_id, member.driver))
            .collect();
        let slot = spread(session_id, generation).checked_rem(slots.len() as u64)?;
        let member = slots.get(usize::try_from(slot).ok()?)?;
        Some((&member.node_id, member.driver))
    }

    /// The driver of a node that can have a session now, or why it cannot; `None` if the node is unknown.
    pub fn judge(&self, node_id: &NodeId) -> Option<Result<Driver, Verdict>> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.node_id == *node_id)?;
        Some(member.verdict.map_or(Ok(member.driver), Err))
    }

    fn member_at(&self, turn: u64) -> Option<(usize, &Member)> {
        let count = self.slots.len() as u64;
        let slot = usize::try_from(turn.checked_rem(count)?).ok()?;
        let index = *self.slots.get(slot)?;
        Some((index, self.members.get(index)?))
    }
}

/// A number that differs between sessions and between the places of one, the same on every instance: FNV-1a.
fn spread(session_id: &SessionId, generation: i64) -> u64 {
    let text = session_id.as_str().bytes().chain(generation.to_be_bytes());
    let hash = text.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The lowest bits depend on the last bytes only.
    hash ^ (hash >> 32)
}

/// One slot for each unit of weight, spread evenly: the slots of a node with weight w are in the middle of w equal parts of the
/// cycle. Nodes of one weight alternate strictly, because their slots are in the same places.
fn slots(weights: &[(usize, u32)]) -> Vec<usize> {
    let common = weights
        .iter()
        .fold(0, |common, (_, weight)| gcd(common, *weight));
    let mut slots: Vec<_> = weights
        .iter()
        .flat_map(|(index, weight)| {
            let weight = weight / common.max(1);
            (0..weight).map(move |n| (2 * n + 1, weight, *index))
        })
        .collect();
    // Compares the places (2n + 1) / 2w as fractions.
    slots.sort_by(|(odd, weight, index), (other_odd, other_weight, other)| {
        (odd * other_weight)
            .cmp(&(other_odd * weight))
            .then(index.cmp(other))
    });
    slots.into_iter().map(|(_, _, index)| index).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
