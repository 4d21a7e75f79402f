use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::app::clock::SystemClock;
use crate::app::testing::{MemorySessions, access, session};
use crate::domain::medium::MediaMode;
use crate::domain::participant::Invite;
use crate::domain::place::Driver;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;
use crate::sfu::builtin::Builtin;
use crate::sfu::{
    Admit, Capabilities, NodeLoad, NodeStatus, NodeTicket, ParticipantOnNode, SignallingAnswer,
    SignallingRequest, WebhookEvent,
};

type Meanwhile = Box<dyn FnOnce() + Send>;

/// A node whose rooms all have the same participants, and which takes its time.
#[derive(Default)]
struct Node {
    present: Vec<ParticipantOnNode>,
    /// What happens while it lists participants.
    while_listing: Mutex<Option<Meanwhile>>,
    /// What happens while it removes one.
    while_removing: Mutex<Option<Meanwhile>>,
    ended: Mutex<Vec<String>>,
}

impl Node {
    fn with(present: &[(&str, i64)]) -> Self {
        let on_node = |(name, sequence): &(&str, i64)| ParticipantOnNode {
            user_id: UserId::from_stored((*name).to_owned()),
            sequence: Some(*sequence),
        };
        Self {
            present: present.iter().map(on_node).collect(),
            ..Self::default()
        }
    }

    fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().clone()
    }
}

fn happen(meanwhile: &Mutex<Option<Meanwhile>>) {
    if let Some(meanwhile) = meanwhile.lock().unwrap().take() {
        meanwhile();
    }
}

#[async_trait]
impl SfuDriver for Node {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            carries_media: true,
            ..Builtin.capabilities()
        }
    }

    async fn ensure_room(&self, _: &str) -> Result<(), SfuError> {
        Ok(())
    }

    async fn issue_ticket(&self, _: &str, _: &Admit) -> Result<Option<NodeTicket>, SfuError> {
        Ok(None)
    }

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
        Ok(Vec::new())
    }

    async fn list_participants(&self, _: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        happen(&self.while_listing);
        Ok(self.present.clone())
    }

    async fn remove_participant(&self, _: &str, _: &UserId) -> Result<(), SfuError> {
        happen(&self.while_removing);
        Ok(())
    }

    async fn mute_participant(&self, _: &str, _: &UserId) -> Result<(), SfuError> {
        Ok(())
    }

    async fn end_room(&self, room: &str) -> Result<(), SfuError> {
        self.ended.lock().unwrap().push(room.to_owned());
        Ok(())
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        Ok(NodeStatus::default())
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        Ok(NodeLoad::default())
    }

    async fn open_signalling(
        &self,
        room: &str,
        admit: &Admit,
        request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError> {
        Builtin.open_signalling(room, admit, request).await
    }

    /// The body is the name of a room that has begun.
    fn verify_webhook(&self, raw_body: &[u8], _: &[u8]) -> Result<WebhookEvent, InvalidWebhook> {
        Ok(WebhookEvent {
            room: String::from_utf8_lossy(raw_body).into_owned(),
            kind: WebhookKind::RoomStarted,
        })
    }
}

fn here() -> NodeId {
    NodeId::from_stored("here".into())
}

fn reconciler(sessions: &Arc<MemorySessions>, node: Arc<Node>) -> Reconciler {
    let metrics = Arc::new(Metrics::default());
    let drivers = HashMap::from([(here(), node as Arc<dyn SfuDriver>)]);
    let config = ReconcileConfig {
        waiting_max: 1,
        concurrent_max: 1,
    };
    Reconciler::new(
        access(sessions, &metrics),
        Arc::new(Drivers::new(drivers)),
        Arc::new(SystemClock),
        metrics,
        config,
        0,
    )
}

/// The session with a guest, whose credential may have any later sequence.
fn with_guest(session: &Session, name: &str) -> Session {
    let user_id = UserId::from_stored(name.to_owned());
    let invite = Invite::new(user_id, Role::Guest, String::new(), None);
    let invited = session.invite_user(invite, &Actor::Backend, Timestamp::MIN);
    invited.unwrap().expect("invited").session
}

/// Stores the session with a guest.
fn invite(sessions: &Arc<MemorySessions>, session: &Session, name: &'static str) -> Meanwhile {
    let (sessions, session_id) = (Arc::clone(sessions), session.session_id.clone());
    Box::new(move || sessions.put(with_guest(&sessions.read(&session_id), name)))
}

#[tokio::test]
async fn a_participant_who_becomes_entitled_while_the_node_is_asked_stays() {
    let sessions = Arc::<MemorySessions>::default();
    let call = session(MediaMode::Sfu, Driver::LiveKit);
    sessions.put(call.clone());
    let node = Arc::new(Node::with(&[("guest-1", 9), ("stranger-1", 9)]));
    *node.while_listing.lock().unwrap() = Some(invite(&sessions, &call, "guest-1"));
    let reconciler = reconciler(&sessions, node);
    let reconciled = reconciler
        .reconcile(&Actor::Backend, &call.session_id)
        .await;
    let stranger = UserId::from_stored("stranger-1".into());
    assert_eq!(reconciled.unwrap().removed, [stranger]);
}

#[tokio::test]
async fn a_participant_who_becomes_entitled_while_another_is_removed_stays() {
    let sessions = Arc::<MemorySessions>::default();
    let call = session(MediaMode::Sfu, Driver::LiveKit);
    sessions.put(call.clone());
    let node = Arc::new(Node::with(&[("stranger-1", 9), ("guest-1", 9)]));
    *node.while_removing.lock().unwrap() = Some(invite(&sessions, &call, "guest-1"));
    let reconciler = reconciler(&sessions, node);
    let reconciled = reconciler
        .reconcile(&Actor::Backend, &call.session_id)
        .await;
    let stranger = UserId::from_stored("stranger-1".into());
    assert_eq!(reconciled.unwrap().removed, [stranger]);
}

#[tokio::test]
async fn the_room_of_a_call_that_goes_to_the_node_meanwhile_stays() {
    let sessions = Arc::<MemorySessions>::default();
    let call = session(MediaMode::Auto, Driver::LiveKit);
    assert_eq!(call.medium, Medium::PeerToPeer);
    sessions.put(call.clone());
    let node = Arc::new(Node::default());
    let (changing, changed) = (Arc::clone(&sessions), call.clone());
    let change = move || {
        let medium = Medium::Sfu;
        changing.put(Session { medium, ..changed });
    };
    *node.while_listing.lock().unwrap() = Some(Box::new(change));
    let reconciler = reconciler(&sessions, Arc::clone(&node));
    let reconciled = reconciler
        .reconcile(&Actor::Backend, &call.session_id)
        .await;
    assert!(!reconciled.unwrap().room_ended);
    assert!(node.ended().is_empty());
}

#[tokio::test]
async fn rooms_without_a_call_end() {
    let sessions = Arc::<MemorySessions>::default();
    let call = session(MediaMode::Auto, Driver::LiveKit);
    sessions.put(call.clone());
    let node = Arc::new(Node::default());
    let reconciler = reconciler(&sessions, Arc::clone(&node));
    let reconciled = reconciler
        .reconcile(&Actor::Backend, &call.session_id)
        .await;
    assert!(reconciled.unwrap().room_ended);
    assert_eq!(node.ended(), [call.place.room_name]);
}

#[tokio::test]
async fn the_room_that_a_session_left_while_the_node_was_asked_is_not_judged() {
    let sessions = Arc::<MemorySessions>::default();
    let call = session(MediaMode::Sfu, Driver::LiveKit);
    sessions.put(call.clone());
    let node = Arc::new(Node::with(&[("stranger-1", 9)]));
    let (moving, moved) = (Arc::clone(&sessions), call.clone());
    let elsewhere = NodeId::from_stored("there".into());
    let change = move || {
        let place = (moved.place).next(&moved.session_id, elsewhere, Driver::Builtin);
        moving.put(Session { place, ..moved });
    };
    *node.while_listing.lock().unwrap() = Some(Box::new(change));
    let reconciler = reconciler(&sessions, node);
    let reconciled = reconciler
        .reconcile(&Actor::Backend, &call.session_id)
        .await;
    let nothing = Reconciled::nothing(NodeId::from_stored("there".into()));
    assert_eq!(reconciled.unwrap(), nothing);
}

#[tokio::test]
async fn messages_about_the_rooms_of_others_take_no_place_in_the_queue() {
    let sessions = Arc::<MemorySessions>::default();
    let reconciler = reconciler(&sessions, Arc::new(Node::default()));
    let own = session(MediaMode::Sfu, Driver::LiveKit).place.room_name;
    for room in ["", "a room of another", &own] {
        let noted = reconciler.note_webhook(&here(), room.as_bytes(), b"");
        assert_eq!(noted, Ok(()));
    }
    assert_eq!(reconciler.metrics.reconciliations_dropped.get(), 0);
    let (work, _permit) = reconciler.queue.next().await;
    assert_eq!(work.task, Task::Room(own));
}
