//! docs/signalling.md against the code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use video_session::app::media::{Door, Ice, IcePolicy, IceServer, PageMedia};
use video_session::app::signalling::CloseCode;
use video_session::app::signalling::message::{
    ClientMessage, ClientType, Connected, MessageErrorCode, ParticipantView, ServerMessage,
    WaitingReason, relay_text,
};
use video_session::domain::id::{SessionId, UserId};
use video_session::domain::medium::MoveCause;
use video_session::domain::participant::{LeaveCause, ParticipantStatus};
use video_session::domain::role::Role;
use video_session::domain::session::EndCause;

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

fn view() -> ParticipantView {
    ParticipantView {
        user_id: "u".to_owned(),
        name: "n".to_owned(),
        role: "guest",
        muted: false,
        camera_off: false,
        hand: 0,
        publishes: true,
    }
}

/// Every medium, with everything that it can hold.
fn all_media() -> Vec<PageMedia> {
    let ice = Ice {
        ice_servers: vec![IceServer {
            urls: Vec::new(),
            username: Some(String::new()),
            credential: Some(String::new()),
        }],
        ice_policy: IcePolicy::All,
    };
    let door = Door {
        url: String::new(),
        generation: 1,
        ice: ice.clone(),
    };
    let all = vec![
        PageMedia::Builtin(ice),
        PageMedia::LiveKit(door.clone()),
        PageMedia::EncryptedLiveKit(door),
        PageMedia::OpenVidu,
    ];
    for media in &all {
        // A new medium does not compile until what it gives stands above, too.
        match media {
            PageMedia::Builtin(_)
            | PageMedia::LiveKit(_)
            | PageMedia::EncryptedLiveKit(_)
            | PageMedia::OpenVidu => {}
        }
    }
    all
}

fn connected(media: PageMedia) -> Connected {
    Connected {
        user_id: "u".to_owned(),
        role: "guest",
        name: "n".to_owned(),
        permissions: &[],
        session_id: "s".to_owned(),
        room_id: "s".to_owned(),
        status: "admitted",
        connection_id: "1".to_owned(),
        resumed: false,
        publishes: true,
        media,
        server_time: String::new(),
        closes_at: Some(String::new()),
        message: "m",
    }
}

/// One message of every type, with everything that it can hold.
fn examples() -> Vec<ServerMessage> {
    let connected = all_media()
        .into_iter()
        .map(|media| ServerMessage::Connected(Box::new(connected(media))));
    let mut all = vec![
        ServerMessage::Waiting {
            user_id: "u".to_owned(),
            name: "n".to_owned(),
            role: "guest",
            reason: WaitingReason::HostAbsent,
        },
        ServerMessage::Admitted {
            user_id: "u".to_owned(),
        },
        ServerMessage::ExistingParticipants {
            room_id: "s".to_owned(),
            participants: vec![view()],
        },
        ServerMessage::UserJoined {
            room_id: "s".to_owned(),
            participant: view(),
        },
        ServerMessage::UserLeft {
            room_id: "s".to_owned(),
            user_id: "u".to_owned(),
            cause: "left",
        },
        ServerMessage::MuteRequest {
            sender_id: "u".to_owned(),
        },
        ServerMessage::Removed,
        ServerMessage::SessionEnded {
            cause: "host",
            reason: "r".to_owned(),
        },
        ServerMessage::SessionUpdated {
            closes_at: Some(String::new()),
        },
        ServerMessage::StillTold {
            user_id: "u".to_owned(),
        },
        ServerMessage::Replaced,
        ServerMessage::Pong,
        ServerMessage::Error {
            code: MessageErrorCode::BadJson,
            message: String::new(),
        },
    ];
    all.extend(connected);
    all.extend(all_media().into_iter().map(|media| {
        let cause = MoveCause::ThirdPublisher.name();
        ServerMessage::MediaChanged { media, cause }
    }));
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
            | ServerMessage::SessionUpdated { .. }
            | ServerMessage::MediaChanged { .. }
            | ServerMessage::StillTold { .. }
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
fn the_types_and_fields_of_the_servers_messages_are_documented() {
    let relayed = [
        "offer",
        "answer",
        "ice-candidate",
        "mute-status",
        "emoji",
        "key",
        "unmute-request",
        "still",
        "network",
        "lower-hand",
    ];
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table("From the server") {
        for kind in names(&row[0]) {
            if !relayed.contains(&kind.as_str()) {
                assert!(documented.insert(kind, names(&row[1])).is_none());
            }
        }
    }
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for message in examples() {
        let mut json: Value = serde_json::from_str(&message.text()).unwrap();
        let kind = json.as_object_mut().unwrap().remove("type").unwrap();
        let fields = said.entry(kind.as_str().unwrap().to_owned()).or_default();
        fields.extend(keys(&json));
    }
    assert_eq!(documented, said);
    let all: BTreeSet<_> = table("From the server")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    assert!(relayed.iter().all(|kind| all.contains(*kind)));
}

#[test]
fn what_the_server_sets_in_relayed_messages_is_documented() {
    let rows = table("From the server");
    let row = rows.iter().find(|row| names(&row[0]).contains("offer"));
    let sent = json!({"type": "offer", "user_id": "x", "extra": 1});
    let Ok(ClientMessage::Relay(relay)) = ClientMessage::parse(&sent.to_string()) else {
        panic!("an offer is relayed");
    };
    let session_id = SessionId::from_stored("s".to_owned());
    let relay = relay.into_relay(session_id, UserId::from_stored("u".to_owned()), None, 1);
    let heard: Value = serde_json::from_str(&relay_text(&relay)).unwrap();
    assert_eq!(heard["type"], "offer");
    let (sent, heard) = (keys(&sent), keys(&heard));
    let set: BTreeSet<_> = heard.difference(&sent).cloned().collect();
    assert_eq!(names(&row.unwrap()[1]), set);
    let removed: BTreeSet<_> = sent.difference(&heard).cloned().collect();
    assert_eq!(removed, ["user_id".to_owned()].into());
    assert!(document().contains("`user_id` is taken out"));
}

#[test]
fn the_fields_of_a_participant_are_documented() {
    let documented: BTreeSet<_> = table("A participant")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    let view = serde_json::to_value(view()).unwrap();
    assert_eq!(documented, keys(&view));
}

#[test]
fn the_types_of_a_clients_messages_and_what_the_server_reads_of_them_are_documented() {
    let rows = table("From the client");
    let documented: BTreeSet<_> = rows.iter().flat_map(|row| names(&row[0])).collect();
    let types = ClientType::ALL.iter().map(|kind| kind.name().to_owned());
    assert_eq!(documented, types.collect());
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
            message["keep_out"] = json!(true);
            let parsed = ClientMessage::parse(&message.to_string()).unwrap();
            let read = format!("{parsed:?}").contains("keep_out: true");
            assert_eq!(read, takes.contains("keep_out"), "{kind} and keep_out");
            message["data"] = json!({});
            let is_emoji = row[1].contains("{emoji}");
            let without = ClientMessage::parse(&message.to_string());
            assert_eq!(without.is_err(), is_emoji, "{kind} without data");
        }
    }
}

#[test]
fn the_numbers_of_the_close_codes_are_documented() {
    let codes: BTreeSet<u16> = CloseCode::ALL.iter().map(|code| code.number()).collect();
    let documented: BTreeSet<u16> = table("Close codes")
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_codes_of_refusals_are_documented() {
    let documented: BTreeSet<_> = table("Refusals")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    let expected: BTreeSet<_> = MessageErrorCode::ALL.iter().copied().map(written).collect();
    assert_eq!(documented, expected);
}

/// A value as it stands in messages.
fn written(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap();
    value.as_str().unwrap().to_owned()
}

#[test]
fn the_values_of_statuses_reasons_causes_and_roles_are_named() {
    let says = |section: &str, what: &str, column: usize, values: Vec<String>| {
        let rows = table(section);
        let row = rows.iter().find(|row| names(&row[0]).contains(what));
        let text = &row.unwrap()[column];
        for value in values {
            let words: Vec<_> = text.split([' ', ',', '.', ';', ':']).collect();
            assert!(words.contains(&&*value), "{what}: {value} is not in {text}");
        }
    };
    let statuses = [ParticipantStatus::Waiting, ParticipantStatus::Admitted];
    let statuses = statuses.map(|status| status.name().to_owned()).into();
    says("From the server", "connected", 2, statuses);
    let reasons = [WaitingReason::HostAbsent, WaitingReason::NeedsAdmission];
    says("From the server", "waiting", 2, reasons.map(written).into());
    // The end of the session is said once, to everybody.
    let causes = LeaveCause::ALL
        .iter()
        .filter(|cause| **cause != LeaveCause::SessionEnded);
    let causes = causes.map(|cause| cause.name().to_owned()).collect();
    says("From the server", "user-left", 2, causes);
    let causes = EndCause::ALL
        .iter()
        .map(|cause| cause.name().to_owned())
        .collect();
    says("From the server", "session-ended", 2, causes);
    let roles = Role::ALL
        .iter()
        .map(|role| role.name().to_owned())
        .collect();
    says("A participant", "role", 1, roles);
}
