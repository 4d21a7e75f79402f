//! The JSON edge, as a backend without gRPC uses it.

mod attacks;
mod clients;
mod described;
mod errors;
mod events;
mod sessions;

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use video_session::api::error::{CallError, ErrorDescription};

use crate::harness::{Published, SECRET, Service, Setup, patiently};

fn setup() -> Setup {
    Setup::new().set("REST_ADDR", "127.0.0.1:0")
}

/// A backend that speaks HTTP.
#[derive(Clone)]
struct Backend {
    client: Client,
    addr: SocketAddr,
    headers: HeaderMap,
}

/// What a backend got.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    json: Value,
}

impl Backend {
    fn of(service: &Service) -> Self {
        Self::without_secret(service).with("x-internal-secret", SECRET)
    }

    fn without_secret(service: &Service) -> Self {
        Self {
            client: Client::new(),
            addr: service.rest.expect("REST_ADDR is set"),
            headers: HeaderMap::new(),
        }
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        let value = HeaderValue::from_str(value).unwrap();
        other.headers.append(name, value);
        other
    }

    fn request(&self, verb: &str, path: &str) -> RequestBuilder {
        let verb: Method = verb.parse().unwrap();
        let url = format!("http://{}{path}", self.addr);
        self.client.request(verb, url).headers(self.headers.clone())
    }

    async fn send(&self, verb: &str, path: &str, body: impl Into<reqwest::Body>) -> Got {
        got(self.request(verb, path).body(body)).await
    }

    async fn get(&self, path: &str) -> Got {
        got(self.request("GET", path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Got {
        self.send("POST", path, body.to_string()).await
    }

    /// Creates a session and answers its id.
    async fn create(&self, appointment_id: &str) -> String {
        let got = self
            .post("/v1/sessions", &create(appointment_id))
            .await
            .ok();
        got.json["session"]["sessionId"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

async fn got(request: RequestBuilder) -> Got {
    let answer = patiently(request.send()).await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = patiently(answer.text()).await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} with {text:?}"));
    Got {
        status,
        headers,
        json,
    }
}

impl Got {
    fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.headers["cache-control"], "no-store");
        self
    }

    /// Refused as over gRPC: the same code, reason and details. Answers the faults by field.
    fn refused(self, status: u16, reason: impl Published) -> Vec<(String, String)> {
        let description: ErrorDescription = CallError::into(reason.example());
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json");
        let detail = |kind| detail(&self.json, kind).cloned();
        let info = detail("ErrorInfo").unwrap();
        assert_eq!(info["reason"], description.reason, "{self:?}");
        assert_eq!(info["domain"], "videosession.v1");
        let retry = detail("RetryInfo");
        assert_eq!(retry.is_some(), self.headers.contains_key("retry-after"));
        assert_eq!(
            retry.is_some(),
            description.retry_after.is_some(),
            "{self:?}"
        );
        assert!(!self.json["message"].as_str().unwrap().is_empty());
        let faults = detail("BadRequest").map(|bad| bad["fieldViolations"].clone());
        let faults = faults
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        faults
            .map(|fault| (text(&fault["field"]), text(&fault["description"])))
            .collect()
    }
}

/// A detail of a status, such as its ErrorInfo.
fn detail<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let name = format!("type.googleapis.com/google.rpc.{kind}");
    let mut details = status["details"].as_array()?.iter();
    details.find(|detail| detail["@type"] == name)
}

fn create(appointment_id: &str) -> Value {
    json!({"appointmentId": appointment_id, "doctorId": "doctor-1", "patientId": "patient-1"})
}
