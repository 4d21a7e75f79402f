//! Who waits, and who lets them in.

use serde_json::json;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::{Admission, Role};

use crate::harness::refused;
use crate::world::World;

#[tokio::test]
async fn whoever_waits_for_the_doctor_is_let_in_by_the_doctors_coming() {
    let mut world = World::admitting(Admission::Unspecified).await;
    let mut patient = world.enter(Role::Patient).await;
    let connected = patient.expect("connected").await;
    assert_eq!(connected["status"], "waiting");
    let waiting = patient.expect("waiting").await;
    let expected = json!({
        "type": "waiting", "user_id": "patient-1", "name": "Pat", "role": "patient", "reason": "host-absent"
    });
    assert_eq!(waiting, expected);

    let mut doctor = world.enter(Role::Doctor).await;
    doctor.expect("connected").await;
    // Exactly one of the two is told that the other is new, so exactly one makes the first offer.
    let there = doctor.expect("existing-participants").await;
    assert_eq!(there["participants"], json!([]));
    assert_eq!(doctor.expect("user-joined").await["user_id"], "patient-1");
    doctor.nothing_more().await;
    assert_eq!(patient.expect("admitted").await["user_id"], "patient-1");
    let there = patient.expect("existing-participants").await;
    assert_eq!(there["participants"][0]["user_id"], "doctor-1");
    patient.nothing_more().await;

    // Once in, they stay in without the doctor; whoever comes then waits.
    doctor.ask("leave");
    patient.expect("user-left").await;
    patient.ask("leave");
    assert_eq!(patient.closed().await, Some(1000));
    world.until(|session| session.participants.is_empty()).await;
    let mut patient = world.enter(Role::Patient).await;
    assert_eq!(patient.expect("connected").await["status"], "waiting");
}

#[tokio::test]
async fn with_open_admission_no_participant_waits() {
    let mut world = World::admitting(Admission::Open).await;
    let mut patient = world.admitted(Role::Patient).await;
    let mut doctor = world.enter(Role::Doctor).await;
    doctor.expect("connected").await;
    let there = doctor.expect("existing-participants").await;
    assert_eq!(there["participants"][0]["user_id"], "patient-1");
    assert_eq!(patient.expect("user-joined").await["user_id"], "doctor-1");
    doctor.nothing_more().await;
    patient.nothing_more().await;
}

#[tokio::test]
async fn one_by_one_they_are_admitted_by_the_host_or_the_backend() {
    for by_host in [true, false] {
        let mut world = World::admitting(Admission::Manual).await;
        let mut patient = world.enter(Role::Patient).await;
        patient.expect("connected").await;
        assert_eq!(patient.expect("waiting").await["reason"], "host-absent");
        let mut doctor = world.enter(Role::Doctor).await;
        doctor.expect("connected").await;
        doctor.expect("existing-participants").await;
        let waiting = doctor.expect("waiting").await;
        assert_eq!(
            (&waiting["user_id"], &waiting["name"]),
            (&json!("patient-1"), &json!("Pat"))
        );
        assert_eq!(waiting["reason"], "needs-admission");
        doctor.nothing_more().await;
        // Now it is the doctor's word that they wait for.
        assert_eq!(patient.expect("waiting").await["reason"], "needs-admission");
        patient.nothing_more().await;

        let request = v1::AdmitParticipantRequest {
            session_id: world.session_id.clone(),
            user_id: "patient-1".to_owned(),
        };
        let by = if by_host {
            doctor.about("admit", "patient-1");
            "doctor-1"
        } else {
            let answer = world
                .client
                .admit_participant(request.clone())
                .await
                .unwrap();
            let participant = answer.into_inner().participant.unwrap();
            assert_eq!(participant.status(), v1::ParticipantStatus::Admitted);
            ""
        };
        patient.expect("admitted").await;
        patient.expect("existing-participants").await;
        doctor.expect("admitted").await;
        assert_eq!(doctor.expect("user-joined").await["user_id"], "patient-1");
        let admitted = world
            .events()
            .await
            .into_iter()
            .find_map(|event| match event.detail {
                Some(v1::session_event::Detail::ParticipantAdmitted(admitted)) => Some(admitted.by),
                _ => None,
            });
        assert_eq!(admitted.as_deref(), Some(by));
        // Again is the same, and no event.
        let version = world.session().await.version;
        world
            .client
            .admit_participant(request.clone())
            .await
            .unwrap();
        assert_eq!(world.session().await.version, version);
        // Whoever was let in once need not wait again.
        patient.ask("leave");
        doctor.expect("user-left").await;
        world.admitted(Role::Patient).await;
        let nobody = v1::AdmitParticipantRequest {
            user_id: "nobody".to_owned(),
            ..request
        };
        let outcome = world.client.admit_participant(nobody).await;
        refused(outcome, Reason::ParticipantNotFound);
    }
}

#[tokio::test]
async fn whoever_waits_hears_nothing_and_is_heard_by_nobody() {
    let mut world = World::admitting(Admission::Manual).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let mut patient = world.enter(Role::Patient).await;
    patient.until("waiting").await;
    doctor.expect("waiting").await;
    for kind in ["offer", "answer", "ice-candidate", "emoji"] {
        patient.send(
            &json!({"type": kind, "target_id": "doctor-1", "data": {"sdp": "x", "emoji": "x"}}),
        );
        assert_eq!(patient.refused().await, "not-allowed", "{kind}");
        doctor.send(
            &json!({"type": kind, "target_id": "patient-1", "data": {"sdp": "x", "emoji": "x"}}),
        );
    }
    for kind in ["admit", "mute-request", "remove", "still"] {
        patient.about(kind, "patient-1");
        assert_eq!(patient.refused().await, "not-allowed", "{kind}");
    }
    patient.ask("join");
    patient.send(&json!({"type": "mute-status", "data": {"muted": true, "camera_off": true}}));
    patient.nothing_more().await;
    doctor.nothing_more().await;
    doctor.about("admit", "patient-1");
    patient.expect("admitted").await;
    doctor.expect("admitted").await;
    let joined = doctor.expect("user-joined").await;
    assert_eq!(
        (&joined["muted"], &joined["camera_off"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn whoever_gives_up_waiting_is_gone() {
    let mut world = World::admitting(Admission::Manual).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let mut patient = world.enter(Role::Patient).await;
    patient.until("waiting").await;
    doctor.expect("waiting").await;
    patient.ask("leave");
    assert_eq!(patient.closed().await, Some(1000));
    let left = doctor.expect("user-left").await;
    assert_eq!(left["user_id"], "patient-1");
    doctor.about("admit", "patient-1");
    assert_eq!(doctor.refused().await, "participant-not-found");
}

#[tokio::test]
async fn every_event_names_its_actor() {
    let mut world = World::admitting(v1::Admission::Manual).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let mut patient = world.enter(Role::Patient).await;
    doctor.until("waiting").await;
    doctor.about("admit", "patient-1");
    patient.until("admitted").await;
    doctor.about("mute-request", "patient-1");
    patient.until("mute-request").await;
    patient.ask("leave");
    world.until(|session| session.participants.len() == 1).await;
    world.remove("doctor-1", false).await;
    doctor.closed_at_last().await;

    let doctor = ("participant", "doctor-1");
    let patient = ("participant", "patient-1");
    let backend = ("backend", "");
    let expected = [
        ("participant.joined", doctor),
        ("participant.waiting", patient),
        ("participant.admitted", doctor),
        ("participant.joined", doctor),
        ("participant.muted", doctor),
        ("participant.left", patient),
        ("participant.removed", backend),
        ("participant.left", backend),
    ];
    let events = world.events().await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let actor = event.actor.as_ref().expect("each has an actor");
            let kind = match actor.kind() {
                v1::ActorKind::Backend => "backend",
                v1::ActorKind::Participant => "participant",
                v1::ActorKind::System => "system",
                v1::ActorKind::Unspecified => "unspecified",
            };
            (event.r#type.as_str(), (kind, actor.user_id.as_str()))
        })
        .collect();
    assert_eq!(told, expected);
}
