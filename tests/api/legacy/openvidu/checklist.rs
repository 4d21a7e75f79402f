//! The older service's checklist, line by line.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Api, PUBLIC_URL, got, node_session, now_secs, password, says, setup, stage};
use crate::harness::{jwt_part, patiently};
use crate::openvidu_stub::Stub;

#[tokio::test]
async fn line_1_health_needs_no_token() {
    let stage = stage().await;
    assert_eq!(
        stage.api.get("/health").await,
        (200.try_into().unwrap(), json!({"status": "ok"}))
    );
    let (status, root) = stage.api.get("/").await;
    assert_eq!(
        (status.as_u16(), root),
        (200, json!({"message": "OpenVidu FastAPI POC running"}))
    );
    let metrics = stage.service.admin("/metrics").await;
    let counted = r#"video_session_legacy_calls_total{api="openvidu",route="GET /health"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn lines_2_and_3_a_login_answers_a_token_and_the_role() {
    let stage = stage().await;
    for (name, role) in [("doctor", "admin"), ("user", "user")] {
        let (status, body) = stage.api.login_with(name, &password(name)).await;
        assert_eq!(status, 200, "{body}");
        let fields: BTreeSet<_> = body.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            fields,
            ["access_token", "role", "token_type"]
                .map(ToOwned::to_owned)
                .into()
        );
        assert_eq!(
            (&body["token_type"], &body["role"]),
            (&json!("bearer"), &json!(role))
        );
    }
    for (name, password) in [
        ("user", "wrong"),
        ("nobody", "useruser"),
        ("user", ""),
        ("", ""),
    ] {
        says(
            &stage.api.login_with(name, password).await,
            401,
            "Invalid credentials",
        );
    }
}

#[tokio::test]
async fn line_4_a_token_has_three_claims_and_an_hour() {
    let stage = stage().await;
    let before = now_secs();
    let token = stage.api.login("doctor").await;
    let after = now_secs();
    assert_eq!(jwt_part(&token, 0), json!({"typ": "JWT", "alg": "HS256"}));
    let claims = jwt_part(&token, 1);
    let exp = claims["exp"].as_i64().unwrap();
    assert_eq!(
        claims,
        json!({"sub": "doctor", "role": "admin", "exp": exp})
    );
    assert!((before + 3600..=after + 3600).contains(&exp));
}

#[tokio::test]
async fn line_5_protected_answers_the_claims() {
    let stage = stage().await;
    let token = stage.api.login("user").await;
    let (status, body) = stage.api.protected(&format!("Bearer {token}")).await;
    assert_eq!(status, 200);
    let claims = jwt_part(&token, 1);
    assert_eq!(
        body,
        json!({"message": "Protected route accessed", "user": claims})
    );
    // Bad and expired ones: `users`.
    says(&stage.api.protected("Bearer x").await, 401, "Invalid token");
}

#[tokio::test]
async fn line_6_a_session_answers_a_connection_and_the_public_url() {
    let stage = stage().await;
    let token = stage.api.login("user").await;
    let (status, body) = stage.api.session(&token, "appointment-7").await;
    assert_eq!(status, 200, "{body}");
    let connection = body["token"].as_str().unwrap();
    assert!(
        connection.starts_with("wss://") && connection.contains("&token=tok_"),
        "{connection}"
    );
    let expected =
        json!({"sessionId": "appointment-7", "token": connection, "openviduUrl": PUBLIC_URL});
    assert_eq!(body, expected);
    // The other spelling.
    let request = stage
        .api
        .request_post("/api/video/session")
        .bearer_auth(&token);
    let (status, body) = got(request.json(&json!({"sessionId": "appointment-7"}))).await;
    assert_eq!(
        (status.as_u16(), &body["sessionId"]),
        (200, &json!("appointment-7"))
    );
}

#[tokio::test]
async fn line_7_a_second_caller_gets_another_connection_to_the_same_session() {
    let stage = stage().await;
    let (user, doctor) = (
        stage.api.login("user").await,
        stage.api.login("doctor").await,
    );
    let first = stage.api.joined(&user, "7").await;
    let second = stage.api.joined(&doctor, "7").await;
    assert_ne!(first, second);
    assert_eq!(node_session(&first), node_session(&second));
    let elsewhere = stage.api.joined(&user, "8").await;
    assert_ne!(node_session(&first), node_session(&elsewhere));
}

#[tokio::test]
async fn line_8_a_trial_makes_a_connection_on_the_node() {
    let stage = stage().await;
    let before = now_secs() * 1000;
    let (status, first) = stage.api.get("/test-openvidu").await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["id"], "poc-test-session");
    assert_eq!(first["sessionId"], "poc-test-session");
    assert!(first["createdAt"].as_i64().unwrap() >= before);
    for _ in 0..2 {
        let (status, later) = stage.api.get("/test-openvidu").await;
        assert_eq!(
            (status.as_u16(), later),
            (200, json!({"id": "poc-test-session"}))
        );
    }
    assert_eq!(stage.stub.roles(), ["PUBLISHER"; 3]);
}

#[tokio::test]
async fn line_9_the_older_settings_are_enough() {
    let stub = Stub::start().await;
    // Those that have a default are left out; every other one is the older service's.
    let service = setup(&stub.url())
        .unset("OPENVIDU_USERNAME")
        .unset("JWT_ALGORITHM")
        .unset("OPENVIDU_PUBLIC_URL")
        .start()
        .await;
    let api = Api::of(&service);
    let token = api.login("user").await;
    let (status, body) = api.session(&token, "1").await;
    assert_eq!(
        (status.as_u16(), &body["openviduUrl"]),
        (200, &json!(stub.url()))
    );
}

#[tokio::test]
async fn line_10_pages_of_the_configured_origins_may_call_with_credentials() {
    let stub = Stub::start().await;
    let service = setup(&stub.url())
        .set("LEGACY_CORS_ORIGINS", "https://portal.example.com")
        .start()
        .await;
    let api = Api::of(&service);
    for (origin, allowed) in [
        (
            "https://portal.example.com",
            Some("https://portal.example.com"),
        ),
        ("https://evil.example.com", None),
    ] {
        let request = api.request_get("/health").header("origin", origin);
        let answer = patiently(request.send()).await.unwrap();
        let header = |name| {
            answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        assert_eq!(header("access-control-allow-origin"), allowed);
        assert_eq!(header("access-control-allow-credentials"), Some("true"));
    }
}

/// Proves that the image's command starts the API from the environment and one mounted file, in a directory without `.env`. That the
/// image itself can be built and run is not proved here: no container runtime is needed for the tests.
#[tokio::test]
async fn line_11_the_image_starts_it_from_the_environment() {
    let dockerfile = include_str!("../../../../Dockerfile");
    assert!(dockerfile.contains(r#"ENTRYPOINT ["/usr/local/bin/video-session"]"#));
    assert!(dockerfile.contains(r#"CMD ["serve"]"#));
    let stub = Stub::start().await;
    let setup = setup(&stub.url());
    let (users, data) = (setup.path("users"), setup.path("volume"));
    let service = setup
        .args(&["serve"])
        .set("LEGACY_USERS_FILE", users.display())
        .set("DATA_DIR", data.display())
        .set("LOG_FORMAT", "json")
        .start()
        .await;
    let api = Api::of(&service);
    let token = api.login("doctor").await;
    api.joined(&token, "1").await;
}
