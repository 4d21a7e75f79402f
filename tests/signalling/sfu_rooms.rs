//! Rooms of a real livekit-server whose participants come to it directly, without the door: they are settled against the session.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use jsonwebtoken::{EncodingKey, Header};
use secrecy::ExposeSecret as _;
use serde_json::json;
use video_session::domain::id::{SessionId, UserId};
use video_session::domain::time::Timestamp;
use video_session::proto::v1;
use video_session::proto::v1::Role;
use video_session::sfu::{Admit, SfuDriver as _};

use crate::harness::{end, join, jwt_part, patiently};
use crate::livekit::{API_KEY, API_SECRET, LiveKitServer, Options, Participant};
use crate::sfu_nodes::{call, node, on, present, room, rooms, until_present};
use crate::world::{BASE, World, socket};

/// A ticket from JoinSession, and where it is for.
async fn ticket(world: &mut World, role: Role) -> (String, String) {
    let request = v1::JoinSessionRequest {
        with_sfu_ticket: true,
        ..join(&world.session_id, role)
    };
    let answer = world.client.join_session(request).await.unwrap();
    let sfu = answer.into_inner().sfu.unwrap();
    assert!(!sfu.ticket.is_empty() && !sfu.url.is_empty(), "{sfu:?}");
    (sfu.url, sfu.ticket)
}

async fn until_said(participant: &Participant, wanted: &str) {
    let waiting = async {
        while !(participant.said().iter()).any(|said| said.starts_with(wanted)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patiently(waiting).await;
}

/// Comes with a ticket that the node takes, and is sent away, perhaps before the connection is complete.
async fn sent_away((url, ticket): &(String, String)) {
    let participant = Participant::join(url, ticket);
    let is_out = |said: &String| said.starts_with("disconnected") || said == "refused";
    let waiting = async {
        while !participant.said().iter().any(is_out) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    patiently(waiting).await;
}

async fn joined((url, ticket): &(String, String)) -> Participant {
    let participant = Participant::join(url, ticket);
    until_said(&participant, "connected").await;
    participant
}

async fn reconcile(world: &World) -> v1::ReconcileSessionResponse {
    let request = v1::ReconcileSessionRequest {
        session_id: world.session_id.clone(),
    };
    let answer = world.service.nodes().reconcile_session(request).await;
    answer.unwrap().into_inner()
}

/// Somebody in the room with a genuine token that the service did not issue.
async fn stranger(server: &LiveKitServer, room: &str) -> Participant {
    let admit = Admit {
        user_id: UserId::parse("stranger-1").unwrap(),
        role: video_session::domain::role::Role::Guest,
        sequence: 1_000_000,
        ttl: Duration::from_secs(60),
    };
    let ticket = node(server).issue_ticket(room, &admit).await;
    let ticket = ticket.unwrap().unwrap();
    joined(&(ticket.url, ticket.token.expose_secret().to_owned())).await
}

/// A message as the node would sign it.
struct Webhook {
    body: String,
    secret: &'static str,
    signed_body: String,
    expires_in: i64,
}

impl Webhook {
    fn joined(room: &str) -> Self {
        let body = json!({"event": "participant_joined", "id": "EV_1", "room": {"name": room},
            "participant": {"identity": "stranger-1"}})
        .to_string();
        Self {
            signed_body: body.clone(),
            body,
            secret: API_SECRET,
            expires_in: 300,
        }
    }

    async fn send(&self, world: &World, node_id: &str) -> u16 {
        let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
        let hash = digest(&SHA256, self.signed_body.as_bytes());
        let claims = json!({"iss": API_KEY, "nbf": now - 3600, "exp": now + self.expires_in,
            "sha256": BASE64_STANDARD.encode(hash)});
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
        post(world, node_id, Some(&token), self.body.clone()).await
    }
}

async fn post(world: &World, node_id: &str, authorization: Option<&str>, body: String) -> u16 {
    let url = format!("http://{}/webhooks/sfu/{node_id}", world.service.admin);
    let mut request = reqwest::Client::new().post(url).body(body);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.send().await.unwrap().status().as_u16()
}

/// A node that sends its webhooks to the service, so that the service hears of those who come.
async fn with_webhooks() -> (LiveKitServer, World) {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = reserved.local_addr().unwrap();
    drop(reserved);
    let server = LiveKitServer::start(Options {
        webhook_url: Some(format!("http://{admin}/webhooks/sfu/sfu-1")),
        ..Options::default()
    })
    .await;
    // Only the webhook can tell in time.
    let setup = on(&[&server]).set("ADMIN_ADDR", admin);
    let world = World::with(&setup, call()).await;
    (server, world)
}

/// The token with which a node renews that of a client who connects: the whole message is field 16 of LiveKit's SignalResponse, a text.
async fn renewed_token(server: &LiveKitServer, ticket: &str) -> String {
    const REFRESH_TOKEN: [u8; 2] = [0x82, 0x01];
    let node = SocketAddr::from(([127, 0, 0, 1], server.port));
    let path = format!("/rtc?access_token={ticket}&protocol=15&sdk=js&version=2.15.0");
    let mut socket = socket(node, &path, &[]).await.unwrap();
    loop {
        let message = patiently(socket.next()).await.unwrap().unwrap();
        let message = message.into_data();
        let Some(text) = message.strip_prefix(&REFRESH_TOKEN) else {
            continue;
        };
        // The length has more than one byte; all but the last of them have the highest bit.
        let length = text.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        return String::from_utf8(text[length..].to_vec()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_webhook_removes_a_participant_who_comes_back() {
    let (server, mut world) = with_webhooks().await;
    let (node, room) = (node(&server), room(&world));
    let (doctor, patient) = (
        ticket(&mut world, Role::Doctor).await,
        ticket(&mut world, Role::Patient).await,
    );
    let stays = joined(&doctor).await;
    let leaves = joined(&patient).await;
    until_present(&node, &room, &["doctor-1", "patient-1"]).await;

    world.remove("patient-1", false).await;
    until_said(&leaves, "disconnected").await;
    for _ in 0..2 {
        // The node takes the old ticket; the service does not.
        sent_away(&patient).await;
        until_present(&node, &room, &["doctor-1"]).await;
    }
    // A new ticket is as good as the first was.
    let anew = ticket(&mut world, Role::Patient).await;
    let back = joined(&anew).await;
    until_present(&node, &room, &["doctor-1", "patient-1"]).await;
    assert!(reconcile(&world).await.removed_user_ids.is_empty());
    for participant in [&stays, &back] {
        let said = participant.said();
        assert!(
            !said.iter().any(|said| said.starts_with("disconnected")),
            "{said:?}"
        );
    }
}

/// The node renews its clients' tokens, so the end of a ticket's validity does not keep the removed out, and nor does its identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_token_that_the_node_renewed_does_not_bring_the_removed_back() {
    let (server, mut world) = with_webhooks().await;
    let (node, room) = (node(&server), room(&world));
    let doctor = ticket(&mut world, Role::Doctor).await;
    let stays = joined(&doctor).await;
    // Their page's cookie and their own client's ticket.
    let page = world.ticket(Role::Patient).await;
    let patient = ticket(&mut world, Role::Patient).await;
    let renewed = renewed_token(&server, &patient.1).await;
    assert_ne!(renewed, patient.1);
    let claims = jwt_part(&renewed, 1);
    assert_eq!(claims["sub"], "patient-1", "{claims}");
    assert_eq!(claims["video"]["room"], *room, "{claims}");
    let renewed = (patient.0, renewed);
    // As good as the ticket, as long as they are in the call.
    let leaves = joined(&renewed).await;
    until_present(&node, &room, &["doctor-1", "patient-1"]).await;

    world.remove("patient-1", false).await;
    until_said(&leaves, "disconnected").await;
    for _ in 0..2 {
        sent_away(&renewed).await;
        until_present(&node, &room, &["doctor-1"]).await;
    }
    let said = stays.said();
    assert!(
        !said.iter().any(|said| said.starts_with("disc")),
        "{said:?}"
    );

    // A new link does not make the old token good again.
    let anew = world.ticket(Role::Patient).await;
    sent_away(&renewed).await;
    until_present(&node, &room, &["doctor-1"]).await;

    // The door looks at the cookie alone: there is none, it is of a removed participant, or of one who is not in the call yet.
    let bearer = format!("Bearer {}", renewed.1);
    for (page, cookie, status) in [
        (&page, "", 401),
        (&page, &*page.cookie, 403),
        (&anew, &*anew.cookie, 403),
    ] {
        let (session_id, slot) = (&page.session_id, &page.slot);
        let rest = format!("rtc?protocol=15&access_token={}", renewed.1);
        let path = format!("/join/{session_id}/sfu/{slot}/1/{rest}");
        let headers = [
            ("origin", BASE),
            ("cookie", cookie),
            ("authorization", &bearer),
        ];
        let refused = socket(world.service.http, &path, &headers).await;
        assert_eq!(refused.err(), Some(status), "{cookie}");
    }
    assert_eq!(present(&node, &room).await, ["doctor-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn without_webhooks_the_regular_run_removes_them() {
    let server = LiveKitServer::start(Options::default()).await;
    let setup = on(&[&server]).set("SFU_RECONCILE_SECS", 1);
    let mut world = World::with(&setup, call()).await;
    let (node, room) = (node(&server), room(&world));
    let patient = ticket(&mut world, Role::Patient).await;
    let first = joined(&patient).await;
    world.remove("patient-1", true).await;
    until_said(&first, "disconnected").await;
    sent_away(&patient).await;
    until_present(&node, &room, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn forged_webhooks_are_refused_and_genuine_ones_are_only_hints() {
    let server = LiveKitServer::start(Options::default()).await;
    let mut world = World::with(&on(&[&server]), call()).await;
    let (node, room) = (node(&server), room(&world));
    let doctor = ticket(&mut world, Role::Doctor).await;
    let _doctor = joined(&doctor).await;
    let stranger = stranger(&server, &room).await;
    let genuine = || Webhook::joined(&room);
    let forged = Webhook {
        secret: "another secret of 32 characters!",
        ..genuine()
    };
    let altered = Webhook {
        signed_body: "{}".to_owned(),
        ..genuine()
    };
    let old = Webhook {
        expires_in: -61,
        ..genuine()
    };
    let garbage = Webhook {
        body: "[1, {".to_owned(),
        signed_body: "[1, {".to_owned(),
        ..genuine()
    };
    for (why, webhook, status) in [
        ("forged", forged, 401),
        ("altered", altered, 401),
        ("old", old, 401),
        ("garbage", garbage, 400),
    ] {
        assert_eq!(webhook.send(&world, "sfu-1").await, status, "{why}");
    }
    assert_eq!(genuine().send(&world, "sfu-9").await, 404);
    assert_eq!(genuine().send(&world, "not%20a%20node").await, 404);
    let body = genuine().body;
    assert_eq!(post(&world, "sfu-1", None, body.clone()).await, 401);
    let unsigned = post(&world, "sfu-1", Some("eyJhbGciOiJub25lIn0.e30."), body);
    assert_eq!(unsigned.await, 401);
    let huge = "x".repeat(1024 * 1024 + 1);
    assert_eq!(post(&world, "sfu-1", Some("x.y.z"), huge).await, 400);
    let both = ["doctor-1", "stranger-1"];
    assert_eq!(present(&node, &room).await, both, "nothing happened");
    assert!(!stranger.said().iter().any(|said| said.starts_with("disc")));

    // Genuine ones, of rooms that are not ours or not there, and replayed: the doctor stays.
    for other in ["", "a room", "room_sess_00000000000000000000000000"] {
        assert_eq!(Webhook::joined(other).send(&world, "sfu-1").await, 200);
    }
    assert_eq!(present(&node, &room).await, both);
    for _ in 0..5 {
        assert_eq!(genuine().send(&world, "sfu-1").await, 200);
    }
    until_said(&stranger, "disconnected").await;
    until_present(&node, &room, &["doctor-1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn reconciling_says_whom_it_removed_and_changes_nothing_else() {
    let server = LiveKitServer::start(Options::default()).await;
    let mut world = World::with(&on(&[&server]), call()).await;
    let (node, room) = (node(&server), room(&world));
    let doctor = ticket(&mut world, Role::Doctor).await;
    let _doctor = joined(&doctor).await;
    let stranger = stranger(&server, &room).await;
    let version = world.session().await.version;
    let settled = reconcile(&world).await;
    assert_eq!(settled.removed_user_ids, ["stranger-1"]);
    assert_eq!(
        (&*settled.sfu_node_id, settled.rooms_ended),
        ("sfu-1", false)
    );
    until_said(&stranger, "disconnected").await;
    until_present(&node, &room, &["doctor-1"]).await;
    assert!(reconcile(&world).await.removed_user_ids.is_empty());
    assert_eq!(world.session().await.version, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn the_room_of_an_ended_session_goes_and_those_of_others_stay() {
    let server = LiveKitServer::start(Options::default()).await;
    let setup = on(&[&server]).set("SFU_RECONCILE_SECS", 1);
    let mut world = World::with(&setup, call()).await;
    let (node, room) = (node(&server), room(&world));
    let elsewhere = SessionId::generate(Timestamp::from_millis(1));
    let others = [
        "somebody's room".to_owned(),
        format!("room_{elsewhere}"),
        // Ours by its name, but nobody's session.
        "room_1".to_owned(),
    ];
    for other in &others {
        node.ensure_room(other).await.unwrap();
    }
    let doctor = ticket(&mut world, Role::Doctor).await;
    let doctor = joined(&doctor).await;
    let id = world.session_id.clone();
    end(&mut world.client, &id, "over").await;
    until_said(&doctor, "disconnected").await;
    let until_gone = async || {
        patiently(async {
            while rooms(&node).await.contains(&room) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    };
    until_gone().await;
    // Twice, because the end is one hint and the regular run another.
    for generation in ["", "_2"] {
        let left_over = format!("{room}{generation}");
        node.ensure_room(&left_over).await.unwrap();
        patiently(async {
            while rooms(&node).await.contains(&left_over) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
    let left = rooms(&node).await;
    for other in &others {
        assert!(left.contains(other), "{other} of {left:?}");
    }
    assert!(reconcile(&world).await.rooms_ended);
}
