//! Hints for sessions that other instances change: one task per instance reads the events of all sessions, and notifies the
//! followers of sessions with news. Runs only while a session is followed, and only if the store is shared. While the bus brings the
//! hints of all other instances, the feed is read rarely, as a safety net, and at once when that ends or begins.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::bus::Bus;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;
use crate::store::{EventFeed, FeedCursor, FeedError, FeedEvent};
use crate::telemetry::metrics::Metrics;

/// The shortest time between two reads of the feed that the bus asks for.
const READS_APART: Duration = Duration::from_millis(250);

/// The sessions that this instance follows, and the positions of their followers.
pub(super) struct Followed {
    sessions: Mutex<HashMap<SessionId, Vec<Arc<AtomicI64>>>>,
    /// Whether there are any.
    any: watch::Sender<bool>,
    /// Changes when followers must read their sessions, because the feed may have missed events.
    recheck: watch::Sender<()>,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            sessions: Mutex::default(),
            any: watch::Sender::new(false),
            recheck: watch::Sender::new(()),
        }
    }
}

/// Follows a session until dropped.
pub(super) struct Follower {
    followed: Arc<Followed>,
    session_id: SessionId,
    position: Arc<AtomicI64>,
    recheck: watch::Receiver<()>,
}

impl Followed {
    /// Follows a session from the event after a sequence.
    pub(super) fn follow(self: &Arc<Self>, session_id: &SessionId, after: i64) -> Follower {
        let position = Arc::new(AtomicI64::new(after));
        let recheck = self.recheck.subscribe();
        let mut sessions = self.lock();
        let followers = sessions.entry(session_id.clone()).or_default();
        followers.push(Arc::clone(&position));
        self.any
            .send_if_modified(|any| !std::mem::replace(any, true));
        Follower {
            followed: Arc::clone(self),
            session_id: session_id.clone(),
            position,
            recheck,
        }
    }

    /// Changes when followers must read their sessions, because the feed may have missed events.
    pub(super) fn rechecks(&self) -> watch::Receiver<()> {
        self.recheck.subscribe()
    }

    /// Whether an event is news to a follower of its session. An unreadable event always is.
    fn is_news(&self, event: &FeedEvent) -> bool {
        let (session_id, sequence) = match event {
            Ok(event) => (&event.session_id, event.sequence),
            Err(unreadable) => (&unreadable.session_id, i64::MAX),
        };
        let sessions = self.lock();
        let mut followers = sessions.get(session_id).into_iter().flatten();
        followers.any(|position| position.load(Ordering::Relaxed) < sequence)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Vec<Arc<AtomicI64>>>> {
        // No code panics while holding the lock, and the map is valid at every step.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Sets the sequence up to which the follower has the events.
    pub(super) fn move_to(&self, sequence: i64) {
        self.position.store(sequence, Ordering::Relaxed);
    }

    /// Waits until the feed may have missed events.
    pub(super) async fn recheck_requested(&mut self) {
        if self.recheck.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut sessions = self.followed.lock();
        if let Some(followers) = sessions.get_mut(&self.session_id) {
            followers.retain(|position| !Arc::ptr_eq(position, &self.position));
            if followers.is_empty() {
                sessions.remove(&self.session_id);
            }
        }
        if sessions.is_empty() {
            self.followed.any.send_replace(false);
        }
    }
}

/// Reads the feed for the followers on this instance.
pub(super) struct FeedReader {
    pub(super) feed: Arc<dyn EventFeed>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) followed: Arc<Followed>,
    /// Whether other instances use the store.
    pub(super) is_shared: bool,
    /// How often the feed is read.
    pub(super) poll: Duration,
    /// How often the feed is read while every instance's hints arrive by the bus.
    pub(super) poll_with_bus: Duration,
    /// The other instances that the store knows and that live.
    pub(super) living: Mutex<Vec<String>>,
    /// Whether the bus hears all of them.
    pub(super) hears_all: watch::Sender<bool>,
    pub(super) metrics: Arc<Metrics>,
}

/// Whether hints of all other instances arrive by the bus.
struct BusCover {
    is_up: watch::Receiver<bool>,
    hears_all: watch::Receiver<bool>,
    gaps: watch::Receiver<()>,
}

impl BusCover {
    fn is_complete(&mut self) -> bool {
        // Each must be marked as seen.
        self.gaps.borrow_and_update();
        let is_up = *self.is_up.borrow_and_update();
        *self.hears_all.borrow_and_update() && is_up
    }

    /// Waits until it may have changed, or hints may have been lost.
    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.is_up.changed() => {}
            Ok(()) = self.hears_all.changed() => {}
            Ok(()) = self.gaps.changed() => {}
            // A bus within one process never changes.
            else => std::future::pending().await,
        }
    }
}

impl FeedReader {
    /// Notes the other instances that the store knows. One that lives and is not heard on the bus, because it is cut off or has no
    /// bus, changes sessions without a hint.
    pub(super) fn note_instances(&self, others: &[String], dead: &[String]) {
        let living: Vec<_> = (others.iter().filter(|other| !dead.contains(other)))
            .cloned()
            .collect();
        let heard = living.iter().filter(|other| self.bus.hears(other)).count();
        let hears_all = heard == living.len();
        let heard = i64::try_from(heard).unwrap_or(i64::MAX);
        self.metrics.bus_instances_heard.set(heard);
        *self.lock_living() = living;
        self.hears_all.send_if_modified(|before| {
            let is_new = *before != hears_all;
            *before = hears_all;
            is_new
        });
    }

    /// Whether the bus hears all of them now: one may fall silent between two looks at the store.
    fn hears_living(&self) -> bool {
        let living = self.lock_living();
        living.iter().all(|other| self.bus.hears(other))
    }

    fn lock_living(&self) -> MutexGuard<'_, Vec<String>> {
        // No code panics while it holds this lock.
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies the followers on this instance of other instances' changes, until dropped.
    pub(super) async fn run(&self) {
        if !self.is_shared {
            return std::future::pending().await;
        }
        let mut any = self.followed.any.subscribe();
        let mut cover = BusCover {
            is_up: self.bus.is_up(),
            hears_all: self.hears_all.subscribe(),
            gaps: self.bus.gaps(),
        };
        loop {
            // Its sender lives as long as the application.
            let _ = any.wait_for(|any| *any).await;
            let mut cursor = None;
            // Followers recheck once when the store becomes slow or fails: if they did so at every read, they would make it slower.
            let mut is_troubled = false;
            while *any.borrow() {
                let poll = if cover.is_complete() && self.hears_living() {
                    self.poll_with_bus
                } else {
                    self.poll
                };
                let read_at = Instant::now();
                let was_troubled = std::mem::replace(&mut is_troubled, false);
                let reading = self.read_feed(&mut cursor);
                let reading = self.recheck_when_slow(reading, was_troubled, &mut is_troubled);
                let more = match reading.await {
                    Ok(more) => more,
                    Err(error) => {
                        if let FeedError::Cursor(_) = error {
                            cursor = None;
                        }
                        // Followers find out themselves whether the store is available.
                        if !was_troubled && !is_troubled {
                            self.followed.recheck.send_replace(());
                        }
                        is_troubled = true;
                        false
                    }
                };
                if !more {
                    // Hints were lost when the bus broke, until it was back, and before a gap was announced: then the feed is
                    // read at once.
                    tokio::select! {
                        () = tokio::time::sleep(poll) => {}
                        () = cover.changed() => tokio::time::sleep_until(read_at + READS_APART).await,
                    }
                }
            }
        }
    }

    /// Makes followers read their sessions while the feed is slow, so that they notice an unavailable store as soon as the feed does.
    async fn recheck_when_slow<T>(
        &self,
        reading: impl Future<Output = T>,
        was_troubled: bool,
        is_troubled: &mut bool,
    ) -> T {
        let mut reading = pin!(reading);
        match tokio::time::timeout(self.poll, reading.as_mut()).await {
            Ok(read) => read,
            Err(_) => {
                if !was_troubled {
                    self.followed.recheck.send_replace(());
                }
                *is_troubled = true;
                reading.await
            }
        }
    }

    /// Reads the feed's next page and publishes hints. Returns whether there is another page.
    async fn read_feed(&self, cursor: &mut Option<FeedCursor>) -> Result<bool, FeedError> {
        let Some(from) = cursor else {
            *cursor = Some(self.feed.now().await?);
            // The feed omits earlier events from here on.
            self.followed.recheck.send_replace(());
            return Ok(true);
        };
        let page = self.feed.read(from, PAGE_SIZE_MAX).await?;
        let news = page
            .events
            .iter()
            .filter(|event| self.followed.is_news(event));
        let mut hinted: Option<&SessionId> = None;
        for event in news {
            let session_id = match event {
                Ok(event) => &event.session_id,
                Err(unreadable) => &unreadable.session_id,
            };
            // A session's events are consecutive.
            if hinted != Some(session_id) {
                // The other instances read the feed, too.
                self.bus.publish_here(session_id);
                hinted = Some(session_id);
            }
        }
        *cursor = Some(page.next);
        Ok(page.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Actor;
    use crate::domain::event::{Event, EventKind};
    use crate::domain::time::Timestamp;
    use crate::store::{StoreError, UnreadableEvent};

    fn event(session_id: &str, sequence: i64) -> FeedEvent {
        let session_id = SessionId::from_stored(session_id.into());
        let kind = EventKind::Updated { fields: Vec::new() };
        Ok(Event::new(
            sequence,
            session_id,
            Timestamp::MIN,
            Actor::Backend,
            kind,
        ))
    }

    #[test]
    fn an_event_is_news_if_a_follower_does_not_have_it() {
        let followed = Arc::new(Followed::default());
        let session_id = SessionId::from_stored("sess_1".into());
        assert!(!followed.is_news(&event("sess_1", 5)));
        let (ahead, behind) = (
            followed.follow(&session_id, 5),
            followed.follow(&session_id, 3),
        );
        assert!(*followed.any.borrow());
        assert!(followed.is_news(&event("sess_1", 5)), "to the one behind");
        assert!(!followed.is_news(&event("sess_2", 5)));
        behind.move_to(5);
        assert!(!followed.is_news(&event("sess_1", 5)));
        assert!(followed.is_news(&event("sess_1", 6)));
        assert!(followed.is_news(&Err(UnreadableEvent {
            session_id: session_id.clone(),
            sequence: 1,
            error: StoreError::corrupt("damaged"),
        })));
        drop(behind);
        assert!(*followed.any.borrow());
        drop(ahead);
        assert!(!*followed.any.borrow());
        assert!(followed.lock().is_empty());
    }
}
