//! What the pages of the older service say and are told.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::signalling::message::{ClientMessage, ClientRelay, MessageError};
use crate::app::signalling::{CloseCode, MessageOutcome, ParticipantConnection, Signalling};
use crate::bus::RelayKind;
use crate::participant_socket::Dialect;

/// How a socket to an unknown room is closed.
pub(super) const NO_ROOM: (u16, &str) = (1008, "Room does not exist");

/// The types that a page may send, in the order of the older service's list.
const ACCEPTED: [&str; 7] = [
    "offer",
    "answer",
    "ice-candidate",
    "join",
    "leave",
    "emoji",
    "mute-status",
];

/// The messages of one guest of a room.
pub(super) struct RoomDialect {
    room_id: String,
    /// Waits for the list of the others, which goes before it.
    connected: Option<Arc<str>>,
    /// The others whom the page was told of. Somebody may leave before they were announced.
    others: HashSet<String>,
}

impl RoomDialect {
    pub(super) fn new(room_id: String) -> Self {
        Self {
            room_id,
            connected: None,
            others: HashSet::new(),
        }
    }

    fn about_user(&self, kind: &str, message: &Value) -> Value {
        json!({"type": kind, "user_id": message["user_id"], "room_id": self.room_id})
    }

    fn translated(&mut self, message: &Value) -> [Option<Arc<str>>; 2] {
        let kind = message["type"].as_str().unwrap_or_default();
        let user_id = message["user_id"].as_str();
        match kind {
            "connected" => {
                let mut connected = self.about_user(kind, message);
                connected["message"] = message["message"].clone();
                self.connected = Some(text(&connected));
                [None, None]
            }
            "existing-participants" => {
                let others = message["participants"].as_array().into_iter().flatten();
                let ids: Vec<_> = others
                    .filter_map(|other| other["user_id"].as_str())
                    .collect();
                self.others = ids.iter().map(ToString::to_string).collect();
                let existing = (!ids.is_empty()).then(|| {
                    text(&json!({"type": kind, "room_id": self.room_id, "participants": ids}))
                });
                [existing, self.connected.take()]
            }
            "user-joined" => {
                self.others.extend(user_id.map(ToOwned::to_owned));
                [Some(text(&self.about_user(kind, message))), None]
            }
            "user-left" => {
                let is_known = user_id.is_some_and(|user_id| self.others.remove(user_id));
                [
                    is_known.then(|| text(&self.about_user(kind, message))),
                    None,
                ]
            }
            relayed if ACCEPTED.contains(&relayed) => {
                let mut message = message.clone();
                message["room_id"] = json!(self.room_id);
                [Some(text(&message)), None]
            }
            // What the older service did not have: names, mute requests, the waiting room.
            _ => [None, None],
        }
    }
}

impl Dialect for RoomDialect {
    // Whoever connects again is somebody else to the older service.
    const LOST_IS_LEFT: bool = true;

    fn translate(&mut self, message: Arc<str>) -> [Option<Arc<str>>; 2] {
        serde_json::from_str(&message).map_or([None, None], |message| self.translated(&message))
    }

    async fn handle(
        &mut self,
        signalling: &Signalling,
        connection: &ParticipantConnection,
        text: &str,
    ) -> MessageOutcome {
        let relayed = relay(text).and_then(|relay| {
            let relayed = signalling.relay(connection, relay);
            relayed.map_err(|MessageError { message, .. }| processing_error(&message))
        });
        match relayed {
            Ok(_) => MessageOutcome::Continue,
            Err(error) => MessageOutcome::Reply(error),
        }
    }

    fn close(&self, code: CloseCode) -> (u16, &'static str) {
        // 1000 and 1008 keep the older service's page from connecting again.
        match code {
            CloseCode::Left => (1000, ""),
            CloseCode::Ended | CloseCode::CredentialInvalid => NO_ROOM,
            CloseCode::Removed => (1008, "You were removed from the room"),
            CloseCode::Flood => (1008, "Too many messages"),
            CloseCode::Replaced => (1008, "You connected elsewhere"),
            CloseCode::GoingAway => (1012, "The service restarts"),
            CloseCode::MessageTooBig => (1009, "The message is too large"),
            CloseCode::Internal => (1011, ""),
            CloseCode::Full => (1013, "The room is full"),
            CloseCode::TooSlow => (1013, "The messages are not read in time"),
            CloseCode::StoreUnavailable => (1013, "Try again later"),
        }
    }
}

/// A page's message; an answer for the page if it is none.
fn relay(text: &str) -> Result<ClientRelay, Arc<str>> {
    let fields: Map<String, Value> = serde_json::from_str(text)
        .map_err(|_| processing_error("The message is not a JSON object."))?;
    let kind = fields.get("type").and_then(Value::as_str);
    let kind = kind.filter(|kind| ACCEPTED.contains(kind));
    let Some(kind) = kind else {
        let accepted = ACCEPTED.map(|name| format!("'{name}'")).join(", ");
        let message = format!("Invalid message type. Must be one of: [{accepted}]");
        return Err(error_text(&message));
    };
    // Here, these tell the others something and have no effect.
    let notice = match kind {
        "join" => Some(RelayKind::Join),
        "leave" => Some(RelayKind::Leave),
        _ => None,
    };
    let parsed = match notice {
        Some(kind) => ClientRelay::parse(kind, fields),
        None => match ClientMessage::parse(text) {
            Ok(ClientMessage::Relay(relay)) => Ok(relay),
            Ok(_) => return Err(processing_error("The message cannot be relayed.")),
            Err(error) => Err(error),
        },
    };
    parsed.map_err(|MessageError { message, .. }| processing_error(&message))
}

fn processing_error(message: &str) -> Arc<str> {
    error_text(&format!("Error processing message: {message}"))
}

fn error_text(message: &str) -> Arc<str> {
    text(&json!({"type": "error", "message": message}))
}

fn text(message: &Value) -> Arc<str> {
    message.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate(dialect: &mut RoomDialect, message: &Value) -> Vec<Value> {
        let translated = dialect.translate(message.to_string().into());
        let texts = translated.into_iter().flatten();
        texts
            .map(|text| serde_json::from_str(&text).unwrap())
            .collect()
    }

    #[test]
    fn a_newcomer_is_told_of_the_others_first_and_not_of_nobody() {
        let connected = json!({"type": "connected", "user_id": "u", "room_id": "s", "message": "hello", "role": "guest"});
        let told = json!({"type": "connected", "user_id": "u", "room_id": "r", "message": "hello"});
        let existing = |others: Value| json!({"type": "existing-participants", "room_id": "s", "participants": others});

        let mut first = RoomDialect::new("r".into());
        assert_eq!(translate(&mut first, &connected), Vec::<Value>::new());
        let alone = translate(&mut first, &existing(json!([])));
        assert_eq!(alone, vec![told.clone()]);
        let mut second = RoomDialect::new("r".into());
        translate(&mut second, &connected);
        let others = existing(json!([{"user_id": "a", "name": ""}, {"user_id": "b"}]));
        let listed =
            json!({"type": "existing-participants", "room_id": "r", "participants": ["a", "b"]});
        assert_eq!(translate(&mut second, &others), [listed, told]);
    }

    #[test]
    fn who_leaves_before_they_were_announced_is_not_mentioned() {
        let mut dialect = RoomDialect::new("r".into());
        let about = |kind: &str| json!({"type": kind, "user_id": "a", "room_id": "s"});
        assert_eq!(
            translate(&mut dialect, &about("user-left")),
            Vec::<Value>::new()
        );
        translate(&mut dialect, &about("user-joined"));
        let left = json!({"type": "user-left", "user_id": "a", "room_id": "r"});
        assert_eq!(translate(&mut dialect, &about("user-left")), [left]);
    }

    #[test]
    fn what_the_older_service_did_not_have_is_left_out() {
        let mut dialect = RoomDialect::new("r".into());
        for kind in ["mute-request", "waiting", "session-updated", "key", "pong"] {
            let message = json!({"type": kind, "user_id": "u"});
            assert_eq!(translate(&mut dialect, &message), Vec::<Value>::new());
        }
    }

    #[test]
    fn other_types_are_refused_with_the_list() {
        for message in [
            r#"{"type":"ping"}"#,
            r#"{"type":7}"#,
            "{}",
            r#"{"type":"end-session"}"#,
        ] {
            let refusal = relay(message).unwrap_err();
            let expected = "Invalid message type. Must be one of: ['offer', 'answer', 'ice-candidate', 'join', 'leave', 'emoji', 'mute-status']";
            assert!(refusal.contains(expected), "{refusal}");
        }
        for message in ["", "[]", "{", "7"] {
            let refusal = relay(message).unwrap_err();
            assert!(refusal.contains("Error processing message: "), "{refusal}");
        }
    }
}
