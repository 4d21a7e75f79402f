//! A call through a node that must not be able to read it.

use serde_json::json;
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::join;
use crate::livekit::{LiveKitServer, Options};
use crate::sfu_nodes::{call, on};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn pages_are_told_to_encrypt_and_nobody_gets_a_ticket() {
    let server = LiveKitServer::start(Options::default()).await;
    let request = v1::CreateSessionRequest {
        end_to_end_encrypted: true,
        ..call()
    };
    let mut world = World::with(&on(&[&server]), request).await;
    assert!(world.session().await.end_to_end_encrypted);

    let connected = world.enter(Role::Patient).await.expect("connected").await;
    // A page that does not know this value takes no part, instead of sending what the node can read.
    assert_eq!(connected["media"], "livekit-e2ee", "{connected}");
    assert!(connected["url"].is_string() && connected["generation"] == 1);

    let request = v1::JoinSessionRequest {
        with_sfu_ticket: true,
        ..join(&world.session_id, Role::Doctor)
    };
    let answer = world.client.join_session(request).await.unwrap();
    let sfu = answer.into_inner().sfu.unwrap();
    assert_eq!((sfu.driver(), &*sfu.ticket), (v1::SfuDriver::Livekit, ""));
}

#[tokio::test]
async fn a_key_reaches_its_target_only_and_needs_one() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    let request = v1::InviteParticipantRequest {
        role: Role::Observer.into(),
        user_id: "observer-1".to_owned(),
        ..Default::default()
    };
    let invited = world.invite(request).await.unwrap().join.unwrap();
    let ticket = world.exchange(&invited.token).await;
    let mut observer = world.connect(&ticket).await;
    observer.until("existing-participants").await;
    doctor.until("user-joined").await;
    patient.until("user-joined").await;

    let key = |target: &str| json!({"type": "key", "target_id": target, "data": {"public_key": "k", "wanted": true}});
    // An observer publishes nothing, but receives.
    observer.send(&key("patient-1"));
    let came = patient.expect("key").await;
    assert_eq!(came["sender_id"], "observer-1");
    assert_eq!(came["data"], json!({"public_key": "k", "wanted": true}));
    patient.send(&key("observer-1"));
    assert_eq!(observer.expect("key").await["sender_id"], "patient-1");
    doctor.nothing_more().await;

    patient.send(&json!({"type": "key", "data": {"public_key": "k"}}));
    assert_eq!(patient.refused().await, "bad-target");
    doctor.nothing_more().await;
}
