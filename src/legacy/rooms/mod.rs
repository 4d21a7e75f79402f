//! The API of the VC rooms: rooms that whoever knows their id may enter, without an account. A room is a session that is open to guests
//! and ends when the last one leaves. docs/legacy/rooms.md says what is the same and what is not.

mod dialect;
mod socket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::ORIGIN;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::routing::{MethodRouter, get, post};
use ipnet::IpNet;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Answer, Edge, LegacyApi, Routes, answer, client, with_retry};
use crate::app::signalling::Signalling;
use crate::domain::error::Reason;
use crate::net::{AddressCounts, AddressLimit};
use crate::participant_socket;
use crate::proto::v1;
use crate::rest::http_status;
use crate::rpc::{EncodedStatus, SECRET_HEADER};

const CREATE: &str = "/videosession.v1.VideoSessionService/CreateSession";
const GET: &str = "/videosession.v1.VideoSessionService/GetSession";
const LIST: &str = "/videosession.v1.VideoSessionService/ListSessions";

/// A room's appointment is this and the room's id.
const APPOINTMENT_PREFIX: &str = "room:";
/// Rooms have no doctor and no patient: nobody gets these ids, unless the backend asks for a link for them.
const HOST_ID: &str = "legacy-rooms:host";
const PATIENT_ID: &str = "legacy-rooms:patient";

const PAGE_SIZE: i32 = 500;

/// Settings of the rooms.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether making a room needs the internal secret.
    pub create_needs_secret: bool,
    /// How many rooms an address may make per minute.
    pub rooms_per_minute: u32,
    /// How many sockets an address may open per minute.
    pub sockets_per_minute: u32,
    /// How many sockets an address may have open.
    pub sockets_per_address: usize,
    /// After how long a room ends, also if somebody is in it.
    pub age_max: Duration,
    /// How long a room may be empty, after somebody was in it, before it ends.
    pub empty_timeout: Duration,
    /// How many rooms a list has at most.
    pub listed_max: usize,
    /// How many other requests an address may make per minute.
    pub requests_per_minute: u32,
    /// The origins whose pages may make rooms and open sockets; each as browsers send it.
    pub origins: Vec<HeaderValue>,
    /// Proxies whose X-Forwarded-For is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Sockets.
    pub socket: participant_socket::Config,
}

/// What the adapter needs to connect guests.
#[derive(Clone)]
pub(super) struct Guests {
    pub(super) signalling: Arc<Signalling>,
    /// Cancelled when connections must end.
    pub(super) closing: CancellationToken,
}

struct RoomsEdge {
    edge: Edge,
    guests: Guests,
    config: Config,
    requests: AddressLimit,
    rooms: AddressLimit,
    sockets: AddressLimit,
    open_sockets: Arc<AddressCounts>,
}

type Rooms = State<Arc<RoomsEdge>>;
type RoomId = Result<Path<String>, PathRejection>;

/// What is no text is no room's id.
fn text(room_id: RoomId) -> String {
    room_id.map(|Path(text)| text).unwrap_or_default()
}

pub(super) fn routes(edge: &Edge, guests: &Guests, config: &Config) -> Routes {
    let rooms = Arc::new(RoomsEdge {
        edge: edge.clone(),
        guests: guests.clone(),
        requests: AddressLimit::per_minute(config.requests_per_minute),
        rooms: AddressLimit::per_minute(config.rooms_per_minute),
        sockets: AddressLimit::per_minute(config.sockets_per_minute),
        open_sockets: Arc::default(),
        config: config.clone(),
    });
    let with_rooms = |methods: MethodRouter<Arc<RoomsEdge>>| methods.with_state(Arc::clone(&rooms));
    vec![
        ("/", with_rooms(get(describe))),
        ("/create-room", with_rooms(post(create))),
        ("/rooms", with_rooms(get(list))),
        ("/rooms/{room_id}", with_rooms(get(show))),
        ("/ws/{room_id}", with_rooms(get(socket::open))),
    ]
}

async fn describe(State(rooms): Rooms) -> Json<Value> {
    rooms.count("GET /");
    Json(json!({
        "message": "Video Conferencing Backend API",
        "version": "1.0.0",
        "endpoints": {
            "create_room": "POST /create-room",
            "list_rooms": "GET /rooms",
            "websocket": "WS /ws/{room_id}",
        },
    }))
}

async fn create(State(rooms): Rooms, request: Request) -> Answer {
    rooms.count("POST /create-room");
    let room_id = Uuid::new_v4().to_string();
    if !rooms.is_allowed_origin(request.headers()) {
        return detail(StatusCode::FORBIDDEN, "Origin not allowed");
    }
    let message = rooms.create_request(&room_id);
    let shows_secret = request.headers().contains_key(SECRET_HEADER);
    let made: Result<v1::CreateSessionResponse, _> =
        if shows_secret || rooms.config.create_needs_secret {
            let encoded = message.encode_to_vec();
            rooms
                .edge
                .make(CREATE, request, move |_| Ok(encoded.clone()))
                .await
        } else {
            let client = rooms.client(request.extensions(), request.headers());
            if let Err(wait) = rooms.rooms.check(client) {
                return too_many("Too many rooms", wait);
            }
            let (parts, _body) = request.into_parts();
            rooms
                .edge
                .make_admitted(CREATE, parts.extensions, &message)
                .await
        };
    match made {
        Ok(_) => answer(
            StatusCode::OK,
            json!({
                "room_id": room_id,
                "join_link": format!("/room/{room_id}"),
                "message": format!("Room {room_id} created successfully"),
            }),
        ),
        Err(error) => refused(&error),
    }
}

async fn list(State(rooms): Rooms, request: Request) -> Answer {
    rooms.count("GET /rooms");
    if let Err(wait) = rooms.check_request(&request) {
        return too_many("Too many requests", wait);
    }
    let (parts, _body) = request.into_parts();
    match rooms.live_rooms(parts.extensions).await {
        Ok(found) => {
            let found: Vec<_> = found.iter().map(listed_room).collect();
            answer(StatusCode::OK, Value::Array(found))
        }
        Err(error) => refused(&error),
    }
}

async fn show(State(rooms): Rooms, room_id: RoomId, request: Request) -> Answer {
    rooms.count("GET /rooms/{room_id}");
    let room_id = text(room_id);
    if let Err(wait) = rooms.check_request(&request) {
        return too_many("Too many requests", wait);
    }
    let (parts, _body) = request.into_parts();
    match rooms.room(&room_id, parts.extensions).await {
        Ok(session) => {
            let participants = session.participants.iter();
            let ids: Vec<_> = participants.map(|other| &other.user_id).collect();
            answer(
                StatusCode::OK,
                json!({
                    "room_id": room_id,
                    "participant_count": ids.len(),
                    "participants": ids,
                    "exists": true,
                }),
            )
        }
        Err(NoRoom::Unknown) => detail(StatusCode::NOT_FOUND, "Room not found"),
        Err(NoRoom::Failed(error)) => refused(&error),
    }
}

/// Why a room cannot be used.
enum NoRoom {
    /// There is none, or not any more.
    Unknown,
    /// It could not be found out.
    Failed(Box<EncodedStatus>),
}

impl RoomsEdge {
    fn count(&self, route: &'static str) {
        self.edge.count(LegacyApi::Rooms, route);
    }

    fn check_request(&self, request: &Request) -> Result<(), Duration> {
        let client = self.client(request.extensions(), request.headers());
        self.requests.check(client)
    }

    /// Browsers do not apply CORS to sockets, and not to requests as simple as that for a room, so this does. What sends no origin is
    /// no browser.
    fn is_allowed_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        origins.all(|origin| self.config.origins.contains(origin))
    }

    /// The client's network.
    fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        client(extensions, headers, &self.config.trusted_proxies)
    }

    fn create_request(&self, room_id: &str) -> v1::CreateSessionRequest {
        let ends = SystemTime::now() + self.config.age_max;
        let empty_secs = self.config.empty_timeout.as_secs();
        v1::CreateSessionRequest {
            appointment_id: format!("{APPOINTMENT_PREFIX}{room_id}"),
            doctor_id: HOST_ID.to_owned(),
            patient_id: PATIENT_ID.to_owned(),
            scheduled_end_time: Some(ends.into()),
            admission: v1::Admission::Open.into(),
            // The pages of the older service connect to each other, and know no other way.
            media: v1::Media::PeerToPeer.into(),
            empty_timeout: Some(prost_types::Duration {
                seconds: i64::try_from(empty_secs).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            open_to_guests: true,
            ..Default::default()
        }
    }

    /// The session of a room that may be entered.
    async fn room(&self, room_id: &str, extensions: Extensions) -> Result<v1::Session, NoRoom> {
        use v1::get_session_request::Key;
        let key = Key::AppointmentId(format!("{APPOINTMENT_PREFIX}{room_id}"));
        let message = v1::GetSessionRequest { key: Some(key) };
        let got = self.edge.make_admitted(GET, extensions, &message).await;
        match got {
            Ok(v1::GetSessionResponse {
                session: Some(session),
            }) if is_live(&session) => Ok(session),
            Ok(_) => Err(NoRoom::Unknown),
            Err(error) => Err(match error.reason() {
                reason if reason == Reason::SessionNotFound.as_str() => NoRoom::Unknown,
                // No room has such an id.
                reason if reason == Reason::Validation.as_str() => NoRoom::Unknown,
                _ => NoRoom::Failed(Box::new(error)),
            }),
        }
    }

    /// The newest rooms that have not ended.
    async fn live_rooms(&self, extensions: Extensions) -> Result<Vec<v1::Session>, EncodedStatus> {
        let mut found = Vec::new();
        // A room that somebody enters meanwhile goes from the first state to the second, so it is in at least one of the lists.
        for state in [v1::SessionState::Created, v1::SessionState::Active] {
            let mut page_token = String::new();
            let enough = found.len() + self.config.listed_max;
            loop {
                let message = v1::ListSessionsRequest {
                    page_size: PAGE_SIZE,
                    page_token,
                    state: state.into(),
                    user_id: HOST_ID.to_owned(),
                    ..Default::default()
                };
                let extensions = extensions.clone();
                let page: v1::ListSessionsResponse =
                    self.edge.make_admitted(LIST, extensions, &message).await?;
                found.extend(page.sessions.into_iter().filter(is_live));
                page_token = page.next_page_token;
                if page_token.is_empty() || found.len() >= enough {
                    break;
                }
            }
        }
        // Ids begin with the time of creation. Of a room that is in both lists, the later reading stays.
        found.reverse();
        found.sort_by(|one: &v1::Session, other| other.session_id.cmp(&one.session_id));
        found.dedup_by(|one, other| one.session_id == other.session_id);
        found.truncate(self.config.listed_max);
        Ok(found)
    }
}

/// Whether a session is a room, made here, that has not ended. The backend may have a session for an appointment of such a name.
fn is_live(session: &v1::Session) -> bool {
    session.doctor_id == HOST_ID
        && session.patient_id == PATIENT_ID
        && session.state() != v1::SessionState::Ended
        && session.appointment_id.starts_with(APPOINTMENT_PREFIX)
}

fn listed_room(session: &v1::Session) -> Value {
    let id = session.appointment_id.strip_prefix(APPOINTMENT_PREFIX);
    json!({
        "room_id": id.unwrap_or_default(),
        "participant_count": session.participants.len(),
        "created_at": session.create_time.as_ref().map(naive_time),
    })
}

/// A time as the older service wrote it: with microseconds and without a zone. It is UTC here.
fn naive_time(time: &prost_types::Timestamp) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (secs, fraction) = text.split_once('.').unwrap_or((text, ""));
    let micros = fraction.get(..6).unwrap_or(fraction);
    format!("{secs}.{micros:0<6}")
}

/// A fault in the older service's way of telling it.
fn detail(status: StatusCode, text: &str) -> Answer {
    answer(status, json!({"detail": text}))
}

fn too_many(text: &str, wait: Duration) -> Answer {
    let mut answer = detail(StatusCode::TOO_MANY_REQUESTS, text);
    let secs = wait.as_secs().saturating_add(1);
    let header = axum::http::header::RETRY_AFTER;
    answer.1.insert(header, HeaderValue::from(secs));
    answer
}

fn refused(error: &EncodedStatus) -> Answer {
    with_retry(detail(http_status(error, false), &error.message), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_microseconds_and_no_zone() {
        for (nanos, expected) in [
            (0, "2024-10-27T03:33:20.000000"),
            (7_000_000, "2024-10-27T03:33:20.007000"),
            (123_456_789, "2024-10-27T03:33:20.123456"),
        ] {
            let time = prost_types::Timestamp {
                seconds: 1_730_000_000,
                nanos,
            };
            assert_eq!(naive_time(&time), expected);
        }
    }
}
