//! Coming, going, being lost and coming back.

use std::time::{Duration, Instant};

use serde_json::json;
use video_session::proto::v1;
use video_session::proto::v1::{
    Admission, EndCause, LeaveCause, ParticipantStatus, Role, SessionState,
};

use crate::harness::{create, in_secs};
use crate::world::{World, setup};

#[tokio::test]
async fn whoever_comes_back_in_time_was_never_away() {
    let mut world = World::new().await;
    let (mut doctor, patient) = world.couple().await;
    let version = world.session().await.version;
    let ticket = world.ticket(Role::Patient).await;
    patient.vanish();
    for _ in 0..3 {
        let mut page = world.connect(&ticket).await;
        let connected = page.expect("connected").await;
        assert_eq!(
            (&connected["resumed"], &connected["status"]),
            (&json!(true), &json!("admitted"))
        );
        let others = page.expect("existing-participants").await;
        assert_eq!(others["participants"][0]["user_id"], "doctor-1");
        page.vanish();
    }
    let page = world.connect(&ticket).await;
    // A token's issue is all that happened.
    assert_eq!(world.session().await.version, version + 1);
    page.send(&json!({"type": "emoji", "data": {"emoji": "👋"}}));
    assert_eq!(doctor.expect("emoji").await["sender_id"], "patient-1");
    doctor.nothing_more().await;
}

#[tokio::test]
async fn each_loss_has_a_grace_of_its_own() {
    let grace = Duration::from_secs(2);
    let setup = setup().set("RECONNECT_GRACE_SECS", grace.as_secs());
    let mut world = World::with(&setup, create("appointment-1")).await;
    let ticket = world.ticket(Role::Patient).await;
    let (mut doctor, patient) = world.couple().await;
    patient.vanish();
    let first_lost = Instant::now();
    let mut back = world.connect(&ticket).await;
    back.until("existing-participants").await;
    // Away once more when the grace of the first loss is over.
    tokio::time::sleep_until((first_lost + grace * 3 / 4).into()).await;
    back.nothing_more().await;
    back.vanish();
    tokio::time::sleep_until((first_lost + grace * 5 / 4).into()).await;
    let mut back = world.connect(&ticket).await;
    assert_eq!(back.expect("connected").await["resumed"], true);
    doctor.nothing_more().await;
}

#[tokio::test]
async fn whoever_does_not_come_back_in_time_is_lost() {
    let setup = setup().set("RECONNECT_GRACE_SECS", 1);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (mut doctor, patient) = world.couple().await;
    patient.vanish();
    let left = doctor.expect("user-left").await;
    assert_eq!(
        (&left["user_id"], &left["cause"]),
        (&json!("patient-1"), &json!("lost"))
    );
    let events = world.events().await;
    let expected = v1::ParticipantLeft {
        user_id: "patient-1".to_owned(),
        role: Role::Patient.into(),
        cause: LeaveCause::Lost.into(),
        quality: None,
    };
    let detail = events.last().unwrap().detail.clone();
    assert_eq!(
        detail,
        Some(v1::session_event::Detail::ParticipantLeft(expected))
    );
    // And is a newcomer after that.
    let mut patient = world.enter(Role::Patient).await;
    assert_eq!(patient.expect("connected").await["resumed"], false);
    doctor.expect("user-joined").await;
}

/// A network that swallows everything: the socket stays open, and nobody answers.
#[tokio::test]
async fn whoever_falls_silent_is_lost() {
    let setup = setup()
        .set("RECONNECT_GRACE_SECS", 1)
        .set("WS_PING_SECS", 1)
        .set("WS_SILENCE_SECS", 3);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let path = format!("/join/{}/ws?p={}", ticket.session_id, ticket.slot);
    let headers = [("origin", crate::world::BASE), ("cookie", &*ticket.cookie)];
    let silent = crate::world::socket(world.service.http, &path, &headers).await;
    doctor.expect("user-joined").await;
    let left = doctor.expect("user-left").await;
    assert_eq!(
        (&left["user_id"], &left["cause"]),
        (&json!("patient-1"), &json!("lost"))
    );
    drop(silent);
}

#[tokio::test]
async fn a_second_connection_takes_over_and_the_first_is_told() {
    let mut world = World::new().await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let mut first = world.connect(&ticket).await;
    first.until("existing-participants").await;
    doctor.expect("user-joined").await;
    first.send(&json!({"type": "mute-status", "data": {"muted": true}}));
    doctor.expect("mute-status").await;
    let mut second = world.connect(&ticket).await;
    first.expect("replaced").await;
    assert_eq!(first.closed().await, Some(4005));
    assert_eq!(second.expect("connected").await["resumed"], true);
    second.expect("existing-participants").await;
    assert_ne!(first.connection_id, second.connection_id);
    doctor.send(&json!({"type": "offer", "data": {"sdp": "x"}}));
    second.expect("offer").await;
    second.send(&json!({"type": "answer", "data": {"sdp": "x"}}));
    assert_eq!(doctor.expect("answer").await["sender_id"], "patient-1");
    doctor.nothing_more().await;
    // The first one's end is not the participant's.
    let session = world.session().await;
    assert_eq!(session.participants.len(), 2);
}

#[tokio::test]
async fn a_session_takes_so_many_and_the_host() {
    let request = v1::CreateSessionRequest {
        max_participants: 2,
        admission: Admission::Open.into(),
        ..create("appointment-1")
    };
    let mut world = World::with(&setup(), request).await;
    let _patient = world.admitted(Role::Patient).await;
    let guest = |n: i32| v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: format!("guest-{n}"),
        ..Default::default()
    };
    let mut tickets = Vec::new();
    for n in 1..=2 {
        let grant = world.invite(guest(n)).await.unwrap().join.unwrap();
        tickets.push(world.exchange(&grant.token).await);
    }
    let mut first = world.connect(&tickets[0]).await;
    first.until("existing-participants").await;
    let mut second = world.connect(&tickets[1]).await;
    assert_eq!(second.closed().await, Some(4010));
    // The host always finds room; who is there already comes back.
    let _doctor = world.admitted(Role::Doctor).await;
    let mut again = world.connect(&tickets[0]).await;
    assert_eq!(again.expect("connected").await["resumed"], true);
    world.remove("guest-1", false).await;
    world.remove("patient-1", false).await;
    let mut second = world.connect(&tickets[1]).await;
    second.expect("connected").await;
}

#[tokio::test]
async fn pages_are_told_when_the_session_closes_and_when_that_changes() {
    let request = v1::CreateSessionRequest {
        scheduled_end_time: Some(in_secs(600)),
        ..create("appointment-1")
    };
    let mut world = World::with(&setup(), request).await;
    let mut doctor = world.enter(Role::Doctor).await;
    let first = doctor.expect("connected").await["closes_at"].clone();
    doctor.expect("existing-participants").await;
    let request = v1::UpdateSessionRequest {
        session_id: world.session_id.clone(),
        scheduled_end_time: Some(in_secs(1200)),
        ..Default::default()
    };
    world.client.update_session(request).await.unwrap();
    let then = doctor.expect("session-updated").await["closes_at"].clone();
    assert!(then.as_str() > first.as_str(), "{first} and {then}");
}

#[tokio::test]
async fn a_session_ends_with_its_window() {
    let setup = setup()
        .set("JOIN_LATE_SECS", 1)
        .set("OVERDUE_INTERVAL_MS", 100);
    let request = v1::CreateSessionRequest {
        scheduled_end_time: Some(in_secs(3)),
        ..create("appointment-1")
    };
    let mut world = World::with(&setup, request).await;
    let mut patient = world.enter(Role::Patient).await;
    let connected = patient.expect("connected").await;
    assert!(connected["closes_at"].as_str().unwrap().ends_with('Z'));
    patient.expect("waiting").await;
    let mut doctor = world.enter(Role::Doctor).await;
    doctor.until("user-joined").await;
    for page in [&mut doctor, &mut patient] {
        assert_eq!(page.until("session-ended").await["cause"], "time-over");
        assert_eq!(page.closed().await, Some(4004));
    }
    let session = world.session().await;
    assert_eq!(
        (session.state(), session.end_cause()),
        (SessionState::Ended, EndCause::TimeOver)
    );
}

#[tokio::test]
async fn a_session_may_say_itself_for_how_long_it_may_be_empty() {
    for empty_secs in [0, 1] {
        let setup = setup().set("OVERDUE_INTERVAL_MS", 50);
        let request = v1::CreateSessionRequest {
            empty_timeout: Some(prost_types::Duration {
                seconds: empty_secs,
                nanos: 0,
            }),
            ..create("appointment-1")
        };
        let mut world = World::with(&setup, request.clone()).await;
        let session = world.session().await;
        assert_eq!(session.empty_timeout, request.empty_timeout);
        let (doctor, patient) = world.couple().await;
        patient.ask("leave");
        doctor.ask("leave");
        let session = world
            .until(|session| session.state() == SessionState::Ended)
            .await;
        assert_eq!(session.end_cause(), EndCause::Empty);
    }
}

#[tokio::test]
async fn a_session_that_everybody_left_ends_when_it_was_empty_for_long_enough() {
    let setup = setup()
        .set("EMPTY_TIMEOUT_SECS", 1)
        .set("OVERDUE_INTERVAL_MS", 50);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let unseen = crate::harness::created(&mut world.client, create("appointment-2")).await;
    let id = unseen.session_id.clone();
    // Removing somebody who never came does not make it one that everybody left.
    let request = v1::RemoveParticipantRequest {
        session_id: id.clone(),
        user_id: "patient-1".to_owned(),
        keep_out: false,
    };
    world.client.remove_participant(request).await.unwrap();
    let (doctor, patient) = world.couple().await;
    patient.ask("leave");
    doctor.ask("leave");
    let session = world
        .until(|session| session.state() == SessionState::Ended)
        .await;
    assert_eq!(session.end_cause(), EndCause::Empty);
    let unseen = crate::harness::get(&mut world.client, &id).await.unwrap();
    assert_eq!(
        unseen.state(),
        SessionState::Created,
        "nobody was ever there"
    );
}

#[tokio::test]
async fn after_a_restart_everybody_is_back_where_they_were() {
    let setup = setup()
        .set("RECONNECT_GRACE_SECS", 4)
        .set("INSTANCE_LEASE_SECS", 3)
        .set("INSTANCE_BEAT_MS", 200);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let doctor_ticket = world.ticket(Role::Doctor).await;
    let patient_ticket = world.ticket(Role::Patient).await;
    let mut doctor = world.connect(&doctor_ticket).await;
    doctor.until("existing-participants").await;
    let mut patient = world.connect(&patient_ticket).await;
    patient.until("existing-participants").await;
    let request = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let grant = world.invite(request).await.unwrap().join.unwrap();
    let guest_ticket = world.exchange(&grant.token).await;
    world
        .connect(&guest_ticket)
        .await
        .until("existing-participants")
        .await;

    world = world.restart(&setup).await;
    assert_eq!(
        world.session().await.participants.len(),
        3,
        "nobody is gone yet"
    );
    let mut patient = world.connect(&patient_ticket).await;
    let connected = patient.expect("connected").await;
    assert_eq!(
        (&connected["resumed"], &connected["status"]),
        (&json!(true), &json!("admitted"))
    );
    patient.expect("existing-participants").await;
    let mut doctor = world.connect(&doctor_ticket).await;
    assert_eq!(doctor.expect("connected").await["resumed"], true);
    doctor.expect("existing-participants").await;
    patient.send(&json!({"type": "offer", "data": {"sdp": "x"}}));
    doctor.until("offer").await;
    // Who does not come back goes with the instance that held them.
    for page in [&mut doctor, &mut patient] {
        let left = page.until("user-left").await;
        assert_eq!(
            (&left["user_id"], &left["cause"]),
            (&json!("guest-1"), &json!("lost"))
        );
        page.nothing_more().await;
    }
    let session = world.session().await;
    assert_eq!(session.participants.len(), 2);
    assert!(
        session
            .participants
            .iter()
            .all(|person| person.status() == ParticipantStatus::Admitted)
    );
}

#[tokio::test]
async fn an_instance_that_goes_away_says_so() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    world.service.process.signal("TERM");
    for page in [&mut doctor, &mut patient] {
        assert_eq!(page.closed().await, Some(1001));
    }
    world.service.process.exit().await;
}
