//! Streams of the API as server-sent events: an event's id is its sequence, so a client that reconnects with Last-Event-ID
//! misses none.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, stream};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use prost_reflect::MessageDescriptor;

use super::Config;
use super::answer::{self, Errors};
use crate::rpc::{Answer, EncodedStatus};

/// The field of a stream's request that Last-Event-ID sets.
pub(super) const RESUME_FIELD: &str = "after_sequence";
/// When a client connects again whose stream has ended without an error.
const RETRY: Duration = Duration::from_secs(1);
/// The type of the event that ends a stream.
const ERROR_EVENT: &str = "error";

/// The answer of a method that streams.
pub(super) fn response(
    item: MessageDescriptor,
    items: Answer,
    errors: Errors,
    config: &Config,
) -> Response {
    let aged = tokio::time::sleep(config.events_age_max);
    let again = Event::default().retry(RETRY);
    let events = items.take_until(aged).map(move |outcome| {
        let event = match outcome {
            Ok(encoded) => item_event(&item, &encoded),
            Err(error) => error_event(&errors, &error),
        };
        Ok::<_, Infallible>(event)
    });
    let events = stream::once(async { Ok(again) }).chain(events);
    let comments = KeepAlive::new().interval(config.events_keepalive);
    let mut response = Sse::new(events).keep_alive(comments).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn item_event(item: &MessageDescriptor, encoded: &[u8]) -> Event {
    let (sequence, json) = answer::item(item, encoded).unwrap_or_default();
    let event = Event::default().data(text(json));
    match sequence {
        Some(sequence) => event.id(sequence.to_string()),
        None => event,
    }
}

fn error_event(errors: &Errors, error: &EncodedStatus) -> Event {
    let event = Event::default().event(ERROR_EVENT);
    let event = match error.retry_after() {
        Some(retry_after) => event.retry(retry_after),
        None => event,
    };
    event.data(text(errors.json(error)))
}

/// JSON as text: it has no line breaks, which `Event::data` would split.
fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_default()
}
