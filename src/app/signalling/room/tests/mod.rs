//! Rooms.

mod instances;

use futures::FutureExt as _;

use super::*;
use crate::app::signalling::message::ServerMessage;
use crate::app::signalling::outbox::{Outbox, ToPage};
use crate::bus::RelayKind;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

use ParticipantStatus::{Admitted, Waiting};

fn user(name: &str) -> UserId {
    UserId::from_stored(name.into())
}

fn session_id() -> SessionId {
    SessionId::from_stored("sess_1".into())
}

/// A connection of that participant, without its initial messages.
fn join(room: &Room, id: u64, name: &str) -> Outbox {
    let (queue, outbox) = PageQueue::new(8);
    let added = room.add_member(RoomMember {
        connection_id: ConnectionId(id),
        user_id: user(name),
        role: Role::Patient,
        page_state: None,
        media_version: 0,
        queue,
        door: "/door".into(),
    });
    assert!(added.is_ok());
    outbox
}

fn send_initial(room: &Room, id: u64, version: i64, status: ParticipantStatus) -> InitialMessages {
    room.queue_initial_messages(ConnectionId(id), PageState { version, status }, |_| {
        vec![ServerMessage::Pong.into()]
    })
}

/// The message types and close codes that a page was sent so far.
fn sent(outbox: &mut Outbox) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(Some(to_page)) = outbox.next().now_or_never() {
        all.push(match to_page {
            ToPage::Text(text) => {
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                message["type"].as_str().unwrap().to_owned()
            }
            ToPage::Close(code) => code.number().to_string(),
        });
    }
    all
}

fn participant(name: &str, role: Role, status: ParticipantStatus) -> Participant {
    Participant {
        user_id: user(name),
        role,
        display_name: String::new(),
        status,
        connect_time: Timestamp::MIN,
        instance_id: String::new(),
    }
}

#[test]
fn a_way_that_a_page_was_told_of_is_not_told_again() {
    let room = Room::new(session_id());
    let mut first = join(&room, 1, "a");
    send_initial(&room, 1, 5, Admitted);
    let tell = |sequence, version| {
        let mut announcement = room.announce(sequence);
        announcement.send_media(version, |_| ServerMessage::Pong);
    };
    // The events 6 and 7 were committed together, so the session that is read for the first one has both.
    tell(6, 7);
    let mut second = join(&room, 2, "b");
    send_initial(&room, 2, 6, Admitted);
    tell(7, 7);
    // One message is the initial one.
    assert_eq!(sent(&mut first), ["pong"; 2]);
    assert_eq!(sent(&mut second), ["pong"; 2], "it knew of 6 only");
    tell(8, 8);
    assert_eq!((sent(&mut first).len(), sent(&mut second).len()), (1, 1));
}

#[test]
fn initial_messages_need_the_newest_announced_version() {
    let room = Room::new(session_id());
    let mut page = join(&room, 1, "a");
    // A page without its initial messages gets no announcements.
    room.announce(7).send(ServerMessage::Removed, |_| true);
    assert_eq!(
        send_initial(&room, 1, 6, Admitted),
        InitialMessages::Outdated
    );
    let must_follow = true;
    let made = InitialMessages::Queued { must_follow };
    assert_eq!(send_initial(&room, 1, 7, Admitted), made);
    // Events that the initial messages include are not announced again.
    room.announce(7).send(ServerMessage::Removed, |_| true);
    room.announce(8).send(ServerMessage::Replaced, |_| true);
    assert_eq!(sent(&mut page), ["pong", "replaced"]);
    let mut newer = join(&room, 2, "a");
    assert_eq!(send_initial(&room, 1, 8, Admitted), InitialMessages::Gone);
    let must_follow = false;
    let made = InitialMessages::Queued { must_follow };
    assert_eq!(send_initial(&room, 2, 8, Admitted), made);
    assert_eq!(sent(&mut newer), ["pong"]);
}

#[test]
fn relays_reach_their_receivers_in_the_call_and_no_others() {
    let room = Room::new(session_id());
    let names = (1..).zip(["a", "b", "c"]);
    let mut pages: Vec<_> = names.map(|(id, name)| join(&room, id, name)).collect();
    let mut waiting = join(&room, 4, "w");
    let mut unknown = join(&room, 5, "u");
    for id in 1..=3 {
        send_initial(&room, id, 1, Admitted);
    }
    send_initial(&room, 4, 1, Waiting);
    let relay = |kind, to: Option<&str>| {
        room.deliver(&Arc::new(Relay {
            session_id: session_id(),
            from: user("a"),
            to: to.map(user),
            kind,
            version: 1,
            payload: serde_json::Map::new(),
        }));
    };
    relay(RelayKind::Offer, Some("b"));
    relay(RelayKind::Emoji, None);
    for to in ["w", "u", "x", "a"] {
        relay(RelayKind::Answer, Some(to));
    }
    room.announce(2).admit(&user("w"), ServerMessage::Removed);
    relay(RelayKind::IceCandidate, Some("w"));
    let received: Vec<_> = pages.iter_mut().map(sent).collect();
    assert_eq!(received[0], ["pong"]);
    assert_eq!(received[1], ["pong", "offer", "emoji"]);
    assert_eq!(received[2], ["pong", "emoji"]);
    assert_eq!(sent(&mut waiting), ["pong", "removed", "ice-candidate"]);
    assert!(sent(&mut unknown).is_empty());
}

#[test]
fn only_pages_with_outdated_state_are_closed() {
    let room = Room::new(session_id());
    let names = ["same", "gone", "admitted", "role", "newer", "unknown"];
    let joining = (1..).zip(names);
    let mut pages: Vec<_> = joining.map(|(id, name)| join(&room, id, name)).collect();
    for (id, version, status) in [
        (1, 1, Admitted),
        (2, 1, Admitted),
        (3, 1, Waiting),
        (4, 1, Admitted),
        (5, 5, Admitted),
    ] {
        send_initial(&room, id, version, status);
    }
    let participants = [
        participant("same", Role::Patient, Admitted),
        participant("admitted", Role::Patient, Admitted),
        participant("role", Role::Guest, Admitted),
    ];
    room.close_changed(5, &participants, CloseCode::GoingAway);
    let closed: Vec<_> = names
        .into_iter()
        .zip(&mut pages)
        .filter_map(|(name, page)| sent(page).contains(&"1001".to_owned()).then_some(name))
        .collect();
    assert_eq!(closed, ["gone", "admitted", "role"]);
    // The room has announced that version.
    assert_eq!(
        send_initial(&room, 6, 4, Admitted),
        InitialMessages::Outdated
    );
}

#[test]
fn media_states_outlive_a_connection_but_not_the_follower() {
    let room = Room::new(session_id());
    let _page = join(&room, 1, "a");
    let muted = MediaState {
        muted: true,
        camera_off: false,
        hand: 0,
    };
    assert_eq!(
        room.record_sender(&user("a"), ConnectionId(1), None, None),
        None
    );
    send_initial(&room, 1, 1, Waiting);
    let noted = room.record_sender(&user("a"), ConnectionId(1), Some(muted), None);
    assert_eq!(noted.map(|sender| sender.status), Some(Waiting));
    assert!(room.remove_member(&user("a"), ConnectionId(1)));
    let ignored = room.record_sender(
        &user("a"),
        ConnectionId(1),
        Some(MediaState::default()),
        None,
    );
    assert_eq!(ignored, None);
    let media = || room.announce(1).media().of(&user("a"));
    assert_eq!(media(), muted);
    assert!(room.stop_following_if_empty() && !room.is_followed());
    assert_eq!(media(), MediaState::default());
}
