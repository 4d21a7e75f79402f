//! What a caller may send to break the edge.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;

use super::{Backend, create, detail, setup};
use crate::harness::{SECRET, patiently};

#[tokio::test]
async fn deep_and_huge_json_is_refused() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    for open in ["[", "{\"labels\":"] {
        let deep = open.repeat(5_000);
        let got = backend.send("POST", "/v1/sessions", deep).await;
        let faults = got.refused(400, Reason::Validation);
        assert!(faults[0].1.starts_with("is not valid JSON"), "{faults:?}");
    }
    for number in [
        "9007199254740993",
        "1e400",
        "-0.5",
        "99999999999999999999999999",
    ] {
        let body = format!("{{\"maxParticipants\": {number}}}");
        let got = backend.send("POST", "/v1/sessions", body).await;
        got.refused(400, Reason::Validation);
    }
    // All 64 bits of a version are read exactly.
    let id = backend.create("appointment-1").await;
    let body = json!({"expectedVersion": "9007199254740993", "labels": {"a": "b"}});
    let got = backend
        .send("PATCH", &format!("/v1/sessions/{id}"), body.to_string())
        .await;
    let info = detail(&got.json, "ErrorInfo").unwrap();
    assert_eq!(info["metadata"]["expected_version"], "9007199254740993");
    got.refused(409, Reason::VersionMismatch);
}

/// Every string field of every request, as the description lists them.
#[tokio::test]
async fn control_characters_never_break_anything() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let description = backend.get("/openapi.json").await.json;
    let id = backend.create("appointment-1").await;
    let mut tried = 0;
    for (template, verbs) in description["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            let path = template
                .replace("{session_id}", &id)
                .replace("{user_id}", "patient-1")
                .replace("{node_id}", "sfu-1");
            let path = path.replace("{appointment_id}", "appointment-1");
            let body = &operation["requestBody"]["content"]["application/json"];
            let reference = body["schema"]["$ref"].as_str().unwrap_or_default();
            let name = reference.rsplit('/').next().unwrap();
            let properties = &description["components"]["schemas"][name]["properties"];
            for (field, schema) in properties.as_object().into_iter().flatten() {
                if schema["type"] != "string" {
                    continue;
                }
                for text in [
                    "\u{0}",
                    "a\u{1b}[2Jb",
                    "\u{202e}x",
                    "a\r\nx-injected: 1",
                    "\u{feff}",
                ] {
                    let mut request = body["example"].clone();
                    for part in ["sessionId", "userId", "nodeId"] {
                        request.as_object_mut().unwrap().remove(part);
                    }
                    request[field] = text.into();
                    let got = backend
                        .send(&verb.to_uppercase(), &path, request.to_string())
                        .await;
                    assert!(!got.status.is_server_error(), "{name}.{field}: {got:?}");
                    assert!(!got.headers.contains_key("x-injected"));
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 50, "{tried}");
    let mut labelled = create("appointment-2");
    labelled["labels"] = json!({"a\u{0}": "b"});
    let got = backend.post("/v1/sessions", &labelled).await;
    got.refused(400, Reason::Validation);
    let got = backend.get("/v1/sessions/%00%0d%0a").await;
    assert!(got.status.is_client_error());
}

async fn connect(addr: SocketAddr, sent: &str) -> TcpStream {
    let mut connection = TcpStream::connect(addr).await.unwrap();
    connection.write_all(sent.as_bytes()).await.unwrap();
    connection
}

/// All that the service sends until it closes the connection.
async fn answered(mut connection: TcpStream) -> String {
    let mut received = Vec::new();
    let _ = patiently(connection.read_to_end(&mut received)).await;
    String::from_utf8_lossy(&received).into_owned()
}

#[tokio::test]
async fn half_sent_requests_end_in_time() {
    let service = setup()
        .set("GRPC_HELLO_TIMEOUT_SECS", "1")
        .set("GRPC_BODY_TIMEOUT_SECS", "1")
        .start()
        .await;
    let rest = service.rest.unwrap();
    for head in ["", "GET /v1/sess", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        answered(connect(rest, head).await).await;
    }
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: a\r\nx-internal-secret: {SECRET}\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{{"
    );
    let answer = answered(connect(rest, &head).await).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(answer.contains("REQUEST_INCOMPLETE"), "{answer}");
    // What can never be complete is refused without waiting.
    let mut connection = connect(rest, &head).await;
    connection.shutdown().await.unwrap();
    let answer = answered(connection).await;
    assert!(!answer.contains("REQUEST_INCOMPLETE"), "{answer}");
}

/// A proxy and the service must not disagree about where a request ends.
#[tokio::test]
async fn a_request_with_two_ends_is_not_taken_for_two_requests() {
    let setup = setup().set("LEGACY_APIS", "sessions");
    let service = setup.set("LEGACY_ADDR", "127.0.0.1:0").start().await;
    let smuggled =
        format!("GET /v1/sessions HTTP/1.1\r\nhost: a\r\nx-internal-secret: {SECRET}\r\n\r\n");
    let heads = [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 0\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding : chunked\r\n",
        "content-length: +5\r\n",
    ];
    let [rest, legacy] = [service.rest, service.legacy].map(Option::unwrap);
    for addr in [rest, legacy, service.http, service.admin] {
        for head in heads {
            let request =
                format!("POST /v1/sessions HTTP/1.1\r\nhost: a\r\n{head}\r\n0\r\n\r\n{smuggled}");
            let mut connection = connect(addr, &request).await;
            connection.shutdown().await.unwrap();
            let answer = answered(connection).await;
            assert!(!answer.contains("\"sessions\""), "{addr} {head}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_listeners_do_not_answer_for_each_other() {
    let service = setup().start().await;
    let rest = Backend::of(&service);
    for path in [
        "/videosession.v1.VideoSessionService/ListSessions",
        "/join/x",
        "/metrics",
        "/.well-known/jwks.json",
    ] {
        let got = rest.send("POST", path, "").await;
        got.refused(404, CallFault::MethodUnknown);
    }
    for addr in [service.http, service.admin] {
        let mut elsewhere = rest.clone();
        elsewhere.addr = addr;
        let answer = elsewhere
            .request("GET", "/v1/sessions")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
    }
    // gRPC's listener speaks HTTP/2 only.
    let head =
        format!("GET /v1/sessions HTTP/1.1\r\nhost: a\r\nx-internal-secret: {SECRET}\r\n\r\n");
    let answer = answered(connect(service.grpc, &head).await).await;
    assert!(!answer.contains("sessions"), "{answer}");
    let none: Value = rest.get("/v1/sessions").await.ok().json;
    assert_eq!(none["sessions"], json!([]));
}
