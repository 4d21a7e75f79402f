//! What instances say to each other: JSON, one object per message.
//!
//! Fields that this version does not know are ignored, so a later version may add some. What an earlier version would
//! misunderstand needs another [`VERSION`]. Earlier versions then ignore these messages and poll the store.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bus::{Relay, RelayKind};
use crate::domain::id::{ID_LENGTH_MAX, SessionId, UserId};

/// The version of the format.
const VERSION: u32 = 1;
/// The largest message that is read, in bytes. The largest signalling message that settings permit has 1 MiB; escapes may make it
/// longer.
const BYTES_MAX: usize = 4 << 20;
/// How many hints one message may hold.
pub(super) const HINTS_MAX: usize = 512;

/// A message of another instance.
#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    /// The instance that sent it.
    pub(super) from: String,
    /// Sessions that changed.
    pub(super) changed: Vec<SessionId>,
    /// A message from one participant to others.
    pub(super) relay: Option<Relay>,
    /// Of a heartbeat: changes when hints of the instance may have been lost.
    pub(super) epoch: Option<u64>,
}

#[derive(Serialize)]
struct Said<'a> {
    v: u32,
    from: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    changed: &'a [&'a SessionId],
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<SaidRelay<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

#[derive(Serialize)]
struct SaidRelay<'a> {
    session: &'a SessionId,
    from: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a UserId>,
    kind: &'static str,
    version: i64,
    payload: &'a Map<String, Value>,
}

#[derive(Deserialize)]
struct Read {
    v: u32,
    from: String,
    #[serde(default)]
    changed: Vec<String>,
    relay: Option<ReadRelay>,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
struct ReadRelay {
    session: String,
    from: String,
    to: Option<String>,
    kind: String,
    version: i64,
    payload: Map<String, Value>,
}

/// A heartbeat: the instance is there, and its hints arrive without a gap as long as the epoch stays the same.
pub(super) fn beat(instance_id: &str, epoch: u64) -> Vec<u8> {
    write(&Said {
        epoch: Some(epoch),
        ..Said::by(instance_id)
    })
}

/// Hints, at most [`HINTS_MAX`].
pub(super) fn hints(instance_id: &str, changed: &[&SessionId]) -> Vec<u8> {
    write(&Said {
        changed,
        ..Said::by(instance_id)
    })
}

/// A relay.
pub(super) fn relay(instance_id: &str, relay: &Relay) -> Vec<u8> {
    let Relay {
        session_id,
        from,
        to,
        kind,
        version,
        payload,
    } = relay;
    let relay = SaidRelay {
        session: session_id,
        from,
        to: to.as_ref(),
        kind: kind.name(),
        version: *version,
        payload,
    };
    write(&Said {
        relay: Some(relay),
        ..Said::by(instance_id)
    })
}

impl<'a> Said<'a> {
    /// A message without content.
    fn by(instance_id: &'a str) -> Self {
        Self {
            v: VERSION,
            from: instance_id,
            changed: &[],
            relay: None,
            epoch: None,
        }
    }
}

fn write(said: &Said<'_>) -> Vec<u8> {
    // Serializing strings, numbers and JSON values cannot fail.
    serde_json::to_vec(said).unwrap_or_default()
}

/// Parses a message. `None` if it is too large, of another version, or breaks a rule.
pub(super) fn read(text: &[u8]) -> Option<Heard> {
    if text.len() > BYTES_MAX {
        return None;
    }
    let Read {
        v,
        from,
        changed,
        relay,
        epoch,
    } = serde_json::from_slice(text).ok()?;
    let is_valid =
        v == VERSION && (1..=ID_LENGTH_MAX).contains(&from.len()) && changed.len() <= HINTS_MAX;
    if !is_valid {
        return None;
    }
    let changed: Result<Vec<_>, _> = changed.into_iter().map(SessionId::parse).collect();
    let relay = match relay {
        Some(relay) => Some(read_relay(relay)?),
        None => None,
    };
    Some(Heard {
        from,
        changed: changed.ok()?,
        relay,
        epoch,
    })
}

fn read_relay(relay: ReadRelay) -> Option<Relay> {
    let ReadRelay {
        session,
        from,
        to,
        kind,
        version,
        payload,
    } = relay;
    let to = match to {
        Some(to) => Some(UserId::parse(to).ok()?),
        None => None,
    };
    Some(Relay {
        session_id: SessionId::parse(session).ok()?,
        from: UserId::parse(from).ok()?,
        to,
        kind: RelayKind::try_from(kind.as_str()).ok()?,
        version,
        payload,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Relay {
        let mut payload = Map::new();
        payload.insert("data".into(), json!({"sdp": "v=0\r\n\u{0}ü"}));
        Relay {
            session_id: SessionId::from_stored("sess_1".into()),
            from: UserId::from_stored("a".into()),
            to: Some(UserId::from_stored("b".into())),
            kind: RelayKind::IceCandidate,
            version: 7,
            payload,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let session_id = SessionId::from_stored("sess_1".into());
        let heard = |changed, relay| Heard {
            from: "here".into(),
            changed,
            relay,
            epoch: None,
        };
        let beaten = Heard {
            epoch: Some(7),
            ..heard(Vec::new(), None)
        };
        assert_eq!(read(&beat("here", 7)), Some(beaten));
        let hint = read(&hints("here", &[&session_id]));
        assert_eq!(hint, Some(heard(vec![session_id], None)));
        for to in [None, Some(UserId::from_stored("b".into()))] {
            let said = Relay { to, ..example() };
            let read = read(&relay("here", &said));
            assert_eq!(read, Some(heard(Vec::new(), Some(said))));
        }
    }

    #[test]
    fn the_format_is_what_other_versions_expect() {
        let text = String::from_utf8(relay("here", &example())).unwrap();
        let expected = json!({
            "v": 1, "from": "here",
            "relay": {
                "session": "sess_1", "from": "a", "to": "b", "kind": "ice-candidate", "version": 7,
                "payload": {"data": {"sdp": "v=0\r\n\u{0}ü"}},
            },
        });
        let written: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, expected);
        let session_id = SessionId::from_stored("sess_1".into());
        assert_eq!(
            hints("here", &[&session_id]),
            br#"{"v":1,"from":"here","changed":["sess_1"]}"#
        );
        assert_eq!(beat("here", 7), br#"{"v":1,"from":"here","epoch":7}"#);
    }

    #[test]
    fn fields_of_a_later_version_are_ignored() {
        let text = br#"{"v":1,"from":"here","news":[1],"changed":["sess_1"]}"#;
        assert!(read(text).is_some());
    }

    #[test]
    fn heartbeats_of_an_earlier_version_have_no_epoch() {
        let heard = read(br#"{"v":1,"from":"here"}"#).unwrap();
        assert_eq!((heard.from.as_str(), heard.epoch), ("here", None));
    }

    #[test]
    fn what_breaks_a_rule_is_ignored() {
        let relay = |field: &str, value: Value| {
            let mut text: Value = serde_json::from_slice(&relay("here", &example())).unwrap();
            text["relay"][field] = value;
            text.to_string()
        };
        let many = json!({"v": 1, "from": "here", "changed": vec!["sess_1"; HINTS_MAX + 1]});
        let large = json!({"v": 1, "from": "here", "more": "x".repeat(BYTES_MAX)});
        for bad in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"v":2,"from":"here"}"#,
            r#"{"v":1,"from":""}"#,
            r#"{"v":1,"from":"here","changed":["a b"]}"#,
            r#"{"v":1,"from":"here","changed":"sess_1"}"#,
            r#"{"v":1,"from":"here","epoch":-1}"#,
            r#"{"v":1,"from":"here","epoch":"7"}"#,
            r#"{"v":1,"from":"here"}x"#,
            &many.to_string(),
            &large.to_string(),
            &relay("session", json!("a b")),
            &relay("from", json!("")),
            &relay("to", json!(1)),
            &relay("kind", json!("session-ended")),
            &relay("version", json!("7")),
            &relay("payload", json!([])),
            &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{:.80}", bad);
        }
        assert_eq!(read(b"\xff"), None);
        assert!(read(relay("kind", json!("offer")).as_bytes()).is_some());
    }
}
