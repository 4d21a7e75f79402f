//! Who may be in the room of a session.

use super::call::{Call, NOW, bearer, user};
use crate::domain::access::{RoomAccess, may_be_in_room, room_access, ticket_admits};
use crate::domain::actor::{Actor, SystemCause};
use crate::domain::medium::MediaMode;
use crate::domain::participant::Admission;
use crate::domain::place::Driver;
use crate::domain::role::Role;

fn access(call: &Call, role: Role, generation: i64) -> RoomAccess {
    room_access(&call.session, &bearer(role), generation, 0, NOW)
}

fn may_be(call: &Call, role: Role, sequence: i64) -> bool {
    may_be_in_room(&call.session, &bearer(role), Some(sequence), NOW)
}

fn on_node(admission: Admission) -> Call {
    Call::new(MediaMode::Sfu, Driver::LiveKit, admission)
}

#[test]
fn pages_have_access_while_they_are_in_the_call_and_to_its_present_room_only() {
    let mut call = on_node(Admission::WhenHostPresent);
    assert_eq!(access(&call, Role::Patient, 1), RoomAccess::NotInCall);
    call.connect(Role::Patient);
    assert_eq!(
        access(&call, Role::Patient, 1),
        RoomAccess::NotInCall,
        "waiting"
    );
    call.connect(Role::Doctor);
    for role in [Role::Doctor, Role::Patient] {
        assert_eq!(access(&call, role, 1), RoomAccess::Allowed);
    }
    for generation in [i64::MIN, -1, 0, 2, i64::MAX] {
        let other = access(&call, Role::Patient, generation);
        assert_eq!(other, RoomAccess::OtherPlace, "{generation}");
    }
    assert_eq!(access(&call, Role::Guest, 1), RoomAccess::NotInCall);
    call.move_to("sfu-2", Driver::LiveKit, &Actor::Backend);
    assert_eq!(access(&call, Role::Patient, 1), RoomAccess::OtherPlace);
    assert_eq!(access(&call, Role::Patient, 2), RoomAccess::Allowed);
    call.remove(Role::Patient, false);
    assert_eq!(access(&call, Role::Patient, 2), RoomAccess::NotInCall);
    call.leave(Role::Doctor);
    assert_eq!(access(&call, Role::Doctor, 2), RoomAccess::NotInCall);
    call.connect(Role::Doctor);
    call.end();
    assert_eq!(access(&call, Role::Doctor, 2), RoomAccess::NotInCall);
}

#[test]
fn nobody_has_access_while_the_call_goes_from_browser_to_browser() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    let sequence = call.issue(Role::Doctor);
    call.connect(Role::Doctor);
    call.connect(Role::Patient);
    assert_eq!(access(&call, Role::Doctor, 1), RoomAccess::OtherPlace);
    assert!(!may_be(&call, Role::Doctor, sequence));
    call.connect(Role::Guest);
    assert_eq!(access(&call, Role::Doctor, 1), RoomAccess::Allowed);
    assert!(may_be(&call, Role::Doctor, sequence));
}

#[test]
fn whoever_is_in_the_call_may_be_in_the_room_with_a_credential_of_theirs() {
    let mut call = on_node(Admission::Open);
    let sequence = call.issue(Role::Patient);
    call.connect(Role::Patient);
    assert!(may_be(&call, Role::Patient, sequence));
    let nobody_gave_it = may_be_in_room(&call.session, &bearer(Role::Patient), None, NOW);
    assert!(!nobody_gave_it);
    assert!(!may_be_in_room(
        &call.session,
        &user("stranger"),
        Some(sequence),
        NOW
    ));
    call.end();
    assert!(!may_be(&call, Role::Patient, sequence));
}

#[test]
fn whoever_waits_may_not_be_in_the_room() {
    let mut call = on_node(Admission::Manual);
    let sequence = call.issue(Role::Patient);
    call.connect(Role::Patient);
    assert!(!may_be(&call, Role::Patient, sequence));
    call.admit(Role::Patient);
    assert!(may_be(&call, Role::Patient, sequence));
}

#[test]
fn a_removal_takes_all_credentials_up_to_it_and_none_after_it() {
    let mut call = on_node(Admission::Open);
    let (older, newer) = (call.issue(Role::Guest), call.issue(Role::Guest));
    call.connect(Role::Guest);
    call.remove(Role::Guest, false);
    for sequence in [0, older, newer, call.session.version - 1] {
        assert!(!may_be(&call, Role::Guest, sequence), "{sequence}");
    }
    // Joined anew: the old credential stays revoked, though they are in the call again.
    let anew = call.issue(Role::Guest);
    assert!(may_be(&call, Role::Guest, anew), "before the page connects");
    call.connect(Role::Guest);
    assert!(may_be(&call, Role::Guest, anew));
    for sequence in [older, newer] {
        assert!(!may_be(&call, Role::Guest, sequence));
    }
}

#[test]
fn who_is_kept_out_may_not_be_in_the_room_with_any_credential() {
    let mut call = on_node(Admission::Open);
    let sequence = call.issue(Role::Guest);
    call.connect(Role::Guest);
    call.remove(Role::Guest, true);
    for sequence in [sequence, call.session.version + 1, i64::MAX] {
        assert!(!may_be(&call, Role::Guest, sequence));
    }
}

#[test]
fn a_ticket_holder_without_a_page_may_be_in_the_room_if_they_need_not_wait() {
    for admission in [
        Admission::Open,
        Admission::WhenHostPresent,
        Admission::Manual,
    ] {
        let mut call = on_node(admission);
        let (doctor, patient) = (call.issue(Role::Doctor), call.issue(Role::Patient));
        assert!(may_be(&call, Role::Doctor, doctor), "hosts never wait");
        let is_open = admission == Admission::Open;
        assert_eq!(may_be(&call, Role::Patient, patient), is_open);
        call.connect(Role::Doctor);
        let with_host = admission != Admission::Manual;
        assert_eq!(may_be(&call, Role::Patient, patient), with_host);
        // Whoever was admitted once does not wait again.
        call.connect(Role::Patient);
        if admission == Admission::Manual {
            call.admit(Role::Patient);
        }
        call.leave(Role::Patient);
        assert!(may_be(&call, Role::Patient, patient), "{admission:?}");
        call.leave(Role::Doctor);
        let alone = admission != Admission::WhenHostPresent;
        assert_eq!(may_be(&call, Role::Patient, patient), alone);
    }
}

#[test]
fn a_ticket_that_was_asked_for_admits_until_its_user_or_its_room_goes() {
    let role = Role::Patient;
    let admits = |asked: &Call, call: &Call| {
        ticket_admits(&asked.session, &call.session, role, &bearer(role), NOW)
    };
    let after = |what: &dyn Fn(&mut Call)| {
        let mut asked = on_node(Admission::WhenHostPresent);
        asked.connect(Role::Doctor);
        // An earlier removal does not count.
        asked.connect(role);
        asked.remove(role, false);
        assert!(admits(&asked, &asked));
        let mut call = Call {
            session: asked.session.clone(),
            types: Vec::new(),
        };
        what(&mut call);
        admits(&asked, &call)
    };
    assert!(after(&|call| drop(call.connect(Role::Guest))));
    assert!(after(&|call| drop(call.remove(Role::Guest, false))));
    assert!(!after(&|call| drop(call.remove(role, false))));
    // The host has left, so the patient would wait.
    assert!(!after(&|call| drop(call.leave(Role::Doctor))));
    assert!(!after(&|call| {
        call.move_to("sfu-2", Driver::LiveKit, &Actor::Backend);
    }));
    assert!(!after(&|call| drop(call.end())));
}

#[test]
fn a_credential_for_a_role_that_was_lost_is_of_no_use() {
    let mut call = on_node(Admission::Open);
    let sequence = call.issue(Role::Doctor);
    let update = crate::domain::session::SessionUpdate {
        doctor_id: Some(user("doctor-2")),
        ..Default::default()
    };
    let updated = (call.session).update(update, None, &Actor::Backend, NOW);
    call.take(updated.unwrap().unwrap());
    assert!(!may_be(&call, Role::Doctor, sequence));
    let who = user("doctor-2");
    assert!(!may_be_in_room(&call.session, &who, Some(sequence), NOW));
    let later = call.issue(Role::Patient);
    assert!(may_be_in_room(&call.session, &who, Some(later), NOW));
}

#[test]
fn what_takes_somebody_from_the_room_is_known() {
    let mut call = on_node(Admission::WhenHostPresent);
    let gives = |change: crate::domain::change::Change, takes: bool| {
        assert_eq!(change.takes_from_room(), takes, "{:?}", change.events);
        assert!(change.left_rooms().is_empty());
    };
    gives(call.connect(Role::Patient), false);
    gives(call.connect(Role::Doctor), false);
    gives(call.connect(Role::Guest), false);
    gives(call.leave(Role::Patient), true);
    gives(call.remove(Role::Guest, false), true);
    // Somebody may hold a ticket without having connected.
    gives(call.remove(Role::Patient, false), true);
    gives(call.end(), true);
}

#[test]
fn a_call_that_goes_to_the_node_takes_nobody_from_the_room() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    call.connect(Role::Doctor);
    call.connect(Role::Patient);
    let arrival = call.connect(Role::Guest);
    assert!(!arrival.takes_from_room());
    // A move leaves the old room, with everybody in it.
    let moved = call.move_to("sfu-2", Driver::Builtin, &Actor::Backend);
    assert_eq!(moved.left_rooms().len(), 1);
}

#[test]
fn a_call_between_browsers_takes_nothing_from_a_room() {
    let mut call = Call::on_livekit(MediaMode::PeerToPeer);
    call.connect(Role::Doctor);
    call.connect(Role::Patient);
    assert!(!call.leave(Role::Patient).takes_from_room());
    let moved = call.move_to("sfu-2", Driver::LiveKit, &Actor::Backend);
    assert!(moved.left_rooms().is_empty(), "{:?}", moved.events);
    assert!(!call.end().takes_from_room());
}

#[test]
fn a_lost_node_is_not_asked_to_end_the_rooms_that_it_lost() {
    let lost = Actor::System(SystemCause::NodeLost);
    for (actor, rooms) in [(Actor::Backend, 1), (lost, 0)] {
        let mut call = Call::on_livekit(MediaMode::Sfu);
        call.connect(Role::Doctor);
        let moved = call.move_to("sfu-2", Driver::LiveKit, &actor);
        assert_eq!(moved.left_rooms().len(), rooms, "{actor:?}");
    }
}

#[test]
fn the_former_room_on_a_node_that_was_started_again_ends() {
    let lost = Actor::System(SystemCause::NodeLost);
    let mut call = Call::on_livekit(MediaMode::Sfu);
    call.connect(Role::Doctor);
    let former = call.session.place.clone();
    let moved = call.move_to("sfu-1", Driver::LiveKit, &lost);
    // Somebody may have made it again before the start was noticed.
    assert_eq!(moved.left_rooms(), [(former.node_id, former.room_name)]);
}
