//! What the tests of several nouns need: sessions in memory, and access to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use super::access::{StoreAccess, StoreWaitConfig};
use super::unreadable::{Unreadable, UnreadableConfig};
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::event::Event;
use crate::domain::id::{AppointmentId, NodeId, SessionId, UserId};
use crate::domain::label::Labels;
use crate::domain::medium::MediaMode;
use crate::domain::node::NodeUse;
use crate::domain::node_record::NodeRecord;
use crate::domain::page::SessionQuery;
use crate::domain::participant::Admission;
use crate::domain::place::Driver;
use crate::domain::rules::create::UnplacedSession;
use crate::domain::session::{Requested, Schedule, Session, SessionRequest, SessionState};
use crate::domain::time::Timestamp;
use crate::store::{
    Committed, Inserted, ListedSession, NewSession, NodeStore, OverdueBounds, SessionStore,
    StoreError,
};
use crate::telemetry::metrics::Metrics;

/// A store of sessions, without their events.
#[derive(Default)]
pub(super) struct MemorySessions {
    sessions: Mutex<BTreeMap<SessionId, Session>>,
    lists: AtomicUsize,
}

impl MemorySessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Session>> {
        self.sessions.lock().expect("no test panics with it")
    }

    /// Stores a session, whatever is stored.
    pub(super) fn put(&self, session: Session) {
        self.lock().insert(session.session_id.clone(), session);
    }

    /// A session that is stored.
    pub(super) fn read(&self, session_id: &SessionId) -> Session {
        self.lock()[session_id].clone()
    }

    /// How many pages were listed.
    pub(super) fn lists(&self) -> usize {
        self.lists.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    async fn get(&self, session_id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.lock().get(session_id).cloned())
    }

    async fn latest_session(&self, _: &AppointmentId) -> Result<Option<Session>, StoreError> {
        unreachable!("no test asks for it")
    }

    async fn session_by_short_link(&self, _: &str) -> Result<Option<Session>, StoreError> {
        unreachable!("no test asks for it")
    }

    async fn insert(&self, _: NewSession) -> Result<Inserted, StoreError> {
        unreachable!("no test asks for it")
    }

    async fn commit(&self, change: &Change) -> Result<Committed, StoreError> {
        if self.read(&change.session.session_id).version != change.base_version() {
            return Ok(Committed::Conflict);
        }
        self.put(change.session.clone());
        Ok(Committed::Stored)
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<ListedSession>, StoreError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let is_wanted = |session: &&Session| {
            query.filter.state == Some(session.state)
                && query.filter.sfu_node_id.as_ref() == Some(&session.place.node_id)
        };
        let sessions = self.lock();
        Ok(sessions
            .values()
            .filter(is_wanted)
            .cloned()
            .map(Ok)
            .collect())
    }

    async fn events(
        &self,
        _: &SessionId,
        _: i64,
        _: usize,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        unreachable!("no test asks for them")
    }

    async fn count_by_state(&self) -> Result<HashMap<SessionState, u64>, StoreError> {
        unreachable!("no test asks for it")
    }

    async fn overdue_sessions(
        &self,
        _: OverdueBounds,
        _: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        unreachable!("no test asks for them")
    }
}

/// A store without nodes.
pub(super) struct NoNodes;

#[async_trait]
impl NodeStore for NoNodes {
    async fn node_records(&self) -> Result<Vec<NodeRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn node_uses(&self) -> Result<Vec<NodeUse>, StoreError> {
        unreachable!("no test asks for them")
    }

    async fn save_node(&self, _: &NodeRecord) -> Result<Committed, StoreError> {
        unreachable!("no test changes one")
    }
}

/// Access to a store that always answers.
pub(super) fn access(sessions: &Arc<MemorySessions>, metrics: &Arc<Metrics>) -> Arc<StoreAccess> {
    let second = Duration::from_secs(1);
    let unreadable = UnreadableConfig {
        retry: second,
        max: 1,
    };
    Arc::new(StoreAccess {
        sessions: Arc::clone(sessions) as Arc<dyn SessionStore>,
        unreadable: Unreadable::new(unreadable, Arc::clone(metrics)),
        wait: StoreWaitConfig {
            timeout: Duration::from_secs(60),
            retry_after: second,
        },
    })
}

/// An open session on the node `here`, to which nobody has come.
pub(super) fn session(media: MediaMode, driver: Driver) -> Session {
    let request = SessionRequest {
        appointment_id: AppointmentId::from_stored("appointment-1".into()),
        doctor_id: UserId::from_stored("doctor-1".into()),
        patient_id: UserId::from_stored("patient-1".into()),
        schedule: Schedule::default(),
        labels: Labels::new(),
        admission: Requested::explicit(Admission::Open),
        max_participants: Requested::default_of(10),
        media: Requested::explicit(media),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: String::new(),
    };
    let unplaced = UnplacedSession::new(request, None, Actor::Backend, Timestamp::MIN);
    let here = NodeId::from_stored("here".into());
    unplaced.place(here, driver).session
}
