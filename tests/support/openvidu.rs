//! A node of OpenVidu 2: its states, and answers as a real one's REST server gave them. tests/peers/openvidu-client holds the
//! stub against OpenVidu's own client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub(crate) const SECRET: &str = "secret-of-tests";

/// Requests and answers, recorded from OpenVidu 2.30.0.
const RECORDED: &str = include_str!("../fixtures/sfu/openvidu-2.30.0-rest.json");

/// One session: its connections by id, and whether a participant was in it.
#[derive(Default)]
struct Session {
    connections: BTreeMap<String, Value>,
    was_active: bool,
}

/// The node's state, and the recording that its answers are made from.
pub(crate) struct State {
    recorded: Vec<Value>,
    sessions: BTreeMap<String, Session>,
    connections_made: u32,
    /// How many sessions vanish before a connection is added to them, from now on.
    pub(crate) sessions_to_lose: u32,
    /// The status of every answer from now on; those of a working node if there is none.
    pub(crate) broken: Option<u16>,
}

#[derive(Clone)]
pub(crate) struct Stub {
    server: Arc<MockServer>,
    pub(crate) state: Arc<Mutex<State>>,
}

struct Responder(Arc<Mutex<State>>);

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request)
    }
}

impl Stub {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            recorded: serde_json::from_str(RECORDED).unwrap(),
            sessions: BTreeMap::new(),
            connections_made: 0,
            sessions_to_lose: 0,
            broken: None,
        }));
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(Responder(Arc::clone(&state)))
            .mount(&server)
            .await;
        Self {
            server: Arc::new(server),
            state,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// The requests so far, as `METHOD /path`.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        let line = |request: &Request| format!("{} {}", request.method, request.url.path());
        requests.iter().map(line).collect()
    }

    /// The roles of the connections that are there, in the order in which they were made.
    pub(crate) fn roles(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let sessions = state.sessions.values();
        let connections = sessions.flat_map(|session| session.connections.iter());
        let mut roles: Vec<_> = connections
            .map(|(id, connection)| {
                let number: u32 = id.trim_start_matches("con_").parse().unwrap();
                (number, connection["role"].as_str().unwrap().to_owned())
            })
            .collect();
        roles.sort();
        roles.into_iter().map(|(_, role)| role).collect()
    }

    /// Another application makes a connection, without the service's data, and its user comes.
    pub(crate) async fn connect_stranger(&self, room: &str) {
        let url = format!("{}/openvidu/api/sessions/{room}/connection", self.url());
        let request = reqwest::Client::new()
            .post(url)
            .basic_auth("OPENVIDUAPP", Some(SECRET))
            .json(&json!({"type": "WEBRTC", "data": "another's"}));
        let made: Value = request.send().await.unwrap().json().await.unwrap();
        self.activate(made["token"].as_str().unwrap());
    }

    /// The connection whose token this is becomes active, and publishes if its role lets it. The recording has no active
    /// connection: these fields are as OpenVidu documents them. Answers its id, if it is there.
    pub(crate) fn activate(&self, token: &str) -> Option<String> {
        let mut state = self.state.lock().unwrap();
        let mut activated = None;
        for session in state.sessions.values_mut() {
            let found = session.connections.values_mut();
            for connection in found.filter(|connection| connection["token"] == token) {
                activated = connection["id"].as_str().map(str::to_owned);
                connection["status"] = json!("active");
                connection["activeAt"] = json!(1_795_272_565_500_i64);
                connection["token"] = Value::Null;
                connection["subscribers"] = json!([]);
                connection["publishers"] = json!([]);
                session.was_active = true;
                if connection["role"] != "SUBSCRIBER" {
                    connection["publishers"] = json!([{
                        "createdAt": 1_795_272_565_600_i64, "streamId": "str_CAM_1",
                        "mediaOptions": {
                            "hasAudio": true, "audioActive": true, "hasVideo": true,
                            "videoActive": true, "typeOfVideo": "CAMERA", "frameRate": 30,
                            "videoDimensions": "{\"width\":640,\"height\":480}", "filter": {},
                        },
                    }]);
                }
            }
        }
        activated
    }

    /// Whether a connection publishes a stream with this option.
    pub(crate) fn publishes(&self, room: &str, connection: &str, option: &str) -> bool {
        let state = self.state.lock().unwrap();
        let session = state.sessions.get(room);
        let connection = session.and_then(|session| session.connections.get(connection));
        connection.is_some_and(|one| one["publishers"][0]["mediaOptions"][option] == true)
    }
}

impl State {
    /// A recorded answer, with its body's fields replaced.
    fn answer(&self, method: &str, path: &str, status: u16, fields: &Value) -> ResponseTemplate {
        let recorded = self
            .recorded
            .iter()
            .find(|one| one["method"] == method && one["path"] == path && one["status"] == status);
        let recorded = recorded.unwrap_or_else(|| panic!("no answer {status} to {method} {path}"));
        let body = recorded["body"].as_str().unwrap();
        let template = ResponseTemplate::new(status);
        let Some(content_type) = recorded["content_type"].as_str() else {
            return template;
        };
        let Ok(mut value) = serde_json::from_str::<Value>(body) else {
            return template.set_body_raw(body, content_type);
        };
        for (name, field) in fields.as_object().into_iter().flatten() {
            value[name] = field.clone();
        }
        template.set_body_raw(value.to_string(), content_type)
    }

    fn plain(&self, method: &str, path: &str, status: u16) -> ResponseTemplate {
        self.answer(method, path, status, &Value::Null)
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        let path = request.url.path();
        if let Some(status) = self.broken {
            return ResponseTemplate::new(status).set_body_string("a trace of the node's stack");
        }
        let Some(path) = path.strip_prefix("/openvidu/api/") else {
            return ResponseTemplate::new(404).set_body_string("<html>not found</html>");
        };
        let credentials = BASE64_STANDARD.encode(format!("OPENVIDUAPP:{SECRET}"));
        let shown = request.headers.get("authorization");
        if shown.is_none_or(|shown| *shown != format!("Basic {credentials}")) {
            return self.plain("GET", "/sessions", 401);
        }
        let segments: Vec<_> = path.split('/').collect();
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let mut query = request.url.query_pairs();
        let pending = query
            .find(|(name, _)| name == "pendingConnections")
            .map(|(_, value)| value == "true");
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["config"]) => self.plain("GET", "/config", 200),
            ("POST", ["sessions"]) => self.create_session(&body),
            ("GET", ["sessions"]) => self.list_sessions(pending.unwrap_or(false)),
            ("GET", ["sessions", id]) => self.get_session(id, pending.unwrap_or(false)),
            ("DELETE", ["sessions", id]) => match self.sessions.remove(*id) {
                Some(_) => self.plain("DELETE", "/sessions/gold", 204),
                None => self.plain("DELETE", "/sessions/gold", 404),
            },
            ("POST", ["sessions", id, "connection"]) => self.create_connection(id, &body),
            ("GET", ["sessions", id, "connection"]) => {
                self.list_connections(id, pending.unwrap_or(true))
            }
            ("DELETE", ["sessions", id, "connection", connection]) => {
                self.delete_connection(id, connection)
            }
            other => panic!("the stub does not know {other:?}"),
        }
    }

    fn create_session(&mut self, body: &Value) -> ResponseTemplate {
        let id = match body["customSessionId"].as_str() {
            None | Some("") => format!("ses_{}", self.sessions.len()),
            Some(id) => id.to_owned(),
        };
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !id.bytes().all(is_valid) {
            return self.plain("POST", "/sessions", 400);
        }
        if self.sessions.contains_key(&id) {
            return self.plain("POST", "/sessions", 409);
        }
        self.sessions.insert(id.clone(), Session::default());
        let fields = self.session_fields(&id, false);
        self.answer("POST", "/sessions", 200, &fields)
    }

    fn session_fields(&self, id: &str, pending: bool) -> Value {
        let connections = self.connections_of(id, pending);
        json!({"id": id, "sessionId": id, "customSessionId": id, "connections": connections})
    }

    fn connections_of(&self, id: &str, pending: bool) -> Value {
        let all = self.sessions[id].connections.values();
        let content: Vec<_> = all
            .filter(|connection| pending || connection["status"] == "active")
            .collect();
        json!({"numberOfElements": content.len(), "content": content})
    }

    fn get_session(&self, id: &str, pending: bool) -> ResponseTemplate {
        if !self.sessions.contains_key(id) {
            return self.plain("GET", "/sessions/none", 404);
        }
        self.answer(
            "GET",
            "/sessions/gold",
            200,
            &self.session_fields(id, pending),
        )
    }

    fn list_sessions(&self, pending: bool) -> ResponseTemplate {
        let recorded = self.recorded.iter();
        let mut recorded = recorded.filter(|one| {
            one["method"] == "GET" && one["path"] == "/sessions" && one["status"] == 200
        });
        let list = recorded.next().unwrap()["body"].as_str().unwrap();
        let list: Value = serde_json::from_str(list).unwrap();
        let content: Vec<_> = self
            .sessions
            .keys()
            .map(|id| {
                let mut session = list["content"][0].clone();
                for (name, field) in self.session_fields(id, pending).as_object().unwrap() {
                    session[name] = field.clone();
                }
                session
            })
            .collect();
        let fields = json!({"numberOfElements": content.len(), "content": content});
        self.answer("GET", "/sessions", 200, &fields)
    }

    fn create_connection(&mut self, id: &str, body: &Value) -> ResponseTemplate {
        if self.sessions_to_lose > 0 {
            self.sessions_to_lose -= 1;
            self.sessions.remove(id);
        }
        if !self.sessions.contains_key(id) {
            return self.plain("POST", "/sessions/none/connection", 404);
        }
        let role = body["role"].as_str().unwrap_or("PUBLISHER");
        if !["SUBSCRIBER", "PUBLISHER", "MODERATOR"].contains(&role) {
            return self.plain("POST", "/sessions/gold/connection", 400);
        }
        self.connections_made += 1;
        let connection = format!("con_{}", self.connections_made);
        let fields = json!({
            "id": connection,
            "connectionId": connection,
            "sessionId": id,
            "role": role,
            "record": body["record"].as_bool().unwrap_or(true),
            "serverData": body["data"].as_str().unwrap_or(""),
            "token": format!("wss://localhost:45443?sessionId={id}&token=tok_{}", self.connections_made),
        });
        let recorded = self.recorded.iter().find(|one| {
            one["path"] == "/sessions/gold/connection"
                && one["method"] == "POST"
                && one["status"] == 200
        });
        let made = recorded.unwrap()["body"].as_str().unwrap();
        let mut made: Value = serde_json::from_str(made).unwrap();
        for (name, field) in fields.as_object().unwrap() {
            made[name] = field.clone();
        }
        let session = self.sessions.get_mut(id).unwrap();
        session.connections.insert(connection, made);
        self.answer("POST", "/sessions/gold/connection", 200, &fields)
    }

    fn list_connections(&self, id: &str, pending: bool) -> ResponseTemplate {
        if !self.sessions.contains_key(id) {
            return self.plain("GET", "/sessions/none", 404);
        }
        let fields = self.connections_of(id, pending);
        self.answer("GET", "/sessions/gold/connection", 200, &fields)
    }

    fn delete_connection(&mut self, id: &str, connection: &str) -> ResponseTemplate {
        const PATH: &str = "/sessions/gold/connection/con_WcpB5fSQiU";
        let Some(session) = self.sessions.get_mut(id) else {
            return self.plain("GET", "/sessions/none/connection/none", 400);
        };
        if session.connections.remove(connection).is_none() {
            return self.plain("DELETE", PATH, 404);
        }
        let mut left = session.connections.values();
        // A session vanishes with its last participant.
        if session.was_active && !left.any(|connection| connection["status"] == "active") {
            self.sessions.remove(id);
        }
        self.plain("DELETE", PATH, 204)
    }
}
