//! Nodes that fail, and callers who come at once.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::Value;
use tokio::task::JoinSet;
use video_session::proto::v1;

use super::{Api, Got, Stage, USERS, node_session, says, setup, stage};
use crate::harness::{created, end, get, patiently};
use crate::openvidu_stub::Stub;

/// The node has failed: with a text of ours, and no text of the node's.
fn says_failed(got: &Got) {
    assert!([502, 503].contains(&got.0.as_u16()), "{} {}", got.0, got.1);
    let detail = got.1["detail"].as_str().unwrap();
    assert!(detail.contains("OpenVidu node"), "{detail}");
}

#[tokio::test]
async fn a_node_that_is_away_is_503() {
    // Nothing listens at this address any more.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let service = setup(&format!("http://{address}")).start().await;
    let api = Api::of(&service);
    let token = api.login("user").await;
    let request = api.request_post("/api/video/session").bearer_auth(&token);
    let request = request.json(&serde_json::json!({"session_id": "1"}));
    let answer = patiently(request.send()).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let body: Value = patiently(answer.json()).await.unwrap();
    says_failed(&(503.try_into().unwrap(), body));
    assert_eq!(api.get("/test-openvidu").await.0, 503);
    // What needs no node works.
    assert_eq!(api.get("/health").await.0, 200);
}

#[tokio::test]
async fn a_node_that_fails_is_502_and_never_quoted() {
    let stage = stage().await;
    let token = stage.api.login("user").await;
    let first = stage.api.joined(&token, "1").await;
    for status in [500, 401, 404, 503, 200] {
        stage.stub.state.lock().unwrap().broken = Some(status);
        let got = stage.api.session(&token, "1").await;
        assert_eq!(got.0, 502, "{status}: {}", got.1);
        says_failed(&got);
        // If it counts as lost by now, no node can have another session.
        says_failed(&stage.api.session(&token, "2").await);
        says_failed(&stage.api.get("/test-openvidu").await);
    }
    // It works again, and the session is still the same.
    stage.stub.state.lock().unwrap().broken = None;
    let again = patiently(async {
        loop {
            let (status, body) = stage.api.session(&token, "1").await;
            if status == 200 {
                break body["token"].as_str().unwrap().to_owned();
            }
        }
    });
    assert_eq!(node_session(&again.await), node_session(&first));
}

#[tokio::test]
async fn first_callers_at_once_share_one_session() {
    let stage = stage().await;
    let mut tokens = Vec::new();
    for name in ["doctor", "chief", "user", "ana"] {
        tokens.push(stage.api.login(name).await);
    }
    let mut joins = JoinSet::new();
    for number in 0..24 {
        let (api, token) = (stage.api.clone(), tokens[number % tokens.len()].clone());
        joins.spawn(async move {
            loop {
                let (status, body) = api.session(&token, "1").await;
                match status.as_u16() {
                    200 => break body["token"].as_str().unwrap().to_owned(),
                    // Too many others changed it at once.
                    503 => {}
                    other => panic!("{other} {body}"),
                }
            }
        });
    }
    let connections = patiently(joins.join_all()).await;
    let sessions: BTreeSet<_> = connections
        .iter()
        .map(|token| node_session(token))
        .collect();
    assert_eq!(sessions.len(), 1);
    assert_eq!(connections.iter().collect::<BTreeSet<_>>().len(), 24);
    // One of the two admins, at each of that one's calls.
    let moderators = stage.stub.roles();
    let moderators = moderators
        .iter()
        .filter(|role| *role == "MODERATOR")
        .count();
    assert_eq!(moderators, 6);
}

#[tokio::test]
async fn an_ended_session_makes_way_for_a_new_one() {
    let stage = stage().await;
    let token = stage.api.login("user").await;
    let first = stage.api.joined(&token, "1").await;
    let mut client = stage.service.client();
    let request = v1::ListSessionsRequest::default();
    let listed = client.list_sessions(request).await.unwrap().into_inner();
    let session = &listed.sessions[0];
    assert_eq!(session.appointment_id, "openvidu:1");
    assert!(session.scheduled_end_time.is_some());
    end(&mut client, &session.session_id, "over").await;
    let second = stage.api.joined(&token, "1").await;
    assert_ne!(node_session(&first), node_session(&second));
}

#[tokio::test]
async fn a_session_of_another_api_is_left_alone() {
    let stage = stage().await;
    let mut client = stage.service.client();
    for (session_id, open_to_guests, media) in [
        ("1", true, v1::Media::PeerToPeer),
        ("2", false, v1::Media::Sfu),
        ("3", true, v1::Media::Sfu),
    ] {
        // Its doctor has the name of a user here, who is no admin.
        let request = v1::CreateSessionRequest {
            appointment_id: format!("openvidu:{session_id}"),
            doctor_id: "ana".to_owned(),
            patient_id: "patient".to_owned(),
            admission: v1::Admission::Open.into(),
            media: media.into(),
            open_to_guests,
            ..Default::default()
        };
        let before = created(&mut client, request).await;
        for name in ["ana", "doctor", "user"] {
            let token = stage.api.login(name).await;
            let refused = stage.api.session(&token, session_id).await;
            says(&refused, 409, "The session was made by another API");
        }
        let after = get(&mut client, &before.session_id).await.unwrap();
        assert_eq!(after, before);
    }
}

async fn remove(stage: &Stage, session_id: &str, user_id: &str, keep_out: bool) {
    let key = v1::get_session_request::Key::AppointmentId(format!("openvidu:{session_id}"));
    let mut client = stage.service.client();
    let request = v1::GetSessionRequest { key: Some(key) };
    let found = client.get_session(request).await.unwrap().into_inner();
    let request = v1::RemoveParticipantRequest {
        session_id: found.session.unwrap().session_id,
        user_id: user_id.to_owned(),
        keep_out,
    };
    client.remove_participant(request).await.unwrap();
}

#[tokio::test]
async fn who_was_removed_for_good_stays_outside_whatever_the_role() {
    let stage = stage().await;
    let (user, chief) = (
        stage.api.login("user").await,
        stage.api.login("chief").await,
    );
    let refused = (403, "This user may not join this session");
    // The seat of the doctor is free, but not for somebody who was removed.
    stage.api.joined(&user, "1").await;
    remove(&stage, "1", "chief", true).await;
    says(&stage.api.session(&chief, "1").await, refused.0, refused.1);
    // Of a doctor, too.
    stage.api.joined(&chief, "2").await;
    remove(&stage, "2", "chief", true).await;
    says(&stage.api.session(&chief, "2").await, refused.0, refused.1);
    remove(&stage, "2", "user", true).await;
    says(&stage.api.session(&user, "2").await, refused.0, refused.1);
}

#[tokio::test]
async fn a_doctor_who_was_removed_for_good_stays_outside_as_a_user() {
    let stub = Stub::start().await;
    let setup = setup(&stub.url());
    let mut service = setup.start().await;
    let api = Api::of(&service);
    let doctor = api.login("doctor").await;
    api.joined(&doctor, "1").await;
    let mut stage = Stage { service, stub, api };
    remove(&stage, "1", "doctor", true).await;
    stage.service.process.terminate().await;
    service = setup
        .file("users", &USERS.replace("doctor:admin:", "doctor:user:"))
        .start()
        .await;
    stage.api = Api::of(&service);
    stage.service = service;
    let doctor = stage.api.login("doctor").await;
    for _ in 0..2 {
        let refused = stage.api.session(&doctor, "1").await;
        says(&refused, 403, "This user may not join this session");
    }
}

#[tokio::test]
async fn a_removal_takes_unused_tickets_and_no_newer_one() {
    let stage = stage().await;
    let (user, ana) = (stage.api.login("user").await, stage.api.login("ana").await);
    let (unused, others) = (
        stage.api.joined(&user, "1").await,
        stage.api.joined(&ana, "1").await,
    );
    remove(&stage, "1", "user", false).await;
    // At once, while the node is still being told of the removal.
    let newer = stage.api.joined(&user, "1").await;
    patiently(async {
        while stage.stub.roles().len() > 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(stage.stub.activate(&unused), None);
    assert!(stage.stub.activate(&newer).is_some());
    assert!(stage.stub.activate(&others).is_some());
}
