//! Sessions to try a store with.

use std::sync::Arc;

use video_session::app::clock::{Clock as _, SystemClock};
use video_session::domain::actor::Actor;
use video_session::domain::change::Change;
use video_session::domain::id::{AppointmentId, NodeId, SessionId, UserId, random_id};
use video_session::domain::label::Labels;
use video_session::domain::locale::Locale;
use video_session::domain::medium::MediaMode;
use video_session::domain::node::{Capabilities, NodeHealth, SfuNode};
use video_session::domain::node_record::NodeState;
use video_session::domain::participant::Admission;
use video_session::domain::place::Driver;
use video_session::domain::placement::{Candidate, Rotation, Wanted};
use video_session::domain::role::Role;
use video_session::domain::rules::create::UnplacedSession;
use video_session::domain::session::{Requested, Schedule, Session, SessionRequest, SessionUpdate};
use video_session::domain::short_link::ShortLink;
use video_session::domain::time::Timestamp;
use video_session::store::{
    AtTurn, Committed, Insert, Inserted, NewSession, OverdueBounds, SessionStore,
};

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a good id")
}

/// `sfu-1` to `sfu-<count>`.
pub(crate) fn nodes(count: usize) -> Vec<SfuNode> {
    let id = |n| NodeId::parse(format!("sfu-{n}")).expect("a good id");
    let node = |n| SfuNode::new(id(n), String::new(), Driver::Builtin);
    (1..=count).map(node).collect()
}

/// The rotation over `sfu-1` to `sfu-<count>`.
pub(crate) fn rotation(count: usize) -> Arc<Rotation> {
    let candidates: Vec<_> = nodes(count)
        .into_iter()
        .map(|node| Candidate {
            node: Arc::new(node),
            capabilities: Capabilities::default(),
            state: NodeState::Active,
            health: NodeHealth::Up,
        })
        .collect();
    Arc::new(Rotation::new(&candidates, &Wanted::default()))
}

pub(crate) fn request(appointment: &str) -> SessionRequest {
    SessionRequest {
        appointment_id: AppointmentId::parse(appointment).expect("a good id"),
        doctor_id: user("doctor-1"),
        patient_id: user("patient-1"),
        schedule: Schedule::default(),
        labels: Labels::new(),
        admission: Requested::default_of(Admission::default()),
        max_participants: Requested::default_of(8),
        media: Requested::default_of(MediaMode::default()),
        region: None,
        end_to_end_encrypted: false,
        empty_timeout_secs: None,
        open_to_guests: false,
        doctor_name: "Dr. Ana Ruiz".into(),
    }
}

/// The bounds of sessions that were scheduled to end before a time.
pub(crate) fn scheduled_to_end_before(time: Timestamp) -> OverdueBounds {
    OverdueBounds {
        ends_before: time,
        empty_before: None,
        empty_deadline_before: Timestamp::from_millis(0),
    }
}

/// The time of day.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn unplaced(request: SessionRequest, previous: Option<&Session>) -> UnplacedSession {
    UnplacedSession::new(request, previous, Actor::Backend, now())
}

/// A session as the application gives it to a store, whatever the appointment's latest session is, on the node whose turn it is of `sfu-1` to `sfu-<nodes>`.
pub(crate) fn new_session(unplaced: UnplacedSession, nodes: usize) -> NewSession {
    let rotation = rotation(nodes);
    NewSession::new(unplaced.request.appointment_id.clone(), move |_| {
        let (unplaced, rotation) = (unplaced.clone(), Arc::clone(&rotation));
        Insert::New(AtTurn::of_every_turn(move |turn| {
            let (node_id, driver) = rotation.node_at(turn).expect("there are nodes");
            unplaced.place(node_id.clone(), driver)
        }))
    })
}

pub(crate) async fn stored(store: &dyn SessionStore, unplaced: UnplacedSession) -> Change {
    match store.insert(new_session(unplaced, 3)).await.unwrap() {
        Inserted::Stored(change) => *change,
        other => panic!("{other:?}, the incarnation was taken"),
    }
}

/// A new session of a new appointment.
pub(crate) async fn insert(store: &dyn SessionStore, appointment: &str) -> Change {
    stored(store, unplaced(request(appointment), None)).await
}

pub(crate) fn join(session: &Session) -> Change {
    let now = now();
    let link = short_link(session, session.doctor_id.clone(), Role::Doctor);
    let expire_time = now.plus_secs(60);
    session.record_token(link.jti.clone(), expire_time, link, &Actor::Backend, now)
}

/// A new short link to a session.
pub(crate) fn short_link(session: &Session, user_id: UserId, role: Role) -> ShortLink {
    ShortLink {
        user_id,
        role,
        display_name: "Dr. Ä".to_owned(),
        locale: Locale::parse("pt-BR"),
        digest: random_id(),
        jti: random_id(),
        since: session.version + 1,
    }
}

pub(crate) fn update(session: &Session, update: SessionUpdate) -> Change {
    session
        .update(update, None, &Actor::Backend, now())
        .unwrap()
        .expect("it changes something")
}

pub(crate) fn end(session: &Session, reason: &str) -> Change {
    session
        .end(Some(reason.to_owned()), &Actor::Backend, now())
        .expect("the backend may")
        .expect("it is live")
}

/// Stores a change that nothing stands in the way of.
pub(crate) async fn commit(store: &dyn SessionStore, change: &Change) -> Session {
    assert_eq!(store.commit(change).await.unwrap(), Committed::Stored);
    change.session.clone()
}

/// Reads, decides and commits until it is stored, as the application does.
pub(crate) async fn commit_in_a_loop(
    store: &dyn SessionStore,
    session_id: &SessionId,
    decide: impl Fn(&Session) -> Change,
) -> Change {
    loop {
        let session = store.get(session_id).await.unwrap().expect("it exists");
        let change = decide(&session);
        if store.commit(&change).await.unwrap() == Committed::Stored {
            return change;
        }
        tokio::task::yield_now().await;
    }
}
