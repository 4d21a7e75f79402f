//! Messages to pages.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::MessageErrorCode;
use crate::app::media::PageMedia;
use crate::bus::Relay;

/// A message of the service. Owns its data, so that it can wait in the queues of several pages.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage {
    /// The first message of every connection.
    Connected(Box<Connected>),
    /// You wait, or a participant whom you may admit waits.
    Waiting {
        /// The waiting participant.
        user_id: String,
        /// Their name.
        name: String,
        /// Their role.
        role: &'static str,
        /// What they wait for.
        reason: WaitingReason,
    },
    /// A waiting participant was admitted.
    Admitted {
        /// The participant.
        user_id: String,
    },
    /// The other participants in the call.
    ExistingParticipants {
        /// The session.
        room_id: String,
        /// The others.
        participants: Vec<ParticipantView>,
    },
    /// A participant joined the call.
    UserJoined {
        /// The session.
        room_id: String,
        /// The participant.
        #[serde(flatten)]
        participant: ParticipantView,
    },
    /// A participant left.
    UserLeft {
        /// The session.
        room_id: String,
        /// The participant.
        user_id: String,
        /// Why.
        cause: &'static str,
    },
    /// The host, or the backend, asks you to mute.
    MuteRequest {
        /// The host; empty for the backend.
        sender_id: String,
    },
    /// You were removed.
    Removed,
    /// The session ended.
    SessionEnded {
        /// What ended it.
        cause: &'static str,
        /// The reason given, in the backend's words.
        reason: String,
    },
    /// The session was changed.
    SessionUpdated {
        /// Its new closing time, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        closes_at: Option<String>,
    },
    /// The call goes another way from now on.
    MediaChanged {
        /// What the page needs for it.
        #[serde(flatten)]
        media: PageMedia,
        /// Why.
        cause: &'static str,
    },
    /// A participant is told that you take a still picture of their video: take it now.
    StillTold {
        /// The participant.
        user_id: String,
    },
    /// You connected elsewhere.
    Replaced,
    /// Answers `ping`.
    Pong,
    /// The last message was refused.
    Error {
        /// Why, for programs.
        code: MessageErrorCode,
        /// Why, for people.
        message: String,
    },
}

/// Why a participant waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitingReason {
    /// The host has not joined.
    HostAbsent,
    /// The host, or the backend, must admit them.
    NeedsAdmission,
}

/// The initial state of a connection.
#[derive(Serialize)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub struct Connected {
    pub user_id: String,
    pub role: &'static str,
    pub name: String,
    pub permissions: &'static [&'static str],
    pub publishes: bool,
    #[serde(flatten)]
    pub media: PageMedia,
    pub session_id: String,
    pub room_id: String,
    pub status: &'static str,
    pub connection_id: String,
    pub resumed: bool,
    pub server_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closes_at: Option<String>,
    pub message: &'static str,
}

/// A participant, as shown to others.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub struct ParticipantView {
    pub user_id: String,
    pub name: String,
    pub role: &'static str,
    pub muted: bool,
    pub camera_off: bool,
    pub hand: u64,
    pub publishes: bool,
}

impl ServerMessage {
    /// The message as JSON.
    pub fn text(&self) -> Arc<str> {
        json_text(self)
    }
}

/// A relayed message as JSON; the service sets its sender and session.
pub fn relay_text(relay: &Relay) -> Arc<str> {
    json_text(&RelayText(relay))
}

fn json_text(value: &impl Serialize) -> Arc<str> {
    // Serializing strings, numbers and booleans cannot fail.
    serde_json::to_string(value).unwrap_or_default().into()
}

struct RelayText<'a>(&'a Relay);

impl Serialize for RelayText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Relay {
            session_id,
            from,
            to: _,
            kind,
            version: _,
            payload,
        } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", kind.name())?;
        for (field, value) in payload {
            map.serialize_entry(field, value)?;
        }
        map.serialize_entry("sender_id", from.as_str())?;
        map.serialize_entry("room_id", session_id.as_str())?;
        map.end()
    }
}
