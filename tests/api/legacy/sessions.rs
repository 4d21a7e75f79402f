//! The Telemedicine Video Call Service. Its lines 10 to 16 are about its page: tests/browser/legacy-sessions.test.mjs.

use std::collections::BTreeSet;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use video_session::proto::v1;

use crate::harness::{SECRET, Service, Setup, end, jwt_part, patiently};

pub(super) fn setup() -> Setup {
    Setup::new()
        .set("LEGACY_APIS", "sessions")
        .set("LEGACY_ADDR", "127.0.0.1:0")
}

/// A backend of the older service.
#[derive(Clone)]
struct Backend {
    client: Client,
    base: String,
    secret: Option<&'static str>,
}

type Got = (StatusCode, Value);

impl Backend {
    fn of(service: &Service) -> Self {
        let addr = service.legacy.expect("LEGACY_ADDR is set");
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            client,
            base: format!("http://{addr}"),
            secret: Some(SECRET),
        }
    }

    async fn send(&self, path: &str, body: String) -> Got {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body);
        if let Some(secret) = self.secret {
            request = request.header("X-Internal-Secret", secret);
        }
        let answer = patiently(request.send()).await.unwrap();
        let status = answer.status();
        (status, patiently(answer.json()).await.unwrap())
    }

    async fn create(&self, body: Value) -> Got {
        self.send("/sessions", body.to_string()).await
    }

    /// Creates a session and answers its id.
    async fn created(&self, appointment_id: &str) -> String {
        let (status, session) = self.create(appointment(appointment_id)).await;
        assert_eq!(status, 200, "{session}");
        session["sessionId"].as_str().unwrap().to_owned()
    }

    async fn join(&self, session_id: &str, body: Value) -> Got {
        let path = format!("/sessions/{session_id}/join");
        self.send(&path, body.to_string()).await
    }
}

fn appointment(appointment_id: &str) -> Value {
    json!({"appointmentId": appointment_id, "doctorId": "doctor-1", "patientId": "patient-1"})
}

fn who(role: &str, user_id: &str) -> Value {
    json!({"role": role, "userId": user_id})
}

fn says(got: Got, status: u16, text: &str) {
    assert_eq!(got.0.as_u16(), status, "{}", got.1);
    assert_eq!(got.1, json!({"message": text}));
}

#[tokio::test]
async fn line_1_a_create_answers_four_fields() {
    let service = setup()
        .set("CLIENT_BASE_URL", "https://video.example.com")
        .start()
        .await;
    let (status, session) = Backend::of(&service)
        .create(appointment("appointment-1"))
        .await;
    assert_eq!(status, 200);
    let fields: BTreeSet<_> = session
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        ["baseUrl", "roomName", "sessionId", "sfuNodeId"].into()
    );
    let id = session["sessionId"].as_str().unwrap();
    assert_eq!(
        session["baseUrl"],
        format!("https://video.example.com/join/{id}")
    );
    assert_eq!(session["sfuNodeId"], "sfu-1");
    assert!(!session["roomName"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn line_2_a_missing_or_wrong_secret_is_401() {
    let service = setup().start().await;
    let mut backend = Backend::of(&service);
    let id = backend.created("appointment-1").await;
    for (secret, text) in [
        (None, "Unauthorized: Missing X-Internal-Secret header"),
        (
            Some("wrong"),
            "Unauthorized: Invalid X-Internal-Secret header",
        ),
    ] {
        backend.secret = secret;
        says(
            backend.create(appointment("appointment-2")).await,
            401,
            text,
        );
        says(
            backend.join(&id, who("doctor", "doctor-1")).await,
            401,
            text,
        );
        // Before anything of the body is looked at.
        says(backend.send("/sessions", "{".to_owned()).await, 401, text);
    }
}

#[tokio::test]
async fn line_3_a_missing_field_is_400() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let text = "Missing required fields: appointmentId, doctorId, patientId";
    for field in ["appointmentId", "doctorId", "patientId"] {
        for nothing in [Value::Null, json!(""), json!("  "), json!(false), json!({})] {
            let mut body = appointment("appointment-1");
            body[field] = nothing;
            says(backend.create(body).await, 400, text);
        }
    }
    says(backend.send("/sessions", String::new()).await, 400, text);
    let (status, _) = backend.send("/sessions", "[".to_owned()).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn line_4_a_repeated_appointment_gives_the_same_session() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let first = backend.create(appointment("appointment-1")).await;
    assert_eq!(backend.create(appointment("appointment-1")).await, first);
    let documents = json!({
        "appointmentId": {"_id": "appointment-1"},
        "doctorId": {"_id": "profile-1", "user": {"_id": "doctor-1", "name": "Dr. Ruiz"}},
        "patientId": {"_id": "profile-2", "user": "patient-1"},
    });
    assert_eq!(backend.create(documents).await, first);
    // The older service replaced the doctor here.
    let mut other = appointment("appointment-1");
    other["doctorId"] = "doctor-2".into();
    let (status, refused) = backend.create(other).await;
    assert_eq!(status, 409);
    assert!(
        refused["message"].as_str().unwrap().contains("doctor_id"),
        "{refused}"
    );
    // And here, it gave the ended session, which nobody could join.
    let id = first.1["sessionId"].as_str().unwrap();
    end(&mut service.client(), id, "over").await;
    assert_ne!(backend.created("appointment-1").await, id);
}

#[tokio::test]
async fn line_5_concurrent_creates_make_one_session() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let mut creates = JoinSet::new();
    for _ in 0..50 {
        let backend = backend.clone();
        creates.spawn(async move { backend.created("appointment-1").await });
    }
    let ids: BTreeSet<_> = patiently(creates.join_all()).await.into_iter().collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn line_6_sessions_are_spread_over_the_nodes_and_stay() {
    let service = setup()
        .set("SFU_NODES", "sfu-1, sfu-2,,sfu-3")
        .start()
        .await;
    let backend = Backend::of(&service);
    let mut nodes = Vec::new();
    for number in 0..6 {
        let body = appointment(&format!("appointment-{number}"));
        let (_, session) = backend.create(body.clone()).await;
        assert_eq!(backend.create(body).await.1, session);
        nodes.push(session["sfuNodeId"].as_str().unwrap().to_owned());
    }
    let distinct: BTreeSet<_> = nodes.iter().map(String::as_str).collect();
    assert_eq!(distinct, ["sfu-1", "sfu-2", "sfu-3"].into());
    assert_eq!(nodes[..3], nodes[3..]);
}

#[tokio::test]
async fn lines_7_and_9_a_join_answers_a_link_whose_token_says_who_may_what() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let (_, session) = backend.create(appointment("appointment-1")).await;
    let id = session["sessionId"].as_str().unwrap();
    for (role, user_id, permissions) in [
        (
            "doctor",
            "doctor-1",
            json!(["host", "mute-others", "end-call"]),
        ),
        ("patient", "patient-1", json!(["participant"])),
    ] {
        let (status, joined) = backend.join(id, who(role, user_id)).await;
        assert_eq!(status, 200);
        assert_eq!(joined["expiresIn"], 3600);
        assert_eq!(joined.as_object().unwrap().len(), 2);
        let link = joined["joinUrl"].as_str().unwrap();
        let base = session["baseUrl"].as_str().unwrap();
        let token = link.strip_prefix(&format!("{base}?token=")).unwrap();
        assert_eq!(jwt_part(token, 0)["alg"], "HS256");
        let claims = jwt_part(token, 1);
        assert_eq!(claims["sub"], user_id);
        assert_eq!(claims["sessionId"], id);
        assert_eq!(claims["roomName"], session["roomName"]);
        assert_eq!(claims["role"], role);
        assert_eq!(claims["permissions"], permissions);
        let secs = |claim: &str| claims[claim].as_i64().unwrap();
        assert_eq!(secs("exp") - secs("iat"), 3600);
    }
    // A document instead of an id.
    let document = json!({"role": "doctor", "userId": {"_id": "doctor-1"}});
    assert_eq!(backend.join(id, document).await.0, 200);
}

#[tokio::test]
async fn line_8_who_may_not_join_is_told_why_in_the_order_of_the_older_service() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let id = backend.created("appointment-1").await;
    let invalid_role = "Invalid role. Must be \"doctor\" or \"patient\"";
    for role in [json!(null), json!("admin"), json!("ROLE_DOCTOR"), json!(1)] {
        let body = json!({"role": role});
        says(backend.join("sess_unknown", body).await, 400, invalid_role);
    }
    let missing = "Missing required field: userId";
    says(
        backend
            .join("sess_unknown", json!({"role": "doctor"}))
            .await,
        400,
        missing,
    );
    let unknown = "Session not found or has ended";
    for other in ["sess_unknown", "no%20id", "1"] {
        says(
            backend.join(other, who("doctor", "doctor-1")).await,
            404,
            unknown,
        );
    }
    for (role, user_id) in [
        ("doctor", "patient-1"),
        ("patient", "doctor-1"),
        ("doctor", "admin-1"),
    ] {
        let text = format!("User does not match {role} for this session");
        says(backend.join(&id, who(role, user_id)).await, 403, &text);
    }
    end(&mut service.client(), &id, "over").await;
    says(
        backend.join(&id, who("doctor", "doctor-1")).await,
        404,
        unknown,
    );
}

#[tokio::test]
async fn line_10_an_old_address_of_the_page_leads_to_the_page() {
    let service = setup()
        .set("CLIENT_BASE_URL", "https://video.example.com")
        .start()
        .await;
    let backend = Backend::of(&service);
    let page = format!("{}/join/sess_1?token=a.b.c", backend.base);
    let answer = backend.client.get(page).send().await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(
        answer.headers()["location"],
        "https://video.example.com/join/sess_1?token=a.b.c"
    );
    let page = format!("{}/join/%2F%2Fevil.example", backend.base);
    assert_eq!(backend.client.get(page).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn what_the_older_service_did_not_know_is_told_in_its_way() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let id = backend.created("appointment-1").await;
    let mut client = service.client();
    let removal = v1::RemoveParticipantRequest {
        session_id: id.clone(),
        user_id: "patient-1".to_owned(),
        keep_out: true,
    };
    client.remove_participant(removal).await.unwrap();
    let (status, told) = backend.join(&id, who("patient", "patient-1")).await;
    assert_eq!(status, 403);
    assert!(
        told["message"].as_str().unwrap().contains("removed"),
        "{told}"
    );

    let far = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let update = v1::UpdateSessionRequest {
        session_id: id.clone(),
        scheduled_start_time: Some(far.into()),
        ..Default::default()
    };
    client.update_session(update).await.unwrap();
    let (status, told) = backend.join(&id, who("doctor", "doctor-1")).await;
    assert_eq!(status, 403);
    assert!(
        told["message"].as_str().unwrap().contains("opens"),
        "{told}"
    );

    let drain = v1::DrainNodeRequest {
        node_id: "sfu-1".to_owned(),
        ..Default::default()
    };
    service.nodes().drain_node(drain).await.unwrap();
    let (status, told) = backend.create(appointment("appointment-2")).await;
    assert_eq!(status, 503);
    assert_eq!(told["message"], "Failed to create session");
}

#[tokio::test]
async fn line_17_sessions_are_kept_over_a_restart() {
    let setup = setup();
    let service = setup.start().await;
    let id = Backend::of(&service).created("appointment-1").await;
    service.process.kill().await;
    let service = setup.start().await;
    let backend = Backend::of(&service);
    assert_eq!(backend.created("appointment-1").await, id);
    assert_eq!(backend.join(&id, who("patient", "patient-1")).await.0, 200);
}

#[tokio::test]
async fn line_18_health_needs_no_secret() {
    let service = setup().start().await;
    let url = format!("{}/health", Backend::of(&service).base);
    let answer: Value = Client::new()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        answer,
        json!({"status": "OK", "message": "Video service is running"})
    );
}

#[tokio::test]
async fn line_19_the_kind_of_node_is_a_setting() {
    let nodes =
        "[[node]]\nid = \"clinic-1\"\ndriver = \"builtin\"\nurl = \"wss://one.example.com\"\n";
    let service = setup()
        .file("nodes.toml", nodes)
        .set("SFU_NODES_FILE", "nodes.toml")
        .start()
        .await;
    let (_, session) = Backend::of(&service)
        .create(appointment("appointment-1"))
        .await;
    assert_eq!(session["sfuNodeId"], "clinic-1", "{session}");
}

#[tokio::test]
async fn calls_are_counted_and_no_secret_is_shown_anywhere() {
    let service = setup().set("LOG_FILTER", "trace").start().await;
    let mut backend = Backend::of(&service);
    let id = backend.created("appointment-1").await;
    let (_, joined) = backend.join(&id, who("doctor", "doctor-1")).await;
    let link = joined["joinUrl"].as_str().unwrap();
    let (_, token) = link.split_once("?token=").unwrap();
    let old = format!("{}/join/{id}?token={token}", backend.base);
    backend.client.get(old).send().await.unwrap();
    backend.secret = Some("a-wrong-needle");
    let (_, refused) = backend.create(appointment("appointment-2")).await;
    assert!(!refused.to_string().contains("needle"));
    let debug = format!("{}/debug/secret", backend.base);
    let gone = backend.client.get(debug).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    let told: Value = gone.json().await.unwrap();
    assert_eq!(told, json!({"message": "Not found"}));

    let metrics = service.admin("/metrics").await;
    for (route, calls) in [
        ("POST /sessions", 2),
        ("POST /sessions/{sessionId}/join", 1),
        ("GET /join/{sessionId}", 1),
    ] {
        let line = format!(
            "video_session_legacy_calls_total{{api=\"sessions\",route=\"{route}\"}} {calls}\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let log = service.process.output();
    for needle in [SECRET, "a-wrong-needle", token, "doctor-1", "patient-1"] {
        assert!(!log.contains(needle), "{needle}");
    }
}
