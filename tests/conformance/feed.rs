//! The feed: every event of every session, at least once, each session's in its order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::future::join_all;
use video_session::domain::event::Event;
use video_session::domain::id::SessionId;
use video_session::store::{FeedCursor, FeedError, FeedPage, Stores};

use crate::backend::Backend;
use crate::events::history;
use crate::sample::{commit, commit_in_a_loop, end, insert, join};

/// How much longer than asked for a page may be: it may end a session's newest events.
const OVER_LIMIT_MAX: usize = 64;
/// More pages in a row are never needed here.
const PAGES_MAX: usize = 5000;

/// A reader of the feed that keeps only the cursor's text.
pub(crate) struct Reader {
    stores: Stores,
    cursor: String,
    limit: usize,
    /// The events of each session, each once.
    read: BTreeMap<SessionId, Vec<Event>>,
    /// How many events came again.
    again: usize,
}

impl Reader {
    pub(crate) fn from(stores: &Stores, cursor: &FeedCursor, limit: usize) -> Self {
        Self {
            stores: stores.clone(),
            cursor: cursor.as_str().to_owned(),
            limit,
            read: BTreeMap::new(),
            again: 0,
        }
    }

    /// Reads a page; whether there is more.
    pub(crate) async fn step(&mut self) -> bool {
        let from = FeedCursor::from_stored(self.cursor.clone());
        let page = self.stores.feed.read(&from, self.limit).await.unwrap();
        let FeedPage { events, next, more } = page;
        assert!(events.len() <= self.limit + OVER_LIMIT_MAX);
        self.cursor = next.as_str().to_owned();
        for event in events {
            let event = event.expect("it can be read");
            let known = self.read.entry(event.session_id.clone()).or_default();
            let Some(last) = known.last() else {
                known.push(event);
                continue;
            };
            let next = last.sequence + 1;
            assert!(event.sequence <= next, "an event comes before its time");
            if event.sequence == next {
                known.push(event);
            } else {
                self.again += 1;
                assert!(
                    known.contains(&event) || event.sequence < known[0].sequence,
                    "what comes again is the same"
                );
            }
        }
        more
    }

    /// Reads all that there is.
    pub(crate) async fn read_to_end(&mut self) {
        for _ in 0..PAGES_MAX {
            if !self.step().await {
                return;
            }
        }
        panic!("the feed has no end");
    }

    pub(crate) fn events_of(&self, session_id: &SessionId) -> &[Event] {
        self.read.get(session_id).map_or(&[], Vec::as_slice)
    }
}

async fn all_events(stores: &Stores, session_id: &SessionId) -> Vec<Event> {
    let events = stores.sessions.events(session_id, 0, 100_000).await;
    events.unwrap().unwrap()
}

pub(crate) async fn the_feed_has_every_event_in_its_sessions_order(backend: &Backend) {
    let store = backend.store.as_ref();
    let mut expected = HashMap::new();
    for (n, length) in [1, 3, 1, 40, 7].into_iter().enumerate() {
        let (session, events) = history(store, &format!("feed-{n}"), length).await;
        expected.insert(session.session_id, events);
    }
    for limit in [1, 2, 7, 500] {
        let mut reader = Reader::from(&backend.others, &FeedCursor::start(), limit);
        reader.read_to_end().await;
        for (session_id, events) in &expected {
            assert_eq!(reader.events_of(session_id), events, "{limit} a page");
        }
        assert_eq!(reader.read.len(), expected.len());
        assert_eq!(reader.again, 0, "there was no write meanwhile");
    }
}

pub(crate) async fn a_long_history_comes_in_pages(backend: &Backend) {
    const LENGTH: usize = 300;
    let (session, events) = history(backend.store.as_ref(), "feed-long", LENGTH).await;
    for limit in [1, 10, 64] {
        let mut reader = Reader::from(&backend.stores, &FeedCursor::start(), limit);
        reader.read_to_end().await;
        assert_eq!(reader.events_of(&session.session_id), events);
        assert_eq!(reader.again, 0);
    }
}

pub(crate) async fn an_idle_feed_is_empty(backend: &Backend) {
    let store = backend.store.as_ref();
    let (session, _) = history(store, "feed-idle", 5).await;
    let mut reader = Reader::from(&backend.stores, &FeedCursor::start(), 2);
    reader.read_to_end().await;
    let before = reader.cursor.clone();
    for _ in 0..10 {
        assert!(!reader.step().await, "there is no more");
    }
    assert_eq!(reader.again, 0, "nothing comes again");
    assert_eq!(reader.cursor, before, "nothing moves");

    // And goes on from there, also from the same position twice.
    let change = join(&session);
    commit(store, &change).await;
    for _ in 0..2 {
        let cursor = FeedCursor::from_stored(before.clone());
        let page = backend.others.feed.read(&cursor, 10).await.unwrap();
        let events: Vec<_> = page.events.into_iter().map(Result::unwrap).collect();
        assert_eq!(events, change.events);
    }
}

pub(crate) async fn now_is_after_all_stored_events(backend: &Backend) {
    let store = backend.store.as_ref();
    let empty = backend.stores.feed.now().await.unwrap();
    let quiet = insert(store, "feed-quiet").await.session;
    let (session, _) = history(store, "feed-now", 40).await;
    let now = backend.others.feed.now().await.unwrap();
    let change = join(&session);
    commit(store, &change).await;

    let mut reader = Reader::from(&backend.stores, &now, 100);
    reader.read_to_end().await;
    assert_eq!(reader.events_of(&session.session_id), change.events);
    assert_eq!(reader.events_of(&quiet.session_id), []);

    let mut reader = Reader::from(&backend.stores, &empty, 100);
    reader.read_to_end().await;
    for session_id in [&session.session_id, &quiet.session_id] {
        let all = all_events(&backend.stores, session_id).await;
        assert_eq!(reader.events_of(session_id), all);
    }
}

pub(crate) async fn a_reader_misses_nothing_while_writers_write(backend: &Backend) {
    const WRITERS: usize = 8;
    const SESSIONS: usize = 4;
    const CHANGES: usize = 25;
    let begin = backend.stores.feed.now().await.unwrap();
    let mut shared = Vec::new();
    for n in 0..SESSIONS {
        let created = insert(backend.handle(n).as_ref(), &format!("feed-shared-{n}")).await;
        shared.push(created.session.session_id);
    }
    let writers = (0..WRITERS).map(|n| {
        let (store, shared) = (Arc::clone(backend.handle(n)), shared.clone());
        tokio::spawn(async move {
            let mut made = Vec::new();
            for change in 0..CHANGES {
                let session_id = &shared[(n + change) % SESSIONS];
                commit_in_a_loop(store.as_ref(), session_id, join).await;
                let created = insert(store.as_ref(), &format!("feed-{n}-{change}")).await;
                if change % 3 == 0 {
                    commit(store.as_ref(), &end(&created.session, "over")).await;
                }
                made.push(created.session.session_id);
            }
            made
        })
    });
    let writing = tokio::spawn(join_all(writers.collect::<Vec<_>>()));
    let mut readers: Vec<_> = [(&backend.stores, 3), (&backend.others, 500)]
        .into_iter()
        .map(|(stores, limit)| Reader::from(stores, &begin, limit))
        .collect();
    while !writing.is_finished() {
        for reader in &mut readers {
            reader.step().await;
        }
    }
    let mut sessions = shared;
    for made in writing.await.unwrap() {
        sessions.extend(made.unwrap());
    }
    for reader in &mut readers {
        reader.read_to_end().await;
        for session_id in &sessions {
            let all = all_events(&backend.stores, session_id).await;
            assert_eq!(reader.events_of(session_id), all);
        }
        assert_eq!(reader.read.len(), sessions.len());
    }
}

pub(crate) async fn an_unreadable_event_does_not_block_others(backend: &Backend) {
    let store = backend.store.as_ref();
    let (broken, _) = history(store, "feed-broken", 3).await;
    let (whole, events) = history(store, "feed-whole", 3).await;
    backend
        .set_type_of_first_event(&broken.session_id, "participant.muted")
        .await;
    let page = backend.stores.feed.read(&FeedCursor::start(), 100).await;
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    for event in page.unwrap().events {
        match event {
            Ok(event) => read.push((event.session_id, event.sequence)),
            Err(event) => unreadable.push((event.session_id, event.sequence)),
        }
    }
    assert_eq!(unreadable, [(broken.session_id.clone(), 1)]);
    let all = events
        .iter()
        .map(|event| (whole.session_id.clone(), event.sequence));
    let rest = [2, 3].map(|sequence| (broken.session_id.clone(), sequence));
    assert_eq!(read, rest.into_iter().chain(all).collect::<Vec<_>>());
}

pub(crate) async fn an_invalid_cursor_is_refused(backend: &Backend) {
    insert(backend.store.as_ref(), "feed-cursors").await;
    for text in [
        "x",
        "sqlite-1:",
        "sqlite-1:-1",
        "sqlite-1:1000000",
        "mongo-1:{}",
        "sqlite-2:1",
    ] {
        let cursor = FeedCursor::from_stored(text.to_owned());
        let read = backend.stores.feed.read(&cursor, 10).await;
        assert!(
            matches!(read, Err(FeedError::Cursor(_))),
            "{text}: {read:?}"
        );
    }
}
