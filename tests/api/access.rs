//! Who gets in. Every method of every service of ours has a case here, or else a test fails.

use std::collections::BTreeSet;

use prost::Message as _;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use video_session::domain::error::Reason;
use video_session::proto;
use video_session::proto::v1;

use crate::harness::{SECRET, Setup, create, join, refused};
use crate::wire::Call;

const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const HEALTH: [&str; 2] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

struct Case {
    path: &'static str,
    /// A request that is good but for the secret.
    request: Vec<u8>,
    /// What it comes to with the secret, in an empty store.
    let_in: Result<(), Reason>,
}

fn cases() -> Vec<Case> {
    let session_id = || "sess_1".to_owned();
    let case = |path, request, let_in| Case {
        path,
        request,
        let_in,
    };
    let unknown = Err(Reason::SessionNotFound);
    let mut cases = vec![
        case(
            "/videosession.v1.VideoSessionService/CreateSession",
            create("appointment-1").encode_to_vec(),
            Ok(()),
        ),
        case(
            "/videosession.v1.VideoSessionService/JoinSession",
            join("sess_1", v1::Role::Doctor).encode_to_vec(),
            unknown,
        ),
        case(
            "/videosession.v1.VideoSessionService/GetSession",
            v1::GetSessionRequest {
                key: Some(v1::get_session_request::Key::SessionId(session_id())),
            }
            .encode_to_vec(),
            unknown,
        ),
        case(
            "/videosession.v1.VideoSessionService/ListSessions",
            v1::ListSessionsRequest::default().encode_to_vec(),
            Ok(()),
        ),
        case(
            "/videosession.v1.VideoSessionService/UpdateSession",
            v1::UpdateSessionRequest {
                session_id: session_id(),
                doctor_id: "doctor-2".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
            unknown,
        ),
        case(
            "/videosession.v1.VideoSessionService/EndSession",
            v1::EndSessionRequest {
                session_id: session_id(),
                ..Default::default()
            }
            .encode_to_vec(),
            unknown,
        ),
        case(
            "/videosession.v1.VideoSessionService/ListSessionEvents",
            v1::ListSessionEventsRequest {
                session_id: session_id(),
                ..Default::default()
            }
            .encode_to_vec(),
            unknown,
        ),
        case(
            "/videosession.v1.VideoSessionService/WatchSession",
            v1::WatchSessionRequest {
                session_id: session_id(),
                ..Default::default()
            }
            .encode_to_vec(),
            unknown,
        ),
    ];
    cases.extend(cases_about_participants());
    cases
}

/// All of them of a session that does not exist.
fn cases_about_participants() -> Vec<Case> {
    let session_id = || "sess_1".to_owned();
    let user_id = || "patient-1".to_owned();
    let case = |path, request| Case {
        path,
        request,
        let_in: Err(Reason::SessionNotFound),
    };
    vec![
        case(
            "/videosession.v1.VideoSessionService/ListParticipants",
            v1::ListParticipantsRequest {
                session_id: session_id(),
            }
            .encode_to_vec(),
        ),
        case(
            "/videosession.v1.VideoSessionService/AdmitParticipant",
            v1::AdmitParticipantRequest {
                session_id: session_id(),
                user_id: user_id(),
            }
            .encode_to_vec(),
        ),
        case(
            "/videosession.v1.VideoSessionService/RemoveParticipant",
            v1::RemoveParticipantRequest {
                session_id: session_id(),
                user_id: user_id(),
                keep_out: false,
            }
            .encode_to_vec(),
        ),
        case(
            "/videosession.v1.VideoSessionService/MuteParticipant",
            v1::MuteParticipantRequest {
                session_id: session_id(),
                user_id: user_id(),
            }
            .encode_to_vec(),
        ),
        case(
            "/videosession.v1.VideoSessionService/InviteParticipant",
            v1::InviteParticipantRequest {
                session_id: session_id(),
                role: v1::Role::Guest.into(),
                user_id: "guest-1".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        case(
            "/videosession.v1.VideoSessionService/RevokeInvite",
            v1::RevokeInviteRequest {
                session_id: session_id(),
                user_id: user_id(),
            }
            .encode_to_vec(),
        ),
    ]
}

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

#[test]
fn every_method_has_an_access_case() {
    let descriptors = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
    let mut methods = BTreeSet::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    let covered: BTreeSet<_> = cases().iter().map(|case| case.path.to_owned()).collect();
    assert!(!methods.is_empty());
    assert_eq!(methods, covered);
}

#[tokio::test]
async fn nobody_gets_in_without_the_secret() {
    let service = Setup::new().start().await;
    let channel = service.channel();
    for case in cases() {
        let call = |secret| call(case.path, &case.request, secret);
        let without = call(None).send(&channel).await;
        refused(without, Reason::SecretMissing);
        let longer = format!("{SECRET}x");
        for wrong in ["", "wrong", &SECRET[1..], &longer] {
            let outcome = call(Some(wrong)).send(&channel).await;
            refused(outcome, Reason::SecretInvalid);
        }
        let outcome = call(Some(SECRET)).send(&channel).await;
        match case.let_in {
            Ok(()) => outcome.unwrap(),
            Err(reason) => drop(refused(outcome, reason)),
        }
    }
}

#[tokio::test]
async fn the_previous_secret_is_good_while_it_is_configured() {
    let setup = Setup::new().set("INTERNAL_SECRET_PREVIOUS", "the-secret-before");
    let service = setup.start().await;
    for case in cases() {
        for secret in [SECRET, "the-secret-before"] {
            let call = call(case.path, &case.request, Some(secret));
            let outcome = call.send(&service.channel()).await;
            let let_in = outcome.as_ref().map_err(tonic::Status::code).copied();
            assert_ne!(let_in, Err(Code::Unauthenticated), "{}", case.path);
        }
    }
    let used = service.admin("/metrics").await;
    let used = used
        .lines()
        .find_map(|line| line.strip_prefix("video_session_previous_secret_calls_total "));
    assert_eq!(used.unwrap().parse(), Ok(cases().len()));
    service.process.kill().await;

    let service = setup.unset("INTERNAL_SECRET_PREVIOUS").start().await;
    let mut client = service.client_with("the-secret-before");
    let outcome = client.create_session(create("appointment-2")).await;
    refused(outcome, Reason::SecretInvalid);
}

#[tokio::test]
async fn the_secret_is_checked_before_anything_is_parsed() {
    let service = Setup::new().start().await;
    let channel = service.channel();
    let huge = vec![0xff; 1_000_000];
    for case in cases() {
        for garbage in [&b"\xff\xff\xff"[..], &huge] {
            let outcome = call(case.path, garbage, None).send(&channel).await;
            refused(outcome, Reason::SecretMissing);
            let compressed = Call {
                encoding: Some("gzip"),
                ..call(case.path, garbage, Some("wrong"))
            };
            refused(compressed.send(&channel).await, Reason::SecretInvalid);
        }
    }
}

#[tokio::test]
async fn health_asks_nobody_for_the_secret() {
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
        refused(without, Reason::SecretMissing);
        let wrong = call(path, &request, Some("wrong")).send(&channel).await;
        refused(wrong, Reason::SecretInvalid);
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
async fn only_those_who_may_call_learn_which_methods_exist() {
    let service = Setup::new().start().await;
    for path in [
        "/videosession.v1.VideoSessionService/DropSessions",
        "/videosession.v2.VideoSessionService/CreateSession",
        "/nothing",
    ] {
        let without = call(path, b"", None).send(&service.channel()).await;
        refused(without, Reason::SecretMissing);
        let with = call(path, b"", Some(SECRET)).send(&service.channel()).await;
        refused(with, Reason::MethodUnknown);
    }
}
