//! Bodies that are not what they should be.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Got, got, password, says, setup, stage};
use crate::harness::patiently;
use crate::openvidu_stub::Stub;

fn faults(got: &Got) -> &Value {
    assert_eq!(got.0, 422, "{}", got.1);
    assert_eq!(got.1.as_object().unwrap().len(), 1);
    &got.1["detail"]
}

#[tokio::test]
async fn a_missing_field_is_told_as_fastapi_tells_it() {
    let stage = stage().await;
    let missing = |fields: &[&str]| -> Value {
        let faults = fields.iter().map(|field| {
            json!({"loc": ["body", field], "msg": "field required", "type": "value_error.missing"})
        });
        faults.collect()
    };
    for (body, fields) in [
        (json!({"password": "x"}), &["username"][..]),
        (json!({"username": "user"}), &["password"]),
        (json!({}), &["username", "password"]),
    ] {
        let request = stage.api.request_post("/api/auth/login").json(&body);
        assert_eq!(faults(&got(request).await), &missing(fields));
    }
    let token = stage.api.login("user").await;
    let request = stage
        .api
        .request_post("/api/video/session")
        .bearer_auth(&token);
    let answer = got(request.json(&json!({"session": "1"}))).await;
    assert_eq!(faults(&answer), &missing(&["session_id"]));
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_422() {
    let stage = stage().await;
    let token = stage.api.login("user").await;
    let deep = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let bodies = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "[{\"session_id\": \"1\"}]".to_owned(),
        "null".to_owned(),
        "\"session_id\"".to_owned(),
        "session_id=1&username=user&password=useruser".to_owned(),
        "{\"session_id\": \"\u{1}\"}".to_owned(),
        "[".repeat(10_000),
        deep,
        "{\"session_id\": [\"1\"], \"username\": [\"user\"], \"password\": 1e999}".to_owned(),
        "{\"session_id\": 9007199254740993, \"username\": 1, \"password\": 2}".to_owned(),
        "{\"session_id\": null, \"username\": null, \"password\": null}".to_owned(),
    ];
    for body in bodies {
        for path in ["/api/auth/login", "/api/video/session"] {
            let request = stage.api.request_post(path).bearer_auth(&token);
            let answer = got(request.body(body.clone())).await;
            let list = faults(&answer);
            let count = list.as_array().unwrap().len();
            assert!((1..=2).contains(&count), "{path}: {list}");
        }
    }
    assert_eq!(stage.stub.roles(), [""; 0]);
}

#[tokio::test]
async fn a_session_id_is_one_of_todays_ids() {
    let stage = stage().await;
    let token = stage.api.login("user").await;
    let too_long = "x".repeat(120);
    for bad in [
        "",
        " ",
        "a b",
        "a/b",
        "../sessions",
        "é",
        "a\n",
        "a\u{0}",
        "a\u{7f}",
        &too_long,
    ] {
        let answer = stage.api.session(&token, bad).await;
        let list = faults(&answer);
        assert_eq!(list[0]["loc"], json!(["body", "session_id"]), "{bad:?}");
    }
    assert_eq!(stage.stub.roles(), [""; 0]);
    stage.api.joined(&token, &too_long[1..]).await;
    stage.api.joined(&token, "Room_1-a.b:c@d").await;
}

#[tokio::test]
async fn huge_bodies_and_passwords_are_refused() {
    let stage = stage().await;
    // Little more than GRPC_MESSAGE_BYTES_MAX: clients that send far more may find the connection closed before they read the answer.
    let huge = json!({"username": "x".repeat(65_536), "password": "x"});
    let (status, body) = got(stage.api.request_post("/api/auth/login").json(&huge)).await;
    assert_eq!(
        (status.as_u16(), body),
        (413, json!({"detail": "The body is too large"}))
    );
    let long = stage.api.login_with("user", &"x".repeat(1025)).await;
    assert_eq!(faults(&long)[0]["loc"], json!(["body", "password"]));
    says(
        &stage.api.login_with("user", &"x".repeat(1024)).await,
        401,
        "Invalid credentials",
    );
    for name in [
        "user\u{0}",
        "user\n",
        " user",
        "USER",
        "user:user",
        &"x".repeat(10_000),
    ] {
        says(
            &stage.api.login_with(name, &password("user")).await,
            401,
            "Invalid credentials",
        );
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let stub = Stub::start().await;
    let service = setup(&stub.url()).set("GRPC_BODY_TIMEOUT_SECS", 1);
    let service = service.start().await;
    let mut socket = TcpStream::connect(service.legacy.unwrap()).await.unwrap();
    let half =
        b"POST /api/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{\"username\":";
    socket.write_all(half).await.unwrap();
    let mut answer = [0; 12];
    patiently(socket.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn other_routes_and_verbs_are_unknown() {
    let stage = stage().await;
    for path in [
        "/api/video/recording/start",
        "/api/auth/token-from-role",
        "/sessions",
        "/x",
    ] {
        let (status, _) = got(stage.api.request_post(path)).await;
        assert_eq!(status, 404, "{path}");
    }
    assert_eq!(stage.api.get("/api/auth/login").await.0, 405);
    assert_eq!(got(stage.api.request_post("/protected")).await.0, 405);
}
