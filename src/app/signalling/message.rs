//! The messages of docs/signalling.md, as JSON.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::sdp;

/// The longest emoji, in characters: enough for any sequence that is drawn as one.
const EMOJI_CHARS_MAX: usize = 16;

/// What the service says to a page.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage<'a> {
    /// The first message of every connection.
    Connected(Box<Connected<'a>>),
    /// One waits: oneself, or somebody whom the host may admit.
    Waiting {
        /// Who waits.
        user_id: &'a str,
        /// Their name.
        name: &'a str,
        /// Their role.
        role: &'static str,
        /// What for.
        reason: WaitingReason,
    },
    /// One who waited is in the call.
    Admitted {
        /// Who.
        user_id: &'a str,
    },
    /// Who else is in the call.
    ExistingParticipants {
        /// The session.
        room_id: &'a str,
        /// The others.
        participants: Vec<Described<'a>>,
    },
    /// Somebody came into the call.
    UserJoined {
        /// The session.
        room_id: &'a str,
        /// Who.
        #[serde(flatten)]
        who: Described<'a>,
    },
    /// Somebody is gone.
    UserLeft {
        /// The session.
        room_id: &'a str,
        /// Who.
        user_id: &'a str,
        /// Why.
        cause: &'static str,
    },
    /// The host, or the backend, asks to mute.
    MuteRequest {
        /// The host; empty for the backend.
        sender_id: &'a str,
    },
    /// One was removed.
    Removed,
    /// It is over for everybody.
    SessionEnded {
        /// What ended it.
        cause: &'static str,
        /// The reason given, in the backend's words.
        reason: &'a str,
    },
    /// The session was changed.
    SessionUpdated {
        /// When it closes now, if it does.
        #[serde(skip_serializing_if = "Option::is_none")]
        closes_at: Option<String>,
    },
    /// One connected elsewhere.
    Replaced,
    /// The answer to a page that asks whether anybody is there.
    Pong,
    /// The last message was refused.
    Error {
        /// Why, for programs.
        code: Refusal,
        /// Why, for people.
        message: String,
    },
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitingReason {
    /// For the host to come.
    HostAbsent,
    /// For the host, or the backend, to let them in.
    NeedsAdmission,
}

/// What a connection is told of itself.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub struct Connected<'a> {
    pub user_id: &'a str,
    pub role: &'static str,
    pub name: &'a str,
    pub permissions: &'static [&'static str],
    pub publishes: bool,
    pub media: &'static str,
    pub session_id: &'a str,
    pub room_id: &'a str,
    pub status: &'static str,
    pub connection_id: String,
    pub resumed: bool,
    pub ice_servers: Vec<IceServer>,
    pub ice_policy: &'static str,
    pub server_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closes_at: Option<String>,
    pub message: &'static str,
}

/// A participant, as others see them.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub struct Described<'a> {
    pub user_id: &'a str,
    pub name: &'a str,
    pub role: &'static str,
    pub muted: bool,
    pub camera_off: bool,
    pub publishes: bool,
}

/// A STUN or TURN server, as RTCPeerConnection takes it.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub struct IceServer {
    pub urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl ServerMessage<'_> {
    /// The message's text.
    pub fn text(&self) -> Arc<str> {
        // Strings, numbers and booleans cannot fail to be written.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// What a page says.
#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    /// To be relayed to another participant, or to all others.
    Relayed(Relayed),
    /// Whether anybody is there: a page cannot send the protocol's own pings.
    Ping,
    /// Nothing.
    Join,
    /// To leave.
    Leave,
    /// Let one in.
    Admit {
        /// Whom.
        target_id: String,
    },
    /// Ask one to mute.
    MuteRequest {
        /// Whom.
        target_id: String,
    },
    /// Remove one.
    Remove {
        /// Whom.
        target_id: String,
        /// For good.
        keep_out: bool,
    },
    /// End it for everybody.
    EndSession,
}

/// A message for other participants.
#[derive(Debug, PartialEq)]
pub struct Relayed {
    /// Its type.
    pub kind: RelayKind,
    /// For whom; `None` for all others.
    pub target_id: Option<String>,
    /// All of it.
    pub fields: Map<String, Value>,
}

/// The types that are relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub enum RelayKind {
    Offer,
    Answer,
    IceCandidate,
    MuteStatus,
    Emoji,
}

/// Why a message is refused, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub enum Refusal {
    BadJson,
    UnknownType,
    BadTarget,
    BadEmoji,
    NotAllowed,
    ParticipantNotFound,
    SessionEnded,
    TryAgain,
    Internal,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::BadJson,
        Self::UnknownType,
        Self::BadTarget,
        Self::BadEmoji,
        Self::NotAllowed,
        Self::ParticipantNotFound,
        Self::SessionEnded,
        Self::TryAgain,
        Self::Internal,
    ];
}

/// Why a message is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// For programs.
    pub code: Refusal,
    /// For people.
    pub message: String,
}

/// The types that a page may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub enum ClientType {
    Relayed(RelayKind),
    Ping,
    Join,
    Leave,
    Admit,
    MuteRequest,
    Remove,
    EndSession,
}

impl ClientType {
    /// Every type.
    pub const ALL: [Self; 12] = [
        Self::Relayed(RelayKind::Offer),
        Self::Relayed(RelayKind::Answer),
        Self::Relayed(RelayKind::IceCandidate),
        Self::Relayed(RelayKind::MuteStatus),
        Self::Relayed(RelayKind::Emoji),
        Self::Ping,
        Self::Join,
        Self::Leave,
        Self::Admit,
        Self::MuteRequest,
        Self::Remove,
        Self::EndSession,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relayed(RelayKind::Offer) => "offer",
            Self::Relayed(RelayKind::Answer) => "answer",
            Self::Relayed(RelayKind::IceCandidate) => "ice-candidate",
            Self::Relayed(RelayKind::MuteStatus) => "mute-status",
            Self::Relayed(RelayKind::Emoji) => "emoji",
            Self::Ping => "ping",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Admit => "admit",
            Self::MuteRequest => "mute-request",
            Self::Remove => "remove",
            Self::EndSession => "end-session",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

fn refuse(code: Refusal, message: impl Into<String>) -> Refused {
    Refused {
        code,
        message: message.into(),
    }
}

impl ClientMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Refused`] when it is not JSON, not an object, or not of a type that a page may send.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let value: Value = serde_json::from_str(text).map_err(|_| {
            refuse(
                Refusal::BadJson,
                "Error processing message: it is not valid JSON",
            )
        })?;
        let Value::Object(fields) = value else {
            return Err(refuse(
                Refusal::BadJson,
                "Error processing message: it is not a JSON object",
            ));
        };
        let name = fields.get("type").and_then(Value::as_str).unwrap_or("");
        let Some(kind) = ClientType::from_name(name) else {
            let names = ClientType::ALL.map(ClientType::name).join(", ");
            let message = format!("Invalid message type. Must be one of: {names}");
            return Err(refuse(Refusal::UnknownType, message));
        };
        match kind {
            ClientType::Relayed(RelayKind::Emoji) => emoji(fields),
            ClientType::Relayed(kind) => relayed(kind, fields),
            ClientType::Ping => Ok(Self::Ping),
            ClientType::Join => Ok(Self::Join),
            ClientType::Leave => Ok(Self::Leave),
            ClientType::Admit => target(&fields).map(|target_id| Self::Admit { target_id }),
            ClientType::MuteRequest => {
                target(&fields).map(|target_id| Self::MuteRequest { target_id })
            }
            ClientType::Remove => target(&fields).map(|target_id| Self::Remove {
                target_id,
                keep_out: fields.get("keep_out") == Some(&Value::Bool(true)),
            }),
            ClientType::EndSession => Ok(Self::EndSession),
        }
    }
}

fn target(fields: &Map<String, Value>) -> Result<String, Refused> {
    optional_target(fields)?
        .ok_or_else(|| refuse(Refusal::BadTarget, "target_id must name a participant"))
}

fn optional_target(fields: &Map<String, Value>) -> Result<Option<String>, Refused> {
    match fields.get("target_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(target_id)) => Ok(Some(target_id.clone())),
        Some(_) => Err(refuse(Refusal::BadTarget, "target_id must be a string")),
    }
}

fn relayed(kind: RelayKind, fields: Map<String, Value>) -> Result<ClientMessage, Refused> {
    let target_id = optional_target(&fields)?;
    Ok(ClientMessage::Relayed(Relayed {
        kind,
        target_id,
        fields,
    }))
}

fn emoji(fields: Map<String, Value>) -> Result<ClientMessage, Refused> {
    let emoji = fields
        .get("data")
        .and_then(|data| data.get("emoji"))
        .and_then(Value::as_str);
    match emoji {
        Some(emoji) if (1..=EMOJI_CHARS_MAX).contains(&emoji.chars().count()) => {
            relayed(RelayKind::Emoji, fields)
        }
        _ => Err(refuse(
            Refusal::BadEmoji,
            format!("data.emoji must have 1 to {EMOJI_CHARS_MAX} characters"),
        )),
    }
}

impl Relayed {
    /// The message as its receivers get it: the service says who sent it and in which session.
    pub fn text(mut self, sender_id: &str, session_id: &str) -> Arc<str> {
        self.fields.insert("sender_id".into(), sender_id.into());
        self.fields.insert("room_id".into(), session_id.into());
        self.fields.remove("user_id");
        Value::Object(self.fields).to_string().into()
    }

    /// An offer or answer of a participant who may not publish: nothing but its SDP is kept, and that is written anew. `None`
    /// if the SDP may send audio or video.
    pub fn receive_only(self) -> Option<Self> {
        let sdp = self.fields.get("data")?.get("sdp")?.as_str()?;
        let mut fields = Map::new();
        fields.insert("type".into(), self.fields.get("type")?.clone());
        if let Some(target_id) = &self.target_id {
            fields.insert("target_id".into(), target_id.as_str().into());
        }
        fields.insert("data".into(), json!({"sdp": sdp::receive_only(sdp)?}));
        Some(Self { fields, ..self })
    }

    /// Whether a flag of a mute-status is set.
    pub fn flag(&self, name: &str) -> bool {
        self.fields.get("data").and_then(|data| data.get(name)) == Some(&Value::Bool(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive_only(message: &Value) -> Option<Value> {
        match ClientMessage::parse(&message.to_string()) {
            Ok(ClientMessage::Relayed(relayed)) => {
                let text = relayed.receive_only()?.text("u", "s");
                Some(serde_json::from_str(&text).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_has_no_sdp_is_taken_for_the_worst() {
        for data in [json!({"sdp": {}}), json!("v=0"), json!({}), json!(null)] {
            let message = json!({"type": "offer", "data": data});
            assert_eq!(receive_only(&message), None, "{message}");
        }
    }

    #[test]
    fn of_those_who_only_receive_nothing_but_the_sdp_is_relayed() {
        let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
        let message = json!({
            "type": "answer", "target_id": "v", "room_id": "x", "sdp": "x", "description": {"sdp": "x"},
            "data": {"sdp": sdp, "type": "offer", "streams": ["x"]}
        });
        let expected = json!({"type": "answer", "target_id": "v", "sender_id": "u", "room_id": "s", "data": {"sdp": sdp}});
        assert_eq!(receive_only(&message), Some(expected));
        let message = json!({"type": "offer", "data": {"sdp": format!("{sdp}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n")}});
        assert_eq!(receive_only(&message), None);
    }
}
