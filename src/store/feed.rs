//! The port of all sessions' events.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::event::Event;
use crate::domain::id::SessionId;

/// A position in the feed. Opaque: only the store that gave it knows what it says, and a later version of the store still does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedCursor(String);

impl FeedCursor {
    /// Before the first event of every session. The same for every store.
    pub fn start() -> Self {
        Self::default()
    }

    /// A cursor that was stored as a text.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text to store. Some kilobytes at the most while little is going on; grows with the number of sessions that change at
    /// the same time, up to some hundred.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands before everything.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why the feed could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The cursor is no position in this feed: it is damaged, of another store, or ahead of all that the store holds, as after
    /// a backup was restored. Both stores keep every event, so that no cursor is ever too old for them; a store that forgets
    /// events answers this for a cursor before those that it keeps.
    #[error("the cursor is no position in this feed: {0}")]
    Cursor(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An event of the feed that this version cannot read.
#[derive(Debug)]
pub struct UnreadableEvent {
    /// Its session.
    pub session_id: SessionId,
    /// Its number in the session.
    pub sequence: i64,
    /// Why it cannot be read.
    pub error: StoreError,
}

/// An event, or what is known of one that cannot be read: it must not hold up those after it.
pub type FeedEvent = Result<Event, UnreadableEvent>;

/// Some of the feed's events.
#[derive(Debug)]
pub struct FeedPage {
    /// The events. In a session's order; those of different sessions in any order.
    pub events: Vec<FeedEvent>,
    /// Where to go on. Store it after dealing with the events.
    pub next: FeedCursor,
    /// Whether there was more to read at once.
    pub more: bool,
}

/// The events of all sessions, as one feed.
///
/// Each event that is committed after a cursor was given comes at least once when one reads on from it. An event may come
/// again, with those after it; for the first time, it comes after all that precede it in its session. Where nothing happens,
/// pages are soon empty and stay so. Reading costs a bounded number of queries, none of which scans.
#[async_trait]
pub trait EventFeed: Send + Sync {
    /// The position after all that is committed now.
    async fn now(&self) -> Result<FeedCursor, StoreError>;

    /// Events after a position, about `limit` at the most: a page may hold some more in order to end a session's.
    async fn read(&self, from: &FeedCursor, limit: usize) -> Result<FeedPage, FeedError>;
}
