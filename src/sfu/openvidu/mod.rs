//! OpenVidu 2, by its REST API. OpenVidu 3 speaks [LiveKit](super::livekit)'s.
//!
//! A session of OpenVidu's is a room here, and its id the room's name. It vanishes with its last participant, and an hour after
//! it was made if nobody came: so each ticket makes it first.

mod client;
mod webhook;
mod wire;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde_json::json;

use self::client::Client;
use self::wire::{Connection, ListOf, NewConnection, ServerData, Session};
use super::http::Answer;
use super::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, ParticipantOnNode,
    SfuDriver, SfuError, SignallingAnswer, SignallingRequest, UnusedTicket, WebhookEvent,
};
use crate::domain::id::UserId;
use crate::domain::place::Driver;
use crate::domain::role::{Action, Role};

/// How to reach an OpenVidu 2 node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its base URL for the service, without `/openvidu/api`: `http://` or `https://`.
    pub api_url: String,
    /// Its URL for participants; `None` if only the ticket's token names it.
    pub public_url: Option<String>,
    /// `OPENVIDU_SECRET`.
    pub secret: SecretString,
    /// What its webhooks carry as `Authorization: Bearer …`, by `OPENVIDU_WEBHOOK_HEADERS`. Without it, webhooks are refused.
    pub webhook_secret: Option<SecretString>,
}

/// An OpenVidu 2 node.
pub struct OpenVidu {
    client: Client,
    public_url: String,
    webhook_secret: Option<SecretString>,
}

impl OpenVidu {
    /// A driver for this node. Does not connect yet.
    ///
    /// # Errors
    /// [`SfuError::Misconfigured`]
    pub fn new(config: &Config) -> Result<Self, SfuError> {
        Ok(Self {
            client: Client::new(&config.api_url, &config.secret)?,
            public_url: config.public_url.clone().unwrap_or_default(),
            webhook_secret: config.webhook_secret.clone(),
        })
    }

    /// A connection that waits for its user; `None` if the room is not there.
    async fn add_connection(
        &self,
        room: &str,
        admit: &Admit,
    ) -> Result<Option<NewConnection>, SfuError> {
        let data = ServerData {
            user_id: admit.user_id.to_string(),
            sequence: admit.sequence,
        };
        let request = json!({
            "type": "WEBRTC",
            "role": role_name(admit.role),
            "data": json!(data).to_string(),
            // What is recorded is decided by the service.
            "record": false,
        });
        let path = ["sessions", room, "connection"];
        let answer = self
            .client
            .call(Method::POST, &path, Some(&request))
            .await?;
        found(&answer)?.map(Answer::json).transpose()
    }

    /// Ends a connection, or invalidates its token; it may be gone.
    async fn delete_connection(&self, room: &str, id: &str) -> Result<(), SfuError> {
        let path = ["sessions", room, "connection", id];
        let answer = self.client.call(Method::DELETE, &path, None).await?;
        let is_room_absent = answer.status == 400 && is_own(&answer);
        if !is_room_absent {
            found(&answer)?;
        }
        Ok(())
    }

    async fn connections(&self, room: &str, pending: bool) -> Result<Vec<Connection>, SfuError> {
        let path = ["sessions", room, "connection"];
        let answer = self
            .client
            .get_with(&path, ("pendingConnections", pending))
            .await?;
        let list: Option<ListOf<Connection>> = found(&answer)?.map(Answer::json).transpose()?;
        Ok(list.map(|list| list.content).unwrap_or_default())
    }

    async fn sessions(&self) -> Result<Vec<Session>, SfuError> {
        let path = ["sessions"];
        let answer = self
            .client
            .get_with(&path, ("pendingConnections", false))
            .await?;
        if !answer.is_success() {
            return Err(SfuError::of_status(answer.status));
        }
        let list: ListOf<Session> = answer.json()?;
        Ok(list.content)
    }
}

/// OpenVidu's name for what a role may do.
fn role_name(role: Role) -> &'static str {
    if role.may(Action::Remove) {
        "MODERATOR"
    } else if role.may(Action::Publish) {
        "PUBLISHER"
    } else {
        "SUBSCRIBER"
    }
}

/// An answer about something that may be absent.
fn found(answer: &Answer) -> Result<Option<&Answer>, SfuError> {
    match answer.status {
        _ if answer.is_success() => Ok(Some(answer)),
        404 if is_own(answer) => Ok(None),
        status => Err(SfuError::of_status(status)),
    }
}

/// Whether an error is OpenVidu's own: its body is empty, or JSON if the room is closing. A proxy's page says nothing about the node.
fn is_own(answer: &Answer) -> bool {
    answer.body.is_empty() || answer.json::<IgnoredAny>().is_ok()
}

#[async_trait]
impl SfuDriver for OpenVidu {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            carries_media: Driver::OpenVidu.carries_media(),
            records: false,
            // The API can end a stream, with its picture, but not mute it.
            moderates: false,
            encrypts_end_to_end: Driver::OpenVidu.encrypts_end_to_end(),
        }
    }

    async fn ensure_room(&self, room: &str) -> Result<(), SfuError> {
        let request =
            json!({"customSessionId": room, "mediaMode": "ROUTED", "recordingMode": "MANUAL"});
        let answer = self
            .client
            .call(Method::POST, &["sessions"], Some(&request))
            .await?;
        match answer.status {
            // 409: it is there.
            200 | 409 => Ok(()),
            status => Err(SfuError::of_status(status)),
        }
    }

    async fn issue_ticket(
        &self,
        room: &str,
        admit: &Admit,
    ) -> Result<Option<NodeTicket>, SfuError> {
        // Between the two calls, the last participant may leave, and the room vanish with them: once more, then.
        for _ in 0..2 {
            self.ensure_room(room).await?;
            if let Some(connection) = self.add_connection(room, admit).await? {
                if !connection.has_address() {
                    return Err(SfuError::Malformed);
                }
                return Ok(Some(NodeTicket {
                    url: self.public_url.clone(),
                    token: SecretString::from(connection.token),
                    expire_time: None,
                }));
            }
        }
        Err(SfuError::RoomNotFound)
    }

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
        let sessions = self.sessions().await?.into_iter();
        Ok(sessions.map(|session| session.id).collect())
    }

    async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        let connections = self.connections(room, false).await?.into_iter();
        let active = connections.filter(Connection::is_active);
        Ok(active.map(Connection::into_plain).collect())
    }

    async fn list_unused_tickets(&self, room: &str) -> Result<Vec<UnusedTicket>, SfuError> {
        let connections = self.connections(room, true).await?.into_iter();
        let pending = connections.filter(|connection| !connection.is_active());
        let tickets = pending.map(|connection| UnusedTicket {
            id: connection.id.clone(),
            holder: connection.into_plain(),
        });
        Ok(tickets.collect())
    }

    async fn revoke_ticket(&self, room: &str, ticket: &UnusedTicket) -> Result<(), SfuError> {
        self.delete_connection(room, &ticket.id).await
    }

    /// Their unused tickets become invalid, too, but not those that were issued after they came.
    async fn remove_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        let mut connections = self.connections(room, true).await?;
        connections.retain(|connection| connection.is_of(user_id));
        let newest_used = (connections.iter())
            .filter(|connection| connection.is_active())
            .filter_map(Connection::sequence)
            .max();
        for connection in connections {
            let is_newer = newest_used.is_some() && connection.sequence() > newest_used;
            if connection.is_active() || !is_newer {
                self.delete_connection(room, &connection.id).await?;
            }
        }
        Ok(())
    }

    async fn mute_participant(&self, _room: &str, _user_id: &UserId) -> Result<(), SfuError> {
        Ok(())
    }

    async fn end_room(&self, room: &str) -> Result<(), SfuError> {
        let path = ["sessions", room];
        let answer = self.client.call(Method::DELETE, &path, None).await?;
        found(&answer).map(|_| ())
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        let answer = self.client.call(Method::GET, &["config"], None).await?;
        if !answer.is_success() {
            return Err(SfuError::of_status(answer.status));
        }
        let config: serde_json::Value = answer.json()?;
        // A proxy's page, or another server, has no such answer.
        if config.get("VERSION").is_none() {
            return Err(SfuError::Malformed);
        }
        Ok(NodeStatus::default())
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        let sessions = self.sessions().await?;
        let participants = sessions.iter().map(Session::participants);
        Ok(NodeLoad {
            rooms: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
            participants: participants.fold(0, u32::saturating_add),
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
        raw_body: &[u8],
        authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        webhook::verify(self.webhook_secret.as_ref(), raw_body, authorization)
    }
}
