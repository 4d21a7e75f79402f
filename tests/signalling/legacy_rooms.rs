//! The VC rooms of an older service. Tests have the numbers of the list by which that service was known. Its line 15, two browsers, is
//! tests/browser/legacy-rooms.test.mjs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use video_session::proto::v1;
use video_session::proto::v1::{EndCause, Role, SessionState};

use crate::harness::{SECRET, Service, Setup, create, created, end, get, join, patiently};
use crate::world::{Answer, Page, Ticket, fetch, setup, socket, submit};

const FRONT_END: &str = "https://rooms.test";

fn rooms_setup() -> Setup {
    setup()
        .set("LEGACY_APIS", "rooms")
        .set("LEGACY_ADDR", "127.0.0.1:0")
        .set("LEGACY_ROOMS_OPEN", true)
        .set("LEGACY_CORS_ORIGINS", FRONT_END)
        .set("LEGACY_ROOMS_PER_MINUTE", 10_000)
        .set("LEGACY_ROOMS_SOCKETS_PER_MINUTE", 10_000)
        .set("LEGACY_ROOMS_SOCKETS_PER_ADDRESS", 10_000)
        .set("HTTP_REQUESTS_PER_MINUTE", 100_000)
}

struct Rooms {
    service: Service,
    addr: SocketAddr,
}

impl Rooms {
    async fn start() -> Self {
        Self::with(&rooms_setup()).await
    }

    async fn with(setup: &Setup) -> Self {
        let service = setup.start().await;
        let addr = service.legacy.unwrap();
        Self { service, addr }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(&fetch(self.addr, path, &[]).await)
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        read(&submit(self.addr, path, headers, "").await)
    }

    /// Makes a room and answers its id.
    async fn room(&self) -> String {
        let (status, made) = self.post("/create-room", &[]).await;
        assert_eq!(status, 200, "{made}");
        made["room_id"].as_str().unwrap().to_owned()
    }

    async fn socket(&self, room_id: &str) -> Page {
        let path = format!("/ws/{room_id}");
        Page::over(socket(self.addr, &path, &[]).await.unwrap())
    }

    /// Somebody enters a room; answers their id, and what they were told of the others first.
    async fn enter(&self, room_id: &str) -> (Page, String, Vec<String>) {
        let mut page = self.socket(room_id).await;
        let mut first = page.message().await;
        let mut others = Vec::new();
        if first["type"] == "existing-participants" {
            let fields = json!({"type": "existing-participants", "room_id": room_id, "participants": first["participants"]});
            assert_eq!(first, fields);
            others = strings(&first["participants"]);
            assert!(!others.is_empty());
            first = page.message().await;
        }
        let user_id = first["user_id"].as_str().unwrap().to_owned();
        let message = "Successfully connected to room";
        let fields = json!({"type": "connected", "user_id": user_id, "room_id": room_id, "message": message});
        assert_eq!(first, fields);
        (page, user_id, others)
    }

    /// Waits until a room has that many participants.
    async fn until_count(&self, room_id: &str, count: usize) {
        patiently(async {
            while self.get(&format!("/rooms/{room_id}")).await.1["participant_count"] != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    async fn until_gone(&self, room_id: &str) {
        patiently(async {
            while self.get(&format!("/rooms/{room_id}")).await.0 != 404 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// The session behind a room.
    async fn session(&self, room_id: &str) -> v1::Session {
        let key = v1::get_session_request::Key::AppointmentId(format!("room:{room_id}"));
        let request = v1::GetSessionRequest { key: Some(key) };
        let answer = self.service.client().get_session(request).await.unwrap();
        answer.into_inner().session.unwrap()
    }
}

fn read(answer: &Answer) -> (u16, Value) {
    let body = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
    (answer.status, body)
}

fn strings(values: &Value) -> Vec<String> {
    let values = values.as_array().unwrap().iter();
    values
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

/// The next message, which has exactly these fields.
async fn told(page: &mut Page, fields: Value) {
    assert_eq!(page.message().await, fields);
}

/// A page's socket was refused as one to a room that does not exist.
async fn refused_as_unknown(mut page: Page) {
    let closed = page.closed_with().await;
    assert_eq!(closed, Some((1008, "Room does not exist".to_owned())));
}

#[tokio::test]
async fn line_1_the_root_lists_the_endpoints() {
    let rooms = Rooms::start().await;
    let (status, described) = rooms.get("/").await;
    assert_eq!(status, 200);
    assert_eq!(described["message"], "Video Conferencing Backend API");
    assert_eq!(described["version"], "1.0.0");
    let endpoints: Vec<_> = described["endpoints"].as_object().unwrap().keys().collect();
    assert_eq!(endpoints, ["create_room", "list_rooms", "websocket"]);
}

#[tokio::test]
async fn line_2_a_room_has_an_id_and_a_link() {
    let rooms = Rooms::start().await;
    let (status, made) = rooms.post("/create-room", &[]).await;
    let room_id = made["room_id"].as_str().unwrap();
    assert_eq!(status, 200);
    assert_eq!(room_id.len(), 36, "a UUID");
    assert_eq!(
        made,
        json!({
            "room_id": room_id,
            "join_link": format!("/room/{room_id}"),
            "message": format!("Room {room_id} created successfully"),
        })
    );
    assert_ne!(rooms.room().await, room_id);
}

#[tokio::test]
async fn line_3_the_list_has_every_room_with_its_count() {
    let rooms = Rooms::start().await;
    assert_eq!(rooms.get("/rooms").await, (200, json!([])));
    let (empty, full) = (rooms.room().await, rooms.room().await);
    let (mut first, ..) = rooms.enter(&full).await;
    let _second = rooms.enter(&full).await;
    assert_eq!(first.message().await["type"], "user-joined");
    // Sessions of the backend are no rooms, also if they are open to guests.
    let request = v1::CreateSessionRequest {
        open_to_guests: true,
        ..create("appointment-1")
    };
    created(&mut rooms.service.client(), request).await;
    let (status, listed) = rooms.get("/rooms").await;
    assert_eq!(status, 200);
    let counts: BTreeSet<_> = (listed.as_array().unwrap().iter())
        .map(|room| {
            (
                room["room_id"].to_string(),
                room["participant_count"].as_u64(),
            )
        })
        .collect();
    let expected = [(empty, Some(0)), (full, Some(2))];
    let expected = expected.map(|(room_id, count)| (json!(room_id).to_string(), count));
    assert_eq!(counts, expected.into());
    let created_at = listed[0]["created_at"].as_str().unwrap();
    let (date, time) = created_at.split_once('T').unwrap();
    assert_eq!((date.len(), time.len()), (10, "12:00:00.000000".len()));
}

#[tokio::test]
async fn line_4_a_room_is_shown_and_an_unknown_one_is_not_found() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (_page, user_id, _) = rooms.enter(&room_id).await;
    let expected = json!({"room_id": room_id, "participant_count": 1, "participants": [user_id], "exists": true});
    assert_eq!(
        rooms.get(&format!("/rooms/{room_id}")).await,
        (200, expected)
    );
    let not_found = (404, json!({"detail": "Room not found"}));
    let consultation = created(&mut rooms.service.client(), create("appointment-1")).await;
    for unknown in [
        "nope",
        "%00",
        "a%2Fb",
        "%FF",
        &"x".repeat(200),
        "c56a4180-65aa-42ec-a945-5fd21dec0538",
        &consultation.session_id,
        "appointment-1",
    ] {
        assert_eq!(rooms.get(&format!("/rooms/{unknown}")).await, not_found);
    }
}

#[tokio::test]
async fn lines_5_to_7_a_newcomer_learns_of_the_others_first_and_they_of_the_newcomer() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (mut first, first_id, others) = rooms.enter(&room_id).await;
    assert_eq!(others, Vec::<String>::new(), "line 5");
    let (mut second, second_id, others) = rooms.enter(&room_id).await;
    assert_eq!(others, vec![first_id.clone()], "line 6");
    let about =
        |kind: &str, user_id: &str| json!({"type": kind, "user_id": user_id, "room_id": room_id});
    told(&mut first, about("user-joined", &second_id)).await;
    let (third, third_id, others) = rooms.enter(&room_id).await;
    let others: BTreeSet<_> = others.into_iter().collect();
    assert_eq!(others, [first_id, second_id].into());
    for page in [&mut first, &mut second] {
        told(page, about("user-joined", &third_id)).await;
    }
    third.close();
    for page in [&mut first, &mut second] {
        told(page, about("user-left", &third_id)).await;
    }
}

#[tokio::test]
async fn lines_8_and_9_messages_reach_all_others_untouched_and_never_their_sender() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (mut sender, sender_id, _) = rooms.enter(&room_id).await;
    let (mut one, one_id, _) = rooms.enter(&room_id).await;
    let (mut other, ..) = rooms.enter(&room_id).await;
    for _ in 0..2 {
        assert_eq!(sender.message().await["type"], "user-joined");
    }
    assert_eq!(one.message().await["type"], "user-joined");
    let relayed = |message: &Value| {
        let mut message = message.clone();
        message["sender_id"] = json!(sender_id);
        message["room_id"] = json!(room_id);
        message
    };
    let messages = [
        json!({"type": "offer", "data": {"sdp": "v=0", "type": "offer"}, "more": [1, {"x": null}]}),
        json!({"type": "answer", "data": {"sdp": "v=0"}, "room_id": "elsewhere", "sender_id": "somebody"}),
        json!({"type": "ice-candidate", "data": {"candidate": "c", "sdpMLineIndex": 0, "sdpMid": "0"}}),
        json!({"type": "emoji", "data": {"emoji": "👍"}}),
        json!({"type": "mute-status", "data": {"muted": true}}),
        json!({"type": "join", "user_id": "Rosa"}),
        // Tells the others, and removes nobody.
        json!({"type": "leave"}),
        json!({"type": "offer", "data": {"sdp": "after leave"}}),
    ];
    for message in &messages {
        sender.send(message);
    }
    for page in [&mut one, &mut other] {
        for message in &messages {
            told(page, relayed(message)).await;
        }
    }
    // With a target, only that one receives it.
    let whisper = json!({"type": "offer", "target_id": one_id, "data": {"sdp": "for one"}});
    sender.send(&whisper);
    sender.send(&json!({"type": "emoji", "data": {"emoji": "🎉"}}));
    told(&mut one, relayed(&whisper)).await;
    for page in [&mut one, &mut other] {
        assert_eq!(page.message().await["data"]["emoji"], "🎉");
    }
    // Nothing of all that came back to the sender.
    one.send(&json!({"type": "emoji", "data": {"emoji": "🙂"}}));
    assert_eq!(sender.message().await["sender_id"], one_id);
}

#[tokio::test]
async fn line_10_a_bad_message_is_answered_and_the_connection_survives() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (mut page, ..) = rooms.enter(&room_id).await;
    let accepted = "['offer', 'answer', 'ice-candidate', 'join', 'leave', 'emoji', 'mute-status']";
    for bad in [
        json!({"type": "video"}),
        json!({"type": "end-session"}),
        json!({"type": "key", "target_id": "x"}),
        json!({"type": null}),
        json!({}),
    ] {
        page.send(&bad);
        let message = format!("Invalid message type. Must be one of: {accepted}");
        told(&mut page, json!({"type": "error", "message": message})).await;
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let nested = format!(r#"{{"type":"offer","data":{deep}}}"#);
    for bad in [
        "",
        "{",
        "[]",
        "7",
        "null",
        &deep,
        &nested,
        "{\"type\":\"join\",\"target_id\":7}",
    ] {
        page.say(bad);
        let error = page.message().await;
        assert_eq!(error["type"], "error");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with("Error processing message: "),
            "{message}"
        );
    }
    rooms.until_count(&room_id, 1).await;
}

#[tokio::test]
async fn line_11_an_unknown_room_is_closed_with_its_reason() {
    let rooms = Rooms::start().await;
    refused_as_unknown(rooms.socket("c56a4180-65aa-42ec-a945-5fd21dec0538").await).await;
    refused_as_unknown(rooms.socket("%00").await).await;
    refused_as_unknown(rooms.socket(&"x".repeat(500)).await).await;
    // A consultation is no room, whichever of its names is used, also if it is open to guests.
    let request = v1::CreateSessionRequest {
        open_to_guests: true,
        ..create("appointment-1")
    };
    let consultation = created(&mut rooms.service.client(), request).await;
    refused_as_unknown(rooms.socket(&consultation.session_id).await).await;
    refused_as_unknown(rooms.socket("appointment-1").await).await;
    // Nor is one whose appointment has a room's name, open or not.
    for (name, open_to_guests) in [("closed", false), ("open", true)] {
        let request = v1::CreateSessionRequest {
            open_to_guests,
            ..create(&format!("room:{name}"))
        };
        created(&mut rooms.service.client(), request).await;
        refused_as_unknown(rooms.socket(name).await).await;
        assert_eq!(rooms.get(&format!("/rooms/{name}")).await.0, 404);
    }
    assert_eq!(rooms.get("/rooms").await, (200, json!([])));
}

#[tokio::test]
async fn line_12_a_room_ends_with_its_last_participant() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (first, ..) = rooms.enter(&room_id).await;
    let (second, ..) = rooms.enter(&room_id).await;
    first.close();
    rooms.until_count(&room_id, 1).await;
    second.close();
    rooms.until_gone(&room_id).await;
    refused_as_unknown(rooms.socket(&room_id).await).await;
    assert_eq!(rooms.get("/rooms").await, (200, json!([])));
    let session = rooms.session(&room_id).await;
    assert_eq!(
        (session.state(), session.end_cause()),
        (SessionState::Ended, EndCause::Empty)
    );
}

#[tokio::test]
async fn line_13_rooms_do_not_hear_each_other_and_a_cut_connection_is_a_leave() {
    let rooms = Rooms::start().await;
    let (here, there) = (rooms.room().await, rooms.room().await);
    let (mut one, ..) = rooms.enter(&here).await;
    let (cut, cut_id, _) = rooms.enter(&here).await;
    let (mut other, ..) = rooms.enter(&there).await;
    let (there_too, there_id, others) = rooms.enter(&there).await;
    assert_eq!(others.len(), 1);
    assert_eq!(other.message().await["type"], "user-joined");
    assert_eq!(one.message().await["type"], "user-joined");
    // A message that names another room, and somebody in it, stays in its own.
    there_too.send(
        &json!({"type": "emoji", "room_id": here, "target_id": cut_id, "data": {"emoji": "x"}}),
    );
    there_too.send(&json!({"type": "emoji", "room_id": here, "data": {"emoji": "y"}}));
    let heard = other.message().await;
    assert_eq!(
        (&heard["data"]["emoji"], &heard["room_id"]),
        (&json!("y"), &json!(there))
    );
    assert_eq!(heard["sender_id"], there_id);
    // Without a close frame.
    drop(cut);
    told(
        &mut one,
        json!({"type": "user-left", "user_id": cut_id, "room_id": here}),
    )
    .await;
}

#[tokio::test]
async fn line_14_only_the_front_ends_pages_may_call() {
    let rooms = Rooms::start().await;
    let allowed = fetch(rooms.addr, "/rooms", &[("origin", FRONT_END)]).await;
    assert_eq!(allowed.header("access-control-allow-origin"), FRONT_END);
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    let other = fetch(rooms.addr, "/rooms", &[("origin", "https://evil.test")]).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    let room_id = rooms.room().await;
    let path = format!("/ws/{room_id}");
    let from = async |origin: &str| {
        let opened = socket(rooms.addr, &path, &[("origin", origin)]).await;
        opened.map(drop)
    };
    assert_eq!(from("https://evil.test").await, Err(403));
    assert_eq!(from("null").await, Err(403));
    // Whoever points a name of theirs at this address has the same origin as it.
    assert_eq!(from(&format!("http://{}", rooms.addr)).await, Err(403));
    // A form of any page can send this, without asking first.
    for (origin, status) in [("https://evil.test", 403), ("null", 403), (FRONT_END, 200)] {
        let made = rooms.post("/create-room", &[("origin", origin)]).await;
        assert_eq!(made.0, status, "{origin}");
    }
    for origin in [FRONT_END, ""] {
        assert_eq!(from(origin).await, Ok(()), "{origin}");
    }
}

#[tokio::test]
async fn a_guest_with_a_link_of_the_backend_meets_the_pages_of_the_rooms() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (mut older, older_id, _) = rooms.enter(&room_id).await;
    let session_id = rooms.session(&room_id).await.session_id;
    let request = v1::JoinSessionRequest {
        user_id: "anybody".to_owned(),
        ..join(&session_id, Role::Guest)
    };
    let answer = rooms.service.client().join_session(request).await.unwrap();
    let token = answer.into_inner().token;
    let ticket = Ticket::exchange(rooms.service.http, &session_id, &token).await;
    let mut page = ticket.connect(rooms.service.http).await.unwrap();
    assert_eq!(page.expect("connected").await["status"], "admitted");
    let existing = page.expect("existing-participants").await;
    assert_eq!(existing["participants"][0]["user_id"], older_id);
    told(
        &mut older,
        json!({"type": "user-joined", "user_id": "anybody", "room_id": room_id}),
    )
    .await;
    older.send(&json!({"type": "offer", "data": {"sdp": "v=0"}}));
    let offer = page.expect("offer").await;
    assert_eq!(
        (&offer["sender_id"], &offer["data"]["sdp"]),
        (&json!(older_id), &json!("v=0"))
    );
    page.send(&json!({"type": "answer", "target_id": older_id, "data": {"sdp": "v=1"}}));
    let answer = older.message().await;
    assert_eq!(
        (&answer["sender_id"], &answer["data"]["sdp"]),
        (&json!("anybody"), &json!("v=1"))
    );
    // An ended room is closed as one that does not exist, so the older page does not come back.
    end(&mut rooms.service.client(), &session_id, "over").await;
    refused_as_unknown(older).await;
}

#[tokio::test]
async fn making_rooms_can_need_the_secret() {
    let rooms = Rooms::with(&rooms_setup().set("LEGACY_ROOMS_CREATE", "secret")).await;
    let (status, refused) = rooms.post("/create-room", &[]).await;
    assert_eq!(status, 401);
    assert!(refused["detail"].is_string(), "{refused}");
    let wrong = rooms
        .post("/create-room", &[("x-internal-secret", "guess")])
        .await;
    assert_eq!(wrong.0, 401);
    let (status, made) = rooms
        .post("/create-room", &[("x-internal-secret", SECRET)])
        .await;
    assert_eq!(status, 200);
    // Entering needs none.
    rooms.enter(made["room_id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn an_address_makes_so_many_rooms_and_opens_so_many_sockets_and_no_more() {
    let setup = rooms_setup()
        .set("LEGACY_ROOMS_PER_MINUTE", 2)
        .set("LEGACY_ROOMS_SOCKETS_PER_MINUTE", 2)
        .set("TRUSTED_PROXIES", "127.0.0.1");
    let rooms = Rooms::with(&setup).await;
    let from = |client: &'static str| [("x-forwarded-for", client)];
    let make = async |client| submit(rooms.addr, "/create-room", &from(client), "").await;
    let mut room_id = String::new();
    for _ in 0..2 {
        let made = read(&make("192.0.2.1").await);
        assert_eq!(made.0, 200);
        room_id = made.1["room_id"].as_str().unwrap().to_owned();
    }
    let refused = make("192.0.2.1").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=31).contains(&wait), "{wait}");
    assert_eq!(make("192.0.2.2").await.status, 200);
    let secret = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-internal-secret", SECRET),
    ];
    assert_eq!(
        submit(rooms.addr, "/create-room", &secret, "").await.status,
        200
    );
    let path = format!("/ws/{room_id}");
    let open = async |client| socket(rooms.addr, &path, &from(client)).await.map(drop);
    assert_eq!(open("192.0.2.1").await, Ok(()));
    assert_eq!(open("192.0.2.1").await, Ok(()));
    assert_eq!(open("192.0.2.1").await, Err(429));
    assert_eq!(open("192.0.2.2").await, Ok(()));
}

#[tokio::test]
async fn an_address_has_so_many_sockets_open_and_no_more() {
    let rooms = Rooms::with(&rooms_setup().set("LEGACY_ROOMS_SOCKETS_PER_ADDRESS", 2)).await;
    let room_id = rooms.room().await;
    let (first, ..) = rooms.enter(&room_id).await;
    let _second = rooms.enter(&room_id).await;
    let path = format!("/ws/{room_id}");
    let open = async || socket(rooms.addr, &path, &[]).await.map(drop);
    assert_eq!(open().await, Err(429));
    first.close();
    patiently(async { while open().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_room_takes_so_many_and_closes_the_next_ones_so_that_they_try_again() {
    let rooms = Rooms::with(&rooms_setup().set("MAX_PARTICIPANTS", 2)).await;
    let room_id = rooms.room().await;
    let (_first, ..) = rooms.enter(&room_id).await;
    let (_second, ..) = rooms.enter(&room_id).await;
    let mut third = rooms.socket(&room_id).await;
    let closed = third.closed_with().await;
    assert_eq!(closed, Some((1013, "The room is full".to_owned())));
}

#[tokio::test]
async fn a_room_ends_by_its_age_and_may_be_told_to_wait_for_those_who_come_back() {
    let setup = rooms_setup()
        .set("LEGACY_ROOMS_EMPTY_TIMEOUT_SECS", 60)
        .set("LEGACY_ROOMS_AGE_MAX_SECS", 120);
    let rooms = Rooms::with(&setup).await;
    let room_id = rooms.room().await;
    let (page, ..) = rooms.enter(&room_id).await;
    page.close();
    rooms.until_count(&room_id, 0).await;
    let (_page, _, others) = rooms.enter(&room_id).await;
    assert_eq!(others, Vec::<String>::new());
    let session = rooms.session(&room_id).await;
    let age = session.scheduled_end_time.unwrap().seconds - session.create_time.unwrap().seconds;
    assert!((119..=121).contains(&age), "{age}");
}

#[tokio::test]
async fn rooms_are_open_only_if_that_is_said_aloud() {
    let (code, output) = rooms_setup().unset("LEGACY_ROOMS_OPEN").run().await;
    assert_eq!(code, Some(78), "{output}");
    assert!(output.contains("LEGACY_ROOMS_OPEN"), "{output}");
}

#[tokio::test]
async fn the_calls_are_counted_by_route() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    rooms.enter(&room_id).await;
    rooms.get("/rooms/nope").await;
    let metrics = rooms.service.admin("/metrics").await;
    for route in [
        "POST /create-room",
        "WS /ws/{room_id}",
        "GET /rooms/{room_id}",
    ] {
        let line = format!("video_session_legacy_calls_total{{api=\"rooms\",route=\"{route}\"}} 1");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_stop_tells_the_pages_to_come_back() {
    let mut rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (mut page, ..) = rooms.enter(&room_id).await;
    rooms.service.process.terminate().await;
    assert_eq!(page.closed_with().await.map(|(code, _)| code), Some(1012));
}

#[tokio::test]
async fn a_consultation_is_not_open_to_guests_unless_it_says_so() {
    let service = setup().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let request = v1::JoinSessionRequest {
        user_id: "anybody".to_owned(),
        ..join(&session.session_id, Role::Guest)
    };
    let refused = client.join_session(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let session = get(&mut client, &session.session_id).await.unwrap();
    assert!(!session.open_to_guests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_rooms_leave_the_list_bounded_and_each_room_open() {
    const ROOMS: usize = 10_000;
    const AT_ONCE: usize = 32;
    let setup = rooms_setup().set("LEGACY_ROOMS_PER_MINUTE", 1_000_000);
    let rooms = Rooms::with(&setup).await;
    let client = reqwest::Client::new();
    // On a busy machine, the store may be too slow for so many at once. Like a client, the test tries again then.
    let make = async || loop {
        let making = client.post(format!("http://{}/create-room", rooms.addr));
        let answer = making.send().await.unwrap();
        let status = answer.status().as_u16();
        let made: Value = answer.json().await.unwrap();
        match made["room_id"].as_str() {
            Some(room_id) => return room_id.to_owned(),
            None => assert_eq!(status, 503, "{made}"),
        }
    };
    let makers = (0..AT_ONCE).map(async |_| {
        let mut last = String::new();
        for _ in 0..ROOMS / AT_ONCE {
            last = make().await;
        }
        last
    });
    let made = futures::future::join_all(makers).await;
    let listed = rooms.get("/rooms").await.1;
    assert_eq!(
        listed.as_array().unwrap().len(),
        1000,
        "LEGACY_ROOMS_LISTED_MAX"
    );
    for room_id in made {
        let (page, ..) = rooms.enter(&room_id).await;
        page.close();
    }
}

#[tokio::test]
async fn what_clients_send_slowly_or_at_length_ends_in_time() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let setup = rooms_setup()
        .set("LEGACY_ROOMS_CREATE", "secret")
        .set("GRPC_BODY_TIMEOUT_SECS", 1)
        .set("GRPC_HELLO_TIMEOUT_SECS", 1);
    let rooms = Rooms::with(&setup).await;
    let room_id = {
        let (_, made) = rooms
            .post("/create-room", &[("x-internal-secret", SECRET)])
            .await;
        made["room_id"].as_str().unwrap().to_owned()
    };
    let heads = [
        // A body that does not come.
        format!(
            "POST /create-room HTTP/1.1\r\nhost: a\r\nx-internal-secret: {SECRET}\r\ncontent-length: 10\r\n\r\n"
        ),
        // The head of a socket's request, not to its end.
        format!("GET /ws/{room_id} HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n"),
        // What is no upgrade.
        format!("GET /ws/{room_id} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    ];
    for head in heads {
        let mut connection = tokio::net::TcpStream::connect(rooms.addr).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        // To the end: the service closes the connection.
        let _ = patiently(connection.read_to_end(&mut said)).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            !said.starts_with("HTTP/1.1 2") && !said.contains("HTTP/1.1 101"),
            "{head}: {said}"
        );
    }
    rooms.enter(&room_id).await;
}

#[tokio::test]
async fn control_characters_and_great_numbers_are_passed_on_or_refused_and_break_nothing() {
    let rooms = Rooms::start().await;
    let room_id = rooms.room().await;
    let (mut receiver, ..) = rooms.enter(&room_id).await;
    let (mut sender, ..) = rooms.enter(&room_id).await;
    assert_eq!(receiver.message().await["type"], "user-joined");
    let odd = "\u{0}\u{1}\u{7f}\u{85}\u{202e}\u{feff}\r\n\"\\";
    sender.send(&json!({"type": "join", "user_id": odd, odd: odd, "data": {"n": 9_007_199_254_740_993_u64}}));
    let joined = receiver.message().await;
    assert_eq!(
        (&joined["user_id"], &joined[odd]),
        (&json!(odd), &json!(odd))
    );
    assert_eq!(joined["data"]["n"].to_string(), "9007199254740993");
    for field in ["target_id", "type"] {
        sender.send(&json!({"type": "join", field: odd}));
        assert_eq!(sender.message().await["type"], "error");
    }
    // Of a field that is given twice, the last one counts, for the service and for the receiver.
    sender.say(
        r#"{"type": "offer", "type": "join", "room_id": "a", "room_id": "b", "sender_id": "x"}"#,
    );
    let joined = receiver.message().await;
    assert_eq!(
        (&joined["type"], &joined["room_id"]),
        (&json!("join"), &json!(room_id))
    );
    assert_ne!(joined["sender_id"], "x");
}
