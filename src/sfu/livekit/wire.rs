//! What LiveKit answers and reports, as far as it is read. Server answers have snake_case names, webhooks camelCase.

use serde::Deserialize;

use crate::domain::id::UserId;
use crate::sfu::{Metadata, ParticipantOnNode};

#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
pub(super) struct Rooms {
    pub(super) rooms: Vec<Room>,
}

#[derive(Deserialize)]
pub(super) struct Room {
    pub(super) sid: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) num_participants: u32,
}

#[derive(Deserialize)]
pub(super) struct Participants {
    pub(super) participants: Vec<Participant>,
}

#[derive(Deserialize)]
pub(super) struct Participant {
    pub(super) identity: String,
    #[serde(default)]
    pub(super) state: String,
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) metadata: String,
    #[serde(default)]
    pub(super) tracks: Vec<Track>,
}

#[derive(Deserialize)]
pub(super) struct Track {
    pub(super) sid: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    muted: bool,
}

impl Track {
    pub(super) fn is_audible(&self) -> bool {
        self.kind == "AUDIO" && !self.muted
    }
}

impl Participant {
    /// Whether this is a user who is in the room: not one who has left it, and not a worker of the node's that records it.
    pub(super) fn is_present(&self) -> bool {
        self.state != "DISCONNECTED" && self.kind != "EGRESS"
    }

    pub(super) fn into_plain(self) -> ParticipantOnNode {
        ParticipantOnNode {
            sequence: Metadata::sequence_in(&self.metadata),
            user_id: UserId::from_stored(self.identity),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct WebhookBody {
    pub(super) event: String,
    pub(super) room: Option<WebhookRoom>,
    pub(super) participant: Option<WebhookParticipant>,
}

#[derive(Deserialize)]
pub(super) struct WebhookRoom {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct WebhookParticipant {
    #[serde(default)]
    pub(super) identity: String,
    #[serde(default)]
    pub(super) metadata: String,
}
