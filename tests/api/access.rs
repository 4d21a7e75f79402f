//! Which calls need the secret: every method of the API, and reflection, but not health.

use prost::Message as _;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;

use crate::harness::{SECRET, Setup, create, refused};
use crate::methods::{Method, methods};
use crate::wire::Call;

const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const HEALTH: [&str; 2] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

fn reflection_request() -> Vec<u8> {
    ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    }
    .encode_to_vec()
}

fn call<'a>(path: &'a str, message: &'a [u8], secret: Option<&'a str>) -> Call<'a> {
    Call {
        path,
        message,
        secret,
        encoding: None,
    }
}

/// With the secret, a request without any field is looked at: it is good, or told what it lacks.
#[tokio::test]
async fn every_method_asks_for_the_secret() {
    let service = Setup::new().start().await;
    let channel = service.channel();
    for Method { path, .. } in &methods() {
        let call = |secret| call(path, b"", secret);
        let without = call(None).send(&channel).await;
        refused(without, CallFault::SecretMissing);
        let longer = format!("{SECRET}x");
        for wrong in ["", "wrong", &SECRET[1..], &longer] {
            let outcome = call(Some(wrong)).send(&channel).await;
            refused(outcome, CallFault::SecretInvalid);
        }
        let outcome = call(Some(SECRET)).send(&channel).await;
        if outcome.is_err() {
            refused(outcome, Reason::Validation);
        }
    }
}

#[tokio::test]
async fn the_previous_secret_is_good_while_it_is_configured() {
    let setup = Setup::new().set("INTERNAL_SECRET_PREVIOUS", "the-secret-before");
    let service = setup.start().await;
    for Method { path, .. } in &methods() {
        for secret in [SECRET, "the-secret-before"] {
            let call = call(path, b"", Some(secret));
            let outcome = call.send(&service.channel()).await;
            let outcome = outcome.as_ref().map_err(tonic::Status::code).copied();
            assert_ne!(outcome, Err(Code::Unauthenticated), "{path}");
        }
    }
    let used = service.admin("/metrics").await;
    let used = used
        .lines()
        .find_map(|line| line.strip_prefix("video_session_previous_secret_calls_total "));
    assert_eq!(used.unwrap().parse(), Ok(methods().len()));
    service.process.kill().await;

    let service = setup.unset("INTERNAL_SECRET_PREVIOUS").start().await;
    let mut client = service.client_with("the-secret-before");
    let outcome = client.create_session(create("appointment-2")).await;
    refused(outcome, CallFault::SecretInvalid);
}

#[tokio::test]
async fn the_secret_is_checked_before_anything_is_parsed() {
    let service = Setup::new().start().await;
    let channel = service.channel();
    let huge = vec![0xff; 1_000_000];
    for Method { path, .. } in &methods() {
        for garbage in [&b"\xff\xff\xff"[..], &huge] {
            let outcome = call(path, garbage, None).send(&channel).await;
            refused(outcome, CallFault::SecretMissing);
            let compressed = Call {
                encoding: Some("gzip"),
                ..call(path, garbage, Some("wrong"))
            };
            refused(compressed.send(&channel).await, CallFault::SecretInvalid);
        }
    }
}

#[tokio::test]
async fn health_needs_no_secret() {
    let service = Setup::new().start().await;
    for path in HEALTH {
        call(path, b"", None)
            .send(&service.channel())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn reflection_asks_for_the_secret() {
    let service = Setup::new().start().await;
    let channel = service.channel();
    let request = reflection_request();
    for path in REFLECTION {
        let without = call(path, &request, None).send(&channel).await;
        refused(without, CallFault::SecretMissing);
        let wrong = call(path, &request, Some("wrong")).send(&channel).await;
        refused(wrong, CallFault::SecretInvalid);
        let right = call(path, &request, Some(SECRET)).send(&channel).await;
        right.unwrap();
    }
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    let service = Setup::new().set("GRPC_REFLECTION", "off").start().await;
    let request = reflection_request();
    for path in REFLECTION {
        let outcome = call(path, &request, Some(SECRET))
            .send(&service.channel())
            .await;
        assert_eq!(outcome.unwrap_err().code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn only_callers_with_the_secret_learn_which_methods_exist() {
    let service = Setup::new().start().await;
    for path in [
        "/videosession.v1.VideoSessionService/DropSessions",
        "/videosession.v2.VideoSessionService/CreateSession",
        "/nothing",
    ] {
        let without = call(path, b"", None).send(&service.channel()).await;
        refused(without, CallFault::SecretMissing);
        let with = call(path, b"", Some(SECRET)).send(&service.channel()).await;
        refused(with, CallFault::MethodUnknown);
    }
}
