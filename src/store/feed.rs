//! The port of the feed: all sessions' events.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::event::Event;
use crate::domain::id::SessionId;

/// A position in the feed. Opaque: only the store that issued it can read it; later versions of that store can too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedCursor(String);

impl FeedCursor {
    /// Before the first event of every session. The same for every store.
    pub fn start() -> Self {
        Self::default()
    }

    /// Restores a stored cursor.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The text to store. At most some kilobytes under little load; grows to some hundred kilobytes with the number of sessions
    /// that change at the same time.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is before the first event.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why the feed could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The cursor is not a position in this feed: it is damaged, of another store, or ahead of the store, for example after a
    /// backup was restored. Both stores keep every event, so no cursor is too old for them; a store that deletes events must
    /// answer this for a cursor before its oldest event.
    #[error("the cursor is not a position in this feed: {0}")]
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

/// An event, or the identity of an unreadable one, which must not block later events.
pub type FeedEvent = Result<Event, UnreadableEvent>;

/// Some of the feed's events.
#[derive(Debug)]
pub struct FeedPage {
    /// The events: in order within a session, in any order between sessions.
    pub events: Vec<FeedEvent>,
    /// The next cursor. Store it after handling the events.
    pub next: FeedCursor,
    /// Whether more events are available now.
    pub more: bool,
}

/// The events of all sessions, as one feed.
///
/// Reading from a cursor returns each later event at least once. An event may repeat, together with those after it; its first
/// delivery follows all earlier events of its session. Without new events, pages soon become and stay empty. A read costs a
/// bounded number of queries, none of which scans.
#[async_trait]
pub trait EventFeed: Send + Sync {
    /// The position after the newest committed event.
    async fn now(&self) -> Result<FeedCursor, StoreError>;

    /// Events after a position, about `limit` at most: a page may contain some more to complete a session's.
    async fn read(&self, from: &FeedCursor, limit: usize) -> Result<FeedPage, FeedError>;
}
