//! A session's events as server-sent events.

use futures::StreamExt as _;
use reqwest::Response;
use serde_json::{Value, json};
use video_session::domain::error::Reason;

use super::{Backend, Got, detail, setup};
use crate::harness::patiently;

/// Reads server-sent events.
struct Events {
    answer: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<Vec<u8>>> + Send>>,
    text: String,
}

/// An event's lines, or a comment's, by their names; a comment's is empty.
type Event = Vec<(String, String)>;

impl Events {
    async fn open(backend: &Backend, path: &str) -> Self {
        let answer = patiently(backend.request("GET", path).send())
            .await
            .unwrap();
        Self::of(answer)
    }

    fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer: answer
                .bytes_stream()
                .map(|bytes| bytes.map(|bytes| bytes.to_vec()))
                .boxed(),
            text: String::new(),
        }
    }

    /// `None` once the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines = event.lines().map(|line| {
                    let (name, value) = line.split_once(':').unwrap();
                    (name.to_owned(), value.trim().to_owned())
                });
                let event: Event = lines.collect();
                self.text = rest.to_owned();
                // When to connect again is said first.
                if matches!(&event[..], [(name, _)] if name == "retry") {
                    continue;
                }
                return Some(event);
            }
            let bytes = patiently(self.answer.next()).await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

fn value<'a>(event: &'a Event, name: &str) -> &'a str {
    let line = event.iter().find(|(found, _)| found == name);
    line.map(|(_, value)| value.as_str()).unwrap_or_default()
}

fn data(event: &Event) -> Value {
    serde_json::from_str(value(event, "data")).unwrap()
}

#[tokio::test]
async fn a_watch_tells_what_was_and_what_comes_and_resumes() {
    let service = setup().start().await;
    let backend = Backend::of(&service);
    let id = backend.create("appointment-1").await;
    let path = format!("/v1/sessions/{id}:watch");
    let mut events = Events::open(&backend, &path).await;
    let first = events.next().await.unwrap();
    assert_eq!(value(&first, "id"), "1");
    assert_eq!(data(&first)["event"]["type"], "session.created");
    let who = json!({"role": "ROLE_DOCTOR", "userId": "doctor-1"});
    backend
        .post(&format!("/v1/sessions/{id}:join"), &who)
        .await
        .ok();
    let second = events.next().await.unwrap();
    assert_eq!(value(&second, "id"), "2");
    assert_eq!(data(&second)["event"]["joined"]["userId"], "doctor-1");
    drop(events);

    backend
        .send("POST", &format!("/v1/sessions/{id}:end"), "")
        .await
        .ok();
    // The header is newer than the parameter that the client's first address had.
    let resuming = backend.with("last-event-id", "2");
    let mut events = Events::open(&resuming, &format!("{path}?afterSequence=0")).await;
    let third = events.next().await.unwrap();
    assert_eq!(value(&third, "id"), "3");
    assert_eq!(data(&third)["event"]["type"], "session.ended");

    // Only streams are resumed.
    let listed = resuming
        .get(&format!("/v1/sessions/{id}/events"))
        .await
        .ok();
    assert_eq!(listed.json["events"][0]["sequence"], "1");

    let broken = backend.with("last-event-id", "x").get(&path).await;
    let faults = broken.refused(400, Reason::Validation);
    assert_eq!(faults[0].0, "after_sequence");
    let unknown: Got = backend.get("/v1/sessions/sess_unknown:watch").await;
    unknown.refused(404, Reason::SessionNotFound);
}

#[tokio::test]
async fn a_quiet_watch_sends_comments_and_a_drain_ends_it_with_a_hint() {
    let service = setup().set("REST_EVENTS_KEEPALIVE_SECS", "1").start().await;
    let backend = Backend::of(&service);
    let id = backend.create("appointment-1").await;
    let mut events = Events::open(&backend, &format!("/v1/sessions/{id}:watch")).await;
    events.next().await.unwrap();
    let comment = events.next().await.unwrap();
    assert_eq!(comment[0].0, "");
    service.process.signal("TERM");
    let last = loop {
        let event = events.next().await.expect("told before the end");
        if !value(&event, "event").is_empty() {
            break event;
        }
    };
    assert_eq!(value(&last, "event"), "error");
    assert_eq!(value(&last, "retry"), "1000");
    let status = data(&last);
    assert_eq!(
        detail(&status, "ErrorInfo").unwrap()["reason"],
        "SHUTTING_DOWN"
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_without_an_error_when_it_is_old() {
    let service = setup().set("REST_EVENTS_AGE_MAX_SECS", "1").start().await;
    let backend = Backend::of(&service);
    let id = backend.create("appointment-1").await;
    let mut events = Events::open(&backend, &format!("/v1/sessions/{id}:watch")).await;
    assert_eq!(value(&events.next().await.unwrap(), "id"), "1");
    assert_eq!(events.next().await, None);
}
