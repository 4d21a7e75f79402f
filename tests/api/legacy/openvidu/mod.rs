//! The ChourangiHealth backend's API, with a stub of its OpenVidu node.

mod bodies;
mod checklist;
mod nodes;
mod settings;
mod users;

use std::sync::LazyLock;
use std::time::SystemTime;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use video_session::legacy::openvidu::{UserRole, write_line};

use crate::harness::{Service, Setup, patiently};
use crate::openvidu_stub::{self, Stub};

pub(super) const TOKEN_SECRET: &str = "secret-of-the-older-services-tokens-0123456789";
const PUBLIC_URL: &str = "https://video.example.com";

/// Two admins and two users; the password of each is its name's letters twice.
static USERS: LazyLock<String> = LazyLock::new(|| {
    let users = [
        ("doctor", UserRole::Admin),
        ("chief", UserRole::Admin),
        ("user", UserRole::User),
        ("ana", UserRole::User),
    ];
    let lines = users.map(|(name, role)| line(name, role));
    format!("# users of the tests\n\n{}\n", lines.join("\n"))
});

fn line(name: &str, role: UserRole) -> String {
    write_line(name, role, password(name).as_bytes()).unwrap()
}

pub(super) fn password(name: &str) -> String {
    name.repeat(2)
}

/// The older service's settings, with a limit of logins that no test meets by chance.
fn setup(node: &str) -> Setup {
    Setup::new()
        .set("LEGACY_APIS", "openvidu")
        .set("LEGACY_ADDR", "127.0.0.1:0")
        .set("OPENVIDU_URL", node)
        .set("OPENVIDU_PUBLIC_URL", PUBLIC_URL)
        .set("OPENVIDU_USERNAME", "OPENVIDUAPP")
        .set("OPENVIDU_SECRET", openvidu_stub::SECRET)
        .set("JWT_SECRET", TOKEN_SECRET)
        .set("JWT_ALGORITHM", "HS256")
        .set("LEGACY_LOGINS_PER_MINUTE", 100_000)
        .set("LEGACY_USERS_FILE", "users")
        .file("users", &USERS)
}

/// A service and its node.
pub(super) struct Stage {
    pub(super) service: Service,
    stub: Stub,
    api: Api,
}

pub(super) async fn stage() -> Stage {
    let stub = Stub::start().await;
    let service = setup(&stub.url()).start().await;
    let api = Api::of(&service);
    Stage { service, stub, api }
}

/// The API, as its clients see it.
#[derive(Clone)]
struct Api {
    client: Client,
    base: String,
}

type Got = (StatusCode, Value);

impl Api {
    fn of(service: &Service) -> Self {
        let addr = service.legacy.expect("LEGACY_ADDR is set");
        Self {
            client: Client::new(),
            base: format!("http://{addr}"),
        }
    }

    fn request_get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    fn request_post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    async fn get(&self, path: &str) -> Got {
        got(self.request_get(path)).await
    }

    async fn login_with(&self, name: &str, password: &str) -> Got {
        let body = json!({"username": name, "password": password});
        got(self.request_post("/api/auth/login").json(&body)).await
    }

    /// Logs a user in and answers the token.
    async fn login(&self, name: &str) -> String {
        let (status, body) = self.login_with(name, &password(name)).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    async fn protected(&self, authorization: &str) -> Got {
        got(self
            .request_get("/protected")
            .header("authorization", authorization))
        .await
    }

    async fn session(&self, token: &str, session_id: &str) -> Got {
        let body = json!({"session_id": session_id});
        let request = self.request_post("/api/video/session").bearer_auth(token);
        got(request.json(&body)).await
    }

    /// Joins a session and answers the connection's token.
    async fn joined(&self, token: &str, session_id: &str) -> String {
        let (status, body) = self.session(token, session_id).await;
        assert_eq!(status, 200, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }
}

async fn got(request: RequestBuilder) -> Got {
    let answer = patiently(request.send()).await.unwrap();
    let status = answer.status();
    (status, patiently(answer.json()).await.unwrap())
}

fn says(got: &Got, status: u16, detail: &str) {
    assert_eq!(got.0.as_u16(), status, "{}", got.1);
    assert_eq!(got.1, json!({"detail": detail}));
}

/// The session on the node that a connection's token is for.
fn node_session(token: &str) -> String {
    let (_, query) = token.split_once("?sessionId=").expect("an address");
    query.split('&').next().unwrap().to_owned()
}

fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}
