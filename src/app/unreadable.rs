//! Sessions that this instance cannot read: damaged ones, and those that a newer version wrote. They are set aside so that they do
//! not block others, and logged once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::id::SessionId;
use crate::store::StoreError;
use crate::telemetry::metrics::Metrics;

/// The part of a session that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnreadablePart {
    /// Its record.
    Record,
    /// Data beside its record, so that it cannot be changed. Only another change shows whether it was repaired.
    Commit,
    /// One of the events after this sequence. The session itself can be changed, and ended.
    Events {
        /// The sequence after which they were read.
        after: i64,
    },
}

impl UnreadablePart {
    /// Whether background tasks must skip the session.
    fn blocks_changes(self) -> bool {
        match self {
            Self::Record | Self::Commit => true,
            Self::Events { .. } => false,
        }
    }
}

/// How many sessions are set aside, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct UnreadableConfig {
    /// How long until a session is tried again.
    pub retry: Duration,
    /// The maximum number of sessions set aside.
    pub max: usize,
}

/// The sessions that are set aside.
///
/// When it is full, further sessions are not set aside: background tasks try them every time, and the log does not name them. So
/// many unreadable sessions mean a damaged store, which is logged as an ERROR.
pub(super) struct Unreadable {
    config: UnreadableConfig,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<SessionId, Entry>,
    /// What was logged: the sessions, and whether they cannot be changed. Limited like `entries`.
    logged: HashSet<(SessionId, bool)>,
    /// Whether it was logged that the limit is reached.
    full: bool,
}

struct Entry {
    part: UnreadablePart,
    retry_at: Instant,
}

impl Unreadable {
    pub(super) fn new(config: UnreadableConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            config,
            metrics,
            inner: Mutex::default(),
        }
    }

    /// Sets a session aside, and logs it unless it is set aside already.
    pub(super) fn set_aside(
        &self,
        session_id: &SessionId,
        part: UnreadablePart,
        error: &StoreError,
        now: Instant,
    ) {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get_mut(session_id) {
            if entry.part.blocks_changes() || !part.blocks_changes() {
                return;
            }
            entry.part = part;
        } else if inner.entries.len() >= self.config.max {
            if !std::mem::replace(&mut inner.full, true) {
                tracing::error!(
                    set_aside = inner.entries.len(),
                    "more than UNREADABLE_SESSIONS_MAX sessions cannot be read; the store is damaged, restore a backup"
                );
            }
            return;
        } else {
            let retry_at = now + self.config.retry;
            let entry = Entry { part, retry_at };
            inner.entries.insert(session_id.clone(), entry);
        }
        self.metrics.set_unreadable_sessions(inner.entries.len());
        if inner.logged.len() >= 2 * self.config.max
            || !inner
                .logged
                .insert((session_id.clone(), part.blocks_changes()))
        {
            return;
        }
        drop(inner);
        let error = error.chain();
        match part {
            UnreadablePart::Record => tracing::error!(
                session_id = session_id.as_str(),
                error,
                "a session cannot be read and is set aside"
            ),
            UnreadablePart::Commit => tracing::error!(
                session_id = session_id.as_str(),
                error,
                "a session cannot be changed and is set aside"
            ),
            UnreadablePart::Events { .. } => tracing::error!(
                session_id = session_id.as_str(),
                error,
                "an event of a session cannot be read"
            ),
        }
    }

    /// The number of sessions set aside.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether background tasks must skip a session.
    pub(super) fn contains(&self, session_id: &SessionId) -> bool {
        let inner = self.lock();
        let entry = inner.entries.get(session_id);
        entry.is_some_and(|entry| entry.part.blocks_changes())
    }

    /// Sessions that are due for another try, at most `limit`.
    pub(super) fn due(&self, now: Instant, limit: usize) -> Vec<(SessionId, UnreadablePart)> {
        let inner = self.lock();
        let due = inner
            .entries
            .iter()
            .filter(|(_, entry)| entry.retry_at <= now);
        due.map(|(session_id, entry)| (session_id.clone(), entry.part))
            .take(limit)
            .collect()
    }

    /// Schedules another try of a session that still cannot be read.
    pub(super) fn postpone(&self, session_id: &SessionId, now: Instant) {
        if let Some(entry) = self.lock().entries.get_mut(session_id) {
            entry.retry_at = now + self.config.retry;
        }
    }

    /// Lets background tasks try a session again, because only a change shows whether it can be changed. If it still cannot, it is
    /// not logged again.
    pub(super) fn clear_for_retry(&self, session_id: &SessionId) {
        let mut inner = self.lock();
        if inner.entries.remove(session_id).is_some() {
            inner.full = false;
            self.metrics.set_unreadable_sessions(inner.entries.len());
        }
    }

    /// Releases a session that can be read again, or no longer exists.
    pub(super) fn release(&self, session_id: &SessionId) {
        let mut inner = self.lock();
        if inner.entries.remove(session_id).is_some() {
            inner.full = false;
            for blocks_changes in [true, false] {
                inner.logged.remove(&(session_id.clone(), blocks_changes));
            }
            self.metrics.set_unreadable_sessions(inner.entries.len());
            drop(inner);
            tracing::info!(
                session_id = session_id.as_str(),
                "a session that was set aside can be read again"
            );
        }
    }

    /// No code panics while holding this lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_secs(300);

    fn registry(max: usize) -> (Unreadable, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let config = UnreadableConfig { retry: RETRY, max };
        (Unreadable::new(config, Arc::clone(&metrics)), metrics)
    }

    fn session(n: usize) -> SessionId {
        SessionId::from_stored(format!("sess_{n}"))
    }

    fn counted(metrics: &Metrics, count: usize) -> bool {
        let line = format!("video_session_unreadable_sessions {count}\n");
        metrics.encode().contains(&line)
    }

    #[test]
    fn a_session_is_tried_again_after_a_while_and_released() {
        let (unreadable, metrics) = registry(10);
        let (error, start) = (StoreError::corrupt("broken"), Instant::now());
        unreadable.set_aside(&session(1), UnreadablePart::Record, &error, start);
        // Finding it again does not delay its next try.
        let later = start + RETRY / 2;
        unreadable.set_aside(&session(1), UnreadablePart::Record, &error, later);
        assert!(unreadable.contains(&session(1)) && counted(&metrics, 1));
        assert!(unreadable.due(later, 10).is_empty());
        let due = [(session(1), UnreadablePart::Record)];
        assert_eq!(unreadable.due(start + RETRY, 10), due);
        unreadable.postpone(&session(1), start + RETRY);
        assert!(unreadable.due(start + RETRY, 10).is_empty());
        assert_eq!(unreadable.due(start + 2 * RETRY, 10), due);
        unreadable.release(&session(1));
        assert!(!unreadable.contains(&session(1)) && counted(&metrics, 0));
    }

    #[test]
    fn a_session_with_an_unreadable_event_can_be_changed() {
        let (unreadable, metrics) = registry(10);
        let (error, now) = (StoreError::corrupt("broken"), Instant::now());
        unreadable.set_aside(
            &session(1),
            UnreadablePart::Events { after: 0 },
            &error,
            now,
        );
        assert!(!unreadable.contains(&session(1)) && counted(&metrics, 1));
        unreadable.set_aside(&session(1), UnreadablePart::Record, &error, now);
        unreadable.set_aside(
            &session(1),
            UnreadablePart::Events { after: 0 },
            &error,
            now,
        );
        assert!(unreadable.contains(&session(1)) && counted(&metrics, 1));
    }

    #[test]
    fn at_most_the_maximum_is_set_aside() {
        let (unreadable, metrics) = registry(3);
        let (error, now) = (StoreError::corrupt("broken"), Instant::now());
        for n in 0..5 {
            unreadable.set_aside(&session(n), UnreadablePart::Record, &error, now);
        }
        assert!(unreadable.len() == 3 && counted(&metrics, 3));
        assert!(unreadable.contains(&session(2)) && !unreadable.contains(&session(3)));
        assert_eq!(unreadable.due(now + RETRY, 2).len(), 2);
        unreadable.release(&session(0));
        unreadable.set_aside(&session(3), UnreadablePart::Record, &error, now);
        assert!(unreadable.contains(&session(3)));
    }
}
