//! Who may call: passwords, tokens, roles, and the limit of logins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::json;
use video_session::auth::legacy_token::{LegacyClaims, LegacyTokens};
use video_session::legacy::openvidu::UserRole;
use video_session::proto::v1;

use super::{
    Api, TOKEN_SECRET, USERS, got, line, node_session, now_secs, password, says, setup, stage,
};
use crate::harness::{JWT_SECRET, create, created, join, jwt_part, patiently};
use crate::openvidu_stub::Stub;

fn signed(secret: &str, role: &str, exp: i64) -> String {
    let claims = LegacyClaims {
        sub: "doctor".to_owned(),
        role: role.to_owned(),
        exp,
    };
    let tokens = LegacyTokens::new(&SecretString::from(secret.to_owned())).unwrap();
    tokens.issue(&claims).unwrap()
}

#[tokio::test]
async fn only_the_services_own_tokens_are_valid() {
    let stage = stage().await;
    let hour = now_secs() + 3600;
    let good = signed(TOKEN_SECRET, "admin", hour);
    let (status, _) = stage.api.protected(&format!("bearer {good}")).await;
    assert_eq!(status, 200);

    let (_, rest) = good.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
    let unsigned = format!("{none}.{}.", rest.split('.').next().unwrap());
    let request = v1::JoinSessionRequest {
        session_id: created(&mut stage.service.client(), create("a"))
            .await
            .session_id,
        ..join("", v1::Role::Doctor)
    };
    let joined = stage.service.client().join_session(request).await.unwrap();
    let invalid = [
        signed(&TOKEN_SECRET.replace('0', "1"), "admin", hour),
        signed(JWT_SECRET, "admin", hour),
        signed(TOKEN_SECRET, "user", hour),
        signed(TOKEN_SECRET, "root", hour),
        format!("{none}.{rest}"),
        unsigned,
        joined.into_inner().token,
        format!("{good}x"),
        format!(" {good}"),
        format!("{good} {good}"),
        "a.b.c".to_owned(),
        "\u{e9}".to_owned(),
    ];
    for token in invalid {
        let got = stage.api.protected(&format!("Bearer {token}")).await;
        // What is no text at all is no credential.
        if token.is_ascii() {
            says(&got, 401, "Invalid token");
        } else {
            says(&got, 403, "Invalid authentication credentials");
        }
        let (status, _) = stage.api.session(&token, "1").await;
        assert!([401, 403].contains(&status.as_u16()));
    }
    let expired = signed(TOKEN_SECRET, "admin", now_secs());
    says(
        &stage.api.protected(&format!("Bearer {expired}")).await,
        401,
        "Token expired",
    );
    says(
        &stage.api.session(&expired, "1").await,
        401,
        "Token expired",
    );
    assert_eq!(stage.stub.roles(), [""; 0]);
}

#[tokio::test]
async fn a_missing_token_and_another_scheme_are_403() {
    let stage = stage().await;
    says(&stage.api.get("/protected").await, 403, "Not authenticated");
    // Before anything of the body is looked at.
    let request = stage.api.request_post("/api/video/session").body("{");
    says(&got(request).await, 403, "Not authenticated");
    says(
        &stage.api.protected("Bearer").await,
        403,
        "Not authenticated",
    );
    for other in ["Basic dXNlcjp1c2Vy", "Token x"] {
        let got = stage.api.protected(other).await;
        says(&got, 403, "Invalid authentication credentials");
    }
    let twice = stage
        .api
        .request_get("/protected")
        .bearer_auth("x")
        .bearer_auth("x");
    says(&got(twice).await, 403, "Invalid authentication credentials");
}

#[tokio::test]
async fn the_first_admin_moderates_and_all_others_publish() {
    let stage = stage().await;
    let api = &stage.api;
    for name in ["user", "doctor", "chief", "doctor", "ana"] {
        let token = api.login(name).await;
        api.joined(&token, "1").await;
    }
    assert_eq!(
        stage.stub.roles(),
        [
            "PUBLISHER",
            "MODERATOR",
            "PUBLISHER",
            "MODERATOR",
            "PUBLISHER"
        ]
    );
    // An admin who is the first of all.
    let token = api.login("chief").await;
    api.joined(&token, "2").await;
    let token = api.login("doctor").await;
    api.joined(&token, "2").await;
    assert_eq!(stage.stub.roles()[5..], ["MODERATOR", "PUBLISHER"]);
}

#[tokio::test]
async fn the_users_file_decides_and_not_the_token() {
    let stub = Stub::start().await;
    let setup = setup(&stub.url());
    let mut service = setup.start().await;
    let api = Api::of(&service);
    let (doctor, ana) = (api.login("doctor").await, api.login("ana").await);
    let first = api.joined(&doctor, "1").await;
    service.process.terminate().await;

    let changed = USERS
        .replace("doctor:admin:", "doctor:user:")
        .replace("ana:", "anna:");
    let service = setup.file("users", &changed).start().await;
    let api = Api::of(&service);
    for token in [doctor, ana] {
        says(&api.session(&token, "1").await, 401, "Invalid token");
    }
    // Not the doctor of the session any more; another admin is.
    let doctor = api.login("doctor").await;
    let again = api.joined(&doctor, "1").await;
    assert_eq!(node_session(&first), node_session(&again));
    let chief = api.login("chief").await;
    api.joined(&chief, "1").await;
    let roles = stub.roles();
    assert_eq!(roles.last().unwrap(), "MODERATOR");
    assert_eq!(roles[roles.len() - 2], "PUBLISHER");
}

#[tokio::test]
async fn an_address_may_try_so_many_logins() {
    let stub = Stub::start().await;
    let service = setup(&stub.url())
        .set("LEGACY_LOGINS_PER_MINUTE", 1)
        .set("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let api = Api::of(&service);
    let login = |client: &'static str, password: String| {
        let body = json!({"username": "user", "password": password});
        let request = api.request_post("/api/auth/login").json(&body);
        request.header("x-forwarded-for", client)
    };
    let (status, _) = got(login("192.0.2.1", "wrong".to_owned())).await;
    assert_eq!(status, 401);
    let answer = patiently(login("192.0.2.1", password("user")).send())
        .await
        .unwrap();
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let body = patiently(answer.json()).await.unwrap();
    says(
        &(429.try_into().unwrap(), body),
        429,
        "Too many attempts from this address",
    );
    let (status, _) = got(login("192.0.2.2", password("user"))).await;
    assert_eq!(status, 200);
    // Trials are limited in the same way, by themselves.
    assert_eq!(api.get("/test-openvidu").await.0, 200);
    assert_eq!(api.get("/test-openvidu").await.0, 429);
}

#[tokio::test]
async fn nothing_of_a_user_is_logged() {
    let mut stage = stage().await;
    let token = stage.api.login("doctor").await;
    stage.api.login_with("doctor", "hunter2-hunter2").await;
    let connection = stage.api.joined(&token, "session-of-theirs").await;
    let log = stage.service.process.terminate().await;
    let node_token = connection.split("token=").last().unwrap();
    for secret in [
        &token,
        "hunter2",
        "doctor",
        &password("doctor"),
        TOKEN_SECRET,
        node_token,
    ] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}

#[tokio::test]
async fn a_line_of_the_command_is_a_user() {
    let stub = Stub::start().await;
    let name = "dr:lee@example.com";
    let lines = format!("{}\r\n", line(name, UserRole::Admin));
    let service = setup(&stub.url()).file("users", &lines).start().await;
    let token = Api::of(&service).login(name).await;
    assert_eq!(jwt_part(&token, 1)["sub"], name);
}
