//! The shell commands of docs/legacy, one after the other as they stand there; together they call every route of their table.

use std::collections::BTreeSet;
use std::process::Stdio;

use tokio::process::Command;

use crate::harness::{SECRET, Service, Setup, patiently, tool};

/// Runs the commands of a document, and answers what they called: the verb, the path with `{…}` for ids, and the status.
pub(super) async fn called(document: &str, service: &Service) -> BTreeSet<String> {
    let path = format!("{}/docs/legacy/{document}", env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(path).unwrap();
    let blocks = document.split("```sh\n").skip(1);
    let script: String = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    let home = tempfile::tempdir().unwrap();
    let rule = "write-out = \"%{stderr}called %{method} %{http_code} %{url}\\n\"\n";
    std::fs::write(home.path().join(".curlrc"), rule).unwrap();
    let running = Command::new(tool("bash"))
        .args(["-c", &format!("set -euo pipefail\n{script}")])
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("CURL_HOME", home.path())
        .env("LEGACY", format!("http://{}", service.legacy.unwrap()))
        .env("INTERNAL_SECRET", SECRET)
        .env("PASSWORD", super::openvidu::password("ana"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = patiently(running).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let lines = said.lines().filter_map(|line| line.strip_prefix("called "));
    lines
        .map(|line| {
            let [verb, status, url] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let path = url.splitn(4, '/').nth(3).unwrap();
            let path = path.split('?').next().unwrap();
            let segments = path.split('/').map(|segment| {
                // Ids are long.
                if segment.len() > 20 { "{}" } else { segment }
            });
            format!(
                "{verb} /{} {status}",
                segments.collect::<Vec<_>>().join("/")
            )
        })
        .collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(ToString::to_string).collect()
}

#[tokio::test]
#[ignore = "needs curl; .ci/run installs it"]
async fn the_commands_for_sessions_call_every_route() {
    let service = super::sessions::setup().start().await;
    let expected = [
        "GET /health 200",
        "GET /join/{} 307",
        "POST /sessions 200",
        "POST /sessions/{}/join 200",
    ];
    assert_eq!(called("sessions.md", &service).await, set(&expected));
}

#[tokio::test]
#[ignore = "needs curl; .ci/run installs it"]
async fn the_commands_for_rooms_call_every_route() {
    let setup = Setup::new()
        .set("LEGACY_APIS", "rooms")
        .set("LEGACY_ADDR", "127.0.0.1:0")
        .set("LEGACY_ROOMS_OPEN", true);
    let service = setup.start().await;
    let expected = [
        "GET / 200",
        "GET /rooms 200",
        "GET /rooms/{} 200",
        "GET /ws/{} 101",
        "POST /create-room 200",
    ];
    assert_eq!(called("rooms.md", &service).await, set(&expected));
}

#[tokio::test]
#[ignore = "needs curl; .ci/run installs it"]
async fn the_commands_for_openvidu_call_every_route() {
    let stage = super::openvidu::stage().await;
    let expected = [
        "GET / 200",
        "GET /health 200",
        "GET /protected 200",
        "GET /test-openvidu 200",
        "POST /api/auth/login 200",
        "POST /api/video/session 200",
    ];
    assert_eq!(called("openvidu.md", &stage.service).await, set(&expected));
}
