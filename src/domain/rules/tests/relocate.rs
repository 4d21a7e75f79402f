//! How sessions move to other nodes.

use super::call::{Call, NOW, bearer, medium_causes, node};
use crate::domain::access::{RoomAccess, room_access};
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::error::Reason;
use crate::domain::event::EventKind;
use crate::domain::medium::{MediaMode, Medium, MoveCause};
use crate::domain::participant::Admission;
use crate::domain::place::{Driver, Place};
use crate::domain::role::Role;

const LOST: Actor = Actor::System(SystemCause::NodeLost);
const DRAINED: Actor = Actor::System(SystemCause::NodeDrained);

#[test]
fn a_session_that_nobody_came_to_is_placed_anew() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    let change = call.move_to("sfu-2", Driver::LiveKit, &DRAINED);
    let kinds: Vec<_> = change.events.iter().map(|event| &event.kind).collect();
    let expected = EventKind::Placed {
        from: node("sfu-1"),
        to: node("sfu-2"),
        generation: 2,
        cause: MoveCause::NodeDrained,
    };
    assert_eq!(kinds, [&expected]);
    assert_eq!(
        call.types.last().map(String::as_str),
        Some("session.placed")
    );
    assert_eq!(change.events[0].actor, Some(DRAINED));
}

#[test]
fn a_session_that_somebody_came_to_moves_even_if_all_have_left() {
    for (actor, cause) in [
        (Actor::Backend, MoveCause::Backend),
        (LOST, MoveCause::NodeLost),
        (DRAINED, MoveCause::NodeDrained),
    ] {
        let mut call = Call::on_livekit(MediaMode::Auto);
        call.connect(Role::Doctor);
        call.leave(Role::Doctor);
        let change = call.move_to("sfu-2", Driver::LiveKit, &actor);
        let expected = EventKind::Moved {
            from: node("sfu-1"),
            to: node("sfu-2"),
            generation: 2,
            cause,
        };
        assert_eq!(change.events[0].kind, expected);
        assert_eq!(change.events.len(), 1);
    }
}

#[test]
fn each_move_has_a_room_of_its_own_and_names_the_one_that_it_left() {
    let mut call = Call::on_livekit(MediaMode::Sfu);
    let id = call.session.session_id.clone();
    // Back to a node that it was on before, and to the same one, too.
    let mut rooms = vec![call.session.place.room_name.clone()];
    for (number, name) in ["sfu-2", "sfu-1", "sfu-1"].into_iter().enumerate() {
        let left = call.session.place.clone();
        let change = call.move_to(name, Driver::LiveKit, &Actor::Backend);
        assert_eq!(
            change.left_rooms(),
            [(left.node_id.clone(), left.room_name.clone())]
        );
        let place = &call.session.place;
        let generation = i64::try_from(number).unwrap() + 2;
        assert_eq!(place.generation, generation);
        assert_eq!(place.node_id, node(name));
        let owner = Place::owner_of_room(&place.room_name);
        let owner = owner.map(|owner| (owner.session_id, owner.generation));
        assert_eq!(owner, Some((id.clone(), generation)));
        assert!(!rooms.contains(&place.room_name));
        rooms.push(place.room_name.clone());
    }
    assert_eq!(rooms[0], format!("room_{id}"));
}

#[test]
fn the_medium_follows_what_the_new_node_can_do() {
    use Driver::{Builtin, LiveKit, OpenVidu};
    use MediaMode::{Auto, PeerToPeer as AlwaysPeers, Sfu as AlwaysNode};
    use Medium::{PeerToPeer, Sfu};
    // Asked for, former node, whether three publish, new node: the medium before and after.
    for (media, from, crowd, to, before, after) in [
        (Auto, LiveKit, false, LiveKit, PeerToPeer, PeerToPeer),
        (Auto, LiveKit, true, LiveKit, Sfu, Sfu),
        (Auto, LiveKit, true, Builtin, Sfu, PeerToPeer),
        // Pages cannot use it.
        (Auto, LiveKit, true, OpenVidu, Sfu, PeerToPeer),
        (AlwaysPeers, LiveKit, true, OpenVidu, PeerToPeer, PeerToPeer),
        (AlwaysNode, LiveKit, true, OpenVidu, Sfu, Sfu),
        (AlwaysNode, Builtin, true, LiveKit, PeerToPeer, Sfu),
        // The backend insists on a node, so nobody is sent another way.
        (AlwaysNode, LiveKit, false, Builtin, Sfu, Sfu),
    ] {
        let case = format!("{media:?} {from:?} {crowd} {to:?}");
        let mut call = Call::new(media, from, Admission::Open);
        call.connect(Role::Doctor);
        call.connect(Role::Patient);
        if crowd {
            call.connect(Role::Guest);
        }
        assert_eq!(call.session.medium, before, "{case}");
        let change = call.move_to("sfu-2", to, &LOST);
        assert_eq!(call.session.medium, after, "{case}");
        let causes = medium_causes(&change);
        let expected = if before == after {
            vec![]
        } else {
            vec![MoveCause::NodeLost]
        };
        assert_eq!(causes, expected, "{case}");
        if !causes.is_empty() {
            let last = &call.types[call.types.len() - 2..];
            assert_eq!(last, ["session.moved", "session.medium_changed"], "{case}");
        }
    }
}

#[test]
fn a_call_of_three_between_browsers_goes_through_the_new_node_at_once() {
    use Driver::{Builtin, LiveKit, OpenVidu};
    let crowd = [Role::Doctor, Role::Patient, Role::Guest];
    let with_observer = [Role::Doctor, Role::Patient, Role::Observer];
    // Asked for, who is there, new node, the medium after the move.
    for (media, roles, to, after) in [
        (MediaMode::Auto, crowd, LiveKit, Medium::Sfu),
        // Pages cannot use it.
        (MediaMode::Auto, crowd, OpenVidu, Medium::PeerToPeer),
        (MediaMode::Auto, crowd, Builtin, Medium::PeerToPeer),
        (MediaMode::Auto, with_observer, LiveKit, Medium::PeerToPeer),
        (MediaMode::PeerToPeer, crowd, LiveKit, Medium::PeerToPeer),
    ] {
        let case = format!("{media:?} {roles:?} {to:?}");
        let mut call = Call::new(media, Builtin, Admission::Open);
        for role in roles {
            call.connect(role);
        }
        let change = call.move_to("sfu-2", to, &DRAINED);
        assert!(!change.takes_from_room(), "{case}");
        assert_eq!(call.session.medium, after, "{case}");
        let causes = medium_causes(&change);
        let expected = usize::from(after == Medium::Sfu);
        assert_eq!(causes, vec![MoveCause::NodeDrained; expected], "{case}");
        // The next participant changes nothing more.
        assert!(medium_causes(&call.connect(Role::Interpreter)).is_empty() || roles != crowd);
        assert_eq!(call.session.place.generation, 2, "{case}");
    }
}

#[test]
fn a_call_that_fell_back_to_browsers_goes_through_the_next_node() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    for role in [Role::Doctor, Role::Patient, Role::Guest] {
        call.connect(role);
    }
    let fallen = call.session.fall_back_to_peers(&LOST, NOW).unwrap();
    call.take(fallen.unwrap());
    let change = call.move_to("sfu-2", Driver::LiveKit, &LOST);
    assert_eq!(medium_causes(&change), [MoveCause::NodeLost]);
    assert_eq!(call.session.medium, Medium::Sfu);
}

#[test]
fn only_the_backend_and_the_service_for_its_nodes_move_sessions() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    for role in [Role::Doctor, Role::Patient, Role::Guest] {
        call.connect(role);
    }
    for mut actor in Actor::examples() {
        if let Actor::Participant { user_id, .. } = &mut actor {
            // The host is in the call.
            *user_id = bearer(Role::Doctor);
        }
        let may = [Actor::Backend, LOST, DRAINED].contains(&actor);
        let moved = (call.session).move_to(node("sfu-2"), Driver::LiveKit, &actor, NOW);
        let fallen = call.session.fall_back_to_peers(&actor, NOW);
        assert_eq!((moved.is_ok(), fallen.is_ok()), (may, may), "{actor:?}");
        if !may {
            assert_eq!(moved.unwrap_err().reason(), Reason::NotAllowed);
            assert_eq!(fallen.unwrap_err().reason(), Reason::NotAllowed);
        }
    }
}

#[test]
fn an_ended_session_stays_where_it_was() {
    let mut call = Call::on_livekit(MediaMode::Sfu);
    call.end();
    let moved = (call.session).move_to(node("sfu-2"), Driver::LiveKit, &LOST, NOW);
    assert_eq!(moved.unwrap_err().reason(), Reason::SessionEnded);
    let fallen = call.session.fall_back_to_peers(&LOST, NOW);
    assert_eq!(fallen.unwrap_err().reason(), Reason::SessionEnded);
}

#[test]
fn without_any_node_auto_falls_back_to_peers_and_stays_placed() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    call.connect(Role::Doctor);
    call.connect(Role::Patient);
    let fallen = call.session.fall_back_to_peers(&LOST, NOW).unwrap();
    assert!(fallen.is_none(), "they are peers already");
    call.connect(Role::Guest);
    let place = call.session.place.clone();
    let fallen = call.session.fall_back_to_peers(&LOST, NOW).unwrap();
    let change = fallen.unwrap();
    assert_eq!(medium_causes(&change), [MoveCause::NodeLost]);
    // The node is lost, so nothing can be asked of it.
    assert!(change.left_rooms().is_empty() && change.session.former_room.is_none());
    call.take(change);
    assert_eq!(call.session.medium, Medium::PeerToPeer);
    assert_eq!(call.session.place.node_id, place.node_id);
    assert_ne!(call.session.place.room_name, place.room_name);
    let again = call.session.fall_back_to_peers(&LOST, NOW).unwrap();
    assert!(again.is_none());
}

#[test]
fn a_call_that_fell_back_stays_between_browsers_until_it_moves() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    for role in [Role::Doctor, Role::Patient, Role::Guest] {
        call.connect(role);
    }
    let fallen = call.session.fall_back_to_peers(&DRAINED, NOW).unwrap();
    let change = fallen.unwrap();
    assert_eq!(
        change.left_rooms(),
        [(
            node("sfu-1"),
            Place::room_name_of(&call.session.session_id, 1)
        )]
    );
    call.take(change);
    // Its node may still be lost or drained.
    let arrival = call.connect(Role::Interpreter);
    assert!(medium_causes(&arrival).is_empty());
    let change = call.move_to("sfu-2", Driver::LiveKit, &Actor::Backend);
    assert_eq!(medium_causes(&change), [MoveCause::Backend]);
    assert_eq!(call.session.place.generation, 3);
}

#[test]
fn pages_may_stay_in_the_room_of_a_working_node_for_a_while() {
    const OVERLAP_SECS: u64 = 30;
    let end = NOW.plus_secs(OVERLAP_SECS);
    let access = |call: &Call, generation, now| {
        let user_id = bearer(Role::Doctor);
        room_access(&call.session, &user_id, generation, OVERLAP_SECS, now)
    };
    for (actor, lingers) in [(Actor::Backend, true), (DRAINED, true), (LOST, false)] {
        let mut call = Call::on_livekit(MediaMode::Sfu);
        call.connect(Role::Doctor);
        call.move_to("sfu-2", Driver::LiveKit, &actor);
        let former = match lingers {
            true => RoomAccess::Lingering { until: end },
            false => RoomAccess::OtherPlace,
        };
        assert_eq!(access(&call, 1, NOW), former, "{actor:?}");
        assert_eq!(access(&call, 1, end), RoomAccess::OtherPlace);
        assert_eq!(access(&call, 2, NOW), RoomAccess::Allowed);
        // Of two former rooms, the newer.
        call.move_to("sfu-1", Driver::LiveKit, &actor);
        assert_eq!(access(&call, 1, NOW), RoomAccess::OtherPlace);
        assert_eq!(access(&call, 2, NOW), former);
        assert!(call.leave(Role::Doctor).takes_people());
        assert_eq!(access(&call, 2, NOW), RoomAccess::NotInCall);
    }
    // Between browsers, there was no room to leave.
    let mut call = Call::on_livekit(MediaMode::PeerToPeer);
    call.connect(Role::Doctor);
    call.move_to("sfu-2", Driver::LiveKit, &Actor::Backend);
    assert_eq!(access(&call, 1, NOW), RoomAccess::OtherPlace);
}

#[test]
fn a_backend_that_insists_on_a_node_gets_no_fall_back() {
    let mut call = Call::on_livekit(MediaMode::Sfu);
    call.connect(Role::Doctor);
    assert_eq!(call.session.fall_back_to_peers(&LOST, NOW), Ok(None));
    let call = Call::on_livekit(MediaMode::PeerToPeer);
    assert_eq!(call.session.fall_back_to_peers(&LOST, NOW), Ok(None));
}
