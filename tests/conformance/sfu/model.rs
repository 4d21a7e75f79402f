//! A node in memory, which keeps every promise: what the broken ones and the decorators are made of.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use video_session::domain::id::UserId;
use video_session::domain::role::{Action, Role};
use video_session::sfu::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, ParticipantOnNode,
    SfuDriver, SfuError, SignallingAnswer, SignallingRequest, WebhookEvent,
};

use super::{Joined, Stage, Tried};

type Rooms = BTreeMap<String, Vec<Member>>;

/// A participant, and what they publish.
#[derive(Clone)]
struct Member {
    on_node: ParticipantOnNode,
    is_heard: bool,
    is_seen: bool,
}

/// A user who joined a room.
struct InRoom {
    rooms: Arc<Mutex<Rooms>>,
    room: String,
    user_id: UserId,
}

impl InRoom {
    fn does(&self, what: impl Fn(&Member) -> bool) -> bool {
        let rooms = self.rooms.lock().unwrap();
        let mut members = rooms.get(&self.room).into_iter().flatten();
        members.any(|one| one.on_node.user_id == self.user_id && what(one))
    }
}

impl Joined for InRoom {
    fn is_heard(&self) -> bool {
        self.does(|one| one.is_heard)
    }

    fn is_seen(&self) -> bool {
        self.does(|one| one.is_seen)
    }
}

/// The node, and a driver of it.
#[derive(Clone, Default)]
pub(super) struct Model {
    rooms: Arc<Mutex<Rooms>>,
    has_wrong_secret: bool,
}

impl Model {
    fn rooms(&self) -> Result<MutexGuard<'_, Rooms>, SfuError> {
        if self.has_wrong_secret {
            return Err(SfuError::Refused);
        }
        Ok(self.rooms.lock().unwrap())
    }
}

pub(super) fn tried() -> Tried {
    let model = Arc::new(Model::default());
    Tried {
        driver: model.clone(),
        stage: Some(model),
        limit: Duration::from_millis(100),
    }
}

#[async_trait]
impl Stage for Model {
    async fn join(&self, room: &str, ticket: &NodeTicket) -> Box<dyn Joined> {
        let ticket: Value = serde_json::from_str(ticket.token.expose_secret()).unwrap();
        let role = Role::from_name(ticket["role"].as_str().unwrap()).unwrap();
        let publishes = role.may(Action::Publish);
        let user_id = UserId::from_stored(ticket["user"].as_str().unwrap().to_owned());
        if let Some(members) = self.rooms.lock().unwrap().get_mut(room) {
            members.push(Member {
                on_node: ParticipantOnNode {
                    user_id: user_id.clone(),
                    sequence: ticket["sequence"].as_i64(),
                },
                is_heard: publishes,
                is_seen: publishes,
            });
        }
        Box::new(InRoom {
            rooms: Arc::clone(&self.rooms),
            room: room.to_owned(),
            user_id,
        })
    }

    async fn join_as_stranger(&self, room: &str) -> Box<dyn Any + Send> {
        let stranger = Member {
            on_node: ParticipantOnNode {
                user_id: UserId::from_stored("stranger".to_owned()),
                sequence: None,
            },
            is_heard: false,
            is_seen: false,
        };
        if let Some(members) = self.rooms.lock().unwrap().get_mut(room) {
            members.push(stranger);
        }
        Box::new(())
    }

    fn with_wrong_secret(&self) -> Arc<dyn SfuDriver> {
        Arc::new(Self {
            has_wrong_secret: true,
            ..self.clone()
        })
    }
}

#[async_trait]
impl SfuDriver for Model {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            carries_media: true,
            records: false,
            moderates: true,
            encrypts_end_to_end: false,
        }
    }

    async fn ensure_room(&self, room: &str) -> Result<(), SfuError> {
        self.rooms()?.entry(room.to_owned()).or_default();
        Ok(())
    }

    async fn issue_ticket(
        &self,
        room: &str,
        admit: &Admit,
    ) -> Result<Option<NodeTicket>, SfuError> {
        self.ensure_room(room).await?;
        let token = json!({"user": admit.user_id, "sequence": admit.sequence, "role": admit.role});
        Ok(Some(NodeTicket {
            url: "wss://node.example".to_owned(),
            token: SecretString::from(token.to_string()),
            expire_time: None,
        }))
    }

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
        Ok(self.rooms()?.keys().cloned().collect())
    }

    async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        let rooms = self.rooms()?;
        let members = rooms.get(room).into_iter().flatten();
        Ok(members.map(|one| one.on_node.clone()).collect())
    }

    async fn remove_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        if let Some(members) = self.rooms()?.get_mut(room) {
            members.retain(|one| one.on_node.user_id != *user_id);
        }
        Ok(())
    }

    async fn mute_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        let mut rooms = self.rooms()?;
        let members = rooms.get_mut(room).into_iter().flatten();
        for one in members.filter(|one| one.on_node.user_id == *user_id) {
            one.is_heard = false;
        }
        Ok(())
    }

    async fn end_room(&self, room: &str) -> Result<(), SfuError> {
        self.rooms()?.remove(room);
        Ok(())
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        drop(self.rooms()?);
        Ok(NodeStatus {
            incarnation: Some("1".to_owned()),
        })
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        let rooms = self.rooms()?;
        let participants: usize = rooms.values().map(Vec::len).sum();
        Ok(NodeLoad {
            rooms: u32::try_from(rooms.len()).unwrap(),
            participants: u32::try_from(participants).unwrap(),
        })
    }

    async fn open_signalling(
        &self,
        _room: &str,
        _admit: &Admit,
        _request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError> {
        Err(SfuError::Misconfigured(
            "pages cannot signal with this kind of node",
        ))
    }

    fn verify_webhook(
        &self,
        _raw_body: &[u8],
        _authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        Err(InvalidWebhook::Forged)
    }
}
