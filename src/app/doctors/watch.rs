//! Follows the sessions of one doctor's day. Hints say which of them changed; each is read again then, alone. From time to time the
//! doctor's sessions are listed again: nobody hints at new ones, and hints may be lost.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use futures::stream::{BoxStream, StreamExt as _, unfold};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::Doctors;
use super::streams::Place;
use crate::app::feed::Follower;
use crate::bus::ChangeSubscription;
use crate::domain::day::{Day, DayEntry, keep_most_urgent};
use crate::domain::error::Error;
use crate::domain::id::{SessionId, UserId};
use crate::domain::page::{PAGE_SIZE_MAX, SessionFilter, SessionQuery};
use crate::domain::session::{Session, SessionState};

/// The shortest time between two reads of a day, and so between two views.
const READS_APART: Duration = Duration::from_secs(1);
/// How many of a doctor's sessions in one state are looked through for those of the day.
const LISTED_MAX: usize = 2000;
/// How long before the day its sessions may have been created, in seconds: appointments are made up to a year ahead.
const CREATED_BEFORE_SECS: u64 = 400 * 24 * 3600;
/// The same for sessions that have ended, of which a doctor has many more.
const ENDED_CREATED_BEFORE_SECS: u64 = 100 * 24 * 3600;
/// How often the sessions are listed until the last list has none that was not followed while it was read.
const LISTS_MAX: usize = 3;

/// What a doctor sees of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayView {
    /// The sessions, by their times.
    pub entries: Vec<DayEntry>,
    /// Whether these are all: there may be too many, or some that cannot be read.
    pub is_complete: bool,
}

/// The views of a day; ends after the first error.
pub type DayStream = BoxStream<'static, Result<DayView, Error>>;

/// A session of the day.
struct Followed {
    entry: DayEntry,
    /// `None` once it has ended.
    news: Option<(ChangeSubscription, Follower)>,
}

struct Watcher {
    doctors: Arc<Doctors>,
    doctor_id: UserId,
    day: Day,
    sessions: HashMap<SessionId, Followed>,
    /// Sessions to read again.
    changed: HashSet<SessionId>,
    rechecks: Receiver<()>,
    list_at: Instant,
    has_all: bool,
    read_at: Instant,
    sent: Option<DayView>,
    has_failed: bool,
    _place: Place,
}

/// Streams the views of a day.
pub(super) async fn stream(
    doctors: Arc<Doctors>,
    doctor_id: UserId,
    day: Day,
    place: Place,
) -> Result<DayStream, Error> {
    let mut watcher = Watcher {
        // Before the first read, so that no recheck is missed.
        rechecks: doctors.rechecks(),
        doctors,
        doctor_id,
        day,
        sessions: HashMap::new(),
        changed: HashSet::new(),
        list_at: Instant::now(),
        has_all: true,
        read_at: Instant::now(),
        sent: None,
        has_failed: false,
        _place: place,
    };
    watcher.list_ended().await?;
    Ok(unfold(watcher, Watcher::next_item).boxed())
}

impl Watcher {
    async fn next_item(mut self) -> Option<(Result<DayView, Error>, Self)> {
        if self.has_failed {
            return None;
        }
        let next = self.next().await;
        self.has_failed = next.is_err();
        Some((next, self))
    }

    async fn next(&mut self) -> Result<DayView, Error> {
        loop {
            if self.sent.is_some() {
                self.wait_for_change().await?;
            }
            self.read_changes().await?;
            self.read_at = Instant::now();
            let view = self.view();
            if self.sent.as_ref() != Some(&view) {
                self.sent = Some(view.clone());
                return Ok(view);
            }
        }
    }

    /// Waits until something may have changed and the day may be read again.
    async fn wait_for_change(&mut self) -> Result<(), Error> {
        let mut due: Option<Instant> = None;
        loop {
            let closing = self.doctors.closing.clone();
            let earliest = self.read_at + READS_APART;
            let wake_at = due.unwrap_or(self.list_at).max(earliest);
            tokio::select! {
                () = closing.cancelled() => return Err(self.doctors.access.shutting_down_error()),
                session_id = hinted(&mut self.sessions) => {
                    self.changed.insert(session_id);
                }
                () = rechecked(&mut self.rechecks) => self.list_at = Instant::now(),
                () = tokio::time::sleep_until(wake_at) => return Ok(()),
            }
            due.get_or_insert(Instant::now());
        }
    }

    async fn read_changes(&mut self) -> Result<(), Error> {
        if self.list_at <= Instant::now() {
            self.list_live().await?;
            self.list_at = Instant::now() + self.doctors.config.list_interval;
        }
        for session_id in std::mem::take(&mut self.changed) {
            match self.doctors.access.session(&session_id).await {
                Ok(session) => {
                    self.keep(session);
                }
                // It is set aside; the next list knows it again.
                Err(Error::Internal | Error::SessionNotFound) => {
                    self.sessions.remove(&session_id);
                    self.has_all = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lists the sessions that are not over. What is new is listed again after it is followed, so that no change is missed.
    async fn list_live(&mut self) -> Result<(), Error> {
        let states = [SessionState::Created, SessionState::Active];
        for _ in 0..LISTS_MAX {
            self.has_all = true;
            let mut missing: HashSet<_> = (self.sessions.iter())
                .filter(|(_, followed)| followed.news.is_some())
                .map(|(session_id, _)| session_id.clone())
                .collect();
            let mut has_news = false;
            for state in states {
                let (listed, is_complete) = self.list(state, CREATED_BEFORE_SECS).await?;
                self.has_all &= is_complete;
                for session in listed {
                    missing.remove(&session.session_id);
                    has_news |= self.keep(session);
                }
            }
            // They have ended, or are another doctor's.
            self.changed.extend(missing);
            if !has_news {
                break;
            }
        }
        Ok(())
    }

    /// Lists the sessions that are over. Those that end later are followed until then.
    async fn list_ended(&mut self) -> Result<(), Error> {
        let ended = self.list(SessionState::Ended, ENDED_CREATED_BEFORE_SECS);
        // There are always more of them.
        let (ended, _) = ended.await?;
        for session in ended {
            self.keep(session);
        }
        Ok(())
    }

    /// The doctor's sessions in a state, newest first, and whether these are all.
    async fn list(
        &self,
        state: SessionState,
        created_before_secs: u64,
    ) -> Result<(Vec<Session>, bool), Error> {
        let access = &self.doctors.access;
        let now = self.doctors.clock.now();
        let mut query = SessionQuery {
            filter: SessionFilter {
                state: Some(state),
                user_id: Some(self.doctor_id.clone()),
                created_after: Some(now.minus_secs(created_before_secs)),
                ..SessionFilter::default()
            },
            before: None,
            limit: PAGE_SIZE_MAX,
        };
        let reading = async {
            let (mut sessions, mut are_all) = (Vec::new(), true);
            for _ in 0..LISTED_MAX / PAGE_SIZE_MAX {
                let page = access.sessions.list(&query).await;
                let page = page.map_err(|error| access.error(&error))?;
                let is_last = page.len() < PAGE_SIZE_MAX;
                for row in page {
                    let session_id = match row {
                        Ok(session) => {
                            let session_id = session.session_id.clone();
                            sessions.push(session);
                            session_id
                        }
                        Err(unreadable) => {
                            access.error(&unreadable.error);
                            are_all = false;
                            unreadable.session_id
                        }
                    };
                    query.before = Some(session_id);
                }
                if is_last {
                    return Ok((sessions, are_all));
                }
            }
            Ok((sessions, false))
        };
        access.within_budget(reading).await
    }

    /// Keeps what the doctor sees of a session, and follows it while it is live. Returns whether it was not followed before.
    fn keep(&mut self, session: Session) -> bool {
        let doctors = &self.doctors;
        let session_id = session.session_id.clone();
        let before = self.sessions.remove(&session_id);
        let entry = DayEntry::of(&session, &self.doctor_id, &self.day, &doctors.window);
        let Some(entry) = entry else {
            return false;
        };
        let news = before.and_then(|before| before.news);
        let is_new = news.is_none() && entry.is_live();
        let news = entry.is_live().then(|| {
            news.unwrap_or_else(|| {
                let follower = doctors.followed.follow(&session_id, session.version);
                (doctors.bus.subscribe_changes(&session_id), follower)
            })
        });
        if let Some((_, follower)) = &news {
            follower.move_to(session.version);
        }
        self.sessions.insert(session_id, Followed { entry, news });
        is_new
    }

    fn view(&self) -> DayView {
        let entries = self
            .sessions
            .values()
            .map(|followed| followed.entry.clone());
        let mut entries: Vec<_> = entries.collect();
        let is_short = keep_most_urgent(&mut entries, self.doctors.config.sessions_max);
        DayView {
            entries,
            is_complete: is_short && self.has_all,
        }
    }
}

/// The next session of which a hint says that it changed.
async fn hinted(sessions: &mut HashMap<SessionId, Followed>) -> SessionId {
    let hints: Vec<_> = (sessions.iter_mut())
        .filter_map(|(session_id, followed)| {
            let (news, _) = followed.news.as_mut()?;
            Some(Box::pin(async move {
                news.changed().await;
                session_id.clone()
            }))
        })
        .collect();
    if hints.is_empty() {
        return std::future::pending().await;
    }
    select_all(hints).await.0
}

async fn rechecked(rechecks: &mut Receiver<()>) {
    if rechecks.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
