//! Reads bodies, and tells their faults with FastAPI's words.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::Config;
use super::fault::Fault;

const MISSING: (&str, &str) = ("field required", "value_error.missing");

/// A body: a JSON object.
#[derive(Debug)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// Receives the body of a request.
    pub(super) async fn receive(request: Request, config: &Config) -> Result<Self, Fault> {
        let body = to_bytes(request.into_body(), config.body_bytes_max);
        let bytes = match tokio::time::timeout(config.body_timeout, body).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(Fault::new(status, "The body is too large"));
            }
            Err(_) => {
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(Fault::new(status, "The body did not arrive in time"));
            }
        };
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.is_empty() {
            return Err(Fault::invalid(None, MISSING.0, MISSING.1));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => {
                let message = "value is not a valid dict";
                Err(Fault::invalid(None, message, "type_error.dict"))
            }
            Err(_) => {
                let message = "the body is not valid JSON";
                Err(Fault::invalid(None, message, "value_error.jsondecode"))
            }
        }
    }

    /// A text that must be there, by any of its names. Faults tell the first.
    pub(super) fn text(&self, names: &[&str]) -> Result<&str, Fault> {
        let field = names.first().copied();
        let mut found = names.iter().filter_map(|name| self.0.get(*name));
        match found.next() {
            None => Err(Fault::invalid(field, MISSING.0, MISSING.1)),
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) => {
                let message = "none is not an allowed value";
                Err(Fault::invalid(
                    field,
                    message,
                    "type_error.none.not_allowed",
                ))
            }
            Some(_) => Err(Fault::invalid(field, "str type expected", "type_error.str")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_any_of_its_names() {
        let names = ["session_id", "sessionId"];
        for (body, expected) in [
            (r#"{"session_id": "a"}"#, Some("a")),
            (r#"{"sessionId": "a"}"#, Some("a")),
            (r#"{"sessionId": "b", "session_id": "a"}"#, Some("a")),
            (r#"{"session": "a"}"#, None),
            (r#"{"session_id": 7}"#, None),
            (r#"{"session_id": null}"#, None),
        ] {
            let object = Object::parse(body.as_bytes()).expect("an object");
            assert_eq!(object.text(&names).ok(), expected, "{body}");
        }
    }

    #[test]
    fn only_objects_are_bodies() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        for body in [
            "",
            " ",
            "{",
            "[]",
            "7",
            "null",
            "\"a\"",
            "{\"a\": \u{1}}",
            &deep,
        ] {
            let fault = Object::parse(body.as_bytes()).expect_err("no object");
            assert_eq!(fault.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
    }
}
