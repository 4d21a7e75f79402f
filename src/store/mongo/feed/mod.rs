//! The events of all sessions. Each change lets the server record its time (`commit_time`) in the same write, with an index on it;
//! the feed reads the sessions in the order of these times.
//!
//! A write may become visible after another one that has a later time. So a cursor stays `feed_overlap` behind the newest
//! time, and names the sessions after it that were already handled: those are read again only if their version has changed.
//!
//! A page needs one query of the index, one of the changed documents, and one of the archive if a session has more new events
//! than its document contains.

mod cursor;
mod events;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{DateTime, Document, doc};

use super::MongoStore;
use super::documents::{COMMIT_TIME, COMMIT_TIMES};
use super::error::within;
use crate::domain::time::Timestamp;
use crate::store::{EventFeed, FeedCursor, FeedError, FeedPage, StoreError, StoreHealth as _};
use cursor::{Position, Progress, Seen};
use events::{SessionEvents, Since, StoredSession, UNSTAMPED_SLACK};

/// The most documents that a page reads.
const DOCUMENTS_MAX: usize = 100;
/// The most sessions that a cursor names. If more change within the overlap, it keeps the newest.
const SEEN_MAX: usize = 4096;

/// A session's entry in the index.
#[derive(Debug, Clone)]
struct Entry {
    session_id: String,
    /// -1 for a damaged document, which must not block others.
    version: i64,
    commit_time: DateTime,
}

impl Entry {
    fn of(document: &Document) -> Option<Self> {
        Some(Self {
            session_id: document.get_str("_id").ok()?.to_owned(),
            version: events::version_of(document),
            commit_time: *document.get_datetime(COMMIT_TIME).ok()?,
        })
    }

    fn position(&self) -> Position {
        Position {
            time: self.commit_time.timestamp_millis(),
            session_id: self.session_id.clone(),
        }
    }
}

#[async_trait]
impl EventFeed for MongoStore {
    async fn now(&self) -> Result<FeedCursor, StoreError> {
        let Some(newest) = self.newest_entry().await? else {
            // No change has a time yet.
            let now = self.server_time().await?.map_or(0, Timestamp::as_millis);
            return Ok(Progress::begin(now - UNSTAMPED_SLACK, Position::default()).cursor());
        };
        let settled = millis_before(newest.commit_time, self.feed_overlap);
        let before = Position {
            time: settled,
            session_id: String::new(),
        };
        let recent = self.entries_after(&before, SEEN_MAX).await?;
        let mut progress = Progress::begin(settled, before);
        progress.seen = recent
            .iter()
            .map(|entry| (entry.session_id.clone(), entry.version))
            .collect();
        Ok(progress.cursor())
    }

    async fn read(&self, from: &FeedCursor, limit: usize) -> Result<FeedPage, FeedError> {
        let progress = Progress::parse(from)?;
        let documents_max = limit.clamp(1, DOCUMENTS_MAX);
        let entries_max = progress.seen.len() + documents_max + 1;
        let entries = self.entries_after(&progress.after, entries_max).await?;
        let is_end = entries.len() < entries_max;
        let fresh: Vec<String> = entries
            .iter()
            .filter(|entry| progress.seen.get(&entry.session_id) != Some(&entry.version))
            .map(|entry| entry.session_id.clone())
            .take(documents_max)
            .collect();
        let mut stored = self.stored_sessions(fresh).await?;
        let mut page = Page::new(progress, entries.len());
        for entry in &entries {
            let is_known = page.progress.seen.get(&entry.session_id) == Some(&entry.version);
            let complete = if is_known {
                page.skip_known(entry);
                true
            } else {
                match stored.remove(&entry.session_id) {
                    Some(session) if page.events.len() < limit => {
                        let since = page.progress.since(&entry.session_id, entry.version);
                        let found = self.events_of(session, since, limit).await?;
                        page.add_events(entry, found)
                    }
                    // It was deleted in the meantime, or belongs to the next page.
                    _ => false,
                }
            };
            if !complete {
                page.stop();
                break;
            }
        }
        Ok(page.finish(is_end, self.feed_overlap))
    }
}

/// A page under construction.
struct Page {
    progress: Progress,
    events: Vec<crate::store::FeedEvent>,
    /// The handled entries, in order.
    passed: Vec<Position>,
    /// The handled sessions, for the cursor.
    seen: Seen,
    stopped: bool,
}

impl Page {
    fn new(progress: Progress, entries: usize) -> Self {
        Self {
            progress,
            events: Vec::new(),
            passed: Vec::with_capacity(entries),
            seen: Seen::new(),
            stopped: false,
        }
    }

    /// Skips a session whose version was already handled.
    fn skip_known(&mut self, entry: &Entry) {
        self.passed.push(entry.position());
        self.seen.insert(entry.session_id.clone(), entry.version);
    }

    /// Adds a session's events. True if those were all of them.
    fn add_events(&mut self, entry: &Entry, found: SessionEvents) -> bool {
        let SessionEvents {
            events,
            up_to,
            complete,
        } = found;
        self.events.extend(events);
        self.seen.insert(entry.session_id.clone(), up_to);
        if complete {
            self.passed.push(entry.position());
        }
        complete
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn finish(self, is_end: bool, overlap: Duration) -> FeedPage {
        let Self {
            mut progress,
            events,
            passed,
            mut seen,
            stopped,
        } = self;
        let caught_up = is_end && !stopped;
        if !caught_up {
            // Sessions that this page did not reach come later.
            for (session_id, version) in std::mem::take(&mut progress.seen) {
                seen.entry(session_id).or_insert(version);
            }
        }
        progress.advance(&passed, seen, overlap);
        if caught_up {
            progress.complete = progress.complete.max(progress.after.time);
        }
        FeedPage {
            events,
            next: progress.cursor(),
            more: !caught_up,
        }
    }
}

fn millis_before(time: DateTime, overlap: Duration) -> i64 {
    let overlap = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
    time.timestamp_millis().saturating_sub(overlap)
}

impl MongoStore {
    /// The session that changed last.
    async fn newest_entry(&self) -> Result<Option<Entry>, StoreError> {
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let newest = within(self.timeout, async move {
            sessions
                .find_one(doc! {COMMIT_TIME: {"$gte": DateTime::from_millis(0)}})
                .sort(doc! {COMMIT_TIME: -1, "_id": -1})
                .projection(doc! {COMMIT_TIME: 1, "version": 1})
                .await
        })
        .await?;
        Ok(newest.as_ref().and_then(Entry::of))
    }

    /// The index entries after a position.
    async fn entries_after(
        &self,
        after: &Position,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let time = DateTime::from_millis(after.time);
        let filter = doc! {"$or": [
            {COMMIT_TIME: time, "_id": {"$gt": after.session_id.as_str()}},
            {COMMIT_TIME: {"$gt": time}, "_id": {"$gte": ""}},
        ]};
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found: Vec<Document> = within(self.timeout, async move {
            let cursor = sessions
                .find(filter)
                .sort(doc! {COMMIT_TIME: 1, "_id": 1})
                .projection(doc! {COMMIT_TIME: 1, "version": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect(cursor).await
        })
        .await?;
        Ok(found.iter().filter_map(Entry::of).collect())
    }

    /// Reads documents by id, with their events.
    async fn stored_sessions(
        &self,
        session_ids: Vec<String>,
    ) -> Result<HashMap<String, StoredSession>, StoreError> {
        if session_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let found: Vec<Document> = within(self.timeout, async move {
            let cursor = sessions
                .find(doc! {"_id": {"$in": session_ids}})
                .projection(doc! {"version": 1, "tail": 1, COMMIT_TIMES: 1})
                .await?;
            futures::TryStreamExt::try_collect(cursor).await
        })
        .await?;
        let by_id = found
            .into_iter()
            .filter_map(StoredSession::of)
            .map(|session| (session.session_id.clone(), session));
        Ok(by_id.collect())
    }

    /// A session's wanted events in the archive.
    async fn archived_since(
        &self,
        session_id: &str,
        before: i64,
        since: Since,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let archive = self.database.collection::<Document>(super::tail::ARCHIVE);
        let filter = since.archive_filter(session_id, before);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        within(self.timeout, async move {
            let cursor = archive
                .find(filter)
                .sort(doc! {"sequence": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect(cursor).await
        })
        .await
    }
}
