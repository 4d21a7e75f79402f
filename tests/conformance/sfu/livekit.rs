//! The LiveKit driver against a real livekit-server, with real participants.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::{EncodingKey, Header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::time::{Instant, sleep};
use video_session::domain::role::Role;
use video_session::sfu::bounded::{Bounded, Limits};
use video_session::sfu::livekit::{Config, LiveKit};
use video_session::sfu::{NodeTicket, Outage, SfuDriver, SfuError, WebhookKind};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{Joined, LIMIT, Stage, Tried, admit, is_in, new_room, user};
use crate::livekit_server::{API_KEY, API_SECRET, LiveKitServer, Options, Participant};

fn driver(server: &LiveKitServer, secret: &str) -> LiveKit {
    LiveKit::new(&Config {
        api_url: server.http_url(),
        public_url: Some(server.ws_url()),
        api_key: API_KEY.to_owned(),
        api_secret: SecretString::from(secret),
    })
    .unwrap()
}

pub(super) async fn tried() -> Tried {
    let server = LiveKitServer::start(Options::default()).await;
    Tried {
        driver: Arc::new(driver(&server, API_SECRET)),
        stage: Some(Arc::new(server)),
        limit: LIMIT,
    }
}

impl Joined for Participant {
    fn is_heard(&self) -> bool {
        self.is_seen() && !self.said().iter().any(|said| said == "muted MICROPHONE")
    }

    /// They publish both, or nothing.
    fn is_seen(&self) -> bool {
        let published = |said: &&String| *said == "published";
        self.said().iter().filter(published).count() == 2
    }
}

#[async_trait]
impl Stage for LiveKitServer {
    async fn join(&self, _room: &str, ticket: &NodeTicket) -> Box<dyn Joined> {
        let participant = Participant::join(&ticket.url, ticket.token.expose_secret());
        until(|| participant.said().iter().any(|said| said == "connected")).await;
        Box::new(participant)
    }

    async fn join_as_stranger(&self, room: &str) -> Box<dyn Any + Send> {
        let now = jsonwebtoken::get_current_timestamp();
        let claims = json!({"iss": API_KEY, "sub": "stranger", "nbf": now - 60, "exp": now + 60,
            "video": {"room": room, "roomJoin": true}});
        let key = EncodingKey::from_secret(API_SECRET.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
        let participant = Participant::join(&self.ws_url(), &token);
        until(|| participant.said().iter().any(|said| said == "connected")).await;
        Box::new(participant)
    }

    fn with_wrong_secret(&self) -> Arc<dyn SfuDriver> {
        Arc::new(driver(self, "another secret of 32 characters!"))
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not happen");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_server_that_makes_rooms_by_itself_is_refused() {
    let options = Options {
        auto_create: true,
        ..Options::default()
    };
    let server = LiveKitServer::start(options).await;
    let health = driver(&server, API_SECRET).check_health().await;
    assert!(
        matches!(health, Err(SfuError::Misconfigured(_))),
        "{health:?}"
    );
    let rooms = driver(&server, API_SECRET).list_rooms().await;
    assert_eq!(rooms, Ok(Vec::new()), "asking made none");
}

#[tokio::test]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_ticket_does_not_make_its_ended_room_again() {
    let server = LiveKitServer::start(Options::default()).await;
    let driver = driver(&server, API_SECRET);
    let room = new_room();
    let patient = admit("patient", Role::Patient);
    let ticket = driver.issue_ticket(&room, &patient).await.unwrap().unwrap();
    driver.end_room(&room).await.unwrap();
    let late = Participant::join(&ticket.url, ticket.token.expose_secret());
    until(|| late.said() == ["refused"]).await;
    assert_eq!(driver.list_rooms().await, Ok(Vec::new()), "it made no room");
}

#[tokio::test]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn an_observer_is_not_published_and_the_removed_are_told() {
    let server = LiveKitServer::start(Options::default()).await;
    let driver = driver(&server, API_SECRET);
    let room = new_room();
    let join = async |name, role| {
        let ticket = driver.issue_ticket(&room, &admit(name, role)).await;
        let ticket = ticket.unwrap().unwrap();
        Participant::join(&ticket.url, ticket.token.expose_secret())
    };
    let observer = join("observer", Role::Observer).await;
    until(|| observer.said() == ["connected"]).await;
    let patient = join("patient", Role::Patient).await;
    until(|| patient.said() == ["connected", "published", "published"]).await;
    driver
        .remove_participant(&room, &user("patient"))
        .await
        .unwrap();
    // The observer has tried for longer than the patient.
    assert!(!observer.said().iter().any(|said| said == "published"));
    let is_told = || {
        patient
            .said()
            .last()
            .is_some_and(|said| said.starts_with("disconnected"))
    };
    until(is_told).await;
    let all = driver.list_participants(&room).await.unwrap();
    assert!(is_in(&all, "observer") && !is_in(&all, "patient"));
}

#[tokio::test]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_restart_shows_and_loses_the_rooms() {
    let mut server = LiveKitServer::start(Options::default()).await;
    let driver = driver(&server, API_SECRET);
    let first = driver.check_health().await.unwrap().incarnation.unwrap();
    driver.ensure_room(&new_room()).await.unwrap();
    assert_eq!(driver.read_load().await.unwrap().rooms, 1);
    server.restart().await;
    let second = driver.check_health().await.unwrap().incarnation.unwrap();
    assert_ne!(first, second);
    assert_eq!(driver.read_load().await.unwrap().rooms, 0);
    server.kill();
    let outcome = driver.check_health().await;
    assert!(
        matches!(outcome, Err(SfuError::Unavailable(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_frozen_server_is_given_up_and_found_again() {
    let server = LiveKitServer::start(Options::default()).await;
    let limits = Limits {
        call_timeout: Duration::from_millis(500),
        attempt_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let driver = Bounded::new(Arc::new(driver(&server, API_SECRET)), limits);
    let before = driver.check_health().await.unwrap();
    server.freeze(true);
    let timed_out = Err(SfuError::Unavailable(Outage::TimedOut));
    assert_eq!(driver.ensure_room("room_1").await, timed_out);
    server.freeze(false);
    let deadline = Instant::now() + LIMIT;
    while driver.ensure_room("room_1").await.is_err() {
        assert!(Instant::now() < deadline, "it was not found again");
    }
    let after = driver.check_health().await.unwrap();
    assert_eq!(before, after, "it was not restarted");
}

#[tokio::test]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn real_webhooks_are_verified() {
    let hook = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&hook)
        .await;
    let options = Options {
        webhook_url: Some(hook.uri()),
        ..Options::default()
    };
    let server = LiveKitServer::start(options).await;
    let driver = driver(&server, API_SECRET);
    let room = new_room();
    let doctor = admit("doctor", Role::Doctor);
    let ticket = driver.issue_ticket(&room, &doctor).await.unwrap().unwrap();
    let joined = server.join(&room, &ticket).await;
    let wanted = [
        WebhookKind::RoomStarted,
        WebhookKind::ParticipantJoined {
            user_id: user("doctor"),
            sequence: Some(7),
        },
        WebhookKind::ParticipantLeft {
            user_id: user("doctor"),
        },
        WebhookKind::RoomFinished,
    ];
    await_webhook(&driver, &hook, &room, &wanted[1]).await;
    drop(joined);
    driver
        .remove_participant(&room, &user("doctor"))
        .await
        .unwrap();
    await_webhook(&driver, &hook, &room, &wanted[2]).await;
    driver.end_room(&room).await.unwrap();
    for kind in &wanted {
        await_webhook(&driver, &hook, &room, kind).await;
    }
    for Request { body, headers, .. } in hook.received_requests().await.unwrap() {
        let mut changed = body;
        changed[0] ^= 1;
        let outcome = driver.verify_webhook(&changed, headers["authorization"].as_bytes());
        assert!(outcome.is_err(), "a changed body was taken");
    }
}

async fn await_webhook(driver: &LiveKit, hook: &MockServer, room: &str, kind: &WebhookKind) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let requests = hook.received_requests().await.unwrap();
        let mut events = requests.iter().map(|request| {
            let authorization = request.headers["authorization"].as_bytes();
            driver.verify_webhook(&request.body, authorization).unwrap()
        });
        if events.any(|event| event.room == room && event.kind == *kind) {
            return;
        }
        assert!(Instant::now() < deadline, "no {kind:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
