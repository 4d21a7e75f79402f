//! Limits of time and of attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::time::Instant;
use video_session::domain::role::Role;
use video_session::sfu::bounded::{Bounded, Limits};
use video_session::sfu::livekit::{self, LiveKit};
use video_session::sfu::openvidu::{self, OpenVidu};
use video_session::sfu::{Outage, SfuDriver, SfuError};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{Tried, admit, model, user};

pub(super) fn tried() -> Tried {
    let good = model::tried();
    let driver = Bounded::new(good.driver, Limits::default());
    Tried {
        driver: Arc::new(driver),
        ..good
    }
}

fn drivers(url: &str) -> [Arc<dyn SfuDriver>; 2] {
    let livekit = LiveKit::new(&livekit::Config {
        api_url: url.to_owned(),
        public_url: None,
        api_key: "key".to_owned(),
        api_secret: SecretString::from("secret"),
    });
    let openvidu = OpenVidu::new(&openvidu::Config {
        api_url: url.to_owned(),
        public_url: None,
        secret: SecretString::from("secret"),
        webhook_secret: None,
    });
    [Arc::new(livekit.unwrap()), Arc::new(openvidu.unwrap())]
}

const QUICK: Limits = Limits {
    call_timeout: Duration::from_millis(250),
    attempt_timeout: Duration::from_millis(100),
    attempts_max: 3,
    backoff: Duration::from_millis(10),
};

/// Far more than the limits, for a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Each call that asks a node for something.
async fn every_call(driver: &dyn SfuDriver) -> Vec<Result<(), SfuError>> {
    let (room, patient) = ("room_1", user("patient"));
    vec![
        driver.ensure_room(room).await,
        driver
            .issue_ticket(room, &admit("patient", Role::Patient))
            .await
            .map(|_| ()),
        driver.list_rooms().await.map(|_| ()),
        driver.list_participants(room).await.map(|_| ()),
        driver.remove_participant(room, &patient).await,
        driver.end_room(room).await,
        driver.check_health().await.map(|_| ()),
        driver.read_load().await.map(|_| ()),
    ]
}

#[tokio::test]
async fn a_node_that_says_nothing_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            open.push(connection);
        }
    });
    for driver in drivers(&url) {
        let bounded = Bounded::new(driver, QUICK);
        let before = Instant::now();
        let outcomes = every_call(&bounded).await;
        assert!(before.elapsed() < QUICK.call_timeout * 8 + PATIENCE);
        let expected = Err(SfuError::Unavailable(Outage::TimedOut));
        assert_eq!(outcomes, vec![expected; outcomes.len()]);
    }
}

/// The head of an answer comes, and its body never ends.
#[tokio::test]
async fn an_answer_that_never_ends_is_given_up_in_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let endless = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", endless.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = endless.accept().await {
            tokio::spawn(async move {
                let _ = connection.read(&mut [0; 4096]).await;
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":\"";
                let _ = connection.write_all(head).await;
                while connection.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    });
    for driver in drivers(&url) {
        let bounded = Bounded::new(driver, QUICK);
        let expected = Err(SfuError::Unavailable(Outage::TimedOut));
        assert_eq!(bounded.list_rooms().await, expected);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let server = MockServer::start().await;
    // It could be read, were it shorter.
    let body = " ".repeat(4 * 1024 * 1024) + r#"{"rooms":[],"content":[]}"#;
    let long = ResponseTemplate::new(200).set_body_string(body);
    Mock::given(any()).respond_with(long).mount(&server).await;
    for driver in drivers(&server.uri()) {
        assert_eq!(driver.list_rooms().await, Err(SfuError::Malformed));
    }
}

/// A credential must not follow to where an answer points.
#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let server = MockServer::start().await;
    let away = ResponseTemplate::new(307).insert_header("location", elsewhere.uri());
    Mock::given(any()).respond_with(away).mount(&server).await;
    for driver in drivers(&server.uri()) {
        let expected = Err(SfuError::Unexpected { status: 307 });
        assert_eq!(driver.list_rooms().await, expected);
    }
    let followed = elsewhere.received_requests().await.unwrap();
    assert!(followed.is_empty(), "{followed:?}");
}

#[tokio::test]
async fn a_node_whose_process_has_ended_refuses_connections() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    for driver in drivers(&format!("http://127.0.0.1:{port}")) {
        let bounded = Bounded::new(driver, QUICK);
        let outcomes = every_call(&bounded).await;
        let expected = Err(SfuError::Unavailable(Outage::ConnectionRefused));
        assert_eq!(outcomes, vec![expected; outcomes.len()]);
    }
}

/// A node that answers the first requests with a status, and the others well.
async fn recovering(status: u16, failures: u32) -> (MockServer, Arc<AtomicU32>) {
    let server = MockServer::start().await;
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let answer = move |_: &Request| {
        if counted.fetch_add(1, Ordering::SeqCst) < failures {
            ResponseTemplate::new(status)
        } else {
            ResponseTemplate::new(200).set_body_string(r#"{"rooms":[],"content":[]}"#)
        }
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    (server, asked)
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nothing_else() {
    let limits = Limits {
        call_timeout: PATIENCE,
        attempt_timeout: PATIENCE,
        ..QUICK
    };
    for which in 0..2 {
        for (status, failures, succeeds, attempts) in [
            (503, 2, true, 3),
            (503, 3, false, 3),
            (429, 1, true, 2),
            (500, 1, false, 1),
            (401, 1, false, 1),
            (404, 1, false, 1),
        ] {
            let (server, asked) = recovering(status, failures).await;
            let driver = Bounded::new(Arc::clone(&drivers(&server.uri())[which]), limits);
            let outcome = driver.list_rooms().await;
            assert_eq!(outcome.is_ok(), succeeds, "{status}: {outcome:?}");
            assert_eq!(asked.load(Ordering::SeqCst), attempts, "{status}");
        }
    }
}

#[tokio::test]
async fn health_is_asked_once() {
    let (server, asked) = recovering(503, 1).await;
    let [livekit, _] = drivers(&server.uri());
    let health = Bounded::new(livekit, QUICK).check_health().await;
    assert_eq!(health, Err(SfuError::Unavailable(Outage::Status(503))));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_pause_beyond_the_limit_is_not_made() {
    let (server, asked) = recovering(503, u32::MAX).await;
    let [livekit, _] = drivers(&server.uri());
    let limits = Limits {
        backoff: Duration::from_secs(600),
        ..QUICK
    };
    let outcome = Bounded::new(livekit, limits).list_rooms().await;
    assert_eq!(outcome, Err(SfuError::Unavailable(Outage::Status(503))));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
