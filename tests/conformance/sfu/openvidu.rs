//! The OpenVidu driver against the stub, and the stub against OpenVidu's own client.

use std::any::Any;
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use video_session::domain::role::Role;
use video_session::sfu::openvidu::{Config, OpenVidu};
use video_session::sfu::{NodeTicket, Outage, SfuDriver, SfuError, WebhookKind};
use wiremock::matchers::{any, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Joined, LIMIT, Stage, Tried, admit, new_room, user};
use crate::openvidu_stub::{SECRET, Stub};

fn driver(url: &str, secret: &str) -> OpenVidu {
    OpenVidu::new(&Config {
        api_url: url.to_owned(),
        public_url: Some("wss://media.example".to_owned()),
        secret: SecretString::from(secret),
        webhook_secret: Some(SecretString::from("the hook's secret")),
    })
    .unwrap()
}

pub(super) async fn tried() -> Tried {
    let stub = Stub::start().await;
    Tried {
        driver: Arc::new(driver(&stub.url(), SECRET)),
        stage: Some(Arc::new(stub)),
        limit: LIMIT,
    }
}

/// A user who joined, by their connection.
struct InSession {
    stub: Stub,
    room: String,
    connection: String,
}

impl Joined for InSession {
    fn is_heard(&self) -> bool {
        self.stub
            .publishes(&self.room, &self.connection, "audioActive")
    }

    fn is_seen(&self) -> bool {
        self.stub
            .publishes(&self.room, &self.connection, "videoActive")
    }
}

#[async_trait]
impl Stage for Stub {
    async fn join(&self, room: &str, ticket: &NodeTicket) -> Box<dyn Joined> {
        let connection = self.activate(ticket.token.expose_secret());
        Box::new(InSession {
            stub: self.clone(),
            room: room.to_owned(),
            connection: connection.unwrap_or_default(),
        })
    }

    async fn join_as_stranger(&self, room: &str) -> Box<dyn Any + Send> {
        self.connect_stranger(room).await;
        Box::new(())
    }

    fn with_wrong_secret(&self) -> Arc<dyn SfuDriver> {
        Arc::new(driver(&self.url(), "another secret"))
    }
}

#[tokio::test]
async fn a_room_that_vanishes_is_made_once_more() {
    let stub = Stub::start().await;
    let driver = driver(&stub.url(), SECRET);
    let (room, patient) = (new_room(), admit("patient", Role::Patient));
    stub.state.lock().unwrap().sessions_to_lose = 1;
    let ticket = driver.issue_ticket(&room, &patient).await.unwrap().unwrap();
    assert_eq!(ticket.url, "wss://media.example");
    assert!(ticket.token.expose_secret().contains(&room));
    let make = "POST /openvidu/api/sessions".to_owned();
    let add = format!("POST /openvidu/api/sessions/{room}/connection");
    assert_eq!(
        stub.requests().await,
        [make.clone(), add.clone(), make, add]
    );
    stub.state.lock().unwrap().sessions_to_lose = 2;
    let outcome = driver.issue_ticket(&room, &patient).await;
    assert_eq!(outcome.err(), Some(SfuError::RoomNotFound));
}

#[tokio::test]
async fn roles_and_data_are_told_as_openvidu_names_them() {
    let stub = Stub::start().await;
    let driver = driver(&stub.url(), SECRET);
    let roles = [
        (Role::Doctor, "MODERATOR"),
        (Role::Patient, "PUBLISHER"),
        (Role::Guest, "PUBLISHER"),
        (Role::Interpreter, "PUBLISHER"),
        (Role::Observer, "SUBSCRIBER"),
    ];
    for (role, name) in roles {
        let (room, http) = (new_room(), reqwest::Client::new());
        driver.issue_ticket(&room, &admit("u", role)).await.unwrap();
        let url = format!("{}/openvidu/api/sessions/{room}/connection", stub.url());
        let request = http.get(url).basic_auth("OPENVIDUAPP", Some(SECRET));
        let list: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(list["content"][0]["role"], name);
        assert_eq!(list["content"][0]["record"], false);
        let data = r#"{"sequence":7,"user_id":"u"}"#;
        assert_eq!(list["content"][0]["serverData"], data);
    }
}

#[tokio::test]
async fn removing_takes_unused_tickets_too() {
    let stub = Stub::start().await;
    let driver = driver(&stub.url(), SECRET);
    let room = new_room();
    let patient = admit("patient", Role::Patient);
    let used = driver.issue_ticket(&room, &patient).await.unwrap().unwrap();
    let unused = driver.issue_ticket(&room, &patient).await.unwrap().unwrap();
    let doctor = driver
        .issue_ticket(&room, &admit("doctor", Role::Doctor))
        .await;
    stub.activate(used.token.expose_secret());
    stub.activate(doctor.unwrap().unwrap().token.expose_secret());
    driver
        .remove_participant(&room, &user("patient"))
        .await
        .unwrap();
    stub.activate(unused.token.expose_secret());
    let all = driver.list_participants(&room).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].user_id, user("doctor"));
}

#[tokio::test]
async fn errors_come_with_empty_json_and_text_bodies() {
    let html = "<html>Bad gateway: Basic T1BFTl</html>";
    let cases = [
        (502, html, SfuError::Unavailable(Outage::Status(502))),
        (503, "", SfuError::Unavailable(Outage::Status(503))),
        (
            500,
            r#"{"status":500,"error":"x"}"#,
            SfuError::Unexpected { status: 500 },
        ),
        (400, "", SfuError::Unexpected { status: 400 }),
        (302, "", SfuError::Unexpected { status: 302 }),
        (403, html, SfuError::Refused),
        (200, html, SfuError::Malformed),
        (200, "", SfuError::Malformed),
        (200, r#"{"VERSION":1}"#, SfuError::Malformed),
    ];
    for (status, body, expected) in cases {
        let server = MockServer::start().await;
        let template = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(any())
            .respond_with(template)
            .mount(&server)
            .await;
        let driver = driver(&server.uri(), SECRET);
        let outcome = driver.list_rooms().await;
        assert_eq!(outcome, Err(expected), "{status} {body}");
        let health = driver.check_health().await;
        let is_config = body.contains("VERSION");
        assert_eq!(health.is_ok(), is_config, "{status} {body}");
        assert!(
            driver
                .issue_ticket("r", &admit("u", Role::Guest))
                .await
                .is_err()
        );
    }
}

/// A proxy's page, or another server at this address, says nothing about what is on the node.
#[tokio::test]
async fn only_openvidus_own_answers_say_that_something_is_absent() {
    let html = "<html>not found</html>";
    let json = r#"{"status":404,"error":"Not Found"}"#;
    for (status, body, is_absent) in [
        (404, "", true),
        (404, json, true),
        (404, html, false),
        (404, "404 page not found", false),
    ] {
        let server = MockServer::start().await;
        let template = ResponseTemplate::new(status).set_body_string(body);
        Mock::given(any())
            .respond_with(template)
            .mount(&server)
            .await;
        let driver = driver(&server.uri(), SECRET);
        let outcomes = [
            driver.list_participants("r").await.map(|_| ()),
            driver.remove_participant("r", &user("patient")).await,
            driver.end_room("r").await,
        ];
        let expected = if is_absent {
            Ok(())
        } else {
            Err(SfuError::Unexpected { status })
        };
        assert_eq!(outcomes, [expected; 3], "{body}");
    }
}

#[tokio::test]
async fn a_connection_whose_room_vanished_is_removed() {
    let list = r#"{"content":[{"id":"con_1","status":"active"}]}"#;
    for (body, is_absent) in [("", true), ("<html>bad request</html>", false)] {
        let server = MockServer::start().await;
        for (name, status, body) in [("GET", 200, list), ("DELETE", 400, body)] {
            let template = ResponseTemplate::new(status).set_body_string(body);
            Mock::given(method(name))
                .respond_with(template)
                .mount(&server)
                .await;
        }
        let driver = driver(&server.uri(), SECRET);
        let outcome = driver.remove_participant("r", &user("con_1")).await;
        let expected = if is_absent {
            Ok(())
        } else {
            Err(SfuError::Unexpected { status: 400 })
        };
        assert_eq!(outcome, expected, "{body}");
    }
}

#[test]
fn recorded_webhooks_are_read() {
    const RECORDED: &str = include_str!("../../fixtures/sfu/openvidu-2.30.0-webhooks.jsonl");
    let driver = driver("https://node.example", SECRET);
    for body in RECORDED.lines() {
        let event = driver.verify_webhook(body.as_bytes(), b"Bearer the hook's secret");
        let event = event.unwrap();
        let recorded: Value = serde_json::from_str(body).unwrap();
        assert_eq!(event.room, recorded["sessionId"].as_str().unwrap());
        assert!(matches!(
            event.kind,
            WebhookKind::RoomStarted | WebhookKind::RoomFinished
        ));
    }
}

/// Were the stub not what OpenVidu's own client expects, the suite would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs OpenVidu's client; .ci/run installs it"]
async fn openvidus_own_client_takes_the_stub_for_openvidu() {
    let stub = Stub::start().await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/peers/openvidu-client/client.mjs"
    );
    let url = stub.url();
    let run = move || Command::new("node").args([script, &url, SECRET]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let output = output.expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    // The client says on the same output what it does.
    assert_eq!(said.lines().last(), Some("all as expected"));
}
