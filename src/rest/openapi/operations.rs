//! The routes as operations, with an example for each.

use std::sync::{Arc, LazyLock};

use prost_reflect::FieldDescriptor;
use serde_json::{Map, Value, json};

use super::schemas::{Schemas, Writer, reference};
use crate::rest::request::VERSION_FIELD;
use crate::rest::routes::Route;

/// A request of each method.
static EXAMPLES: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../examples.json")).unwrap_or_default());

/// The example of a method, by its name.
fn example(method: &str) -> Option<&'static Value> {
    EXAMPLES.get(method)
}

/// Every path with its operations.
pub(super) fn paths(routes: &[Arc<Route>], schemas: &mut Schemas) -> Map<String, Value> {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths
            .entry(route.template.text.clone())
            .or_insert_with(|| json!({}));
        path[route.verb.as_str().to_ascii_lowercase()] = operation(route, schemas);
    }
    paths
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let method = &route.method;
    let input = route.input();
    let text = schemas.comment(method.parent_file().name(), method.path());
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.replace('\n', " ");
    let summary = paragraph.split(". ").next().unwrap_or_default();
    let summary = summary.trim_end_matches('.');
    let variables: Vec<_> = route.template.variables().collect();
    let free: Vec<_> = input
        .fields()
        .filter(|field| route.is_free(field))
        .collect();
    let in_path = input
        .fields()
        .filter(|field| variables.contains(&field.name()))
        .map(|field| parameter(route, &field, "path", schemas));
    let mut parameters: Vec<_> = in_path.collect();
    if !route.has_body {
        parameters.extend(
            free.iter()
                .map(|field| parameter(route, field, "query", schemas)),
        );
    }
    parameters.extend(header_parameters(route));
    let output = method.output();
    let has_session = output.get_field_by_name("session").is_some();
    let answer = schemas.answer(&output);
    let kind = if method.is_server_streaming() {
        "text/event-stream"
    } else {
        "application/json"
    };
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [method.parent_service().name()],
        "summary": summary,
        "description": text,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {kind: {"schema": answer}},
            },
            "default": {
                "description": "An error.",
                "headers": {"Retry-After": {
                    "description": "When to try again, in seconds, if that can help.",
                    "schema": {"type": "integer"},
                }},
                "content": {"application/json": {"schema": reference("Status")}},
            },
        },
    });
    if has_session {
        operation["responses"]["200"]["headers"] = json!({"ETag": {
            "description": "The session's version, for If-Match.",
            "schema": {"type": "string"},
        }});
    }
    if route.has_body {
        let schema = schemas.body(&input, &free);
        let mut content = json!({"schema": schema});
        if let Some(example) = body_example(route, &free) {
            content["example"] = example;
        }
        operation["requestBody"] = json!({
            "required": free.iter().any(|field| schemas.is_required(field)),
            "content": {"application/json": content},
        });
    }
    operation
}

/// What headers set fields of the request.
fn header_parameters(route: &Route) -> Vec<Value> {
    let input = route.input();
    let parameter = |name: &str, description: &str| {
        json!({
            "name": name,
            "in": "header",
            "required": false,
            "description": description,
            "schema": {"type": "string"},
        })
    };
    let mut parameters = Vec::new();
    if input.get_field_by_name(VERSION_FIELD).is_some() {
        let text = "The ETag of an answer: refused with 412 unless it is the session's version.";
        parameters.push(parameter("If-Match", text));
    }
    if route.method.is_server_streaming() {
        let text = "The id of the last event that was received. The stream goes on after it. The \
            API page shows nothing of a stream, because it waits for its end.";
        parameters.push(parameter("Last-Event-ID", text));
    }
    parameters
}

/// The method's name; a further route to it is named after what is in its path.
fn operation_id(route: &Route) -> String {
    let first = route.template.variables().next().unwrap_or_default();
    let is_further = example(route.method.name())
        .and_then(Value::as_object)
        .is_some_and(|example| {
            let field = route.input().get_field_by_name(first);
            field.is_some_and(|field| !example.contains_key(field.json_name()))
        });
    let name = route.method.name();
    if is_further {
        format!("{name}_{first}")
    } else {
        name.to_owned()
    }
}

fn parameter(route: &Route, field: &FieldDescriptor, place: &str, schemas: &mut Schemas) -> Value {
    let text = schemas.comment(field.parent_message().parent_file().name(), field.path());
    let mut parameter = json!({
        "name": if place == "path" { field.name() } else { field.json_name() },
        "in": place,
        "required": place == "path" || schemas.is_required(field),
        "description": text,
        "schema": schemas.field(field, Writer::Caller),
    });
    let example = example(route.method.name()).and_then(|example| example.get(field.json_name()));
    if let Some(example) = example {
        parameter["example"] = example.clone();
    }
    parameter
}

fn body_example(route: &Route, free: &[FieldDescriptor]) -> Option<Value> {
    let example = example(route.method.name())?.as_object()?;
    let fields = free.iter().filter_map(|field| {
        let value = example.get(field.json_name())?;
        Some((field.json_name().to_owned(), value.clone()))
    });
    Some(Value::Object(fields.collect()))
}
