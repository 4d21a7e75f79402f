//! What backends do all day, by HTTP.

use reqwest::Client;
use reqwest::header::HeaderValue;
use serde_json::json;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;

use super::{Backend, create, setup};
use crate::harness::{SECRET, get};

#[tokio::test]
async fn a_consultation_from_its_creation_to_its_end() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let created = backend
        .post("/v1/sessions", &create("appointment-1"))
        .await
        .ok();
    assert_eq!(created.json["created"], true);
    let session = &created.json["session"];
    let id = session["sessionId"].as_str().unwrap();
    // Every field is there, also with its default.
    assert_eq!(session["version"], "1");
    assert_eq!(session["labels"], json!({}));
    assert_eq!(session["state"], "SESSION_STATE_CREATED");
    assert_eq!(session["endToEndEncrypted"], false);
    assert_eq!(created.headers["etag"], "\"1\"");

    let again = backend
        .post("/v1/sessions", &create("appointment-1"))
        .await
        .ok();
    assert_eq!(again.json["created"], false);
    assert_eq!(again.json["session"], *session);

    let who = json!({"role": "ROLE_DOCTOR", "userId": "doctor-1", "display_name": "Dr. Ruiz"});
    let joined = backend
        .post(&format!("/v1/sessions/{id}:join"), &who)
        .await
        .ok();
    let link = joined.json["joinUrl"].as_str().unwrap();
    assert!(link.contains(id) && link.contains("?token="), "{link}");
    assert_eq!(joined.json["expiresIn"], "3600s");
    assert_eq!(joined.json["role"], "ROLE_DOCTOR");

    for path in [
        format!("/v1/sessions/{id}"),
        "/v1/appointments/appointment-1/session".to_owned(),
    ] {
        let got = backend.get(&path).await.ok();
        assert_eq!(got.json["session"]["sessionId"], id, "{path}");
        assert_eq!(got.headers["etag"], "\"2\"");
    }
    let listed = backend
        .get("/v1/sessions?state=SESSION_STATE_CREATED&userId=doctor-1&page_size=5&createdAfter=2020-01-01T00:00:00Z")
        .await
        .ok();
    assert_eq!(listed.json["sessions"][0]["sessionId"], id);
    let none = backend.get("/v1/sessions?appointmentId=other").await.ok();
    assert_eq!(
        none.json,
        json!({"sessions": [], "nextPageToken": "", "unreadableSessionIds": []})
    );

    let ended = backend
        .post(
            &format!("/v1/sessions/{id}:end"),
            &json!({"reason": "finished"}),
        )
        .await
        .ok();
    assert_eq!(ended.json["session"]["endCause"], "END_CAUSE_BACKEND");
    let late = backend.post(&format!("/v1/sessions/{id}:join"), &who).await;
    late.refused(400, Reason::SessionEnded);

    // gRPC has the same session.
    let found = get(&mut service.client(), id).await;
    assert_eq!(found.unwrap().end_reason, "finished");
}

#[tokio::test]
async fn an_update_with_if_match_needs_that_version() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let id = backend.create("appointment-1").await;
    let path = format!("/v1/sessions/{id}");
    let label = |value: &str| json!({"labels": {"clinic": value}}).to_string();
    let update = async |backend: &Backend, value| backend.send("PATCH", &path, label(value)).await;

    let matching = backend.with("if-match", "\"1\"");
    let updated = update(&matching, "north").await.ok();
    assert_eq!(updated.headers["etag"], "\"2\"");
    assert_eq!(
        updated.json["session"]["labels"],
        json!({"clinic": "north"})
    );
    update(&matching, "south")
        .await
        .refused(412, Reason::VersionMismatch);
    update(&backend.with("if-match", "*"), "south").await.ok();

    let body = json!({"labels": {"clinic": "west"}, "expectedVersion": "1"}).to_string();
    let refused = backend.send("PATCH", &path, body.clone()).await;
    refused.refused(409, Reason::VersionMismatch);
    let both = backend
        .with("if-match", "\"3\"")
        .send("PATCH", &path, body)
        .await;
    let faults = both.refused(400, Reason::Validation);
    assert_eq!(faults[0].0, "expected_version");
    for broken in [
        "W/\"x\"",
        "3",
        "\"3",
        "\"*\"",
        "\"3\", \"4\"",
        "",
        "*, \"3\"",
    ] {
        let got = update(&backend.with("if-match", broken), "west").await;
        let faults = got.refused(400, Reason::Validation);
        assert_eq!(faults[0].0, "if-match", "{broken}");
    }
    let twice = backend.with("if-match", "\"3\"").with("if-match", "\"99\"");
    update(&twice, "west")
        .await
        .refused(400, Reason::Validation);
    let weak = update(&backend.with("if-match", "W/\"3\""), "west")
        .await
        .ok();
    assert_eq!(weak.headers["etag"], "\"4\"");
    let elsewhere = backend.with("if-match", "\"4\"");
    let got = elsewhere.send("POST", &format!("{path}:end"), "").await;
    assert_eq!(got.refused(400, Reason::Validation)[0].0, "if-match");
    let nulls = json!({"sessionId": null, "expectedVersion": null, "labels": {"clinic": "east"}});
    elsewhere.send("PATCH", &path, nulls.to_string()).await.ok();
    let mask = json!({"updateMask": "labels, doctor_id", "doctorId": "doctor-2"}).to_string();
    let masked = backend.send("PATCH", &path, mask).await.ok();
    assert_eq!(masked.json["session"]["doctorId"], "doctor-2");
    assert_eq!(masked.json["session"]["labels"], json!({}));
}

#[tokio::test]
async fn the_secret_may_be_a_bearer_token_too() {
    let setup = setup().set("INTERNAL_SECRET_PREVIOUS", "the-secret-before");
    let service = setup.start().await;
    let nobody = Backend::without_secret(&service);
    let path = "/v1/sessions";
    nobody
        .get(path)
        .await
        .refused(401, CallFault::SecretMissing);
    assert_eq!(nobody.get(path).await.headers["www-authenticate"], "Bearer");
    for secret in [SECRET, "the-secret-before"] {
        nobody
            .with("authorization", &format!("Bearer {secret}"))
            .get(path)
            .await
            .ok();
        nobody
            .with("authorization", &format!("bearer  {secret}"))
            .get(path)
            .await
            .ok();
        nobody
            .with("x-internal-secret", secret)
            .get(path)
            .await
            .ok();
    }
    for wrong in ["Bearer wrong", "Bearer", SECRET, "Basic x", "Bearer "] {
        let got = nobody.with("authorization", wrong).get(path).await;
        got.refused(401, CallFault::SecretInvalid);
    }
    // Two may come from two parties.
    let both = nobody.with("x-internal-secret", SECRET);
    let both = both.with("authorization", &format!("Bearer {SECRET}"));
    both.get(path).await.refused(401, CallFault::SecretInvalid);
}

#[tokio::test]
async fn http_2_is_spoken_as_well() {
    let service = setup().start().await;
    let mut backend = Backend::of(&service);
    backend.client = Client::builder().http2_prior_knowledge().build().unwrap();
    let id = backend.create("appointment-1").await;
    let got = backend.get(&format!("/v1/sessions/{id}")).await.ok();
    assert_eq!(got.json["session"]["appointmentId"], "appointment-1");
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_if_they_are_listed() {
    let portal = "https://portal.example.com";
    let asks = |backend: &Backend, origin: &str| {
        let asking = backend.with("origin", origin);
        let asking = asking.with("access-control-request-method", "POST");
        asking.with(
            "access-control-request-headers",
            "x-internal-secret,content-type",
        )
    };
    let allowed = async |backend: Backend| {
        let answer = backend
            .request("OPTIONS", "/v1/sessions")
            .send()
            .await
            .unwrap();
        answer.headers().get("access-control-allow-origin").cloned()
    };
    let service = setup().start().await;
    let backend = Backend::without_secret(&service);
    assert_eq!(allowed(asks(&backend, portal)).await, None);
    service.process.kill().await;

    let service = setup().set("REST_CORS_ORIGINS", portal).start().await;
    let backend = Backend::without_secret(&service);
    let expected = HeaderValue::from_static("https://portal.example.com");
    assert_eq!(
        allowed(asks(&backend, portal)).await,
        Some(expected.clone())
    );
    assert_eq!(
        allowed(asks(&backend, "https://other.example.com")).await,
        None
    );
    let got = Backend::of(&service)
        .with("origin", portal)
        .get("/v1/sessions")
        .await
        .ok();
    assert_eq!(got.headers["access-control-allow-origin"], expected);
}

#[tokio::test]
async fn the_edge_is_off_unless_it_has_an_address() {
    let service = crate::harness::Setup::new().start().await;
    assert_eq!(service.rest, None);
    // The address for browsers has none of it.
    let url = format!("http://{}/v1/sessions", service.http);
    let answer = Client::new()
        .get(url)
        .header("x-internal-secret", SECRET)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn calls_are_counted_and_logged_as_over_grpc() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    backend.get("/v1/nodes").await.ok();
    backend.get("/v1/sessions/sess_unknown").await;
    let metrics = service.admin("/metrics").await;
    for (method, code) in [
        ("SfuNodeService/ListNodes", "OK"),
        ("VideoSessionService/GetSession", "NOT_FOUND"),
    ] {
        let line = format!(
            "video_session_rpcs_total{{method=\"/videosession.v1.{method}\",code=\"{code}\"}} 1\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(!metrics.contains("CANCELLED"), "{metrics}");
}
