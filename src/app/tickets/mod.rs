//! Tickets: what a participant needs to exchange media, issued by the driver of the session's node.

mod ice;

pub use ice::{Config as IceConfig, IcePolicy, IceServer};

use std::sync::Arc;

use serde::Serialize;

use super::clock::Clock;
use super::nodes::Nodes;
use crate::domain::error::Error;
use crate::domain::id::{NodeId, UserId};
use crate::domain::place::{Driver, Place};
use crate::domain::role::Role;
use crate::domain::session::Session;

/// What one participant needs to exchange media in a session's place. JoinSession's `sfu` and the page's `connected` are made
/// from it. Holds credentials: never log it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The session's node.
    pub node_id: NodeId,
    /// The node's address for participants; empty if the node is unknown or has none.
    pub url: String,
    /// The driver's part.
    pub media: Media,
}

/// The driver's part of a ticket: one variant per driver. A page receives it as part of `connected`, with the driver's
/// name as `media`; docs/signalling.md lists its fields.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "media", rename_all = "kebab-case")]
pub enum Media {
    /// Browsers connect to each other, without a media server.
    Builtin {
        /// The STUN and TURN servers, for RTCPeerConnection.
        ice_servers: Vec<IceServer>,
        /// The connections that browsers may use.
        ice_policy: IcePolicy,
    },
}

/// Issues tickets. The only part of the service that asks a node about a participant.
pub struct Tickets {
    ice: IceConfig,
    nodes: Arc<Nodes>,
    clock: Arc<dyn Clock>,
}

impl Tickets {
    /// Uses the settings of each driver.
    pub fn new(ice: IceConfig, nodes: Arc<Nodes>, clock: Arc<dyn Clock>) -> Self {
        Self { ice, nodes, clock }
    }

    /// Issues the ticket of a participant who is about to join a session.
    ///
    /// Call it before the commit that records the participant, and without a lock: a driver may ask its node over the network, and
    /// if that fails, the session must not record a participant without a ticket. The driver limits how long it waits.
    ///
    /// # Errors
    /// Those of the session's driver. The builtin driver has none.
    pub async fn issue_ticket(
        &self,
        session: &Session,
        _user_id: &UserId,
        _role: Role,
    ) -> Result<Ticket, Error> {
        match session.place.driver {
            Driver::Builtin => Ok(self.builtin_ticket(&session.place)),
        }
    }

    /// The ticket, if the driver can issue it without asking its node.
    pub(super) fn ticket_at_once(&self, session: &Session) -> Option<Ticket> {
        match session.place.driver {
            Driver::Builtin => Some(self.builtin_ticket(&session.place)),
        }
    }

    fn builtin_ticket(&self, place: &Place) -> Ticket {
        Ticket {
            node_id: place.node_id.clone(),
            url: self.nodes.url(&place.node_id),
            media: Media::Builtin {
                ice_servers: self.ice.servers(self.clock.now()),
                ice_policy: self.ice.policy,
            },
        }
    }
}
