//! Settings that cannot be used are refused by name, before anything starts.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

use super::{TOKEN_SECRET, USERS, setup};
use crate::harness::{JWT_SECRET, Setup, patiently};

const NODE: &str = "http://127.0.0.1:9";

/// What `check-config` says, which must refuse the settings.
async fn refused(setup: Setup) -> String {
    let (code, output) = setup.args(&["check-config"]).run().await;
    assert_eq!(code, Some(78), "{output}");
    assert!(
        !output.contains(TOKEN_SECRET) && !output.contains("hunter2"),
        "{output}"
    );
    output
}

async fn says(setup: Setup, expected: &str) {
    let output = refused(setup).await;
    assert!(
        output.contains(expected),
        "{expected:?} is not in\n{output}"
    );
    assert_eq!(output.lines().count(), 2, "{output}");
}

#[tokio::test]
async fn good_settings_are_good() {
    let (code, output) = setup(NODE).args(&["check-config"]).run().await;
    assert_eq!(code, Some(0), "{output}");
}

#[tokio::test]
async fn every_fault_names_its_setting() {
    for (name, value, expected) in [
        (
            "JWT_SECRET",
            "hunter2",
            "JWT_SECRET must be at least 32 bytes long",
        ),
        (
            "JWT_SECRET",
            JWT_SECRET,
            "JWT_SECRET must differ from VIDEO_JWT_SECRET",
        ),
        ("JWT_SECRET", "", "JWT_SECRET must be set"),
        ("JWT_ALGORITHM", "none", "JWT_ALGORITHM must be HS256"),
        (
            "OPENVIDU_USERNAME",
            "hunter2",
            "OPENVIDU_USERNAME must be OPENVIDUAPP",
        ),
        (
            "OPENVIDU_PUBLIC_URL",
            "ftp://hunter2",
            "OPENVIDU_PUBLIC_URL must begin with",
        ),
        ("LEGACY_USERS_FILE", "", "LEGACY_USERS_FILE must be set"),
        (
            "LEGACY_USERS_FILE",
            "nowhere",
            "LEGACY_USERS_FILE cannot be read: entity not found",
        ),
        (
            "LEGACY_USERS_FILE",
            ".",
            "LEGACY_USERS_FILE cannot be read: it is not a file",
        ),
        (
            "LEGACY_LOGINS_PER_MINUTE",
            "0",
            "LEGACY_LOGINS_PER_MINUTE must be",
        ),
        (
            "LEGACY_TOKEN_TTL_SECS",
            "x",
            "LEGACY_TOKEN_TTL_SECS must be",
        ),
        (
            "LEGACY_OPENVIDU_SESSION_AGE_MAX_SECS",
            "0",
            "LEGACY_OPENVIDU_SESSION_AGE_MAX_SECS must be",
        ),
        (
            "SFU_NODES",
            "sfu-1",
            "OPENVIDU_URL cannot be used together with SFU_NODES: remove SFU_NODES",
        ),
    ] {
        says(setup(NODE).set(name, value), expected).await;
    }
}

#[tokio::test]
async fn the_node_needs_its_address_and_its_secret() {
    let output = refused(setup("not a url hunter2")).await;
    assert!(output.contains("OPENVIDU_URL must begin with"), "{output}");
    let output = refused(setup(NODE).unset("OPENVIDU_SECRET")).await;
    assert!(
        output.contains("OPENVIDU_SECRET must be set when OPENVIDU_URL is"),
        "{output}"
    );
    let output = refused(setup(NODE).unset("OPENVIDU_URL")).await;
    for expected in [
        "OPENVIDU_SECRET must not be set without OPENVIDU_URL",
        "LEGACY_APIS cannot name openvidu with these SFU nodes: there is no OpenVidu node",
    ] {
        assert!(output.contains(expected), "{output}");
    }
}

#[tokio::test]
async fn all_nodes_that_carry_media_must_be_openvidus() {
    const OPENVIDU: &str = "[[node]]\nid = \"ov\"\ndriver = \"openvidu\"\napi_url = \"http://127.0.0.1:9\"\napi_secret_env = \"NODE_SECRET\"\n";
    const URL: &str = "url = \"https://ov.example.com\"\n";
    const LIVEKIT: &str = "[[node]]\nid = \"lk\"\ndriver = \"livekit\"\napi_url = \"http://127.0.0.1:8\"\napi_key = \"k\"\napi_secret_env = \"NODE_SECRET\"\n";
    let with_nodes = |nodes: String| {
        setup(NODE)
            .unset("OPENVIDU_URL")
            .unset("OPENVIDU_SECRET")
            .unset("OPENVIDU_PUBLIC_URL")
            .set("NODE_SECRET", "0123456789abcdef0123456789abcdef")
            .set("SFU_NODES_FILE", "nodes.toml")
            .file("nodes.toml", &nodes)
    };
    let output = refused(with_nodes(format!("{OPENVIDU}{URL}{LIVEKIT}"))).await;
    assert!(
        output.contains("the node lk is not an OpenVidu node"),
        "{output}"
    );
    let output = refused(with_nodes(OPENVIDU.to_owned())).await;
    assert!(
        output.contains("the node ov has no url for participants"),
        "{output}"
    );
    let good = with_nodes(format!("{OPENVIDU}{URL}"));
    reload_refuses(&good, &format!("{OPENVIDU}{URL}{LIVEKIT}")).await;
    let good = good.file("nodes.toml", &format!("{OPENVIDU}{URL}"));
    let (code, output) = good.clone().args(&["check-config"]).run().await;
    assert_eq!(code, Some(0), "{output}");
    let both = good
        .set("OPENVIDU_URL", NODE)
        .set("OPENVIDU_SECRET", "hunter2");
    says(
        both,
        "OPENVIDU_URL cannot be used together with SFU_NODES_FILE: remove OPENVIDU_URL",
    )
    .await;
}

/// A running service keeps its nodes if the file's would be of no use to its clients.
async fn reload_refuses(good: &Setup, nodes: &str) {
    let service = good.start().await;
    std::fs::write(good.path("nodes.toml"), nodes).unwrap();
    service.signal("HUP");
    let line = service.line(|line| line.contains("the SFU nodes stay as they were"));
    let line = line.await;
    assert!(line.contains("lk is not an OpenVidu node"), "{line}");
}

#[tokio::test]
async fn faults_of_the_users_file_have_their_lines() {
    let users = format!("{}hunter2\nben:root:hunter2\n", *USERS);
    let output = refused(setup(NODE).file("users", &users)).await;
    for line in [7, 8] {
        let expected = format!("LEGACY_USERS_FILE line {line}: ");
        assert!(output.contains(&expected), "{output}");
    }
    says(
        setup(NODE).file("users", "# none\n"),
        "LEGACY_USERS_FILE has no users",
    )
    .await;
}

#[tokio::test]
async fn without_the_api_its_settings_may_be_anything() {
    let setup = Setup::new()
        .set("JWT_SECRET", "x")
        .set("JWT_ALGORITHM", "RS256")
        .set("LEGACY_USERS_FILE", "nowhere");
    let (code, output) = setup.args(&["check-config"]).run().await;
    assert_eq!(code, Some(0), "{output}");
}

/// Runs `hash-password`: its exit code, and what it printed.
async fn hash(name: &str, role: &str, input: &[u8]) -> (Option<i32>, String) {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_video-session"))
        .args(["hash-password", "--name", name, "--role", role])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input).await;
    let output = patiently(child.wait_with_output()).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn hash_password_prints_the_line_of_a_user() {
    let (code, line) = hash("ana", "user", b"hunter2 hunter2\r\n").await;
    assert_eq!(code, Some(0), "{line}");
    assert!(line.starts_with("ana:user:$argon2id$v=19$"), "{line}");
    assert_eq!(line.lines().count(), 1);
    let (code, output) = setup(NODE)
        .file("users", &line)
        .args(&["check-config"])
        .run()
        .await;
    assert_eq!(code, Some(0), "{output}");
    for (name, role, input) in [
        ("a b", "user", &b"hunter2"[..]),
        ("openvidu:x", "user", b"hunter2"),
        ("ana", "root", b"hunter2"),
        ("ana", "user", b"\n"),
        ("ana", "user", &[b'x'; 1025]),
        ("ana", "user", &[0xff; 8]),
    ] {
        let (code, output) = hash(name, role, input).await;
        assert_eq!(code, Some(1), "{name} {role} {output}");
        assert!(!output.contains("hunter2") && !output.contains("$argon2id"));
    }
}
