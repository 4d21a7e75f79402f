//! What participants say to each other.

use serde_json::{Value, json};
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{create, end, patiently};
use crate::world::{World, setup};

fn offer(sdp: &str) -> Value {
    json!({"type": "offer", "data": {"sdp": sdp}})
}

/// The one who was there first is told of a newcomer, and so makes the offer.
#[tokio::test]
async fn two_meet_and_learn_of_each_other_in_order() {
    let mut world = World::new().await;
    let id = world.session_id.clone();
    let mut doctor = world.enter(Role::Doctor).await;
    let connected = doctor.expect("connected").await;
    let expected = [
        ("user_id", json!("doctor-1")),
        ("role", json!("doctor")),
        ("name", json!("Dr. Lee")),
        ("permissions", json!(["host", "mute-others", "end-call"])),
        ("session_id", json!(id)),
        ("room_id", json!(id)),
        ("status", json!("admitted")),
        ("resumed", json!(false)),
        ("ice_servers", json!([])),
        ("ice_policy", json!("all")),
    ];
    for (field, value) in expected {
        assert_eq!(connected[field], value, "{field}");
    }
    assert!(connected["server_time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(connected["closes_at"], Value::Null, "it has no schedule");
    let alone = doctor.expect("existing-participants").await;
    assert_eq!(alone["participants"], json!([]));

    let mut patient = world.enter(Role::Patient).await;
    assert_eq!(
        patient.expect("connected").await["permissions"],
        json!(["participant"])
    );
    let person = |user_id, name, role| json!({"user_id": user_id, "name": name, "role": role, "muted": false, "camera_off": false, "hand": 0, "publishes": true});
    let others = patient.expect("existing-participants").await;
    assert_eq!(
        others["participants"],
        json!([person("doctor-1", "Dr. Lee", "doctor")])
    );
    let joined = doctor.expect("user-joined").await;
    let mut expected = person("patient-1", "Pat", "patient");
    expected["type"] = json!("user-joined");
    expected["room_id"] = json!(id);
    assert_eq!(joined, expected);

    patient.ask("leave");
    assert_eq!(patient.closed().await, Some(1000));
    let left = doctor.expect("user-left").await;
    assert_eq!(
        (&left["user_id"], &left["cause"]),
        (&json!("patient-1"), &json!("left"))
    );
    doctor.nothing_more().await;
    assert_eq!(
        world.event_types().await,
        [
            "participant.joined",
            "participant.joined",
            "participant.left"
        ]
    );
}

#[tokio::test]
async fn a_message_reaches_the_others_with_the_senders_true_name() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    let invited = v1::InviteParticipantRequest {
        role: Role::Interpreter.into(),
        user_id: "interpreter-1".to_owned(),
        ..Default::default()
    };
    let token = world.invite(invited).await.unwrap().join.unwrap().token;
    let ticket = world.exchange(&token).await;
    let mut interpreter = world.connect(&ticket).await;
    interpreter.until("existing-participants").await;
    for page in [&mut doctor, &mut patient] {
        page.expect("user-joined").await;
    }

    patient.send(&json!({
        "type": "offer", "data": {"sdp": "v=0"}, "sender_id": "doctor-1", "user_id": "doctor-1",
        "room_id": "another", "extra": [1, {"a": null}]
    }));
    for page in [&mut doctor, &mut interpreter] {
        let heard = page.expect("offer").await;
        let expected = json!({
            "type": "offer", "data": {"sdp": "v=0"}, "sender_id": "patient-1",
            "room_id": world.session_id, "extra": [1, {"a": null}]
        });
        assert_eq!(heard, expected);
    }
    // To one of them, and to nobody at all.
    let to = |target: &str| json!({"type": "ice-candidate", "target_id": target, "data": {"candidate": "c", "sdpMLineIndex": 0, "sdpMid": "0"}});
    patient.send(&to("interpreter-1"));
    patient.send(&to("nobody"));
    let heard = interpreter.expect("ice-candidate").await;
    assert_eq!(heard["sender_id"], "patient-1");
    for page in [&mut doctor, &mut patient, &mut interpreter] {
        page.nothing_more().await;
    }
    for kind in ["answer", "emoji"] {
        doctor.send(&json!({"type": kind, "data": {"sdp": "x", "emoji": "👍🏽"}}));
        for page in [&mut patient, &mut interpreter] {
            assert_eq!(page.expect(kind).await["sender_id"], "doctor-1");
        }
    }
    doctor.ask("join");
    doctor.nothing_more().await;
}

#[tokio::test]
async fn a_message_to_oneself_is_refused() {
    let mut world = World::admitting(v1::Admission::Manual).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let mut patient = world.enter(Role::Patient).await;
    patient.until("waiting").await;
    doctor.expect("waiting").await;
    let relayed = ["offer", "answer", "ice-candidate", "mute-status", "emoji"];
    let commands = ["admit", "mute-request", "remove", "still"];
    let data = json!({"sdp": "x", "emoji": "x", "candidate": "x", "muted": true});
    for kind in relayed.into_iter().chain(commands) {
        doctor.send(&json!({"type": kind, "target_id": "doctor-1", "data": data}));
        assert_eq!(doctor.refused().await, "bad-target", "{kind}");
    }
    for kind in relayed {
        patient.send(&json!({"type": kind, "target_id": "patient-1", "data": data}));
        assert_eq!(patient.refused().await, "bad-target", "{kind}");
    }
    for page in [&mut doctor, &mut patient] {
        page.nothing_more().await;
    }
}

#[tokio::test]
async fn many_messages_arrive_in_the_order_they_were_sent() {
    let mut world = World::new().await;
    let (doctor, mut patient) = world.couple().await;
    for n in 0..200 {
        doctor.send(&offer(&n.to_string()));
    }
    for n in 0..200 {
        assert_eq!(patient.expect("offer").await["data"]["sdp"], n.to_string());
    }
}

#[tokio::test]
async fn whoever_comes_later_learns_who_is_muted() {
    let mut world = World::new().await;
    let mut doctor = world.enter(Role::Doctor).await;
    doctor.until("existing-participants").await;
    doctor.send(&json!({"type": "mute-status", "data": {"muted": true, "camera_off": false}}));
    doctor.nothing_more().await;
    let mut patient = world.enter(Role::Patient).await;
    let others = patient.until("existing-participants").await;
    let other = &others["participants"][0];
    assert_eq!(
        (&other["muted"], &other["camera_off"]),
        (&json!(true), &json!(false))
    );
    doctor.expect("user-joined").await;
    doctor.send(&json!({"type": "mute-status", "data": {"muted": false, "camera_off": true}}));
    let told = patient.expect("mute-status").await;
    assert_eq!(told["data"], json!({"muted": false, "camera_off": true}));
    assert_eq!(told["sender_id"], "doctor-1");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_the_connection_lives() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    for (text, code) in [
        ("", "bad-json"),
        ("{", "bad-json"),
        ("\"offer\"", "bad-json"),
        ("[]", "bad-json"),
        ("null", "bad-json"),
        ("{}", "unknown-type"),
        (r#"{"type": 1}"#, "unknown-type"),
        (r#"{"type": "connected"}"#, "unknown-type"),
        (
            r#"{"type": "user-left", "user_id": "doctor-1"}"#,
            "unknown-type",
        ),
        (r#"{"type": "offer", "target_id": 7}"#, "bad-target"),
        (r#"{"type": "emoji"}"#, "bad-emoji"),
        (r#"{"type": "emoji", "data": {"emoji": ""}}"#, "bad-emoji"),
        (
            r#"{"type": "emoji", "data": {"emoji": "12345678901234567"}}"#,
            "bad-emoji",
        ),
    ] {
        doctor.say(text);
        assert_eq!(doctor.refused().await, code, "{text}");
    }
    for kind in ["admit", "mute-request", "remove", "still"] {
        doctor.ask(kind);
        assert_eq!(doctor.refused().await, "bad-target", "{kind}");
        for nobody in ["", "not an id"] {
            doctor.about(kind, nobody);
            assert_eq!(doctor.refused().await, "bad-target", "{kind} {nobody:?}");
        }
        doctor.about(kind, "nobody");
        assert_eq!(doctor.refused().await, "participant-not-found", "{kind}");
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    doctor.say(format!(r#"{{"type": "offer", "data": {deep}}}"#));
    assert_eq!(doctor.refused().await, "bad-json");
    doctor.send(&offer("still there"));
    patient.expect("offer").await;
    patient.nothing_more().await;
}

#[tokio::test]
async fn only_the_host_may_do_what_a_host_does() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    for kind in ["admit", "mute-request", "remove", "still"] {
        for target in ["doctor-1", "patient-1"] {
            patient.about(kind, target);
            assert_eq!(patient.refused().await, "not-allowed", "{kind}");
        }
    }
    patient.send(&json!({"type": "end-session", "sender_id": "doctor-1", "role": "doctor", "permissions": ["host"]}));
    assert_eq!(patient.refused().await, "not-allowed");
    doctor.nothing_more().await;
    assert_eq!(world.session().await.state(), v1::SessionState::Active);
}

#[tokio::test]
async fn only_the_host_asks_to_unmute_and_only_one_participant_hears_it() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    patient.about("unmute-request", "doctor-1");
    assert_eq!(patient.refused().await, "not-allowed");
    doctor.ask("unmute-request");
    assert_eq!(doctor.refused().await, "bad-target");
    doctor.about("unmute-request", "patient-1");
    let request = patient.expect("unmute-request").await;
    assert_eq!(request["sender_id"], "doctor-1");
    doctor.nothing_more().await;
}

#[tokio::test]
async fn no_still_picture_is_taken_unless_the_clinic_allows_it() {
    let setup = setup().unset("PAGE_STILLS");
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (mut doctor, mut patient) = world.couple().await;
    doctor.about("still", "patient-1");
    assert_eq!(doctor.refused().await, "not-allowed");
    patient.nothing_more().await;
}

#[tokio::test]
async fn a_still_picture_is_taken_only_of_who_is_told() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    let sent = json!({"type": "still", "target_id": "patient-1", "data": "x", "user_id": "x"});
    doctor.send(&sent);
    let told = json!({"type": "still-told", "user_id": "patient-1"});
    assert_eq!(doctor.message().await, told);
    // Nothing of what the sender wrote goes along.
    let heard = json!({"type": "still", "sender_id": "doctor-1", "room_id": world.session_id});
    assert_eq!(patient.message().await, heard);
    // Who has left cannot be told.
    patient.ask("leave");
    doctor.expect("user-left").await;
    doctor.send(&sent);
    assert_eq!(doctor.refused().await, "participant-not-found");
}

#[tokio::test]
async fn the_host_or_the_backend_asks_to_mute() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    doctor.about("mute-request", "patient-1");
    assert_eq!(
        patient.expect("mute-request").await["sender_id"],
        "doctor-1"
    );
    patient.send(&json!({"type": "mute-status", "data": {"muted": true, "camera_off": false}}));
    assert_eq!(doctor.expect("mute-status").await["data"]["muted"], true);

    let request = v1::MuteParticipantRequest {
        session_id: world.session_id.clone(),
        user_id: "doctor-1".to_owned(),
    };
    let answer = world.client.mute_participant(request).await.unwrap();
    let participant = answer.into_inner().participant.unwrap();
    assert_eq!(participant.user_id, "doctor-1");
    assert_eq!(doctor.expect("mute-request").await["sender_id"], "");
    patient.nothing_more().await;
    let muted: Vec<_> = world
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event.detail {
            Some(v1::session_event::Detail::ParticipantMuted(muted)) => {
                Some((muted.user_id, muted.by))
            }
            _ => None,
        })
        .collect();
    let pair = |user: &str, by: &str| (user.to_owned(), by.to_owned());
    assert_eq!(muted, [pair("patient-1", "doctor-1"), pair("doctor-1", "")]);
}

#[tokio::test]
async fn the_end_is_told_to_everybody_those_who_wait_included() {
    for by_host in [true, false] {
        let mut world = World::admitting(v1::Admission::Manual).await;
        let mut doctor = world.admitted(Role::Doctor).await;
        let mut waiting = world.enter(Role::Patient).await;
        waiting.expect("connected").await;
        waiting.expect("waiting").await;
        doctor.expect("waiting").await;
        let (cause, told, reason) = if by_host {
            doctor.ask("end-session");
            (v1::EndCause::Host, "host", "ended by the host")
        } else {
            let id = world.session_id.clone();
            end(&mut world.client, &id, "the clinic closes").await;
            (v1::EndCause::Backend, "backend", "the clinic closes")
        };
        for page in [&mut doctor, &mut waiting] {
            let ended = page.expect("session-ended").await;
            assert_eq!(
                (&ended["cause"], &ended["reason"]),
                (&told.into(), &reason.into())
            );
            assert_eq!(page.closed().await, Some(4004));
        }
        let session = world.until(|s| s.state() == v1::SessionState::Ended).await;
        assert_eq!((session.end_cause(), &*session.end_reason), (cause, reason));
        assert!(session.participants.is_empty());
        let events = world.event_types().await;
        assert_eq!(
            events[2..],
            ["participant.left", "participant.left", "session.ended"]
        );
    }
}

#[tokio::test]
async fn a_watcher_sees_participants_come_and_go_as_it_happens() {
    let mut world = World::new().await;
    let request = v1::WatchSessionRequest {
        session_id: world.session_id.clone(),
        after_sequence: 1,
    };
    let mut watched = world.service.client().watch_session(request).await.unwrap();
    let mut next = async |wanted: &str| {
        loop {
            let answer = patiently(watched.get_mut().message())
                .await
                .unwrap()
                .unwrap();
            let event = answer.event.unwrap();
            if event.r#type != "session.joined" {
                assert_eq!(event.r#type, wanted);
                return event.detail.unwrap();
            }
        }
    };
    let mut patient = world.enter(Role::Patient).await;
    patient.expect("connected").await;
    next("participant.waiting").await;
    let _doctor = world.admitted(Role::Doctor).await;
    next("participant.joined").await;
    let admitted = next("participant.admitted").await;
    let by_rule = v1::ParticipantAdmitted {
        user_id: "patient-1".to_owned(),
        by: String::new(),
    };
    assert_eq!(
        admitted,
        v1::session_event::Detail::ParticipantAdmitted(by_rule)
    );
    next("participant.joined").await;
    patient.ask("leave");
    let left = v1::ParticipantLeft {
        user_id: "patient-1".to_owned(),
        role: Role::Patient.into(),
        cause: v1::LeaveCause::Left.into(),
        quality: None,
    };
    let expected = v1::session_event::Detail::ParticipantLeft(left);
    assert_eq!(next("participant.left").await, expected);
}

#[tokio::test]
async fn the_backend_sees_who_is_there() {
    let mut world = World::with(&setup(), create("appointment-1")).await;
    assert_eq!(world.session().await.state(), v1::SessionState::Created);
    let mut patient = world.enter(Role::Patient).await;
    patient.until("waiting").await;
    let session = world.session().await;
    assert_eq!(session.state(), v1::SessionState::Active);
    let person = &session.participants[0];
    assert_eq!(
        (&*person.user_id, &*person.display_name),
        ("patient-1", "Pat")
    );
    assert_eq!(person.status(), v1::ParticipantStatus::Waiting);
    let mut doctor = world.enter(Role::Doctor).await;
    doctor.until("user-joined").await;
    let request = v1::ListParticipantsRequest {
        session_id: world.session_id.clone(),
    };
    let listed = world.client.list_participants(request).await.unwrap();
    let listed = listed.into_inner().participants;
    assert_eq!(listed, world.session().await.participants);
    assert!(
        listed
            .iter()
            .all(|person| person.status() == v1::ParticipantStatus::Admitted)
    );
    let roles: Vec<_> = listed.iter().map(v1::Participant::role).collect();
    assert_eq!(roles, [Role::Patient, Role::Doctor]);
}
