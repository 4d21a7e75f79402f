//! Rooms of one session on several instances.

use serde_json::json;

use super::*;

/// A relay whose sender knew of that version.
fn relay(from: &str, to: Option<&str>, kind: RelayKind, version: i64) -> Arc<Relay> {
    Arc::new(Relay {
        session_id: session_id(),
        from: user(from),
        to: to.map(user),
        kind,
        version,
        payload: serde_json::Map::new(),
    })
}

fn on(name: &str, status: ParticipantStatus, instance_id: &str) -> Participant {
    Participant {
        instance_id: instance_id.into(),
        ..participant(name, Role::Patient, status)
    }
}

#[test]
fn a_relay_goes_to_the_instances_of_its_receivers() {
    let room = Room::new(session_id());
    let _page = join(&room, 1, "a");
    send_initial(&room, 1, 4, Admitted);
    let participants = [
        on("a", Admitted, "here"),
        on("b", Admitted, "x"),
        on("c", Admitted, "y"),
        on("d", Admitted, "x"),
        on("w", Waiting, "z"),
    ];
    room.note_instances(4, &participants, "here");
    let instances = |to: Option<&str>| {
        let sender = room.record_sender(&user("a"), ConnectionId(1), None, to.map(user).as_ref());
        let sender = sender.unwrap();
        assert_eq!((sender.status, sender.version), (Admitted, 4));
        sender.instances
    };
    assert_eq!(instances(None), ["x", "y"]);
    assert_eq!(instances(Some("c")), ["y"]);
    for nowhere in ["a", "w", "unknown"] {
        assert!(instances(Some(nowhere)).is_empty(), "{nowhere}");
    }
    // An older session tells nothing new; a departure does, unless the session includes it.
    room.note_instances(3, &[], "here");
    room.announce(4).forget_participant(&user("c"));
    assert_eq!(instances(None), ["x", "y"]);
}

#[test]
fn participants_who_left_receive_nothing_more() {
    let room = Room::new(session_id());
    let _page = join(&room, 1, "a");
    send_initial(&room, 1, 4, Admitted);
    room.note_instances(4, &[on("b", Admitted, "x")], "here");
    room.announce(5).forget_participant(&user("b"));
    let sender = room.record_sender(&user("a"), ConnectionId(1), None, None);
    assert_eq!(sender.map(|sender| sender.instances), Some(Vec::new()));
}

#[test]
fn relays_that_are_ahead_of_the_announcements_wait_for_them() {
    let room = Room::new(session_id());
    let mut page = join(&room, 1, "a");
    send_initial(&room, 1, 1, Waiting);
    // On the sender's instance, `a` was admitted by event 3.
    for kind in [RelayKind::Offer, RelayKind::IceCandidate] {
        assert_eq!(
            room.deliver(&relay("b", Some("a"), kind, 3)),
            Delivered::Ahead
        );
    }
    // Nor does one of the same sender overtake them; another's may.
    let earlier = relay("b", Some("a"), RelayKind::Answer, 1);
    assert_eq!(room.deliver(&earlier), Delivered::Early);
    let others = relay("c", None, RelayKind::Emoji, 1);
    assert_eq!(room.deliver(&others), Delivered::Now);
    room.announce_nothing(2);
    assert_eq!(sent(&mut page), ["pong"]);
    room.announce(3).admit(&user("a"), ServerMessage::Replaced);
    // The announcement first, then what answers it.
    assert_eq!(
        sent(&mut page),
        ["replaced", "offer", "ice-candidate", "answer"]
    );
    assert_eq!(room.deliver(&earlier), Delivered::Now);
}

#[test]
fn one_who_is_not_admitted_receives_nothing_of_what_was_held_back() {
    let room = Room::new(session_id());
    let mut page = join(&room, 1, "a");
    send_initial(&room, 1, 1, Waiting);
    assert_eq!(
        room.deliver(&relay("b", Some("a"), RelayKind::Offer, 2)),
        Delivered::Ahead
    );
    room.announce_nothing(2);
    room.announce(3).admit(&user("a"), ServerMessage::Replaced);
    assert_eq!(sent(&mut page), ["pong", "replaced"]);
}

#[test]
fn relays_wait_for_their_receivers_initial_messages() {
    let room = Room::new(session_id());
    let _first = join(&room, 1, "a");
    send_initial(&room, 1, 5, Admitted);
    let mut page = join(&room, 2, "b");
    let offer = relay("c", Some("b"), RelayKind::Offer, 5);
    assert_eq!(room.deliver(&offer), Delivered::Early);
    send_initial(&room, 2, 5, Admitted);
    assert_eq!(sent(&mut page), ["pong", "offer"]);
    // A receiver who vanishes first holds nobody up.
    let _gone = join(&room, 3, "d");
    let offer = relay("c", Some("d"), RelayKind::Offer, 5);
    assert_eq!(room.deliver(&offer), Delivered::Early);
    room.remove_member(&user("d"), ConnectionId(3));
    let emoji = relay("c", None, RelayKind::Emoji, 5);
    assert_eq!(room.deliver(&emoji), Delivered::Now);
    assert_eq!(sent(&mut page), ["emoji"]);
}

#[test]
fn a_room_holds_back_so_many_relays_and_no_more() {
    let room = Room::new(session_id());
    let _page = join(&room, 1, "a");
    send_initial(&room, 1, 1, Admitted);
    let ahead = relay("b", None, RelayKind::Emoji, 2);
    let held = (0..10_000).take_while(|_| room.deliver(&ahead) == Delivered::Ahead);
    assert_eq!(held.count(), 256);
    assert_eq!(room.deliver(&ahead), Delivered::Dropped);
    room.remove_member(&user("a"), ConnectionId(1));
    assert!(room.stop_following_if_empty());
    assert_eq!(room.deliver(&ahead), Delivered::Ahead);
}

#[test]
fn rooms_know_the_media_states_of_participants_elsewhere() {
    let room = Room::new(session_id());
    let _page = join(&room, 1, "a");
    send_initial(&room, 1, 1, Admitted);
    room.note_instances(1, &[on("b", Admitted, "x")], "here");
    let muted = MediaState {
        muted: true,
        camera_off: false,
        hand: 0,
    };
    let tell = |from: &str| {
        let relay = Relay {
            payload: muted.payload(),
            ..(*relay(from, None, RelayKind::MuteStatus, 1)).clone()
        };
        assert_eq!(relay.payload["data"]["muted"], json!(true));
        assert_eq!(room.deliver(&Arc::new(relay)), Delivered::Now);
    };
    tell("b");
    // Who is not in the call fills no memory.
    tell("unknown");
    let announcement = room.announce(2);
    assert_eq!(announcement.media().of(&user("b")), muted);
    assert_eq!(announcement.media().known(&user("unknown")), None);
    // Only this instance's own members are told to others.
    assert!(announcement.media_here().is_empty());
    drop(announcement);
    room.record_sender(&user("a"), ConnectionId(1), Some(muted), None);
    assert_eq!(room.announce(3).media_here(), [(user("a"), muted)]);
}
