//! The stream of a doctor's day, as server-sent events: the whole day at once, and again when it has changed. So a page that connects
//! again has missed nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::page_error::PageError;
use super::{Edge, doctor};
use crate::app::{DayStream, DayView, DoctorIdentity};
use crate::domain::day::{Day, DayEntry, DayPerson};
use crate::domain::error::Error;
use crate::domain::time::Timestamp;

/// When a page connects again whose stream has ended without an error.
const RETRY: Duration = Duration::from_secs(1);

/// What fetches a request: <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Tells nginx to pass each event on at once.
const UNBUFFERED: (&str, &str) = ("x-accel-buffering", "no");

/// What the stream's address carries.
#[derive(Default, Deserialize)]
pub(super) struct EventsQuery {
    /// The doctor's slot.
    #[serde(default)]
    p: String,
    /// When the device's day begins, in milliseconds since 1970.
    #[serde(default)]
    from: i64,
    /// When it ends.
    #[serde(default)]
    to: i64,
}

/// `GET /doctor/events`
pub(super) async fn open(
    State(edge): State<Edge>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    match watch(&edge, &query.unwrap_or_default().0, &headers).await {
        Ok((doctor, days)) => {
            let events = Sse::new(events(edge, &doctor, days));
            ([UNBUFFERED], events).into_response()
        }
        Err(error) => doctor::fault(&error),
    }
}

async fn watch(
    edge: &Edge,
    query: &EventsQuery,
    headers: &HeaderMap,
) -> Result<(DoctorIdentity, DayStream), PageError> {
    // Another site's page could not read the stream, but take the doctor's places. Browsers name its origin, or say at least that
    // there is one; older ones say neither of their own page.
    let is_of_another_site = (headers.get(SEC_FETCH_SITE))
        .is_some_and(|site| !["same-origin", "none"].iter().any(|own| site == own));
    let is_allowed = !headers.contains_key(ORIGIN) && !is_of_another_site;
    if !is_allowed && !edge.config.is_own_origin(headers) {
        return Err(PageError::Origin);
    }
    let doctor = doctor::authorize_cookie(edge, &query.p, headers)?;
    let [from, to] = [query.from, query.to].map(Timestamp::from_millis);
    let day = Day::about_now(from, to, edge.doctors.now()).ok_or(PageError::NotFound)?;
    let days = edge.doctors.watch(&doctor, day).await?;
    Ok((doctor, days))
}

/// Ends with the days, with the credential, and when it is too old.
fn events(
    edge: Edge,
    doctor: &DoctorIdentity,
    days: DayStream,
) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let settings = edge.config.doctor_events;
    let lifetime = doctor.expire_time.since(edge.doctors.now());
    let mut ticks = interval(settings.keepalive);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticking = edge.clone();
    let alive = stream::unfold(ticks, move |mut ticks| {
        let doctors = ticking.doctors.clone();
        async move {
            ticks.tick().await;
            let now = json!({ "now": doctors.now().as_millis() });
            Some((Some(named("alive", &now)), ticks))
        }
    });
    let days = days.map(move |day| {
        Some(match day {
            Ok(view) => named("day", &day_json(&view, edge.doctors.now())),
            Err(error) => Event::default().retry(pause(&error)),
        })
    });
    let days = days.chain(stream::once(async { None }));
    let over = stream::once(async move {
        tokio::time::sleep(lifetime).await;
        Some(named("over", &json!({})))
    });
    let over = over.chain(stream::once(async { None }));
    let all = stream::select(over, stream::select(days, alive));
    let all = all.take_while(|event| std::future::ready(event.is_some()));
    let all = all.take_until(tokio::time::sleep(settings.age_max));
    let again = Event::default().retry(RETRY);
    stream::once(async { Some(again) })
        .chain(all)
        .filter_map(|event| std::future::ready(event.map(Ok)))
}

fn pause(error: &Error) -> Duration {
    error.retry_after().unwrap_or(RETRY)
}

fn named(name: &str, data: &Value) -> Event {
    // JSON has no line breaks, which `Event::data` would split.
    Event::default().event(name).data(data.to_string())
}

fn day_json(view: &DayView, now: Timestamp) -> Value {
    let sessions: Vec<_> = view.entries.iter().map(entry_json).collect();
    json!({
        "now": now.as_millis(),
        "sessions": sessions,
        "complete": view.is_complete,
    })
}

fn entry_json(entry: &DayEntry) -> Value {
    let DayEntry {
        session_id,
        time,
        is_scheduled,
        scheduled_end,
        opens,
        state,
        end_time,
        patient_name,
        waiting,
        present,
    } = entry;
    let people = |people: &[DayPerson]| people.iter().map(person_json).collect::<Vec<_>>();
    json!({
        "id": session_id.as_str(),
        "time": time.as_millis(),
        "scheduled": is_scheduled,
        "until": scheduled_end.map(Timestamp::as_millis),
        "opens": opens.map(Timestamp::as_millis),
        "state": state.name(),
        "ended": end_time.map(Timestamp::as_millis),
        "patient": patient_name,
        "waiting": people(waiting),
        "present": people(present),
    })
}

fn person_json(person: &DayPerson) -> Value {
    let DayPerson {
        name,
        role,
        since,
        is_doctor,
    } = person;
    json!({
        "name": name,
        "role": role.name(),
        "since": since.as_millis(),
        "you": is_doctor,
    })
}
