//! Clients that we did not write: grpcurl, and Python's grpcio.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{SECRET, Service, Setup, patiently, tool};

const SERVICE: &str = "videosession.v1.VideoSessionService";

/// Runs grpcurl with the secret, as the README shows it: flags, the address, and what to do there.
async fn grpcurl(service: &Service, flags: &[&str], what: &[&str]) -> Output {
    let call = Command::new(tool("grpcurl"))
        .args(["-plaintext", "-H"])
        .arg(format!("x-internal-secret: {SECRET}"))
        .args(flags)
        .arg(service.grpc.to_string())
        .args(what)
        .env_clear()
        .kill_on_drop(true)
        .output();
    patiently(call).await.unwrap()
}

async fn ask(service: &Service, what: &[&str]) -> String {
    let output = grpcurl(service, &[], what).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn rpc(service: &Service, method: &str, request: &Value) -> Value {
    let (request, method) = (request.to_string(), format!("{SERVICE}/{method}"));
    let output = grpcurl(service, &["-d", &request], &[&method]).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs grpcurl; .ci/run installs it"]
async fn grpcurl_calls_every_method_by_reflection() {
    let service = Setup::new().start().await;
    let create = json!({
        "appointment_id": "appointment-1",
        "doctor_id": "doctor-1",
        "patient_id": "patient-1",
        "labels": {"ward": "3"},
    });
    let answer = rpc(&service, "CreateSession", &create).await;
    assert_eq!(answer["created"], true);
    let session = answer["session"].clone();
    let id = &session["sessionId"];

    let join = json!({"session_id": id, "role": "ROLE_DOCTOR", "user_id": "doctor-1"});
    let joined = rpc(&service, "JoinSession", &join).await;
    assert_eq!(joined["expiresIn"], "3600s");
    let join_url = joined["joinUrl"].as_str().unwrap();
    assert!(join_url.starts_with(session["baseUrl"].as_str().unwrap()));

    let update = json!({
        "session_id": id,
        "update_mask": {"paths": ["doctor_id", "scheduled_end_time"]},
        "doctor_id": "doctor-2",
        "scheduled_end_time": "2999-12-31T23:59:59Z",
        "expected_version": 2,
    });
    let updated = rpc(&service, "UpdateSession", &update).await;
    assert_eq!(updated["session"]["version"], "3");
    assert_eq!(
        updated["session"]["scheduledEndTime"],
        "2999-12-31T23:59:59Z"
    );

    let got = rpc(
        &service,
        "GetSession",
        &json!({"appointment_id": "appointment-1"}),
    )
    .await;
    assert_eq!(got["session"], updated["session"]);
    let listed = rpc(
        &service,
        "ListSessions",
        &json!({"state": "SESSION_STATE_CREATED"}),
    )
    .await;
    assert_eq!(listed["sessions"], json!([got["session"]]));
    let ended = rpc(
        &service,
        "EndSession",
        &json!({"session_id": id, "reason": "done"}),
    )
    .await;
    assert_eq!(ended["session"]["state"], "SESSION_STATE_ENDED");
    let events = rpc(&service, "ListSessionEvents", &json!({"session_id": id})).await;
    assert_eq!(events["nextSequence"], "4");
    assert_eq!(events["events"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
#[ignore = "needs grpcurl; .ci/run installs it"]
async fn grpcurl_watches_a_session() {
    let mut service = Setup::new().start().await;
    let create = json!({"appointment_id": "a", "doctor_id": "d", "patient_id": "p"});
    let session = rpc(&service, "CreateSession", &create).await["session"].clone();
    let request = json!({"session_id": session["sessionId"]}).to_string();
    let method = format!("{SERVICE}/WatchSession");
    let (flags, what) = (["-d", &*request], [&*method]);
    let watch = grpcurl(&service, &flags, &what);
    let told = async {
        service.line(|line| line.contains("call ended")).await;
        patiently(async {
            // The stream is open once it is counted.
            while !service
                .admin("/metrics")
                .await
                .contains("video_session_watch_streams 1")
            {}
        })
        .await;
        service.signal("TERM");
    };
    let (output, ()) = tokio::join!(watch, told);
    let (stdout, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    let event: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(event["event"]["type"], "session.created");
    for expected in ["Unavailable", "SHUTTING_DOWN", "retryDelay"] {
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert_eq!(service.process.exit().await.code(), Some(0));
}

#[tokio::test]
#[ignore = "needs grpcurl; .ci/run installs it"]
async fn grpcurl_lists_and_describes() {
    let service = Setup::new().start().await;
    let methods = ask(&service, &["list", SERVICE]).await;
    assert_eq!(methods.lines().count(), 15, "{methods}");
    let described = ask(&service, &["describe", SERVICE]).await;
    assert!(described.contains("rpc JoinSession"), "{described}");
    let described = ask(&service, &["describe", "videosession.v1.Session"]).await;
    assert!(
        described.contains("map<string, string> labels"),
        "{described}"
    );
    let described = ask(&service, &["describe", "grpc.health.v1.Health"]).await;
    assert!(described.contains("rpc Watch"), "{described}");
}

#[tokio::test]
#[ignore = "needs grpcurl; .ci/run installs it"]
async fn grpcurl_shows_what_is_wrong() {
    let service = Setup::new().start().await;
    let method = format!("{SERVICE}/CreateSession");
    let output = grpcurl(&service, &["-d", "{}"], &[&method]).await;
    assert!(!output.status.success());
    let shown = String::from_utf8(output.stderr).unwrap();
    for expected in ["VALIDATION_FAILED", "fieldViolations", "patient_id"] {
        assert!(shown.contains(expected), "{shown}");
    }
}

/// The two lines that `--dev` prints, pasted into a shell as they are.
#[tokio::test]
#[ignore = "needs grpcurl; .ci/run installs it"]
async fn the_commands_that_dev_prints_work_as_they_are() {
    let setup = Setup::bare(&["--dev"])
        .set("GRPC_ADDR", "127.0.0.1:0")
        .set("ADMIN_ADDR", "127.0.0.1:0")
        .set("HTTP_ADDR", "127.0.0.1:0")
        .set("REST_ADDR", "127.0.0.1:0");
    let service = setup.start().await;
    let last = |line: &str| line.starts_with("grpcurl") && line.ends_with("JoinSession");
    service.line(last).await;
    let output = service.output();
    let commands: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("grpcurl"))
        .collect();
    assert_eq!(commands.len(), 2, "{output}");
    let created = paste(commands[0]).await;
    assert_eq!(created["created"], true);
    let joined = paste(commands[1]).await;
    let session_id = created["session"]["sessionId"].as_str().unwrap();
    let join_url = joined["joinUrl"].as_str().unwrap();
    assert!(join_url.contains(session_id), "{join_url}");
    assert_eq!(joined["role"], "ROLE_DOCTOR");
    // Each is complete by itself, so the second one may be pasted first, or twice.
    paste(commands[1]).await;
}

async fn paste(command: &str) -> Value {
    let bin = tool("grpcurl").parent().unwrap().display().to_string();
    let shell = Command::new("bash")
        .args(["-c", command])
        .env_clear()
        .env("PATH", format!("{bin}:/usr/bin:/bin"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = patiently(shell).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs Python with grpcio; .ci/run installs it"]
async fn a_backend_in_python_is_served() {
    let service = Setup::new().start().await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/python_client.py"
    );
    let client = Command::new(tool("python"))
        .args([script, &service.grpc.to_string(), SECRET])
        .env_clear()
        .kill_on_drop(true)
        .output();
    let output = patiently(client).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
