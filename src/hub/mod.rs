//! What participants say to each other, carried to whichever instance holds their connections.
//!
//! Only this crosses instances by the hub: relayed messages. All that the service itself has to say follows from the
//! session's events, which every instance reads from the store; so a message that the hub loses is one that a page repeats
//! or does without (an ICE candidate, an emoji), never a removal or an end.

pub mod connections;

use std::sync::Arc;

use crate::domain::id::{SessionId, UserId};
use connections::Connections;

/// A message from one participant to another, or to all others, of a session.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The session.
    pub session_id: SessionId,
    /// Who said it.
    pub from: UserId,
    /// For whom; `None` for everybody else.
    pub to: Option<UserId>,
    /// The message, as it goes to their pages.
    pub text: Arc<str>,
}

/// Carries relayed messages. Never waits.
pub trait Hub: Send + Sync {
    /// Hands the message to every instance that may hold its receivers, this one included.
    fn relay(&self, relay: Relay);
}

/// Reaches the connections of this process.
pub struct LocalHub(Arc<Connections>);

impl LocalHub {
    /// A hub over these connections.
    pub fn new(connections: Arc<Connections>) -> Self {
        Self(connections)
    }
}

impl Hub for LocalHub {
    fn relay(&self, relay: Relay) {
        self.0.deliver(&relay);
    }
}
