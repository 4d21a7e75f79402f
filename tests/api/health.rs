//! grpc.health.v1, as probes use it.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use video_session::proto::v1::video_session_service_client::VideoSessionServiceClient;
use video_session::rpc::{NODE_SERVICE_NAME, SERVICE_NAME};

use crate::harness::{Setup, channel, create, patiently};

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn liveness_and_readiness_are_served() {
    let service = Setup::new().start().await;
    let mut health = service.health_client();
    for name in ["", SERVICE_NAME, NODE_SERVICE_NAME] {
        let answer = health.check(about(name)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn a_check_of_an_unknown_service_is_not_found() {
    let service = Setup::new().start().await;
    for name in ["videosession.v1", "grpc.health.v1.Health", "x"] {
        let outcome = service.health_client().check(about(name)).await;
        assert_eq!(outcome.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test]
async fn a_watch_begins_with_what_is() {
    let service = Setup::new().start().await;
    for (name, expected) in [
        ("", ServingStatus::Serving),
        (SERVICE_NAME, ServingStatus::Serving),
        (NODE_SERVICE_NAME, ServingStatus::Serving),
        ("unknown", ServingStatus::ServiceUnknown),
    ] {
        let watch = service.health_client().watch(about(name)).await;
        let first = patiently(watch.unwrap().get_mut().message()).await;
        assert_eq!(first.unwrap().unwrap().status(), expected, "{name}");
    }
}

#[tokio::test]
async fn the_health_address_serves_health_and_nothing_else() {
    let service = Setup::new().set("HEALTH_ADDR", "127.0.0.1:0").start().await;
    let channel = channel(service.health.unwrap());
    let mut health = HealthClient::new(channel.clone());
    for name in ["", SERVICE_NAME] {
        let answer = health.check(about(name)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let mut sessions = VideoSessionServiceClient::new(channel);
    let outcome = sessions.create_session(create("appointment-1")).await;
    assert_eq!(outcome.unwrap_err().code(), Code::Unimplemented);
}
