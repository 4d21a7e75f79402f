//! docs/signalling.md against the code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use video_session::app::signalling::message::{
    CLIENT_TYPES, ClientMessage, Connected, Described, IceServer, ServerMessage,
};

fn document() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/signalling.md");
    std::fs::read_to_string(file).unwrap()
}

/// The rows of a section's table, after its head: their cells.
fn table(section: &str) -> Vec<Vec<String>> {
    let text = document();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<_> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    assert!(!rows.is_empty());
    rows
}

/// What stands in backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn described() -> Described<'static> {
    Described {
        user_id: "u",
        name: "n",
        role: "guest",
        muted: false,
        camera_off: false,
        publishes: true,
    }
}

/// One message of every type, with everything that it can hold.
fn examples() -> Vec<ServerMessage<'static>> {
    let connected = Connected {
        user_id: "u",
        role: "guest",
        name: "n",
        permissions: &[],
        session_id: "s",
        room_id: "s",
        status: "admitted",
        connection_id: "1".to_owned(),
        resumed: false,
        publishes: true,
        ice_servers: vec![IceServer {
            urls: Vec::new(),
            username: Some(String::new()),
            credential: Some(String::new()),
        }],
        ice_policy: "all",
        server_time: String::new(),
        closes_at: Some(String::new()),
        message: "m",
    };
    let all = vec![
        ServerMessage::Connected(Box::new(connected)),
        ServerMessage::Waiting {
            user_id: "u",
            name: "n",
            role: "guest",
            reason: "host-absent",
        },
        ServerMessage::Admitted { user_id: "u" },
        ServerMessage::ExistingParticipants {
            room_id: "s",
            participants: vec![described()],
        },
        ServerMessage::UserJoined {
            room_id: "s",
            who: described(),
        },
        ServerMessage::UserLeft {
            room_id: "s",
            user_id: "u",
            cause: "left",
        },
        ServerMessage::MuteRequest { sender_id: "u" },
        ServerMessage::Removed,
        ServerMessage::SessionEnded {
            cause: "host",
            reason: "r",
        },
        ServerMessage::Replaced,
        ServerMessage::Pong,
        ServerMessage::Error {
            code: "bad-json",
            message: String::new(),
        },
    ];
    for message in &all {
        // A new type does not compile until it stands above, too.
        match message {
            ServerMessage::Connected(_)
            | ServerMessage::Waiting { .. }
            | ServerMessage::Admitted { .. }
            | ServerMessage::ExistingParticipants { .. }
            | ServerMessage::UserJoined { .. }
            | ServerMessage::UserLeft { .. }
            | ServerMessage::MuteRequest { .. }
            | ServerMessage::Removed
            | ServerMessage::SessionEnded { .. }
            | ServerMessage::Replaced
            | ServerMessage::Pong
            | ServerMessage::Error { .. } => {}
        }
    }
    all
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn what_the_server_says_is_documented_as_it_is() {
    let relayed = ["offer", "answer", "ice-candidate", "mute-status", "emoji"];
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table("From the server") {
        for kind in names(&row[0]) {
            if !relayed.contains(&kind.as_str()) {
                assert!(documented.insert(kind, names(&row[1])).is_none());
            }
        }
    }
    let mut said = BTreeMap::new();
    for message in examples() {
        let mut json: Value = serde_json::from_str(&message.text()).unwrap();
        let kind = json.as_object_mut().unwrap().remove("type").unwrap();
        said.insert(kind.as_str().unwrap().to_owned(), keys(&json));
    }
    assert_eq!(documented, said);
    let all: BTreeSet<_> = table("From the server")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    assert!(relayed.iter().all(|kind| all.contains(*kind)));
}

#[test]
fn a_participant_is_documented_as_it_is() {
    let documented: BTreeSet<_> = table("A participant")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    let described = serde_json::to_value(described()).unwrap();
    assert_eq!(documented, keys(&described));
}

#[test]
fn what_a_client_may_say_is_documented_as_it_is() {
    let rows = table("From the client");
    let documented: BTreeSet<_> = rows.iter().flat_map(|row| names(&row[0])).collect();
    assert_eq!(documented, CLIENT_TYPES.map(str::to_owned).into());
    for row in rows {
        let (needed, optional) = row[1].split_once("optional").unwrap_or((&row[1], ""));
        let (needs, takes) = (names(needed), names(optional));
        for kind in names(&row[0]) {
            let mut message = json!({"type": kind, "data": {"emoji": "x", "sdp": "x"}});
            let bare = ClientMessage::parse(&message.to_string());
            assert_eq!(bare.is_err(), needs.contains("target_id"), "{kind}");
            message["target_id"] = json!("somebody");
            let parsed = ClientMessage::parse(&message.to_string()).unwrap();
            let told = format!("{parsed:?}").contains("somebody");
            let documented = needs.contains("target_id") || takes.contains("target_id");
            assert_eq!(told, documented, "{kind} and its target");
        }
    }
}

#[test]
fn the_close_codes_are_documented_as_they_are() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/app/signalling/mod.rs");
    let source = std::fs::read_to_string(file).unwrap();
    let (_, module) = source.split_once("pub mod close {").unwrap();
    let module = module.split("\n}\n").next().unwrap();
    let mut codes: BTreeSet<u16> = module
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(" = "))
        .map(|(_, code)| code.trim_end_matches(';').parse().unwrap())
        .collect();
    assert!(codes.len() > 5);
    // The protocol's own, for a message that is too large.
    codes.insert(1009);
    let documented: BTreeSet<u16> = table("Close codes")
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_reasons_of_refusals_are_documented() {
    let documented: BTreeSet<_> = table("Refusals")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    let expected = [
        "bad-emoji",
        "bad-json",
        "bad-target",
        "not-allowed",
        "participant-not-found",
        "session-ended",
        "try-again",
        "unknown-type",
    ];
    assert_eq!(documented, expected.map(str::to_owned).into());
}
