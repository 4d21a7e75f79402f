//! SFU nodes: media servers that carry calls. One driver per kind of node, behind one trait.
//!
//! A driver promises, and tests/conformance/sfu holds each to it:
//!
//! - **Idempotent.** Every call may be repeated. Removing or ending what is absent succeeds.
//! - **By room.** A call about a room never changes another one. `list_rooms` omits rooms that the driver made for itself.
//! - **A ticket admits.** Its room is on the node when it is issued. It admits one user with the permissions of one role, and
//!   never lets them administer the node.
//! - **Typed errors.** An answer that is not understood is an error, and never counts as done. No error holds text of the node's.
//!
//! A driver's calls end, but take as long as the node takes: [`Bounded`](bounded::Bounded) limits and repeats them. There is one
//! driver value per node.

pub mod bounded;
pub mod builtin;
mod error;
mod http;
pub mod livekit;
pub mod openvidu;
mod signalling;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use error::{InvalidWebhook, Outage, SfuError};
pub use signalling::{NodeStream, SignallingAnswer, SignallingRequest};

use crate::domain::id::UserId;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

/// What a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Media goes through the node. Otherwise it goes from browser to browser, and the driver's calls do nothing.
    pub carries_media: bool,
    /// The node can record calls.
    pub records: bool,
    /// It mutes participants. Otherwise [`SfuDriver::mute_participant`] does nothing, and only the participant's page mutes.
    pub moderates: bool,
    /// Participants can encrypt media so that the node cannot read it.
    pub encrypts_end_to_end: bool,
}

/// Whom a ticket admits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admit {
    /// The user, and their identity on the node.
    pub user_id: UserId,
    /// Their role, which decides what they may publish.
    pub role: Role,
    /// The sequence of the credential that admits them; [`ParticipantOnNode::sequence`] shows it.
    pub sequence: i64,
    /// How long the ticket is valid, if the kind of node can limit that.
    pub ttl: Duration,
}

/// What a client needs to join a room on a node.
#[derive(Debug, Clone)]
pub struct NodeTicket {
    /// The node's address for participants; empty if they cannot reach the node directly.
    pub url: String,
    /// The credential, opaque to the service.
    pub token: SecretString,
    /// The end of its validity; `None` if it is valid until it was used or its room ends.
    pub expire_time: Option<Timestamp>,
}

/// A participant who is connected to a room on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantOnNode {
    /// The user id, as the node reports it; not validated.
    pub user_id: UserId,
    /// The sequence of the credential that admitted them; `None` if the ticket was not the driver's.
    pub sequence: Option<i64>,
}

/// A ticket that nobody has used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedTicket {
    /// The node's name for it.
    pub id: String,
    /// Who would be there with it.
    pub holder: ParticipantOnNode,
}

/// A healthy node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Differs between two starts of the node's process, if the kind of node shows that: rooms do not survive a restart.
    pub incarnation: Option<String>,
}

/// What a node carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// Its rooms.
    pub rooms: u32,
    /// The participants in them.
    pub participants: u32,
}

/// A verified message from a node. It is a hint: it may be lost, come twice, or come late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The room; empty if it is about none.
    pub room: String,
    /// What happened.
    pub kind: WebhookKind,
}

/// What a node reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookKind {
    /// The room began.
    RoomStarted,
    /// The room ended.
    RoomFinished,
    /// A participant joined.
    ParticipantJoined {
        /// The user.
        user_id: UserId,
        /// The sequence of the credential that admitted them, if the node tells.
        sequence: Option<i64>,
    },
    /// A participant left, or did not get as far as exchanging media.
    ParticipantLeft {
        /// The user.
        user_id: UserId,
    },
    /// Anything else.
    Other,
}

/// Speaks to one node in its protocol.
#[async_trait]
pub trait SfuDriver: Send + Sync {
    /// What the node can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes the room, if it is not there.
    ///
    /// # Errors
    /// [`SfuError`], as for all calls below.
    async fn ensure_room(&self, room: &str) -> Result<(), SfuError>;

    /// Makes the room, if it is not there, and issues a ticket for it. `None` if the node carries no media.
    async fn issue_ticket(&self, room: &str, admit: &Admit)
    -> Result<Option<NodeTicket>, SfuError>;

    /// The names of the node's rooms.
    async fn list_rooms(&self) -> Result<Vec<String>, SfuError>;

    /// The participants who are connected to a room; none if the room is not there.
    async fn list_participants(&self, room: &str) -> Result<Vec<ParticipantOnNode>, SfuError>;

    /// Disconnects a user from a room, if they are there. It does not keep them from coming back with a valid ticket.
    async fn remove_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError>;

    /// The tickets for a room that nobody has used yet, if they are valid until somebody does. None if the room is not there.
    async fn list_unused_tickets(&self, _room: &str) -> Result<Vec<UnusedTicket>, SfuError> {
        Ok(Vec::new())
    }

    /// Invalidates an unused ticket, if it is still there.
    async fn revoke_ticket(&self, _room: &str, _ticket: &UnusedTicket) -> Result<(), SfuError> {
        Ok(())
    }

    /// Mutes all audio that a user publishes. They can unmute themselves.
    async fn mute_participant(&self, room: &str, user_id: &UserId) -> Result<(), SfuError>;

    /// Ends a room and disconnects all participants, if it is there.
    async fn end_room(&self, room: &str) -> Result<(), SfuError>;

    /// Asks whether the node can carry calls, and whether it is configured and knows us as it must.
    async fn check_health(&self) -> Result<NodeStatus, SfuError>;

    /// What the node carries.
    async fn read_load(&self) -> Result<NodeLoad, SfuError>;

    /// Passes a page's request on to the node's signalling, with a credential for `admit` that the node has not seen before. The
    /// room must be there.
    ///
    /// # Errors
    /// [`SfuError::Misconfigured`] if pages cannot signal with this kind of node; as for all calls.
    async fn open_signalling(
        &self,
        room: &str,
        admit: &Admit,
        request: &SignallingRequest,
    ) -> Result<SignallingAnswer, SfuError>;

    /// Reads a message of the node's: the body as it came, and the `Authorization` header.
    ///
    /// # Errors
    /// [`InvalidWebhook`] unless the node sent exactly this body.
    fn verify_webhook(
        &self,
        raw_body: &[u8],
        authorization: &[u8],
    ) -> Result<WebhookEvent, InvalidWebhook>;
}

/// What the driver attaches to a participant on the node, besides their identity.
#[derive(Serialize, Deserialize)]
struct Metadata {
    sequence: i64,
}

impl Metadata {
    fn sequence_in(text: &str) -> Option<i64> {
        let metadata: Self = serde_json::from_str(text).ok()?;
        Some(metadata.sequence)
    }
}

/// The time, by the machine's clock. Nodes read theirs from it, too.
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
