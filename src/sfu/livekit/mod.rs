//! LiveKit, plain or inside OpenVidu 3. Nodes stand alone, without Redis, and must not make rooms by themselves
//! (`room.auto_create: false`): otherwise an old token makes an ended room again.

mod client;
mod token;
mod webhook;
mod wire;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::json;

use self::client::{Client, UnknownRooms};
use self::token::{Grant, Signer, expiry};
use self::wire::{Nothing, Participant, Participants, Room, Rooms, Track};
use super::{
    Admit, Capabilities, InvalidWebhook, NodeLoad, NodeStatus, NodeTicket, ParticipantOnNode,
    SfuDriver, SfuError, SignallingAnswer, SignallingRequest, WebhookEvent, wall_clock,
};
use crate::domain::id::{UserId, random_id};
use crate::domain::place::Driver;
use crate::domain::role::Role;

/// How long a room stays before the first participant comes, in seconds. The service ends rooms itself; this only clears away
/// what it could not end.
const EMPTY_TIMEOUT_SECS: u32 = 3600;
/// How long a room stays after the last participant left, in seconds: longer than anyone takes to come back.
const DEPARTURE_TIMEOUT_SECS: u32 = 600;
/// A room of the driver's own, which nobody joins. Rooms live in the node's memory, so this one has another `sid` after a
/// restart.
const MARKER_ROOM: &str = "_video-session";
/// The marker stays as long as the process, in seconds: ten years.
const MARKER_EMPTY_TIMEOUT_SECS: u32 = 315_360_000;
/// How long the token is valid that tries an unknown room.
const PROBE_TTL: Duration = Duration::from_secs(10);

/// How to reach a LiveKit node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The base URL of its HTTP port, for the service: `http://` or `https://`.
    pub api_url: String,
    /// Its URL for participants, `wss://`; `None` if they reach it through the service's door only.
    pub public_url: Option<String>,
    /// The name of its key.
    pub api_key: String,
    /// The key's secret.
    pub api_secret: SecretString,
}

/// A LiveKit node.
pub struct LiveKit {
    client: Client,
    signer: Signer,
    public_url: String,
    /// The incarnation whose configuration was found to be right.
    checked: Mutex<Option<String>>,
}

impl LiveKit {
    /// A driver for this node. Does not connect yet.
    ///
    /// # Errors
    /// [`SfuError::Misconfigured`]
    pub fn new(config: &Config) -> Result<Self, SfuError> {
        let client = Client::new(&config.api_url)?;
        Ok(Self {
            signer: Signer::new(&config.api_key, &config.api_secret),
            public_url: config.public_url.clone().unwrap_or_default(),
            checked: Mutex::new(None),
            client,
        })
    }

    async fn make_room(&self, name: &str, empty_timeout_secs: u32) -> Result<Room, SfuError> {
        let request = json!({
            "name": name,
            "empty_timeout": empty_timeout_secs,
            "departure_timeout": DEPARTURE_TIMEOUT_SECS,
        });
        let grant = Grant::CreateRooms;
        self.client
            .call(&self.signer, "CreateRoom", grant, &request)
            .await
    }

    async fn rooms(&self) -> Result<Vec<Room>, SfuError> {
        let Rooms { mut rooms } = self
            .client
            .call(&self.signer, "ListRooms", Grant::ListRooms, &json!({}))
            .await?;
        rooms.retain(|room| room.name != MARKER_ROOM);
        Ok(rooms)
    }

    async fn participants(&self, room: &str) -> Result<Vec<Participant>, SfuError> {
        let (grant, request) = (Grant::Administer(room), json!({"room": room}));
        let answer = self
            .client
            .call(&self.signer, "ListParticipants", grant, &request)
            .await;
        match answer {
            Ok(Participants { participants }) => Ok(participants),
            Err(SfuError::RoomNotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Fails if the node makes rooms for those who join unknown ones.
    async fn check_unknown_rooms(&self) -> Result<(), SfuError> {
        let now = wall_clock();
        let room = format!("_probe_{}", random_id());
        let nobody = Admit {
            user_id: UserId::from_stored("_probe".to_owned()),
            role: Role::Observer,
            sequence: 0,
            ttl: PROBE_TTL,
        };
        let expire_time = expiry(now, PROBE_TTL);
        let found = self
            .client
            .try_unknown_room(&self.signer, &room, &nobody, now, expire_time);
        match found.await? {
            UnknownRooms::Refused => Ok(()),
            UnknownRooms::Made => Err(SfuError::Misconfigured(
                "LiveKit must run with `room.auto_create: false`, or old tokens make ended rooms again",
            )),
        }
    }
}

/// Treats "not found" as success.
fn absent_is_done(outcome: Result<Nothing, SfuError>) -> Result<(), SfuError> {
    match outcome {
        Ok(Nothing {}) | Err(SfuError::RoomNotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl SfuDriver for LiveKit {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            carries_media: Driver::LiveKit.carries_media(),
            // It needs a worker and Redis, which nodes that stand alone do not have.
            records: false,
            moderates: true,
            encrypts_end_to_end: Driver::LiveKit.encrypts_end_to_end(),
        }
    }

    async fn ensure_room(&self, room: &str) -> Result<(), SfuError> {
        self.make_room(room, EMPTY_TIMEOUT_SECS).await.map(|_| ())
    }

    async fn issue_ticket(
        &self,
        room: &str,
        admit: &Admit,
    ) -> Result<Option<NodeTicket>, SfuError> {
        self.ensure_room(room).await?;
        let now = wall_clock();
        let expire_time = expiry(now, admit.ttl);
        Ok(Some(NodeTicket {
            url: self.public_url.clone(),
            token: self.signer.issue_join_token(room, admit, now, expire_time),
            expire_time: Some(expire_time),
        }))
    }

    async fn list_rooms(&self) -> Result<Vec<String>, SfuError> {
        let rooms = self.rooms().await?.into_iter();
        Ok(rooms.map(|room| room.name).collect())
    }

    async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantOnNode>, SfuError> {
        let participants = self.participants(room).await?.into_iter();
        let present = participants.filter(Participant::is_present);
        Ok(present.map(Participant::into_plain).collect())
    }

    async fn remove_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        let request = json!({"room": room, "identity": user_id.as_str()});
        let grant = Grant::Administer(room);
        absent_is_done(
            self.client
                .call(&self.signer, "RemoveParticipant", grant, &request)
                .await,
        )
    }

    async fn mute_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError> {
        let participants = self.participants(room).await?.into_iter();
        let tracks = participants
            .filter(|participant| participant.identity == user_id.as_str())
            .flat_map(|participant| participant.tracks);
        for track in tracks.filter(Track::is_audible) {
            let request = json!({
                "room": room,
                "identity": user_id.as_str(),
                "track_sid": track.sid,
                "muted": true,
            });
            let grant = Grant::Administer(room);
            absent_is_done(
                self.client
                    .call(&self.signer, "MutePublishedTrack", grant, &request)
                    .await,
            )?;
        }
        Ok(())
    }

    async fn end_room(&self, room: &str) -> Result<(), SfuError> {
        let (grant, request) = (Grant::CreateRooms, json!({"room": room}));
        absent_is_done(
            self.client
                .call(&self.signer, "DeleteRoom", grant, &request)
                .await,
        )
    }

    async fn check_health(&self) -> Result<NodeStatus, SfuError> {
        let ask = || self.make_room(MARKER_ROOM, MARKER_EMPTY_TIMEOUT_SECS);
        let mut marker = ask().await?;
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        // LiveKit reads its configuration at start, so one check per incarnation is enough.
        let is_checked = checked().as_ref() == Some(&marker.sid);
        if !is_checked {
            self.check_unknown_rooms().await?;
            // If two instances make the marker at once, LiveKit may answer one of them with a room that the other call replaces.
            marker = ask().await?;
            *checked() = Some(marker.sid.clone());
        }
        Ok(NodeStatus {
            incarnation: Some(marker.sid),
        })
    }

    async fn read_load(&self) -> Result<NodeLoad, SfuError> {
        let rooms = self.rooms().await?;
        let participants = rooms.iter().map(|room| room.num_participants);
        Ok(NodeLoad {
            rooms: u32::try_from(rooms.len()).unwrap_or(u32::MAX),
            participants: participants.fold(0, u32::saturating_add),
        })
    }

    async fn open_signalling(
        &self,
        room: &str,
        admit: &Admit,
        request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError> {
        let now = wall_clock();
        let expire_time = expiry(now, admit.ttl);
        let token = self.signer.issue_join_token(room, admit, now, expire_time);
        self.client.open_signalling(request, &token).await
    }

    fn verify_webhook(
        &self,
        raw_body: &[u8],
        authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook> {
        webhook::verify(&self.signer, raw_body, authorization, wall_clock())
    }
}
