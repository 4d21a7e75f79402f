//! The door to SFU nodes, with a real livekit-server behind it.

use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{create, created, end, join, patiently};
use crate::livekit::{API_KEY, API_SECRET, LiveKitServer, Options};
use crate::peers::MongoPeer;
use crate::sfu_nodes::{call, node, nodes_file, on, present, room, rooms, until_present};
use crate::toxiproxy::{Fault, Toxiproxy};
use crate::world::{BASE, Ticket, World, fetch, socket};

type Socket = WebSocketStream<TcpStream>;

/// What livekit-client asks for.
const RTC: &str = "rtc?protocol=15&sdk=js&version=2.15.0&auto_subscribe=1";
const OPEN: &str = "video_session_door_connections ";

fn door(ticket: &Ticket, generation: i64, rest: &str) -> String {
    let Ticket {
        session_id, slot, ..
    } = ticket;
    format!("/join/{session_id}/sfu/{slot}/{generation}/{rest}")
}

async fn open(world: &World, ticket: &Ticket) -> Result<Socket, u16> {
    let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
    socket(world.service.http, &door(ticket, 1, RTC), &headers).await
}

/// Open, also on a machine that does much else: a node that is late is tried again, as pages do.
async fn opened(world: &World, ticket: &Ticket, generation: i64) -> Socket {
    let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
    opened_at(world, &door(ticket, generation, RTC), &headers).await
}

async fn opened_at(world: &World, path: &str, headers: &[(&str, &str)]) -> Socket {
    patiently(async {
        loop {
            match socket(world.service.http, path, headers).await {
                Ok(socket) => return socket,
                Err(status) => assert_eq!(status, 503, "{path}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// The node's first message, which names the room and the participant.
async fn answer(socket: &mut Socket) -> String {
    loop {
        if let Message::Binary(bytes) = patiently(socket.next()).await.unwrap().unwrap() {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

/// Waits until it is over.
async fn cut(mut socket: Socket) {
    patiently(async { while let Some(Ok(_)) = socket.next().await {} }).await;
}

/// How many connections of pages to nodes are open.
async fn count(world: &World) -> u64 {
    let metrics = world.service.admin("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(OPEN));
    line.unwrap().parse().unwrap()
}

async fn until_count(world: &World, wanted: u64) {
    patiently(async {
        while count(world).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

type IsKnown = fn(&v1::SfuNodeStatus) -> bool;

/// Waits until the service knows this of a node.
async fn until_node(world: &World, is_known: impl Fn(&v1::SfuNodeStatus) -> bool) {
    let mut nodes = world.service.nodes();
    patiently(async {
        loop {
            let listed = nodes.list_nodes(v1::ListNodesRequest {}).await;
            let listed = listed.unwrap().into_inner().nodes;
            if listed.iter().any(&is_known) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits until the service knows which process answers at a node, so that it notices when another one does.
async fn until_known(world: &World, node_id: &str) {
    until_node(world, |node| {
        node.node_id == node_id && !node.events.is_empty()
    })
    .await;
}

async fn server() -> LiveKitServer {
    LiveKitServer::start(Options::default()).await
}

/// Somebody in the call, with what they need for the door.
async fn participant(world: &mut World, role: Role) -> (crate::world::Page, Ticket) {
    let ticket = world.ticket(role).await;
    let mut page = world.connect(&ticket).await;
    let connected = page.expect("connected").await;
    assert_eq!(connected["media"], "livekit", "{connected}");
    let url = connected["url"].as_str().unwrap();
    assert_eq!(format!("{url}/rtc"), door(&ticket, 1, "rtc"));
    page.expect("existing-participants").await;
    (page, ticket)
}

/// Somebody in a call of another session, which goes from browser to browser.
async fn in_a_direct_call(world: &mut World) -> Ticket {
    let request = v1::CreateSessionRequest {
        media: v1::Media::PeerToPeer.into(),
        admission: v1::Admission::Open.into(),
        ..create("appointment-2")
    };
    let session_id = created(&mut world.client, request).await.session_id;
    let request = join(&session_id, Role::Patient);
    let joined = world.client.join_session(request).await.unwrap();
    let token = joined.into_inner().token;
    let ticket = Ticket::exchange(world.service.http, &session_id, &token).await;
    let mut page = world.connect(&ticket).await;
    assert_eq!(page.expect("connected").await["media"], "builtin");
    ticket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn the_door_opens_only_for_those_in_the_call() {
    let server = server().await;
    let setup = on(&[&server]);
    let mut world = World::with(&setup, call()).await;
    let http = world.service.http;
    let (_page, ticket) = participant(&mut world, Role::Patient).await;
    let jar = ticket.cookie.as_str();

    // Somebody with a good cookie who is not in the call, and a call that goes from browser to browser.
    let outside = world.ticket(Role::Doctor).await;
    let elsewhere = in_a_direct_call(&mut world).await;
    let (others, outsiders) = (elsewhere.cookie.as_str(), outside.cookie.as_str());
    let forged = format!("vs_{}=x.y.z", ticket.slot);
    let at = |rest: &str| door(&ticket, 1, rest);

    for (path, origin, cookie, status) in [
        (at(RTC), BASE, "", 401),
        (at(RTC), BASE, others, 401),
        (at(RTC), BASE, &*forged, 401),
        (at(RTC), "https://evil.test", jar, 403),
        (at(RTC), "", jar, 403),
        (door(&outside, 1, RTC), BASE, outsiders, 403),
        (door(&ticket, 2, RTC), BASE, jar, 409),
        (door(&ticket, 0, RTC), BASE, jar, 409),
        (door(&elsewhere, 1, RTC), BASE, others, 409),
        (at("twirp/livekit.RoomService/ListRooms"), BASE, jar, 404),
        (at("rtc/../twirp"), BASE, jar, 404),
        (at("rtc%2F..%2Fmetrics"), BASE, jar, 404),
        (at(""), BASE, jar, 404),
        (at(RTC).replace("/1/", "/1x/"), BASE, jar, 404),
    ] {
        let refused = socket(http, &path, &[("origin", origin), ("cookie", cookie)]).await;
        assert_eq!(refused.err(), Some(status), "{path} {origin}");
    }
    assert_eq!(count(&world).await, 0);
    assert!(present(&node(&server), &room(&world)).await.is_empty());

    let mut opened = opened(&world, &ticket, 1).await;
    let said = answer(&mut opened).await;
    assert!(said.contains(&room(&world)) && said.contains("patient-1"));
    assert_eq!(count(&world).await, 1);
    // What a client asks when it was refused.
    let validate = door(&ticket, 1, "rtc/validate");
    let asked = fetch(http, &validate, &[("cookie", jar)]).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let stranger = fetch(http, &validate, &[]).await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn what_a_client_brings_as_its_token_is_ignored() {
    let server = server().await;
    let mut world = World::with(&on(&[&server]), call()).await;
    let (_page, ticket) = participant(&mut world, Role::Patient).await;
    let now = jsonwebtoken::get_current_timestamp();
    let token = |identity: &str, room: &str, secret: &str| {
        let claims = json!({"iss": API_KEY, "sub": identity, "nbf": now - 60, "exp": now + 600, "video": {
            "room": room, "roomJoin": true, "roomAdmin": true, "canPublishData": true, "hidden": true}});
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
    };
    let room = room(&world);
    for brought in [
        "nonsense".to_owned(),
        token("patient-1", &room, "x"),
        token("doctor-1", &room, API_SECRET),
        token("patient-1", "room_of_another", API_SECRET),
    ] {
        // Also twice, and before what is genuine.
        let rest = format!("rtc?access_token={brought}&protocol=15&access_token={brought}");
        let path = door(&ticket, 1, &rest);
        let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
        let mut opened = opened_at(&world, &path, &headers).await;
        let said = answer(&mut opened).await;
        assert!(said.contains(&room) && said.contains("patient-1"), "{said}");
        assert!(!said.contains("doctor-1") && !said.contains("room_of_another"));
        until_present(&node(&server), &room, &["patient-1"]).await;
    }
    // A second identity for the same participant is not given.
    let path = format!("{}?publish=ghost", door(&ticket, 1, "rtc"));
    let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
    let mut opened = opened_at(&world, &path, &headers).await;
    assert!(!answer(&mut opened).await.contains("ghost"));
    until_present(&node(&server), &room, &["patient-1"]).await;
    // As a header, a token does not arrive either.
    let bearer = format!("Bearer {}", token("doctor-1", &room, API_SECRET));
    let headers = [
        ("origin", BASE),
        ("cookie", &*ticket.cookie),
        ("authorization", &*bearer),
    ];
    let path = door(&ticket, 1, RTC);
    let mut opened = opened_at(&world, &path, &headers).await;
    assert!(answer(&mut opened).await.contains("patient-1"));
    until_present(&node(&server), &room, &["patient-1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn the_connection_is_cut_when_its_participant_leaves_the_call() {
    let server = server().await;
    let mut world = World::with(&on(&[&server]), call()).await;
    let (node, room) = (node(&server), room(&world));
    let (_doctor_page, doctor) = participant(&mut world, Role::Doctor).await;
    let (_page, patient) = participant(&mut world, Role::Patient).await;
    let stays = opened(&world, &doctor, 1).await;
    let leaves = opened(&world, &patient, 1).await;
    until_present(&node, &room, &["doctor-1", "patient-1"]).await;

    world.remove("patient-1", false).await;
    cut(leaves).await;
    until_present(&node, &room, &["doctor-1"]).await;
    until_count(&world, 1).await;
    let refused = open(&world, &patient).await.err();
    assert_eq!(refused, Some(403), "with the cookie that they have");

    // Who joins anew and leaves by themselves.
    let (page, patient) = participant(&mut world, Role::Patient).await;
    let leaves = opened(&world, &patient, 1).await;
    page.ask("leave");
    cut(leaves).await;
    until_present(&node, &room, &["doctor-1"]).await;
    assert_eq!(open(&world, &patient).await.err(), Some(403));

    let id = world.session_id.clone();
    end(&mut world.client, &id, "over").await;
    cut(stays).await;
    until_count(&world, 0).await;
    let refused = open(&world, &doctor).await.err();
    assert!(matches!(refused, Some(403 | 410)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn pages_may_stay_at_the_former_node_until_they_leave_the_call() {
    let (first, second) = (server().await, server().await);
    let setup = on(&[&first, &second])
        .set("NODE_MOVE_OVERLAP_SECS", 3600)
        .set("SFU_RECONCILE_SECS", 1);
    let mut world = World::with(&setup, call()).await;
    let (node, room) = (node(&first), room(&world));
    let (mut doctor_page, doctor) = participant(&mut world, Role::Doctor).await;
    let (_page, patient) = participant(&mut world, Role::Patient).await;
    let _stays = opened(&world, &doctor, 1).await;
    let leaves = opened(&world, &patient, 1).await;
    let request = v1::MoveSessionRequest {
        session_id: world.session_id.clone(),
        target_node_id: "sfu-2".to_owned(),
    };
    world.service.nodes().move_session(request).await.unwrap();
    doctor_page.until("media-changed").await;
    // The regular runs have seen the room by then, too.
    let _after = opened(&world, &patient, 2).await;
    until_count(&world, 3).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(present(&node, &room).await, ["doctor-1", "patient-1"]);
    }
    assert_eq!(open(&world, &doctor).await.err(), Some(409), "nobody comes");
    world.remove("patient-1", false).await;
    cut(leaves).await;
    until_present(&node, &room, &["doctor-1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_move_cuts_the_connections_to_the_former_node() {
    let (first, second) = (server().await, server().await);
    let setup = on(&[&first, &second])
        .set("NODE_MOVE_OVERLAP_SECS", 1)
        .set("SFU_RECONCILE_SECS", 1);
    let mut world = World::with(&setup, call()).await;
    assert_eq!(world.session().await.sfu_node_id, "sfu-1");
    let (mut page, ticket) = participant(&mut world, Role::Doctor).await;
    let before = opened(&world, &ticket, 1).await;
    let request = v1::MoveSessionRequest {
        session_id: world.session_id.clone(),
        target_node_id: "sfu-2".to_owned(),
    };
    world.service.nodes().move_session(request).await.unwrap();
    let changed = page.until("media-changed").await;
    assert_eq!(
        (&changed["generation"], &changed["cause"]),
        (&json!(2), &json!("backend"))
    );
    assert_eq!(open(&world, &ticket).await.err(), Some(409));
    cut(before).await;
    let mut after = opened(&world, &ticket, 2).await;
    let moved = format!("{}_2", room(&world));
    assert!(answer(&mut after).await.contains(&moved));
    until_present(&node(&second), &moved, &["doctor-1"]).await;
    until_count(&world, 1).await;
    // Its room is ended there with the next regular run, so nobody with a ticket stays behind.
    let (node, room) = (node(&first), room(&world));
    patiently(async {
        while rooms(&node).await.contains(&room) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// The node itself answers such a ping, through the door.
async fn until_node_answers(socket: &mut Socket, payload: &'static str) {
    socket.send(Message::Ping(payload.into())).await.unwrap();
    patiently(async {
        loop {
            let message = socket.next().await.expect("the door is open").unwrap();
            if matches!(&message, Message::Pong(answer) if **answer == *payload.as_bytes()) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn calls_go_on_while_the_nodes_file_changes() {
    let (first, second) = (server().await, server().await);
    let setup = on(&[&first]);
    let mut world = World::with(&setup, call()).await;
    let (mut doctor_page, doctor) = participant(&mut world, Role::Doctor).await;
    let (mut patient_page, _patient) = participant(&mut world, Role::Patient).await;
    doctor_page.expect("user-joined").await;
    let mut opened = opened(&world, &doctor, 1).await;
    answer(&mut opened).await;
    until_node_answers(&mut opened, "before").await;

    let both = nodes_file(&setup, &[&first, &second]);
    let drained = both.replacen("driver", "state = \"draining\"\ndriver", 1);
    let is_listed = |node: &v1::SfuNodeStatus| node.node_id == "sfu-2" && node.configured;
    let is_denied = |node: &v1::SfuNodeStatus| {
        node.node_id == "sfu-1" && node.health_reason.ends_with("denied")
    };
    let is_gone = |node: &v1::SfuNodeStatus| node.node_id == "sfu-1" && !node.configured;
    let changes: [(&str, String, IsKnown); 3] = [
        (
            "another comes, the call's own takes no more",
            drained,
            is_listed,
        ),
        (
            "the key of the call's own is wrong",
            both.replacen(API_KEY, "another-key", 1),
            is_denied,
        ),
        (
            "the call's own goes",
            nodes_file(&setup, &[&second]).replace("sfu-1", "sfu-2"),
            is_gone,
        ),
    ];
    for (what, file, is_known) in changes {
        std::fs::write(setup.path("nodes.toml"), file).unwrap();
        world.service.signal("HUP");
        until_node(&world, is_known).await;
        let said = json!({"type": "emoji", "data": {"emoji": "x"}});
        patient_page.send(&said);
        assert_eq!(doctor_page.expect("emoji").await["data"], said["data"]);
        doctor_page.send(&said);
        assert_eq!(patient_page.expect("emoji").await["data"], said["data"]);
        until_node_answers(&mut opened, what).await;
        assert_eq!(count(&world).await, 1, "{what}");
    }
    // Whoever left the call is cut as before.
    doctor_page.ask("leave");
    cut(opened).await;
    until_count(&world, 0).await;
}

/// Otherwise the node cuts them, too, because the service removes participants from its room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn connections_are_cut_even_if_their_node_does_nothing() {
    let (first, second) = (server().await, server().await);
    let setup = on(&[&first, &second]).set("DOOR_SILENCE_SECS", 3600);
    let mut world = World::with(&setup, call()).await;
    let (_doctor_page, doctor) = participant(&mut world, Role::Doctor).await;
    let (_patient_page, patient) = participant(&mut world, Role::Patient).await;
    let moves = opened(&world, &doctor, 1).await;
    let removed = opened(&world, &patient, 1).await;
    until_count(&world, 2).await;
    first.freeze(true);
    world.remove("patient-1", false).await;
    cut(removed).await;
    until_count(&world, 1).await;
    let id = world.session_id.clone();
    let request = v1::MoveSessionRequest {
        session_id: id.clone(),
        target_node_id: "sfu-2".to_owned(),
    };
    world.service.nodes().move_session(request).await.unwrap();
    cut(moves).await;

    let patient = world.ticket(Role::Patient).await;
    let mut patient_page = world.connect(&patient).await;
    patient_page.until("existing-participants").await;
    let ends = opened(&world, &doctor, 2).await;
    let leaves = opened(&world, &patient, 2).await;
    until_count(&world, 2).await;
    second.freeze(true);
    patient_page.ask("leave");
    cut(leaves).await;
    until_count(&world, 1).await;
    end(&mut world.client, &id, "over").await;
    cut(ends).await;
    until_count(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_connection_is_cut_when_the_call_goes_back_to_the_browsers() {
    let server = server().await;
    let setup = on(&[&server])
        .set("NODE_PROBE_INTERVAL_MS", 200)
        .set("NODE_DOWN_AFTER_SECS", 1)
        .set("DOOR_SILENCE_SECS", 3600);
    let request = v1::CreateSessionRequest {
        media: v1::Media::Auto.into(),
        ..call()
    };
    let mut world = World::with(&setup, request).await;
    let ticket = world.ticket(Role::Doctor).await;
    let mut doctor = world.connect(&ticket).await;
    let _patient = world.admitted(Role::Patient).await;
    let guest = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let token = world.invite(guest).await.unwrap().join.unwrap().token;
    let guest = world.exchange(&token).await;
    let _guest = world.connect(&guest).await;
    assert_eq!(doctor.until("media-changed").await["media"], "livekit");
    let opened = opened(&world, &ticket, 1).await;
    until_count(&world, 1).await;
    // Its end would end the connection.
    server.freeze(true);
    assert_eq!(doctor.until("media-changed").await["media"], "builtin");
    cut(opened).await;
    until_count(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_node_that_is_down_or_says_nothing_is_reported_in_time() {
    let mut server = server().await;
    let setup = on(&[&server])
        .set("SFU_CALL_TIMEOUT_MS", 1500)
        .set("SFU_ATTEMPT_TIMEOUT_MS", 700);
    let mut world = World::with(&setup, call()).await;
    let (mut page, ticket) = participant(&mut world, Role::Doctor).await;
    // Its room is there, so only the connection itself can fail.
    drop(opened(&world, &ticket, 1).await);
    until_known(&world, "sfu-1").await;
    for frozen in [true, false] {
        if frozen {
            server.freeze(true);
        } else {
            server.kill();
        }
        let started = Instant::now();
        assert_eq!(open(&world, &ticket).await.err(), Some(503));
        // Making sure of the room, and the connection: each in its time.
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    until_count(&world, 0).await;
    server.restart().await;
    // Started again, it has lost the room, so the call goes on in another one.
    assert_eq!(page.expect("media-changed").await["generation"], 2);
    let mut opened = opened(&world, &ticket, 2).await;
    assert!(answer(&mut opened).await.contains(&room(&world)));
}

/// Its connection would keep a place of `HTTP_CONNECTIONS_MAX` for as long as the participant stays in the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_page_that_closes_leaves_nothing_behind_while_its_node_says_nothing() {
    let server = server().await;
    let mut world = World::with(&on(&[&server]), call()).await;
    let (_page, ticket) = participant(&mut world, Role::Doctor).await;
    let mut opened = opened(&world, &ticket, 1).await;
    answer(&mut opened).await;
    until_count(&world, 1).await;
    server.freeze(true);
    drop(opened);
    until_count(&world, 0).await;
    server.freeze(false);
    until_present(&node(&server), &room(&world), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_page_that_went_silent_is_cut() {
    let server = server().await;
    let setup = on(&[&server]).set("DOOR_SILENCE_SECS", 1);
    let mut world = World::with(&setup, call()).await;
    let (_page, ticket) = participant(&mut world, Role::Doctor).await;
    // Held open, and neither read nor written: as after a broken way.
    let started = Instant::now();
    let held = opened(&world, &ticket, 1).await;
    until_count(&world, 1).await;
    until_count(&world, 0).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    until_present(&node(&server), &room(&world), &[]).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_service_that_drains_closes_the_door() {
    let server = server().await;
    let mut world = World::with(&on(&[&server]), call()).await;
    let (_page, ticket) = participant(&mut world, Role::Doctor).await;
    let opened = opened(&world, &ticket, 1).await;
    let reading = tokio::spawn(cut(opened));
    world.service.process.terminate().await;
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn hundreds_of_refused_and_broken_connections_leave_nothing_behind() {
    let server = server().await;
    let setup = on(&[&server]).set("HTTP_REQUESTS_PER_MINUTE", 100_000);
    let mut world = World::with(&setup, call()).await;
    let http = world.service.http;
    let (_page, ticket) = participant(&mut world, Role::Doctor).await;
    for round in 0..100 {
        let cases = [
            (door(&ticket, 1, RTC), "", 401),
            (door(&ticket, 7, RTC), ticket.cookie.as_str(), 409),
            (door(&ticket, 1, "metrics"), ticket.cookie.as_str(), 404),
        ];
        for (path, cookie, status) in cases {
            let refused = socket(http, &path, &[("origin", BASE), ("cookie", cookie)]).await;
            assert_eq!(refused.err(), Some(status));
        }
        if round % 5 == 0 {
            // Opened, and gone without a word.
            drop(opened(&world, &ticket, 1).await);
        }
    }
    until_count(&world, 0).await;
    let mut opened = opened(&world, &ticket, 1).await;
    assert!(answer(&mut opened).await.contains("doctor-1"));
    until_count(&world, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server, the MongoDB peer and toxiproxy; .ci/run installs them"]
async fn the_door_outlives_an_outage_of_the_store_and_hears_other_instances() {
    let (peer, server) = (MongoPeer::start(0), server().await);
    let way = Toxiproxy::start(&peer.addr).await;
    let setup = |addr: &str| {
        on(&[&server])
            .set(
                "MONGO_URI",
                format!("mongodb://{addr}/door?serverSelectionTimeoutMS=1000"),
            )
            .set("STORE_TIMEOUT_MS", 10_000)
            .set("INSTANCE_LEASE_SECS", 600)
    };
    let mut here = World::with(&setup(&way.addr), call()).await;
    let there = setup(&peer.addr).start().await;
    let (_doctor_page, doctor) = participant(&mut here, Role::Doctor).await;
    let (_patient_page, patient) = participant(&mut here, Role::Patient).await;
    let (stays, leaves) = (
        opened(&here, &doctor, 1).await,
        opened(&here, &patient, 1).await,
    );
    until_count(&here, 2).await;

    way.inject(Fault::Cut).await;
    // The service has noticed: it serves nobody new.
    patiently(async {
        while !matches!(open(&here, &patient).await.err(), Some(500..)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(count(&here).await, 2);
    // Meanwhile another instance removes the patient.
    let request = v1::RemoveParticipantRequest {
        session_id: here.session_id.clone(),
        user_id: "patient-1".to_owned(),
        keep_out: false,
    };
    let mut away = there.client();
    patiently(away.remove_participant(request)).await.unwrap();
    way.heal(Fault::Cut).await;
    cut(leaves).await;
    until_count(&here, 1).await;
    let id = here.session_id.clone();
    end(&mut away, &id, "over").await;
    cut(stays).await;
}
