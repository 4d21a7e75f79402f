//! The LiveKit driver against what a real livekit-server 1.13.5 answered, and against what none should.

use secrecy::SecretString;
use serde_json::Value;
use video_session::domain::role::Role;
use video_session::sfu::livekit::{Config, LiveKit};
use video_session::sfu::{Outage, SfuDriver, SfuError};
use wiremock::matchers::{any, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{admit, user};

/// Calls and answers, recorded.
const RECORDED: &str = include_str!("../../fixtures/sfu/livekit-1.13.5-controls.twirp.jsonl");

fn recorded(method: &str, status: u16) -> ResponseTemplate {
    let lines = RECORDED
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut those = lines.filter(|one| one["method"] == method && one["status"] == status);
    let answer = those.next().unwrap()["answer"].clone();
    ResponseTemplate::new(status).set_body_json(answer)
}

async fn node(answer: ResponseTemplate) -> (MockServer, LiveKit) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let driver = driver(&server.uri());
    (server, driver)
}

fn driver(url: &str) -> LiveKit {
    LiveKit::new(&Config {
        api_url: url.to_owned(),
        public_url: None,
        api_key: "key".to_owned(),
        api_secret: SecretString::from("secret"),
    })
    .unwrap()
}

#[tokio::test]
async fn recorded_answers_are_understood() {
    let (_server, driver) = node(recorded("RoomService/CreateRoom", 200)).await;
    assert_eq!(driver.ensure_room("controls").await, Ok(()));

    let (_server, driver) = node(recorded("RoomService/ListRooms", 200)).await;
    assert_eq!(driver.list_rooms().await.unwrap(), ["controls"]);

    let (_server, driver) = node(recorded("RoomService/RemoveParticipant", 404)).await;
    assert_eq!(
        driver.remove_participant("controls", &user("nobody")).await,
        Ok(())
    );

    let (_server, driver) = node(recorded("RoomService/DeleteRoom", 404)).await;
    assert_eq!(driver.end_room("nope").await, Ok(()));

    let (_server, driver) = node(recorded("RoomService/ListRooms", 401)).await;
    assert_eq!(driver.list_rooms().await, Err(SfuError::Refused));
}

#[tokio::test]
async fn recorded_participants_are_read() {
    let lines = RECORDED
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let full = lines
        .filter(|one| one["method"] == "RoomService/ListParticipants")
        .find(|one| one["answer"]["participants"][0]["identity"] == "doctor")
        .unwrap();
    let (_server, driver) = node(ResponseTemplate::new(200).set_body_json(&full["answer"])).await;
    let all = driver.list_participants("controls").await.unwrap();
    assert_eq!(all[0].user_id, user("doctor"));
    assert_eq!(all[0].sequence, None, "its ticket was not the driver's");

    let (_server, driver) = node(recorded("RoomService/ListParticipants", 200)).await;
    assert_eq!(driver.list_participants("nope").await, Ok(Vec::new()));
}

#[tokio::test]
async fn recorders_and_those_who_left_are_no_participants() {
    let answer = r#"{"participants":[
        {"identity":"EG_1","kind":"EGRESS","state":"ACTIVE"},
        {"identity":"left","kind":"STANDARD","state":"DISCONNECTED"},
        {"identity":"one","kind":"STANDARD","state":"JOINED","metadata":"{\"sequence\":9,\"more\":1}",
         "tracks":[{"sid":"TR_1","type":"AUDIO","muted":true},{"sid":"TR_2","type":"DATA"}]}
    ]}"#;
    let (_server, driver) = node(ResponseTemplate::new(200).set_body_string(answer)).await;
    let all = driver.list_participants("r").await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].user_id.as_str(), all[0].sequence), ("one", Some(9)));
}

#[tokio::test]
async fn other_answers_are_errors_and_never_count_as_done() {
    let token = "invalid token: eyJhbGciOiJIUzI1NiJ9";
    let cases = [
        (401, token, SfuError::Refused),
        (403, "", SfuError::Refused),
        (
            412,
            r#"{"code":"failed_precondition","msg":"x"}"#,
            SfuError::Unexpected { status: 412 },
        ),
        (408, "", SfuError::Unavailable(Outage::Status(408))),
        (429, "", SfuError::Unavailable(Outage::Status(429))),
        (502, "<html>", SfuError::Unavailable(Outage::Status(502))),
        (
            503,
            r#"{"code":"unavailable","msg":"x"}"#,
            SfuError::Unavailable(Outage::Status(503)),
        ),
        (
            500,
            r#"{"code":"internal","msg":"x"}"#,
            SfuError::Unexpected { status: 500 },
        ),
        (301, "", SfuError::Unexpected { status: 301 }),
        // A proxy's 404, and Twirp's for a path that it does not know.
        (
            404,
            "404 page not found",
            SfuError::Unexpected { status: 404 },
        ),
        (
            404,
            r#"{"code":"bad_route","msg":"x"}"#,
            SfuError::Unexpected { status: 404 },
        ),
        (200, "<html>hello</html>", SfuError::Malformed),
        (200, "", SfuError::Malformed),
        (200, "[", SfuError::Malformed),
    ];
    for (status, body, expected) in cases {
        let (_server, driver) = node(ResponseTemplate::new(status).set_body_string(body)).await;
        let patient = user("patient");
        let outcomes = [
            driver.ensure_room("r").await,
            driver.list_rooms().await.map(|_| ()),
            driver.list_participants("r").await.map(|_| ()),
            driver.remove_participant("r", &patient).await,
            driver.mute_participant("r", &patient).await,
            driver.end_room("r").await,
            driver.check_health().await.map(|_| ()),
            driver.read_load().await.map(|_| ()),
            driver
                .issue_ticket("r", &admit("patient", Role::Patient))
                .await
                .map(|_| ()),
        ];
        for outcome in outcomes {
            assert_eq!(outcome, Err(expected), "{status} {body}");
            assert!(!format!("{outcome:?}").contains("eyJ"), "a token is shown");
        }
    }
}

#[tokio::test]
async fn a_node_that_makes_rooms_by_itself_is_refused() {
    for (validates, is_right) in [(404, true), (200, false)] {
        let server = MockServer::start().await;
        Mock::given(path("/rtc/validate"))
            .respond_with(ResponseTemplate::new(validates))
            .expect(if is_right { 1 } else { 3 })
            .mount(&server)
            .await;
        Mock::given(any())
            .respond_with(recorded("RoomService/CreateRoom", 200))
            .mount(&server)
            .await;
        let driver = driver(&server.uri());
        for _ in 0..3 {
            match driver.check_health().await {
                Ok(status) => {
                    assert!(is_right);
                    assert_eq!(status.incarnation.as_deref(), Some("RM_pybLxkQwngSt"));
                }
                Err(SfuError::Misconfigured(why)) => {
                    assert!(!is_right && why.contains("auto_create"), "{why}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Two instances made the marker at the same moment, and the room of the other one replaced the one that this one was told of.
#[tokio::test]
async fn a_marker_that_was_replaced_at_once_is_no_start() {
    let server = MockServer::start().await;
    let validate = Mock::given(path("/rtc/validate"));
    let validate = validate.respond_with(ResponseTemplate::new(404));
    validate.mount(&server).await;
    let marker = |sid: &str| {
        let room = serde_json::json!({"sid": sid, "name": "_video-session"});
        Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(room))
    };
    let first = marker("RM_replaced").up_to_n_times(1);
    first.mount(&server).await;
    marker("RM_stays").mount(&server).await;
    let driver = driver(&server.uri());
    for _ in 0..2 {
        let status = driver.check_health().await.unwrap();
        assert_eq!(status.incarnation.as_deref(), Some("RM_stays"));
    }
}

#[test]
fn an_address_that_cannot_be_meant_is_refused() {
    for url in [
        "",
        "node.example:7880",
        "ws://node.example",
        "ftp://node.example",
        "http://user:password@node.example",
        "http://node.example/?key=x",
        "http://node.example/#x",
    ] {
        let refused = LiveKit::new(&Config {
            api_url: url.to_owned(),
            public_url: None,
            api_key: "key".to_owned(),
            api_secret: SecretString::from("secret"),
        });
        assert!(
            matches!(refused.err(), Some(SfuError::Misconfigured(_))),
            "{url}"
        );
    }
}

/// Names and ids from elsewhere stay one segment of a path, and one value of a body.
#[tokio::test]
async fn no_secret_and_no_user_is_part_of_a_url() {
    let (server, driver) = node(recorded("RoomService/RemoveParticipant", 404)).await;
    let _ = driver.remove_participant("r/../x?y", &user("a@b:c")).await;
    let _ = driver
        .issue_ticket("r", &admit("patient", Role::Patient))
        .await;
    let _ = driver.check_health().await;
    for request in server.received_requests().await.unwrap() {
        assert!(request.url.query().is_none(), "{}", request.url);
        let path = request.url.path();
        assert!(path.starts_with("/twirp/livekit.RoomService/") || path == "/rtc/validate");
    }
}
