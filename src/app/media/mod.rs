//! What a participant's page needs to exchange media.

mod ice;

pub use ice::{Config as IceConfig, IcePolicy, IceServer};

use std::sync::Arc;

use serde::Serialize;

use super::clock::Clock;
use crate::domain::medium::Medium;
use crate::domain::place::Driver;
use crate::domain::session::Session;

/// How long the credentials for a test before the call are valid, in seconds. Whoever has a link may ask for as many as they like.
const TEST_SECS: u64 = 120;

/// What a page needs to exchange media: a part of `connected` and of `media-changed`; docs/signalling.md lists its fields. Holds
/// credentials: never log it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "media", rename_all = "lowercase")]
pub enum PageMedia {
    /// Browsers connect to each other, without a media server.
    Builtin(Ice),
    /// The session's LiveKit node carries the call. The page has no token for it: it signals through the service's door.
    LiveKit(Door),
    /// The same, and the pages encrypt from end to end. A value of its own, so that a page which cannot do that does not take part.
    #[serde(rename = "livekit-e2ee")]
    EncryptedLiveKit(Door),
    /// The session's OpenVidu node carries the call. Pages cannot take part in it.
    OpenVidu,
}

/// How a page reaches its node.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Door {
    /// The door's path for this participant and this place.
    pub url: String,
    /// The generation of the session's place.
    pub generation: i64,
    /// The servers and the policy for the connection to the node.
    #[serde(flatten)]
    pub ice: Ice,
}

/// How browsers find a way to each other or to the node.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Ice {
    /// The STUN and TURN servers, for RTCPeerConnection.
    pub ice_servers: Vec<IceServer>,
    /// The connections that browsers may use.
    pub ice_policy: IcePolicy,
}

/// Says what pages need, without asking a node: a page reaches its node through the service's door.
pub struct PageMediaSource {
    ice: IceConfig,
    clock: Arc<dyn Clock>,
}

impl PageMediaSource {
    /// Uses the settings of ICE.
    pub fn new(ice: IceConfig, clock: Arc<dyn Clock>) -> Self {
        Self { ice, clock }
    }

    /// How one participant's browser finds a way, with credentials that expire.
    pub(super) fn ice(&self) -> Ice {
        self.ice_for(self.ice.turn_ttl_secs)
    }

    /// The same, for a test before the call.
    pub(super) fn ice_for_test(&self) -> Ice {
        self.ice_for(self.ice.turn_ttl_secs.min(TEST_SECS))
    }

    fn ice_for(&self, ttl_secs: u64) -> Ice {
        Ice {
            ice_servers: self.ice.servers(self.clock.now(), ttl_secs),
            ice_policy: self.ice.policy,
        }
    }

    /// What a participant's page needs. `door` is the path of the door for this participant.
    pub(super) fn of(&self, session: &Session, door: &str) -> PageMedia {
        let ice = self.ice();
        match (session.medium, session.place.driver) {
            (Medium::PeerToPeer, _) | (Medium::Sfu, Driver::Builtin) => PageMedia::Builtin(ice),
            (Medium::Sfu, Driver::LiveKit) => {
                let generation = session.place.generation;
                let door = Door {
                    url: format!("{door}/{generation}"),
                    generation,
                    ice,
                };
                if session.end_to_end_encrypted {
                    PageMedia::EncryptedLiveKit(door)
                } else {
                    PageMedia::LiveKit(door)
                }
            }
            (Medium::Sfu, Driver::OpenVidu) => PageMedia::OpenVidu,
        }
    }
}
