//! The events of one session that the feed has not delivered yet.

use mongodb::bson::{Bson, DateTime, Document, deserialize_from_document, doc};

use crate::domain::id::SessionId;
use crate::store::mongo::MongoStore;
use crate::store::mongo::documents::{COMMIT_TIME, COMMIT_TIMES};
use crate::store::mongo::tail::{CommitTimes, StoredEvent};
use crate::store::record::EventRecord;
use crate::store::{FeedEvent, StoreError, UnreadableEvent};

/// How much the times recorded by one write may differ, in milliseconds.
const STAMP_SLACK: i64 = 1000;
/// An event of a former version has no server time. Its own time is used, with this tolerance for the instances' clocks, in
/// milliseconds.
pub(super) const UNSTAMPED_SLACK: i64 = 3_600_000;

/// Which of a session's events are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// Those after this one.
    Sequence(i64),
    /// Those committed at or after this time.
    Time(i64),
}

impl Since {
    fn wants(self, event: &Document, committed: Option<DateTime>) -> bool {
        match (self, committed) {
            (Self::Sequence(sequence), _) => event.sequence() > sequence,
            (Self::Time(time), Some(committed)) => {
                committed.timestamp_millis() >= time.saturating_sub(STAMP_SLACK)
            }
            // An event without any time is damaged, and is reported.
            (Self::Time(time), None) => event
                .get_i64("time_ms")
                .map_or(true, |own| own >= time.saturating_sub(UNSTAMPED_SLACK)),
        }
    }

    /// Finds the wanted archived events before a sequence.
    pub(super) fn archive_filter(self, session_id: &str, before: i64) -> Document {
        match self {
            Self::Sequence(after) => {
                doc! {"session_id": session_id, "sequence": {"$gt": after, "$lt": before}}
            }
            Self::Time(time) => {
                let committed = DateTime::from_millis(time.saturating_sub(STAMP_SLACK));
                doc! {"session_id": session_id, "sequence": {"$lt": before}, "$or": [
                    {COMMIT_TIME: {"$gte": committed}},
                    {COMMIT_TIME: {"$exists": false}, "time_ms": {"$gte": time.saturating_sub(UNSTAMPED_SLACK)}},
                ]}
            }
        }
    }
}

/// The part of a session's document that the feed reads.
pub(super) struct StoredSession {
    pub(super) session_id: String,
    version: i64,
    tail: Vec<Document>,
    commit_times: CommitTimes,
}

/// A document's version; -1, which is no version, if it is damaged.
pub(super) fn version_of(document: &Document) -> i64 {
    document.get_i64("version").unwrap_or(-1)
}

impl StoredSession {
    /// Reads a document, which may be damaged.
    pub(super) fn of(document: Document) -> Option<Self> {
        let mut document = document;
        let tail = match document.remove("tail") {
            Some(Bson::Array(events)) => events,
            _ => Vec::new(),
        };
        let tail = tail.into_iter().filter_map(|event| match event {
            Bson::Document(event) => Some(event),
            _ => None,
        });
        let commit_times = match document.remove(COMMIT_TIMES) {
            Some(Bson::Document(times)) => times,
            _ => Document::new(),
        };
        Some(Self {
            session_id: document.get_str("_id").ok()?.to_owned(),
            version: version_of(&document),
            tail: tail.collect(),
            commit_times: CommitTimes(commit_times),
        })
    }
}

/// A session's events for one page.
pub(super) struct SessionEvents {
    pub(super) events: Vec<FeedEvent>,
    /// The last event that was delivered, or skipped as not wanted.
    pub(super) up_to: i64,
    /// Whether there are no more.
    pub(super) complete: bool,
}

impl MongoStore {
    /// A session's wanted events; at most `limit` from the archive.
    pub(super) async fn events_of(
        &self,
        session: StoredSession,
        since: Since,
        limit: usize,
    ) -> Result<SessionEvents, StoreError> {
        let StoredSession {
            session_id,
            version,
            tail,
            commit_times,
        } = session;
        let oldest = tail.first().map_or(version + 1, StoredEvent::sequence);
        let wanted = |event: &Document| since.wants(event, commit_times.of(event.sequence()));
        let may_be_archived = match since {
            Since::Sequence(after) => after < oldest - 1,
            Since::Time(_) => oldest > 1 && tail.first().is_none_or(wanted),
        };
        let archived = if may_be_archived {
            self.archived_since(&session_id, oldest, since, limit)
                .await?
        } else {
            Vec::new()
        };
        let session_id = SessionId::from_stored(session_id);
        let event = |event| parse(&session_id, event);
        // The limit was reached, so there may be more.
        if archived.len() >= limit {
            let up_to = archived.last().map_or(0, StoredEvent::sequence);
            return Ok(SessionEvents {
                events: archived.into_iter().map(event).collect(),
                up_to,
                complete: false,
            });
        }
        let newest = tail.into_iter().filter(wanted);
        Ok(SessionEvents {
            events: archived.into_iter().chain(newest).map(event).collect(),
            up_to: version,
            complete: true,
        })
    }
}

fn parse(session_id: &SessionId, event: Document) -> FeedEvent {
    let sequence = event.sequence();
    let record: Result<EventRecord, _> = deserialize_from_document(event);
    // The parser's message can quote a value.
    let event = record
        .map_err(|_| StoreError::corrupt("an event with an unexpected structure"))
        .and_then(|record| record.into_event(session_id));
    event.map_err(|error| UnreadableEvent {
        session_id: session_id.clone(),
        sequence,
        error: error.about(session_id),
    })
}
