//! A client that was written from docs/signalling.md alone.

use std::process::Stdio;

use tokio::process::Command;
use video_session::proto::v1::Role;

use crate::harness::{patiently, tool};
use crate::world::{BASE, World};

#[tokio::test]
#[ignore = "needs Python's websockets; .ci/run installs it"]
async fn a_plain_websocket_client_completes_an_exchange() {
    let mut world = World::new().await;
    let link = |token: &str| {
        let http = world.service.http;
        format!(
            "http://{http}/join/{}?token={token}",
            world.session_id.clone()
        )
    };
    let patient = link("");
    let doctor = format!("{patient}{}", world.token(Role::Doctor).await);
    let patient = format!("{patient}{}", world.token(Role::Patient).await);
    let python =
        std::env::var_os("VIDEO_SESSION_PYTHON").map_or_else(|| tool("python"), Into::into);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/signalling_client.py"
    );
    let output = Command::new(python)
        .args([script, &doctor, &patient, BASE])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = patiently(output).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert_eq!(said.trim(), "completed");
    assert_eq!(
        world.event_types().await,
        [
            "participant.waiting",
            "participant.joined",
            "participant.admitted",
            "participant.joined",
            "participant.left",
            "participant.left",
            "session.ended"
        ]
    );
}
