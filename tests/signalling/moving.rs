//! Calls that move between nodes of different kinds, as the pages hear of it, and tickets. The LiveKit node is a stub that says yes to everything:
//! nobody exchanges media here.

use serde_json::json;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::{Role, SfuNodeHealth};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Setup, create, join, metadata, patiently, refused};
use crate::world::{Page, World, setup};

async fn stub() -> MockServer {
    let server = MockServer::start().await;
    answer_all(&server).await;
    server
}

async fn answer_all(server: &MockServer) {
    let unknown_room = Mock::given(path("/rtc/validate"));
    let refused = unknown_room.respond_with(ResponseTemplate::new(404));
    refused.mount(server).await;
    let room = json!({"sid": "RM_1", "name": "_video-session"});
    let done = Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(room));
    done.mount(server).await;
}

/// A node for browsers only, which has the first session, and a LiveKit node.
fn on(server: &MockServer) -> Setup {
    let nodes = format!(
        "[[node]]\nid = \"direct\"\n[[node]]\nid = \"media\"\ndriver = \"livekit\"\napi_url = \"{}\"\n\
         url = \"wss://media.test\"\napi_key = \"key\"\napi_secret_env = \"LIVEKIT_SECRET\"\n",
        server.uri()
    );
    let setup = setup().file("nodes.toml", &nodes);
    let file = setup.path("nodes.toml");
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/vendor/livekit-client");
    setup
        .set("SFU_NODES_FILE", file.display())
        .set("LIVEKIT_SECRET", "a secret of tests with 32 characters")
        .set("LIVEKIT_CLIENT_DIR", client)
}

/// Waits until the service knows that the LiveKit node answers.
async fn until_up(world: &World) {
    let mut nodes = world.service.nodes();
    patiently(async {
        loop {
            let listed = nodes.list_nodes(v1::ListNodesRequest {}).await;
            let listed = listed.unwrap().into_inner().nodes;
            if (listed.iter()).any(|node| node.health() == SfuNodeHealth::Up) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn move_to(world: &World, target: &str) -> v1::Session {
    let request = v1::MoveSessionRequest {
        session_id: world.session_id.clone(),
        target_node_id: target.to_owned(),
    };
    let moved = world.service.nodes().move_session(request).await;
    moved.unwrap().into_inner().session.unwrap()
}

/// The page is told once.
async fn told_once(page: &mut Page, media: &str) {
    let changed = page.expect("media-changed").await;
    assert_eq!(
        (&changed["media"], &changed["cause"]),
        (&json!(media), &json!("backend"))
    );
    page.nothing_more().await;
}

#[tokio::test]
#[ignore = "needs livekit-client; .ci/run fetches it"]
async fn a_call_of_three_goes_through_the_node_that_it_moves_to() {
    let server = stub().await;
    let request = v1::CreateSessionRequest {
        admission: v1::Admission::Open.into(),
        ..create("appointment-1")
    };
    let mut world = World::with(&on(&server), request).await;
    until_up(&world).await;
    assert_eq!(world.session().await.sfu_node_id, "direct");
    let (mut doctor, mut patient) = world.couple().await;
    let guest = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let token = world.invite(guest).await.unwrap().join.unwrap().token;
    let ticket = world.exchange(&token).await;
    let mut guest = world.connect(&ticket).await;
    guest.until("existing-participants").await;
    for page in [&mut doctor, &mut patient] {
        page.expect("user-joined").await;
        page.nothing_more().await;
    }
    let moved = move_to(&world, "media").await;
    assert_eq!(moved.medium(), v1::Medium::Sfu);
    for page in [&mut doctor, &mut patient, &mut guest] {
        told_once(page, "livekit").await;
    }
    let back = move_to(&world, "direct").await;
    assert_eq!(back.medium(), v1::Medium::PeerToPeer);
    for page in [&mut doctor, &mut patient, &mut guest] {
        told_once(page, "builtin").await;
    }
}

#[tokio::test]
#[ignore = "needs livekit-client; .ci/run fetches it"]
async fn a_join_whose_ticket_cannot_be_had_changes_nothing() {
    let server = stub().await;
    let request = v1::CreateSessionRequest {
        media: v1::Media::Sfu.into(),
        admission: v1::Admission::Open.into(),
        ..create("appointment-1")
    };
    // It counts as up throughout.
    let setup = on(&server).set("NODE_DOWN_AFTER_SECS", 3600);
    let mut world = World::with(&setup, request).await;
    until_up(&world).await;
    let before = world.session().await;
    assert_eq!(before.sfu_node_id, "media");
    let with_ticket = v1::JoinSessionRequest {
        with_sfu_ticket: true,
        ..join(&world.session_id, Role::Doctor)
    };
    server.reset().await;
    let outcome = world.client.join_session(with_ticket.clone()).await;
    let details = refused(outcome, Reason::SfuNodeUnavailable);
    assert_eq!(metadata(&details, "node_id"), "media");
    assert_eq!(world.session().await, before);
    // Who may not join is told so, whether the node answers or not.
    let stranger = v1::JoinSessionRequest {
        user_id: "stranger-1".to_owned(),
        ..with_ticket.clone()
    };
    let outcome = world.client.join_session(stranger).await;
    refused(outcome, Reason::NotAParticipant);
    answer_all(&server).await;
    let joined = world.client.join_session(with_ticket).await.unwrap();
    assert!(!joined.into_inner().sfu.unwrap().ticket.is_empty());
    assert_eq!(world.session().await.version, before.version + 1);
}
