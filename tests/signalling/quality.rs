//! What pages report of their connection, and raised hands.

use serde_json::json;
use video_session::proto::v1;
use video_session::proto::v1::{LeaveCause, QualityLevel, QualityReason, Role};

use crate::harness::end;
use crate::world::World;

fn left(events: &[v1::SessionEvent], user: &str) -> Option<v1::ParticipantLeft> {
    let mut details = events.iter().filter_map(|event| event.detail.as_ref());
    details.find_map(|detail| match detail {
        v1::session_event::Detail::ParticipantLeft(left) if left.user_id == user => {
            Some(left.clone())
        }
        _ => None,
    })
}

#[tokio::test]
async fn the_last_report_goes_into_the_event_and_into_metrics() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    patient.send(&json!({"type": "quality", "data": {"good": 1}}));
    let data = json!({"good": 40, "weak": {"loss": 3, "bandwidth": 0}, "bad": {"frozen": 2}});
    patient.send(&json!({"type": "quality", "data": data}));
    // More time than they were there.
    doctor.send(&json!({"type": "quality", "data": {"good": 7200}}));
    doctor.ask("ping");
    doctor.expect("pong").await;
    patient.ask("leave");
    assert_eq!(patient.closed().await, Some(1000));
    doctor.expect("user-left").await;
    let id = world.session_id.clone();
    end(&mut world.client, &id, "over").await;
    let events = world.events().await;
    let trouble = |level: QualityLevel, reason: QualityReason, seconds| v1::QualityTrouble {
        level: level.into(),
        reason: reason.into(),
        seconds,
    };
    let mut patient = left(&events, "patient-1").unwrap();
    assert_eq!(patient.cause(), LeaveCause::Left);
    let quality = patient.quality.take().unwrap();
    assert_eq!(quality.good_seconds, 40);
    assert_eq!(quality.troubles.len(), 2);
    for expected in [
        trouble(QualityLevel::Weak, QualityReason::Loss, 3),
        trouble(QualityLevel::Bad, QualityReason::Frozen, 2),
    ] {
        assert!(quality.troubles.contains(&expected), "{quality:?}");
    }
    assert_eq!(left(&events, "doctor-1").unwrap().quality, None);
    let metrics = world.service.admin("/metrics").await;
    for (labels, seconds) in [
        (r#"level="good",reason="""#, 40),
        (r#"level="weak",reason="loss""#, 3),
        (r#"level="bad",reason="frozen""#, 2),
    ] {
        let line = format!("video_session_call_quality_seconds_total{{{labels}}} {seconds}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn a_report_also_counts_for_who_did_not_leave_themselves() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    patient.send(&json!({"type": "quality", "data": {"good": 5}}));
    patient.ask("ping");
    patient.expect("pong").await;
    doctor.ask("end-session");
    doctor.until("session-ended").await;
    let patient = left(&world.events().await, "patient-1").unwrap();
    assert_eq!(patient.cause(), LeaveCause::SessionEnded);
    assert_eq!(patient.quality.unwrap().good_seconds, 5);
}

#[tokio::test]
async fn who_waits_rates_no_connection() {
    let mut world = World::new().await;
    let mut patient = world.enter(Role::Patient).await;
    patient.until("waiting").await;
    patient.send(&json!({"type": "quality", "data": {"good": 5}}));
    patient.ask("leave");
    assert_eq!(patient.closed().await, Some(1000));
    let id = world.session_id.clone();
    end(&mut world.client, &id, "over").await;
    let events = world.events().await;
    assert_eq!(left(&events, "patient-1").unwrap().quality, None);
}

#[tokio::test]
async fn what_is_no_report_is_refused() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    for data in [
        json!(null),
        json!({"good": -1}),
        json!({"good": 1e9}),
        json!({"weak": {"loss": "10.0.0.1"}}),
    ] {
        patient.send(&json!({"type": "quality", "data": data}));
        assert_eq!(patient.refused().await, "bad-quality", "{data}");
    }
    patient.ask("leave");
    assert_eq!(patient.closed().await, Some(1000));
    doctor.expect("user-left").await;
    let patient = left(&world.events().await, "patient-1").unwrap();
    assert_eq!(patient.quality, None);
}

#[tokio::test]
async fn a_raised_hand_is_told_to_newcomers_and_only_the_host_lowers_it() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    patient.send(&json!({"type": "mute-status", "data": {"muted": false, "hand": 3}}));
    let told = doctor.expect("mute-status").await;
    assert_eq!(told["data"]["hand"], 3);
    let mut again = world.enter(Role::Doctor).await;
    let others = again.until("existing-participants").await;
    assert_eq!(others["participants"][0]["hand"], 3);
    doctor.until("replaced").await;
    again.about("lower-hand", "patient-1");
    let asked = patient.until("lower-hand").await;
    assert_eq!(asked["sender_id"], "doctor-1");
    patient.about("lower-hand", "doctor-1");
    assert_eq!(patient.refused().await, "not-allowed");
    // Whatever a page says is a number within bounds.
    for (hand, expected) in [(json!("3"), 0), (json!(u64::MAX), 1_000_000)] {
        patient.send(&json!({"type": "mute-status", "data": {"hand": hand}}));
        again.expect("mute-status").await;
        let mut once_more = world.enter(Role::Doctor).await;
        let others = once_more.until("existing-participants").await;
        assert_eq!(others["participants"][0]["hand"], expected);
        again = once_more;
    }
}

#[tokio::test]
async fn what_pages_know_of_their_own_network_is_for_one_other_page() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    patient.send(&json!({"type": "network", "data": {"weak": true, "asks": true}}));
    assert_eq!(patient.refused().await, "bad-target");
    let message = json!({"type": "network", "target_id": "doctor-1", "data": {"weak": true}});
    patient.send(&message);
    assert_eq!(doctor.expect("network").await["data"]["weak"], true);
}
