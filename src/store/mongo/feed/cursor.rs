//! The feed's cursor.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SEEN_MAX;
use super::events::Since;
use crate::store::{FeedCursor, FeedError};

/// The prefix of this store's cursors.
const PREFIX: &str = "mongo-1:";

/// Sessions, each with its last handled event.
pub(super) type Seen = BTreeMap<String, i64>;

/// A position in the index of the sessions' times.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    /// Milliseconds since the epoch, by the server's clock.
    #[serde(rename = "t")]
    pub(super) time: i64,
    /// The last session at that time.
    #[serde(rename = "s")]
    pub(super) session_id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// All events committed before this time are handled, also of sessions that changed since and moved ahead in the index.
    /// Advances only when the feed is read to its end.
    #[serde(rename = "c")]
    pub(super) complete: i64,
    /// The sessions up to this position are handled, in their version at that time.
    #[serde(rename = "a")]
    pub(super) after: Position,
    /// The handled sessions after that position.
    #[serde(rename = "n")]
    pub(super) seen: Seen,
}

impl Progress {
    /// Progress with nothing handled after a position.
    pub(super) fn begin(complete: i64, after: Position) -> Self {
        Self {
            complete,
            after,
            seen: Seen::new(),
        }
    }

    pub(super) fn parse(cursor: &FeedCursor) -> Result<Self, FeedError> {
        if cursor.is_start() {
            return Ok(Self::default());
        }
        let text = cursor.as_str().strip_prefix(PREFIX);
        text.and_then(|text| serde_json::from_str(text).ok())
            .ok_or(FeedError::Cursor("it is not of the MongoDB store"))
    }

    pub(super) fn cursor(&self) -> FeedCursor {
        // A struct of texts and numbers can always be written.
        let text = serde_json::to_string(self).unwrap_or_default();
        FeedCursor::from_stored(format!("{PREFIX}{text}"))
    }

    /// The start of a session's wanted events.
    pub(super) fn since(&self, session_id: &str, version: i64) -> Since {
        match self.seen.get(session_id) {
            Some(sequence) if *sequence <= version => Since::Sequence(*sequence),
            // Never seen, or reset to an older version by a backup.
            _ => Since::Time(self.complete),
        }
    }

    /// Advances to the last handled entry before which no write can become visible any more.
    pub(super) fn advance(&mut self, passed: &[Position], seen: Seen, overlap: Duration) {
        self.seen = seen;
        let overlap = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
        let Some(newest) = passed.last() else {
            return;
        };
        let settled = newest.time.saturating_sub(overlap);
        let by_time = passed.partition_point(|entry| entry.time <= settled);
        let too_many = self.seen.len().saturating_sub(SEEN_MAX).min(passed.len());
        let behind = by_time.max(too_many);
        let Some(last) = behind.checked_sub(1).and_then(|last| passed.get(last)) else {
            return;
        };
        self.after = last.clone();
        for entry in &passed[..behind] {
            // A server with finer times than milliseconds returns the last entry again.
            if entry.time < last.time || self.seen.len() > SEEN_MAX {
                self.seen.remove(&entry.session_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: i64) -> Position {
        Position {
            time,
            session_id: format!("sess_{time}"),
        }
    }

    fn handled(times: impl Iterator<Item = i64>) -> (Vec<Position>, Seen) {
        let entries: Vec<_> = times.map(entry).collect();
        let seen = entries.iter().map(|entry| (entry.session_id.clone(), 1));
        let seen = seen.collect();
        (entries, seen)
    }

    #[test]
    fn the_overlap_is_read_again() {
        let mut progress = Progress::default();
        let (entries, seen) = handled((0..10).map(|n| n * 1000));
        progress.advance(&entries, seen, Duration::from_secs(3));
        assert_eq!(progress.after, entry(6000));
        let named: Vec<_> = progress.seen.keys().collect();
        assert_eq!(named, ["sess_6000", "sess_7000", "sess_8000", "sess_9000"]);
        assert_eq!(progress.since("sess_8000", 2), Since::Sequence(1));
        assert_eq!(progress.since("sess_5000", 2), Since::Time(0));
        assert_eq!(progress.since("sess_8000", 0), Since::Time(0));
    }

    #[test]
    fn a_cursor_names_a_bounded_number_of_sessions() {
        let mut progress = Progress::default();
        let count = i64::try_from(SEEN_MAX).unwrap() + 5;
        let (entries, seen) = handled(0..count);
        progress.advance(&entries, seen, Duration::from_secs(60));
        assert_eq!(progress.seen.len(), SEEN_MAX);
        assert_eq!(progress.after, entry(4), "the newest ones stay");
    }

    #[test]
    fn cursors_parse_and_other_texts_are_refused() {
        let mut progress = Progress::begin(7, entry(9));
        progress.seen.insert("sess_\"1".to_owned(), 3);
        assert_eq!(Progress::parse(&progress.cursor()).unwrap(), progress);
        assert_eq!(
            Progress::parse(&FeedCursor::start()).unwrap(),
            Progress::default()
        );
        for text in ["sqlite-1:7", "mongo-1:", "mongo-1:{}", "mongo-2:{}", "x"] {
            let parsed = Progress::parse(&FeedCursor::from_stored(text.to_owned()));
            assert!(matches!(parsed, Err(FeedError::Cursor(_))), "{text}");
        }
    }
}
