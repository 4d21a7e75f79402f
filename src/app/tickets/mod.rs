//! Tickets: what the driver of a session's node gives a participant to exchange media with the others.

mod ice;

pub use ice::{Config as IceConfig, IcePolicy, IceServer};

use std::sync::Arc;

use serde::Serialize;

use super::clock::Clock;
use crate::domain::access::Role;
use crate::domain::error::Error;
use crate::domain::id::UserId;
use crate::domain::session::Session;

/// What one participant needs to exchange media: one variant a driver. A page receives it as part of `connected`, with the
/// driver's name as `media`; docs/signalling.md lists its fields. Holds credentials: never log it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "media", rename_all = "kebab-case")]
pub enum Ticket {
    /// Browsers connect to each other, without a media server.
    Builtin {
        /// The STUN and TURN servers, for RTCPeerConnection.
        ice_servers: Vec<IceServer>,
        /// Which ways to each other browsers may use.
        ice_policy: IcePolicy,
    },
}

/// Issues tickets. The only part of the service that asks a node about a participant.
pub struct Tickets {
    ice: IceConfig,
    clock: Arc<dyn Clock>,
}

impl Tickets {
    /// With the settings of each driver.
    pub fn new(ice: IceConfig, clock: Arc<dyn Clock>) -> Self {
        Self { ice, clock }
    }

    /// The ticket of a participant who is about to join a session.
    ///
    /// Call it before the commit that tells of the participant, and under no lock: a driver may ask its node over the network,
    /// and when that fails the session must not tell of a participant who has no ticket. A driver limits its own waiting.
    ///
    /// # Errors
    /// Those of the session's driver. The builtin driver has none.
    pub async fn issue_ticket(
        &self,
        _session: &Session,
        _user_id: &UserId,
        _role: Role,
    ) -> Result<Ticket, Error> {
        // Every node has the builtin driver so far. Another driver is chosen here, by the session's place, and awaited.
        Ok(Ticket::Builtin {
            ice_servers: self.ice.servers(self.clock.now()),
            ice_policy: self.ice.policy,
        })
    }
}
