//! No secret, no token and nobody's name stands in a log line, however much is logged.

use serde_json::Value;
use tonic::Request;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{Client, Process, Service, Setup, created, end, get, patiently, refused};
use crate::wire::Call;

const INTERNAL: &str = "needle-internal-secret-0123456789";
const INTERNAL_PREVIOUS: &str = "needle-internal-previous-0123456789";
const WRONG: &str = "needle-wrong-secret";
const JWT: &str = "needle-jwt-secret-0123456789abcdef0123456789";
const JWT_PREVIOUS: &str = "needle-jwt-previous-0123456789abcdef012345";
/// Stands in every id, name, label and reason; and in the secrets above.
const NEEDLE: &str = "needle";

fn setup() -> Setup {
    Setup::new()
        .set("LOG_FILTER", "trace")
        .set("INTERNAL_SECRET", INTERNAL)
        .set("INTERNAL_SECRET_PREVIOUS", INTERNAL_PREVIOUS)
        .set("VIDEO_JWT_SECRET", JWT)
        .set("VIDEO_JWT_SECRET_PREVIOUS", JWT_PREVIOUS)
}

fn create(appointment_id: &str) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        appointment_id: appointment_id.to_owned(),
        doctor_id: "needle-doctor".to_owned(),
        patient_id: "needle-patient".to_owned(),
        labels: [("needle-key".to_owned(), "needle value".to_owned())].into(),
        ..Default::default()
    }
}

fn join(session: &v1::Session, role: Role, user_id: &str) -> v1::JoinSessionRequest {
    v1::JoinSessionRequest {
        session_id: session.session_id.clone(),
        role: role.into(),
        user_id: user_id.to_owned(),
        display_name: "Dr. needle".to_owned(),
        with_sfu_ticket: false,
        locale: String::new(),
    }
}

/// Every method, good and bad; answers the tokens that were issued.
async fn use_everything(service: &Service) -> Vec<String> {
    let mut client = service.client_with(INTERNAL);
    let session = created(&mut client, create("needle-appointment")).await;
    let mut previous = service.client_with(INTERNAL_PREVIOUS);
    previous
        .create_session(create("needle-appointment"))
        .await
        .unwrap();
    let mut tokens = Vec::new();
    for (role, user_id) in [
        (Role::Doctor, "needle-doctor"),
        (Role::Patient, "needle-patient"),
    ] {
        let request = join(&session, role, user_id);
        tokens.push(
            client
                .join_session(request)
                .await
                .unwrap()
                .into_inner()
                .token,
        );
    }
    let key = v1::get_session_request::Key::AppointmentId("needle-appointment".to_owned());
    let request = v1::GetSessionRequest { key: Some(key) };
    client.get_session(request).await.unwrap();
    let request = v1::ListSessionsRequest {
        user_id: "needle-doctor".to_owned(),
        appointment_id: "needle-appointment".to_owned(),
        ..Default::default()
    };
    client.list_sessions(request).await.unwrap();
    let request = v1::UpdateSessionRequest {
        session_id: session.session_id.clone(),
        doctor_id: "needle-stand-in".to_owned(),
        ..Default::default()
    };
    client.update_session(request).await.unwrap();
    let request = v1::ListSessionEventsRequest {
        session_id: session.session_id.clone(),
        ..Default::default()
    };
    client.list_session_events(request).await.unwrap();
    let request = v1::WatchSessionRequest {
        session_id: session.session_id.clone(),
        ..Default::default()
    };
    let mut watch = client.watch_session(request).await.unwrap().into_inner();
    patiently(watch.message()).await.unwrap().unwrap();
    fail(service, &mut client, &session).await;
    end(&mut client, &session.session_id, "needle reason").await;
    service.admin("/metrics?needle").await;
    service.admin("/.well-known/jwks.json").await;
    tokens
}

/// Every way to be refused that a caller has.
async fn fail(service: &Service, client: &mut Client, session: &v1::Session) {
    let other_doctor = v1::CreateSessionRequest {
        doctor_id: "needle-other".to_owned(),
        ..create("needle-appointment")
    };
    let outcome = client.create_session(other_doctor).await;
    refused(outcome, Reason::AppointmentConflict);
    let outcome = client.create_session(create("needle not an id")).await;
    refused(outcome, Reason::Validation);
    let request = join(session, Role::Doctor, "needle-stranger");
    let outcome = client.join_session(request).await;
    refused(outcome, Reason::NotAParticipant);
    // A user's id where the session's belongs.
    let outcome = get(client, "needle-patient").await;
    refused(outcome, Reason::SessionNotFound);
    let request = v1::WatchSessionRequest {
        session_id: "needle-patient".to_owned(),
        after_sequence: 0,
    };
    let outcome = client.watch_session(request).await;
    refused(outcome, Reason::SessionNotFound);
    let request = v1::RevokeInviteRequest {
        session_id: "needle-patient".to_owned(),
        user_id: "needle-patient".to_owned(),
    };
    let outcome = client.revoke_invite(request).await;
    refused(outcome, Reason::SessionNotFound);
    let mut wrong = service.client_with(WRONG);
    let outcome = wrong.create_session(create("needle-appointment")).await;
    refused(outcome, CallFault::SecretInvalid);

    let mut request = Request::new(create("needle-appointment-2"));
    let metadata = request.metadata_mut();
    for name in [
        "traceparent",
        "tracestate",
        "baggage",
        "authorization",
        "needle-header",
    ] {
        metadata.insert(name, "needle-value".parse().unwrap());
    }
    client.create_session(request).await.unwrap();
    for (path, secret) in [
        ("/needle.v1.Needle/Needle", Some(INTERNAL)),
        (
            "/videosession.v1.VideoSessionService/CreateSession",
            Some(INTERNAL),
        ),
        ("/videosession.v1.VideoSessionService/CreateSession", None),
    ] {
        for encoding in [None, Some("needle")] {
            let call = Call {
                path,
                message: b"\x0a\xffneedle",
                secret,
                encoding,
            };
            call.send(&service.channel()).await.unwrap_err();
        }
    }
}

fn assert_discreet(process: &Process, tokens: &[String]) {
    let output = process.output();
    for token in tokens {
        let needles = token.split('.').chain([token.as_str()]);
        // The header is the same for all and tells nothing.
        for needle in needles.skip(1) {
            assert_silent_about(&output, needle);
        }
    }
    assert_silent_about(&output, NEEDLE);
}

fn assert_silent_about(output: &str, needle: &str) {
    let told = output
        .lines()
        .find(|line| line.to_lowercase().contains(&needle.to_lowercase()));
    assert_eq!(told, None, "{needle:?} is in the log");
}

async fn scenario(format: &str) {
    let setup = setup().set("LOG_FORMAT", format);
    let mut service = setup.start().await;
    let tokens = use_everything(&service).await;
    service.process.terminate().await;
    assert!(service.output().lines().count() > 20, "much is logged");
    assert_discreet(&service, &tokens);
}

#[tokio::test]
async fn the_json_log_tells_no_secret_no_token_and_nobodys_name() {
    scenario("json").await;
}

#[tokio::test]
async fn the_pretty_log_tells_no_secret_no_token_and_nobodys_name() {
    scenario("pretty").await;
}

/// What a library writes down below INFO is out of our hands, and changes with its version.
#[tokio::test]
async fn libraries_are_quiet_below_info_even_if_the_filter_names_them() {
    let setup = setup().set("LOG_FILTER", "trace,h2=trace,hyper=trace,tonic=trace");
    let mut service = setup.start().await;
    let tokens = use_everything(&service).await;
    let output = service.process.terminate().await;
    assert_discreet(&service, &tokens);
    for line in output.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let (level, target) = (&line["level"], line["target"].as_str().unwrap());
        let quiet = level != "DEBUG" && level != "TRACE";
        assert!(quiet || target.starts_with("video_session"), "{line}");
    }
}

#[tokio::test]
async fn a_start_that_fails_tells_no_secret() {
    let cases = [
        setup().file("data", "not a directory"),
        setup().set("GRPC_ADDR", "needle"),
        setup().set("MONGO_URI", "postgres://needle:needle@needle/needle"),
        setup().set(
            "MONGO_URI",
            "mongodb://needle:needle@127.0.0.1:1/?needle=needle",
        ),
        setup().set("MONGO_URI", "mongodb://needle:nee/dle@:needle/"),
        setup().set("VIDEO_JWT_PRIVATE_KEY_FILE", "needle.pem"),
        setup().set("LOG_FILTER", "needle=needle=needle"),
    ];
    for setup in cases {
        for args in [&["check-config"][..], &["serve"]] {
            let setup = setup.clone().args(args);
            let mut process = setup.spawn();
            // What starts all the same is stopped, once it has said what it has to say.
            let exit = process.exit_or(|line| line.contains("listening")).await;
            assert_silent_about(&exit, NEEDLE);
        }
    }
}

/// What is sent to a collector is as discreet as what is logged; tests/api/telemetry.rs receives it.
#[tokio::test]
async fn the_metrics_tell_nobodys_name() {
    let service = setup().start().await;
    let tokens = use_everything(&service).await;
    let metrics = service.admin("/metrics").await;
    assert_silent_about(&metrics, NEEDLE);
    for token in &tokens {
        assert_silent_about(&metrics, token);
    }
}
