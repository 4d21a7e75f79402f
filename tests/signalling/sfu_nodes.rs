//! A service with LiveKit nodes, and what a test sees of them from outside.

use std::time::Duration;

use secrecy::SecretString;
use video_session::domain::id::UserId;
use video_session::proto::v1;
use video_session::sfu::SfuDriver as _;
use video_session::sfu::livekit::{Config, LiveKit};

use crate::harness::{Setup, create, patiently};
use crate::livekit::{API_KEY, API_SECRET, LiveKitServer};
use crate::world::{World, setup};

/// A nodes' file with these nodes as `sfu-1`, `sfu-2` and so on.
pub(crate) fn nodes_file(setup: &Setup, servers: &[&LiveKitServer]) -> String {
    let secret = setup.path("livekit.secret");
    let node = |(number, server): (usize, &&LiveKitServer)| {
        format!(
            "[[node]]\nid = \"sfu-{}\"\ndriver = \"livekit\"\nurl = \"{}\"\napi_url = \"{}\"\n\
             api_key = \"{API_KEY}\"\napi_secret_file = \"{}\"\n",
            number + 1,
            server.ws_url(),
            server.http_url(),
            secret.display(),
        )
    };
    servers.iter().enumerate().map(node).collect()
}

/// A service on these nodes. Nothing happens to them by itself.
pub(crate) fn on(servers: &[&LiveKitServer]) -> Setup {
    let setup = setup().file("livekit.secret", API_SECRET);
    let nodes = nodes_file(&setup, servers);
    let setup = setup.file("nodes.toml", &nodes);
    let file = setup.path("nodes.toml");
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/vendor/livekit-client");
    setup
        .set("SFU_NODES_FILE", file.display())
        .set("LIVEKIT_CLIENT_DIR", client)
        .set("SFU_RECONCILE_SECS", 3600)
        .set("NODE_DOWN_AFTER_SECS", 3600)
        .set("NODE_REFUSED_AFTER_MS", 3_600_000)
}

/// A call that its node carries, and nobody waits for.
pub(crate) fn call() -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        media: v1::Media::Sfu.into(),
        admission: v1::Admission::Open.into(),
        ..create("appointment-1")
    }
}

/// The node as an operator sees it.
pub(crate) fn node(server: &LiveKitServer) -> LiveKit {
    LiveKit::new(&Config {
        api_url: server.http_url(),
        public_url: Some(server.ws_url()),
        api_key: API_KEY.to_owned(),
        api_secret: SecretString::from(API_SECRET),
    })
    .unwrap()
}

/// The room of the session's first place.
pub(crate) fn room(world: &World) -> String {
    format!("room_{}", world.session_id)
}

/// Who is in a room.
pub(crate) async fn present(node: &LiveKit, room: &str) -> Vec<String> {
    let present = node.list_participants(room).await.unwrap();
    let present = present.into_iter().map(|present| present.user_id);
    let mut names: Vec<_> = present.map(|user: UserId| user.to_string()).collect();
    names.sort();
    names
}

/// Waits until a room has these users, in alphabetical order.
pub(crate) async fn until_present(node: &LiveKit, room: &str, wanted: &[&str]) {
    patiently(async {
        while present(node, room).await != wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

pub(crate) async fn rooms(node: &LiveKit) -> Vec<String> {
    node.list_rooms().await.unwrap()
}
