//! Sessions and their events.

use std::collections::HashMap;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use super::error::{is_duplicate_key, within};
use super::tail::{self, UnmatchedCommit};
use super::{MongoStore, documents};
use crate::domain::change::Change;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, SessionId};
use crate::domain::page::SessionQuery;
use crate::domain::session::{Session, SessionState};
use crate::store::record::EventRecord;
use crate::store::{
    AtTurn, Committed, Insert, Inserted, ListedSession, NewSession, OverdueBounds, SessionStore,
    StoreError,
};

/// The id of a rotation's counter. Former versions had only the default rotation's.
fn counter_of(rotation: &str) -> String {
    if rotation.is_empty() {
        "rotation".to_owned()
    } else {
        format!("rotation:{rotation}")
    }
}

impl MongoStore {
    /// The ids of the sessions that a filter finds.
    pub(super) async fn find_session_ids(
        &self,
        filter: Document,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let sessions = self.sessions().await?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut filter = filter;
        // Ids that are not texts are not sessions, and would count towards the limit.
        filter.insert("_id", doc! {"$gte": ""});
        let found = within(self.timeout, async move {
            let cursor = sessions
                .find(filter)
                .projection(doc! {"_id": 1})
                .limit(limit)
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        Ok(found
            .iter()
            .filter_map(|document| document.get_str("_id").ok())
            .map(|id| SessionId::from_stored(id.to_owned()))
            .collect())
    }

    /// Takes the next turn that the session can take. It is unique to this caller, because findAndModify on one document is atomic.
    async fn take_turn(&self, at_turn: &AtTurn) -> Result<u64, StoreError> {
        let next = self.advance(&at_turn.rotation, doc! {"$inc": {"turn": 1_i64}});
        let turn = next.await?;
        let mut wanted = at_turn.usable_turn(turn);
        if wanted == turn {
            return Ok(turn);
        }
        // Passes over the turns before the wanted one, unless another caller has taken it meanwhile. Each failure means that
        // another caller got a turn.
        loop {
            let after = i64::try_from(wanted.wrapping_add(1)).unwrap_or(0);
            let next = self
                .advance(&at_turn.rotation, doc! {"$max": {"turn": after}})
                .await?;
            if next <= wanted {
                return Ok(wanted);
            }
            wanted = at_turn.usable_turn(next);
        }
    }

    /// Changes the counter of a rotation, and returns the turn that was the next one before.
    async fn advance(&self, rotation: &str, update: Document) -> Result<u64, StoreError> {
        let counters = self.database.collection::<Document>("counters");
        let filter = doc! {"_id": counter_of(rotation)};
        let counter = within(self.timeout, async move {
            counters
                .find_one_and_update(filter, update)
                .upsert(true)
                .return_document(ReturnDocument::Before)
                .await
        })
        .await?;
        // The very first turn finds no counter.
        let Some(counter) = counter else {
            return Ok(0);
        };
        let turn = counter
            .get_i64("turn")
            .map_err(|_| StoreError::corrupt("the rotation counter has no turn"))?;
        Ok(u64::try_from(turn).unwrap_or(0))
    }

    /// Updates a session's document to its next version. False if the document is not at the version before, or has no room for
    /// events.
    async fn update_over_version(&self, change: &Change) -> Result<bool, StoreError> {
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let filter = doc! {
            "_id": change.session.session_id.as_str(),
            "version": change.base_version(),
            tail::LAST_PLACE: {"$exists": false},
        };
        let update = documents::update(change)?;
        let matched = within(self.timeout, async move {
            let outcome = sessions.update_one(filter, update).await?;
            Ok(outcome.matched_count)
        })
        .await
        .map_err(|error| error.about(&change.session.session_id))?;
        if matched == 1 {
            self.archive_tail_if_due(change);
        }
        Ok(matched == 1)
    }

    async fn find_one(
        &self,
        filter: Document,
        sort: Option<Document>,
    ) -> Result<Option<Session>, StoreError> {
        let sessions = self.sessions().await?;
        let found = within(self.timeout, async move {
            let mut find = sessions
                .find_one(filter)
                .projection(documents::only_record());
            if let Some(sort) = sort {
                find = find.sort(sort);
            }
            find.await
        })
        .await?;
        match found.as_deref().and_then(documents::read_session) {
            None => Ok(None),
            Some(Ok(session)) => Ok(Some(session)),
            Some(Err(unreadable)) => Err(unreadable.error),
        }
    }
}

#[async_trait]
impl SessionStore for MongoStore {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.find_one(doc! {"_id": session_id.as_str()}, None).await
    }

    async fn latest_session(
        &self,
        appointment_id: &AppointmentId,
    ) -> Result<Option<Session>, StoreError> {
        self.find_one(
            doc! {"appointment_id": appointment_id.as_str()},
            Some(doc! {"incarnation": -1}),
        )
        .await
    }

    async fn session_by_short_link(&self, digest: &str) -> Result<Option<Session>, StoreError> {
        self.find_one(doc! {"short_links.digest": digest}, None)
            .await
    }

    async fn insert(&self, new: NewSession) -> Result<Inserted, StoreError> {
        let at_turn = match new.decide(self.latest_session(&new.appointment_id).await?) {
            Insert::New(at_turn) => at_turn,
            Insert::Keep(latest) => return Ok(Inserted::Kept(latest)),
            Insert::Refuse(error) => return Ok(Inserted::Refused(error)),
        };
        let sessions = self.sessions().await?.clone_with_type::<Document>();
        let turn = self.take_turn(&at_turn).await?;
        let change = at_turn.change(turn);
        let (filter, update) = documents::new_session(&change)?;
        let inserted = within(self.timeout, async move {
            match sessions.update_one(filter, update).upsert(true).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await?;
        if inserted {
            return Ok(Inserted::Stored(Box::new(change)));
        }
        // A write that the driver repeated after a broken connection conflicts with itself.
        let own = self.get(&change.session.session_id).await?.is_some();
        Ok(if own {
            Inserted::Stored(Box::new(change))
        } else {
            Inserted::Taken
        })
    }

    async fn commit(&self, change: &Change) -> Result<Committed, StoreError> {
        if self.update_over_version(change).await? {
            return Ok(Committed::Stored);
        }
        match self.explain_unmatched(change).await? {
            UnmatchedCommit::Settled(committed) => Ok(committed),
            UnmatchedCommit::TailMoved if self.update_over_version(change).await? => {
                Ok(Committed::Stored)
            }
            UnmatchedCommit::TailMoved => match self.explain_unmatched(change).await? {
                UnmatchedCommit::Settled(committed) => Ok(committed),
                UnmatchedCommit::TailMoved => Ok(Committed::Conflict),
            },
        }
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError> {
        let sessions = self.sessions().await?;
        let filter = documents::filter(query);
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let documents = within(self.timeout, async move {
            let cursor = sessions
                .find(filter)
                .sort(doc! {"_id": -1})
                .limit(limit)
                .projection(documents::only_record())
                .await?;
            futures::TryStreamExt::try_collect::<Vec<_>>(cursor).await
        })
        .await?;
        let listed = documents.iter();
        Ok(listed
            .filter_map(|document| documents::read_session(document))
            .collect())
    }

    async fn events(
        &self,
        session_id: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        let tail = if limit == 1 {
            self.first_of_tail(session_id, after).await?
        } else {
            self.tail(session_id).await?
        };
        let Some(tail) = tail else {
            return Ok(None);
        };
        let archived = if tail.covers_events_after(after) {
            Vec::new()
        } else {
            self.archived(session_id, after, limit).await?
        };
        let last = archived
            .last()
            .map_or(after, |event: &EventRecord| event.sequence);
        let newest = tail
            .events
            .into_iter()
            .filter(|event| event.sequence > last);
        archived
            .into_iter()
            .chain(newest)
            .take(limit)
            .map(|event: EventRecord| event.into_event(session_id))
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
            .map_err(|error| error.about(session_id))
    }

    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError> {
        let mut counts = HashMap::new();
        for state in SessionState::ALL.iter().copied() {
            let sessions = self.sessions().await?;
            let count = within(self.timeout, async move {
                sessions.count_documents(doc! {"state": state.name()}).await
            })
            .await?;
            counts.insert(state, count);
        }
        Ok(counts)
    }

    async fn overdue_sessions(
        &self,
        bounds: OverdueBounds,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        let OverdueBounds {
            ends_before,
            empty_before,
            empty_deadline_before,
        } = bounds;
        let mut over = vec![
            doc! {"scheduled_end_time_ms": {"$lt": ends_before.as_millis()}},
            doc! {"empty_deadline_ms": {"$lt": empty_deadline_before.as_millis()}},
        ];
        if let Some(empty_before) = empty_before {
            over.push(doc! {"empty_since_ms": {"$lt": empty_before.as_millis()}});
        }
        let live = vec![SessionState::Created.name(), SessionState::Active.name()];
        self.find_session_ids(doc! {"state": {"$in": live}, "$or": over}, limit)
            .await
    }
}
