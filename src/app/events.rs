//! Lists and streams the events of sessions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, unfold};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::StoreAccess;
use super::feed::{Followed, Follower};
use crate::bus::{Bus, ChangeSubscription};
use crate::domain::access::permit_service;
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;
use crate::telemetry::metrics::Metrics;

/// Poll interval of a store that only this instance writes; covers lost hints.
const POLL_UNSHARED: Duration = Duration::from_secs(30);
/// Poll interval of a shared store; covers instances of a former version, whose changes are not in the feed.
const POLL_SHARED: Duration = Duration::from_secs(10);

/// Events in order; ends after the first error.
pub type EventStream = BoxStream<'static, Result<Event, Error>>;

/// How sessions are watched.
#[derive(Debug, Clone, Copy)]
pub struct WatchConfig {
    /// How often the feed is read for changes that other instances made.
    pub poll: Duration,
    /// How often the feed is read while the bus brings the hints of all other instances.
    pub poll_with_bus: Duration,
    /// How many sessions may be watched at once.
    pub streams_max: usize,
}

/// Lists and watches the events of sessions.
pub struct Events {
    access: Arc<StoreAccess>,
    bus: Arc<dyn Bus>,
    metrics: Arc<Metrics>,
    followed: Arc<Followed>,
    is_shared: bool,
    permits: Arc<Semaphore>,
    closing: CancellationToken,
}

/// One watcher of one session.
struct Watcher {
    events: Arc<Events>,
    session_id: SessionId,
    /// The sequence of the last event returned or queued in `pending`.
    after: i64,
    pending: VecDeque<Event>,
    /// Whether to read again before waiting, because the last page was full.
    more: bool,
    news: ChangeSubscription,
    /// Its entry among the followers of the feed.
    follower: Follower,
    ended: bool,
}

/// Counts a stream as open until dropped.
struct StreamCount(Arc<Metrics>);

impl StreamCount {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.watch_streams.inc();
        Self(metrics)
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.watch_streams.dec();
    }
}

impl Events {
    pub(super) fn new(
        access: Arc<StoreAccess>,
        bus: Arc<dyn Bus>,
        metrics: Arc<Metrics>,
        followed: Arc<Followed>,
        is_shared: bool,
        streams_max: usize,
        closing: CancellationToken,
    ) -> Self {
        Self {
            access,
            bus,
            metrics,
            followed,
            is_shared,
            permits: Arc::new(Semaphore::new(streams_max)),
            closing,
        }
    }

    /// Lists the events after a sequence, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn list(
        &self,
        actor: &Actor,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        permit_service(actor)?;
        self.access.events(session_id, after, limit).await
    }

    /// Streams the events after a sequence, then new ones.
    ///
    /// # Errors
    /// [`Error::NotAllowed`]; [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]; [`Error::Overloaded`] when too many
    /// sessions are watched. The stream ends with [`Error::StoreUnavailable`] when the store is lost and with
    /// [`Error::ShuttingDown`] when the instance drains.
    pub async fn watch(
        self: &Arc<Self>,
        actor: &Actor,
        session_id: SessionId,
        after: i64,
    ) -> Result<EventStream, Error> {
        permit_service(actor)?;
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| self.access.overloaded_error())?;
        // Subscribing before the first read leaves no gap.
        let mut watcher = Watcher::new(Arc::clone(self), session_id, after);
        watcher.read_events().await?;
        let counted = (StreamCount::new(Arc::clone(&self.metrics)), permit);
        let events = unfold(watcher, Watcher::next_item);
        Ok(events
            .map(move |event| {
                let _counted = &counted;
                event
            })
            .boxed())
    }

    /// As [`Events::watch`], for the service itself: the session must exist, and the stream is not counted.
    pub(super) fn follow(self: &Arc<Self>, session_id: SessionId, after: i64) -> EventStream {
        let mut watcher = Watcher::new(Arc::clone(self), session_id, after);
        // Read at once what was committed between the caller's read and the subscription.
        watcher.more = true;
        unfold(watcher, Watcher::next_item).boxed()
    }
}

impl Watcher {
    fn new(events: Arc<Events>, session_id: SessionId, after: i64) -> Self {
        Self {
            news: events.bus.subscribe_changes(&session_id),
            follower: events.followed.follow(&session_id, after),
            events,
            session_id,
            after,
            pending: VecDeque::new(),
            more: false,
            ended: false,
        }
    }

    async fn next_item(mut self) -> Option<(Result<Event, Error>, Self)> {
        if self.ended {
            return None;
        }
        let next = self.next().await;
        self.ended = next.is_err();
        Some((next, self))
    }

    async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            if !self.more {
                self.wait_for_change().await?;
            }
            self.read_events().await?;
        }
    }

    /// Waits for a possible change, from this or another instance.
    async fn wait_for_change(&mut self) -> Result<(), Error> {
        let poll = if self.events.is_shared {
            POLL_SHARED
        } else {
            POLL_UNSHARED
        };
        tokio::select! {
            () = self.events.closing.cancelled() => Err(self.events.access.shutting_down_error()),
            () = self.news.changed() => Ok(()),
            () = self.follower.recheck_requested() => Ok(()),
            () = tokio::time::sleep(poll) => Ok(()),
        }
    }

    async fn read_events(&mut self) -> Result<(), Error> {
        let page = self
            .events
            .access
            .events(&self.session_id, self.after, PAGE_SIZE_MAX);
        let page = page.await?;
        self.queue_events(page);
        Ok(())
    }

    fn queue_events(&mut self, events: Vec<Event>) {
        self.more = events.len() == PAGE_SIZE_MAX;
        self.after = events.last().map_or(self.after, |event| event.sequence);
        self.follower.move_to(self.after);
        self.pending.extend(events);
    }
}
