//! Messages from pages.

use serde::Serialize;
use serde_json::{Map, Value, json};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::parse_quality;
use crate::app::signalling::sdp;
use crate::bus::{Relay, RelayKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::quality::{CallQuality, QUALITY_SECS_MAX};

/// The fields that the service sets in a relayed message, or removes from it.
const SERVICE_FIELDS: [&str; 4] = ["type", "sender_id", "room_id", "user_id"];

/// The longest emoji, in characters: enough for any emoji sequence.
const EMOJI_CHARS_MAX: usize = 16;

/// A message of a page.
#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    /// Relays a message to another participant, or to all others.
    Relay(ClientRelay),
    /// Asks for a `pong`: a page cannot send the protocol's own pings.
    Ping,
    /// `join`: no effect.
    Join,
    /// Leaves the session.
    Leave,
    /// Admits a waiting participant.
    Admit {
        /// The participant.
        target_id: String,
    },
    /// Asks a participant to mute.
    MuteRequest {
        /// The participant.
        target_id: String,
    },
    /// Removes a participant.
    Remove {
        /// The participant.
        target_id: String,
        /// Whether the participant gets no new credential.
        keep_out: bool,
    },
    /// Tells a participant that a still picture of their video is taken.
    Still {
        /// The participant.
        target_id: String,
    },
    /// Asks a participant to lower their hand.
    LowerHand(ClientRelay),
    /// Reports how good the sender's connection was.
    Quality(CallQuality),
    /// Ends the session for all participants.
    EndSession,
}

/// A message for other participants, before its sender's permission is checked.
#[derive(Debug, PartialEq)]
pub struct ClientRelay {
    /// Its type.
    pub kind: RelayKind,
    /// The receiver; `None` for all other participants.
    pub target_id: Option<String>,
    /// All its fields.
    pub fields: Map<String, Value>,
}

/// Why a message is refused, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, VariantArray)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub enum MessageErrorCode {
    BadJson,
    UnknownType,
    BadTarget,
    BadEmoji,
    BadQuality,
    NotAllowed,
    ParticipantNotFound,
    SessionEnded,
    TryAgain,
    Internal,
}

impl MessageErrorCode {
    /// Every code.
    pub const ALL: &'static [Self] = Self::VARIANTS;
}

/// Why a message is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct MessageError {
    /// For programs.
    pub code: MessageErrorCode,
    /// For people.
    pub message: String,
}

/// The types that a page may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[expect(missing_docs, reason = "documented in docs/signalling.md")]
pub enum ClientType {
    Offer,
    Answer,
    IceCandidate,
    MuteStatus,
    Emoji,
    Key,
    Network,
    Quality,
    Ping,
    Join,
    Leave,
    Admit,
    MuteRequest,
    UnmuteRequest,
    LowerHand,
    Remove,
    Still,
    EndSession,
}

impl ClientType {
    /// Every type.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn message_error(code: MessageErrorCode, message: impl Into<String>) -> MessageError {
    MessageError {
        code,
        message: message.into(),
    }
}

impl ClientMessage {
    /// Parses a message.
    ///
    /// # Errors
    /// [`MessageError`] when it is not JSON, not an object, or not of a type that a page may send.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let value: Value = serde_json::from_str(text).map_err(|_| {
            message_error(MessageErrorCode::BadJson, "The message is not valid JSON.")
        })?;
        let Value::Object(fields) = value else {
            return Err(message_error(
                MessageErrorCode::BadJson,
                "The message is not a JSON object.",
            ));
        };
        let name = fields.get("type").and_then(Value::as_str).unwrap_or("");
        let Ok(kind) = name.parse() else {
            let names: Vec<_> = ClientType::ALL.iter().map(|kind| kind.name()).collect();
            let names = names.join(", ");
            let message = format!("Unknown message type. It must be one of: {names}");
            return Err(message_error(MessageErrorCode::UnknownType, message));
        };
        match kind {
            ClientType::Offer => parse_relay(RelayKind::Offer, fields),
            ClientType::Answer => parse_relay(RelayKind::Answer, fields),
            ClientType::IceCandidate => parse_relay(RelayKind::IceCandidate, fields),
            ClientType::MuteStatus => parse_relay(RelayKind::MuteStatus, fields),
            ClientType::Emoji => parse_emoji(fields),
            // Keys and requests are for one participant only.
            ClientType::Key => {
                parse_target(&fields)?;
                parse_relay(RelayKind::Key, fields)
            }
            ClientType::UnmuteRequest => {
                parse_target(&fields)?;
                parse_relay(RelayKind::UnmuteRequest, fields)
            }
            // For one participant only: it is asked and answered.
            ClientType::Network => {
                parse_target(&fields)?;
                parse_relay(RelayKind::Network, fields)
            }
            ClientType::Quality => parse_quality(&fields).map(Self::Quality).ok_or_else(|| {
                let message = format!(
                    "data must give whole seconds, at most {QUALITY_SECS_MAX}, by level and reason"
                );
                message_error(MessageErrorCode::BadQuality, message)
            }),
            ClientType::LowerHand => {
                parse_target(&fields)?;
                ClientRelay::parse(RelayKind::LowerHand, fields).map(Self::LowerHand)
            }
            ClientType::Ping => Ok(Self::Ping),
            ClientType::Join => Ok(Self::Join),
            ClientType::Leave => Ok(Self::Leave),
            ClientType::Admit => parse_target(&fields).map(|target_id| Self::Admit { target_id }),
            ClientType::MuteRequest => {
                parse_target(&fields).map(|target_id| Self::MuteRequest { target_id })
            }
            ClientType::Remove => Ok(Self::Remove {
                target_id: parse_target(&fields)?,
                keep_out: parse_keep_out(&fields)?,
            }),
            ClientType::Still => parse_target(&fields).map(|target_id| Self::Still { target_id }),
            ClientType::EndSession => Ok(Self::EndSession),
        }
    }
}

fn parse_keep_out(fields: &Map<String, Value>) -> Result<bool, MessageError> {
    match fields.get("keep_out") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(keep_out)) => Ok(*keep_out),
        Some(_) => Err(message_error(
            MessageErrorCode::BadJson,
            "keep_out must be true or false",
        )),
    }
}

fn parse_target(fields: &Map<String, Value>) -> Result<String, MessageError> {
    parse_optional_target(fields)?.ok_or_else(|| {
        message_error(
            MessageErrorCode::BadTarget,
            "target_id must be a participant's id",
        )
    })
}

fn parse_optional_target(fields: &Map<String, Value>) -> Result<Option<String>, MessageError> {
    match fields.get("target_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(target_id)) => Ok(Some(target_id.clone())),
        Some(_) => Err(message_error(
            MessageErrorCode::BadTarget,
            "target_id must be a string",
        )),
    }
}

fn parse_relay(kind: RelayKind, fields: Map<String, Value>) -> Result<ClientMessage, MessageError> {
    ClientRelay::parse(kind, fields).map(ClientMessage::Relay)
}

fn parse_emoji(fields: Map<String, Value>) -> Result<ClientMessage, MessageError> {
    let emoji = fields
        .get("data")
        .and_then(|data| data.get("emoji"))
        .and_then(Value::as_str);
    match emoji {
        Some(emoji) if (1..=EMOJI_CHARS_MAX).contains(&emoji.chars().count()) => {
            parse_relay(RelayKind::Emoji, fields)
        }
        _ => Err(message_error(
            MessageErrorCode::BadEmoji,
            format!("data.emoji must have 1 to {EMOJI_CHARS_MAX} characters"),
        )),
    }
}

impl ClientRelay {
    /// Tells a participant that a still picture of their video is taken; nothing of what the sender wrote goes along.
    pub fn still(target_id: String) -> Self {
        Self {
            kind: RelayKind::Still,
            target_id: Some(target_id),
            fields: Map::new(),
        }
    }

    /// A message of a kind, with all its fields.
    ///
    /// # Errors
    /// [`MessageError`] if its `target_id` is no text.
    pub fn parse(kind: RelayKind, fields: Map<String, Value>) -> Result<Self, MessageError> {
        Ok(Self {
            kind,
            target_id: parse_optional_target(&fields)?,
            fields,
        })
    }

    /// The message for the bus, without the fields that the service sets. `version` is that of [`Relay::version`].
    pub fn into_relay(
        mut self,
        session_id: SessionId,
        from: UserId,
        to: Option<UserId>,
        version: i64,
    ) -> Relay {
        for field in SERVICE_FIELDS {
            // In `join`, the pages of an older service give their user's name in it.
            if field != "user_id" || self.kind != RelayKind::Join {
                self.fields.remove(field);
            }
        }
        Relay {
            session_id,
            from,
            to,
            kind: self.kind,
            version,
            payload: self.fields,
        }
    }

    /// Reduces an offer or answer of a participant who may not publish to its rewritten SDP. `None` if the SDP may send audio
    /// or video.
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

    /// The message's fields, with those that the service sets.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::signalling::message::relay_text;

    fn receive_only(message: &Value) -> Option<Value> {
        match ClientMessage::parse(&message.to_string()) {
            Ok(ClientMessage::Relay(relay)) => {
                let session_id = SessionId::from_stored("s".to_owned());
                let from = UserId::from_stored("u".to_owned());
                let relay = relay.receive_only()?.into_relay(session_id, from, None, 1);
                Some(serde_json::from_str(&relay_text(&relay)).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_keep_out_that_is_no_boolean_is_refused() {
        let parse = |keep_out: Value| {
            let message = json!({"type": "remove", "target_id": "v", "keep_out": keep_out});
            ClientMessage::parse(&message.to_string())
        };
        for bad in [json!("yes"), json!(1), json!([true])] {
            assert!(parse(bad).is_err());
        }
        for (keep_out, expected) in [
            (json!(null), false),
            (json!(false), false),
            (json!(true), true),
        ] {
            match parse(keep_out) {
                Ok(ClientMessage::Remove { keep_out, .. }) => assert_eq!(keep_out, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn messages_without_an_sdp_are_refused() {
        for data in [json!({"sdp": {}}), json!("v=0"), json!({}), json!(null)] {
            let message = json!({"type": "offer", "data": data});
            assert_eq!(receive_only(&message), None, "{message}");
        }
    }

    #[test]
    fn only_the_sdp_of_a_receive_only_participant_is_relayed() {
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
