//! The description of the API, and that no method lacks anything in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use video_session::api::error::CallFault;

use super::{Backend, setup};
use crate::harness::SECRET;
use crate::methods::methods;

struct Operation {
    verb: String,
    /// With the examples of its parameters.
    path: String,
    query: String,
    body: Option<Value>,
    is_stream: bool,
}

/// The operations of the description, by id.
fn operations(description: &Value) -> BTreeMap<String, Operation> {
    let paths = description["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, verbs)| {
        let verbs = verbs.as_object().unwrap();
        verbs.iter().map(move |(verb, operation)| {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            (id, read(path, verb, operation))
        })
    });
    all.collect()
}

fn read(template: &str, verb: &str, operation: &Value) -> Operation {
    let (mut path, mut query) = (template.to_owned(), Vec::new());
    for parameter in operation["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        let example = match &parameter["example"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert!(
            parameter["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{name}"
        );
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &example),
            _ if parameter["example"].is_null() => {}
            _ => query.push(format!("{name}={example}")),
        }
    }
    assert!(
        operation["summary"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let body = &operation["requestBody"]["content"]["application/json"];
    Operation {
        verb: verb.to_uppercase(),
        path,
        query: query.join("&"),
        body: (!body.is_null()).then(|| body["example"].clone()),
        is_stream: operation["responses"]["200"]["content"]
            .get("text/event-stream")
            .is_some(),
    }
}

/// A method of the proto without a route, an example or the secret's check fails here.
#[tokio::test]
async fn every_method_has_a_route_an_example_and_asks_for_the_secret() {
    let service = setup().start().await;
    let nobody = Backend::without_secret(&service);
    let description = nobody.get("/openapi.json").await.json;
    let operations = operations(&description);
    for method in methods() {
        let name = method.path.rsplit('/').next().unwrap().to_owned();
        let operation = operations.get(&name);
        let operation = operation.unwrap_or_else(|| panic!("{name} has no google.api.http"));
        let Operation {
            verb,
            path,
            query,
            body,
            ..
        } = operation;
        assert!(
            !path.contains("null"),
            "{name} has no example in src/rest/examples.json"
        );
        let body = match body {
            Some(example) => {
                assert!(
                    example.is_object(),
                    "{name} has no example in src/rest/examples.json"
                );
                example.to_string()
            }
            None => String::new(),
        };
        let path = format!("{path}?{query}");
        let path = path.trim_end_matches('?');
        let send = async |backend: &Backend| backend.send(verb, path, body.clone()).await;
        send(&nobody).await.refused(401, CallFault::SecretMissing);
        let wrong = nobody.with("x-internal-secret", "wrong");
        send(&wrong).await.refused(401, CallFault::SecretInvalid);
        // A good example is refused at most for what it refers to.
        let got = send(&Backend::of(&service)).await;
        let status = got.status.as_u16();
        assert!(
            matches!(status, 200 | 404 | 409) || name == "MoveSession",
            "{name}: {got:?}"
        );
        assert_ne!(got.json["details"][0]["reason"], "METHOD_UNKNOWN", "{name}");
    }
    let streams: Vec<_> = operations
        .iter()
        .filter(|(_, operation)| operation.is_stream)
        .collect();
    assert_eq!(
        streams.len(),
        1,
        "src/rest/events.rs knows WatchSession's fields only"
    );
}

#[tokio::test]
async fn the_description_has_every_message_and_reason() {
    let service = setup().start().await;
    let description = Backend::without_secret(&service)
        .get("/openapi.json")
        .await
        .json;
    assert_eq!(description["openapi"], "3.1.0");
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let mut names = Vec::new();
    references(&description, &mut names);
    for name in names {
        assert!(schemas.contains_key(&name), "{name}");
    }
    let create = &schemas["CreateSessionRequest"];
    assert_eq!(
        create["required"],
        serde_json::json!(["appointmentId", "doctorId", "patientId"])
    );
    assert_eq!(create["additionalProperties"], false);
    assert!(
        create["properties"]["media"]["description"]
            .as_str()
            .unwrap()
            .contains("MEDIA_AUTO")
    );
    let reasons = &schemas["Status"]["properties"]["details"]["items"]["properties"]["reason"]["anyOf"]
        [0]["enum"];
    let reasons = reasons.as_array().unwrap();
    for reason in ["VALIDATION_FAILED", "SECRET_MISSING", "NO_NODE_AVAILABLE"] {
        assert!(reasons.contains(&reason.into()), "{reason}");
    }
    for (name, schema) in schemas {
        let properties = schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        described(name, &properties);
    }
}

fn described(name: &str, properties: &Map<String, Value>) {
    for (property, schema) in properties {
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{name}.{property}");
    }
}

fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("$ref") {
                names.push(name.rsplit('/').next().unwrap().to_owned());
            }
            map.values().for_each(|value| references(value, names));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_is_there_and_may_load_nothing_from_elsewhere() {
    let service = setup().start().await;
    let backend = Backend::without_secret(&service);
    for path in [
        "/docs",
        "/docs/start.js",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
    ] {
        let answer = backend.request("GET", path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(!answer.text().await.unwrap().contains(SECRET));
    }
}
