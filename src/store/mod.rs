//! The stores: one port per aggregate. tests/conformance holds every implementation to the ports' promises.

mod error;
mod feed;
mod health;
mod instance;
pub mod mongo;
mod node;
pub mod observed;
mod record;
mod session;
pub mod sqlite;

use std::sync::Arc;

pub use error::StoreError;
pub use feed::{EventFeed, FeedCursor, FeedError, FeedEvent, FeedPage, UnreadableEvent};
pub use health::StoreHealth;
pub use instance::{Heartbeat, InstanceStore};
pub use node::{NODE_RECORDS_MAX, NodeStore};
pub use session::{
    AtTurn, Committed, Insert, Inserted, ListedSession, NewSession, OverdueBounds, SessionStore,
    UnreadableSession,
};

/// The ports of one store.
#[derive(Clone)]
pub struct Stores {
    /// Sessions and their events.
    pub sessions: Arc<dyn SessionStore>,
    /// The instances that share the store.
    pub instances: Arc<dyn InstanceStore>,
    /// The SFU nodes.
    pub nodes: Arc<dyn NodeStore>,
    /// The events of all sessions.
    pub feed: Arc<dyn EventFeed>,
    /// The store as a whole.
    pub health: Arc<dyn StoreHealth>,
}

impl Stores {
    /// The ports of a store that has all of them.
    pub fn of<S>(store: Arc<S>) -> Self
    where
        S: SessionStore + InstanceStore + NodeStore + EventFeed + StoreHealth + 'static,
    {
        Self {
            sessions: Arc::clone(&store) as Arc<dyn SessionStore>,
            instances: Arc::clone(&store) as Arc<dyn InstanceStore>,
            nodes: Arc::clone(&store) as Arc<dyn NodeStore>,
            feed: Arc::clone(&store) as Arc<dyn EventFeed>,
            health: store,
        }
    }
}
