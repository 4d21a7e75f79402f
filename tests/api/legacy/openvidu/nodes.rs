//! Nodes that fail, and callers who come at once.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::Value;
use tokio::task::JoinSet;
use video_session::proto::v1;

use super::{Api, Got, node_session, setup, stage};
use crate::harness::{created, end, patiently};

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
async fn a_session_that_todays_api_made_for_another_way_is_409() {
    let stage = stage().await;
    let request = v1::CreateSessionRequest {
        appointment_id: "openvidu:1".to_owned(),
        doctor_id: "d".to_owned(),
        patient_id: "p".to_owned(),
        media: v1::Media::PeerToPeer.into(),
        open_to_guests: true,
        ..Default::default()
    };
    let mut client = stage.service.client();
    created(&mut client, request.clone()).await;
    let token = stage.api.login("user").await;
    let (status, body) = stage.api.session(&token, "1").await;
    assert_eq!(status, 409, "{body}");
    // And one to which guests need an invitation.
    let closed = v1::CreateSessionRequest {
        appointment_id: "openvidu:2".to_owned(),
        open_to_guests: false,
        ..request
    };
    created(&mut client, closed).await;
    let (status, body) = stage.api.session(&token, "2").await;
    assert_eq!(status, 403, "{body}");
}
