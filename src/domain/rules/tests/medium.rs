//! When a call goes through its node.

use super::call::{Call, bearer, medium_causes};
use crate::domain::medium::{MediaMode, Medium, MoveCause};
use crate::domain::participant::Admission;
use crate::domain::place::Driver;
use crate::domain::role::Role;

const COUPLE: [Role; 2] = [Role::Doctor, Role::Patient];

#[test]
fn the_third_publisher_who_connects_takes_the_call_to_the_node() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    for role in COUPLE {
        assert!(medium_causes(&call.connect(role)).is_empty());
        assert_eq!(call.session.medium, Medium::PeerToPeer);
    }
    let arrival = call.connect(Role::Guest);
    assert_eq!(medium_causes(&arrival), [MoveCause::ThirdPublisher]);
    assert_eq!(call.session.medium, Medium::Sfu);
    let last = &call.types[call.types.len() - 2..];
    assert_eq!(last, ["participant.joined", "session.medium_changed"]);
    // It changed once, and the room is the one that the session had.
    assert!(medium_causes(&call.connect(Role::Interpreter)).is_empty());
    assert_eq!(call.session.place.generation, 1);
}

#[test]
fn the_third_publisher_who_is_admitted_takes_the_call_to_the_node() {
    let mut call = Call::new(MediaMode::Auto, Driver::LiveKit, Admission::Manual);
    for role in [Role::Doctor, Role::Patient, Role::Guest] {
        call.connect(role);
        assert_eq!(
            call.session.medium,
            Medium::PeerToPeer,
            "who waits does not publish"
        );
    }
    assert!(medium_causes(&call.admit(Role::Patient)).is_empty());
    let admitted = call.admit(Role::Guest);
    assert_eq!(medium_causes(&admitted), [MoveCause::ThirdPublisher]);
    assert_eq!(call.session.medium, Medium::Sfu);
}

#[test]
fn the_arrival_of_the_host_that_admits_several_takes_the_call_to_the_node_once() {
    let mut call = Call::new(MediaMode::Auto, Driver::LiveKit, Admission::WhenHostPresent);
    for role in [Role::Patient, Role::Guest, Role::Interpreter] {
        call.connect(role);
    }
    assert_eq!(call.session.medium, Medium::PeerToPeer);
    let arrival = call.connect(Role::Doctor);
    assert_eq!(call.session.admitted_participants().count(), 4);
    assert_eq!(medium_causes(&arrival), [MoveCause::ThirdPublisher]);
    assert_eq!(
        call.types.last().map(String::as_str),
        Some("session.medium_changed")
    );
    assert_eq!(call.session.medium, Medium::Sfu);
}

#[test]
fn observers_do_not_count() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    for role in [Role::Doctor, Role::Observer, Role::Patient] {
        assert!(medium_causes(&call.connect(role)).is_empty(), "{role:?}");
    }
    assert_eq!(call.session.medium, Medium::PeerToPeer);
    assert_eq!(medium_causes(&call.connect(Role::Guest)).len(), 1);
}

#[test]
fn there_is_no_way_back_when_somebody_leaves() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    for role in [Role::Doctor, Role::Patient, Role::Guest] {
        call.connect(role);
    }
    assert!(medium_causes(&call.leave(Role::Guest)).is_empty());
    assert!(medium_causes(&call.remove(Role::Patient, false)).is_empty());
    assert!(medium_causes(&call.leave(Role::Doctor)).is_empty());
    assert_eq!(call.session.medium, Medium::Sfu);
    // Who comes back finds it there, without another change.
    assert!(medium_causes(&call.connect(Role::Guest)).is_empty());
    assert_eq!(call.session.medium, Medium::Sfu);
}

#[test]
fn a_publisher_who_left_before_does_not_count() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    call.connect(Role::Doctor);
    call.connect(Role::Guest);
    call.leave(Role::Guest);
    assert!(medium_causes(&call.connect(Role::Patient)).is_empty());
    assert_eq!(call.session.medium, Medium::PeerToPeer);
}

#[test]
fn only_auto_on_a_node_that_serves_pages_changes() {
    for media in MediaMode::ALL.iter().copied() {
        for driver in Driver::ALL.iter().copied() {
            let mut call = Call::new(media, driver, Admission::Open);
            let starts_on_node = media == MediaMode::Sfu && driver != Driver::Builtin;
            let first = if starts_on_node {
                Medium::Sfu
            } else {
                Medium::PeerToPeer
            };
            assert_eq!(call.session.medium, first, "{media:?} {driver:?}");
            let mut changes = 0;
            for role in [Role::Doctor, Role::Patient, Role::Guest, Role::Interpreter] {
                changes += medium_causes(&call.connect(role)).len();
            }
            let moves = media == MediaMode::Auto && driver == Driver::LiveKit;
            assert_eq!(changes, usize::from(moves), "{media:?} {driver:?}");
            let last = if moves { Medium::Sfu } else { first };
            assert_eq!(call.session.medium, last, "{media:?} {driver:?}");
        }
    }
}

#[test]
fn a_change_of_role_counts_the_user_once() {
    let mut call = Call::on_livekit(MediaMode::Auto);
    call.connect(Role::Doctor);
    call.connect(Role::Guest);
    // The guest becomes the doctor of the session, and connects again as such.
    let update = crate::domain::session::SessionUpdate {
        doctor_id: Some(bearer(Role::Guest)),
        ..Default::default()
    };
    let backend = &crate::domain::actor::Actor::Backend;
    let updated = (call.session)
        .update(update, None, backend, super::call::NOW)
        .unwrap();
    call.take(updated.unwrap());
    let request = crate::domain::participant::ConnectRequest {
        user_id: bearer(Role::Guest),
        role: Role::Doctor,
        display_name: String::new(),
        instance_id: "here".to_owned(),
    };
    let outcome = (call.session).connect_participant(request, super::call::NOW);
    let change = outcome.unwrap().change.unwrap();
    assert!(medium_causes(&change).is_empty());
    call.take(change);
    assert_eq!(call.session.medium, Medium::PeerToPeer);
}
