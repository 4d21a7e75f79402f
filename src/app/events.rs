//! What happened to a session, as a list and as a stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt as _, unfold};

use super::App;
use super::feed::Follower;
use crate::bus::Subscription;
use crate::domain::error::Error;
use crate::domain::event::Event;
use crate::domain::id::SessionId;
use crate::domain::page::PAGE_SIZE_MAX;

/// How often a session is looked at without a hint, only lest a lost hint be lost for ever.
const LOOK_UNSHARED: Duration = Duration::from_secs(30);
/// The same, where other instances change sessions, too. One of a former version leaves its changes out of the feed.
const LOOK_SHARED: Duration = Duration::from_secs(10);

/// Events in order; ends after the first error.
pub type EventStream = BoxStream<'static, Result<Event, Error>>;

/// One watcher of one session.
struct Watcher {
    app: Arc<App>,
    session_id: SessionId,
    /// The sequence of the last event handed out or waiting in `pending`.
    after: i64,
    pending: VecDeque<Event>,
    /// The last page was full: there is more to take before waiting.
    more: bool,
    news: Subscription,
    /// Its place among those whom the feed is read for.
    follower: Follower,
    ended: bool,
}

/// Counts a stream as open until dropped.
struct StreamCount(Arc<App>);

impl StreamCount {
    fn new(app: Arc<App>) -> Self {
        app.metrics.watch_streams.inc();
        Self(app)
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.metrics.watch_streams.dec();
    }
}

impl App {
    /// The events after a sequence, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]
    pub async fn list_events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        self.within_budget(async {
            let events = self.stores.sessions.events(session_id, after, limit).await;
            events
                .map_err(|error| self.events_error(after, &error))?
                .ok_or(Error::SessionNotFound)
        })
        .await
    }

    /// The events after a sequence, and then those to come.
    ///
    /// # Errors
    /// [`Error::SessionNotFound`]; [`Error::StoreUnavailable`]; [`Error::Overloaded`] when too many sessions are watched.
    /// The stream ends with [`Error::StoreUnavailable`] when the store is lost and with [`Error::ShuttingDown`] when the
    /// instance goes away.
    pub async fn watch_session(
        self: Arc<Self>,
        session_id: SessionId,
        after: i64,
    ) -> Result<EventStream, Error> {
        let permit = Arc::clone(&self.watch_permits)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded {
                retry_after: self.config.retry_after,
            })?;
        // Subscribing before the first look leaves no gap between the two.
        let mut watcher = Watcher::new(Arc::clone(&self), session_id, after);
        watcher.look().await?;
        let counted = (StreamCount::new(self), permit);
        let events = unfold(watcher, Watcher::step);
        Ok(events
            .map(move |event| {
                let _counted = &counted;
                event
            })
            .boxed())
    }

    /// As [`App::watch_session`], for the service's own use: of a session that exists, and without counting.
    pub(super) fn follow_events(self: Arc<Self>, session_id: SessionId, after: i64) -> EventStream {
        let mut watcher = Watcher::new(self, session_id, after);
        // What was committed between the caller's look and the subscription is looked for at once.
        watcher.more = true;
        unfold(watcher, Watcher::step).boxed()
    }
}

impl Watcher {
    fn new(app: Arc<App>, session_id: SessionId, after: i64) -> Self {
        Self {
            news: app.bus.subscribe(&session_id),
            follower: app.followed.follow(&session_id, after),
            app,
            session_id,
            after,
            pending: VecDeque::new(),
            more: false,
            ended: false,
        }
    }

    async fn step(mut self) -> Option<(Result<Event, Error>, Self)> {
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
                self.wait().await?;
            }
            self.look().await?;
        }
    }

    /// Until there may be something new, here or on another instance.
    async fn wait(&mut self) -> Result<(), Error> {
        let safety = if self.app.stores.health.is_shared() {
            LOOK_SHARED
        } else {
            LOOK_UNSHARED
        };
        tokio::select! {
            () = self.app.closing.cancelled() => Err(self.app.shutting_down()),
            () = self.news.heard() => Ok(()),
            () = self.follower.doubted() => Ok(()),
            () = tokio::time::sleep(safety) => Ok(()),
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let page = self
            .app
            .list_events(&self.session_id, self.after, PAGE_SIZE_MAX)
            .await?;
        self.take(page);
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>) {
        self.more = events.len() == PAGE_SIZE_MAX;
        self.after = events.last().map_or(self.after, |event| event.sequence);
        self.follower.move_to(self.after);
        self.pending.extend(events);
    }
}
