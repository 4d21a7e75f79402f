//! Calls on real LiveKit nodes that fail, drain and come back, as the pages hear of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::Value;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::session_event::Detail;
use video_session::proto::v1::{Media, Role, SfuNodeHealth};
use video_session::sfu::SfuDriver as _;
use video_session::sfu::livekit::{Config, LiveKit};

use crate::harness::{NodeClient, Service, Setup, create, created, get, join, patiently, refused};
use crate::livekit::{API_KEY, API_SECRET, LiveKitServer, Options};
use crate::peers::MongoPeer;
use crate::toxiproxy::{Fault, Toxiproxy};
use crate::world::{Page, World, setup};

/// A service's nodes: their names and HTTP addresses.
fn on(nodes: &[(&str, &str)]) -> Setup {
    let mut text = String::new();
    for (id, api_url) in nodes {
        text += &format!(
            "[[node]]\nid = \"{id}\"\ndriver = \"livekit\"\napi_url = \"{api_url}\"\n\
             api_key = \"{API_KEY}\"\napi_secret_env = \"LIVEKIT_SECRET\"\n"
        );
    }
    let setup = setup().file("nodes.toml", &text);
    let path = setup.path("nodes.toml");
    let setup = setup
        .set("SFU_NODES_FILE", path.display())
        .set("LIVEKIT_SECRET", API_SECRET)
        .set(
            "LIVEKIT_CLIENT_DIR",
            concat!(env!("CARGO_MANIFEST_DIR"), "/vendor/livekit-client"),
        );
    if std::env::var_os("TEST_DEFAULT_TIMES").is_some() {
        return setup;
    }
    setup
        .set("NODE_PROBE_INTERVAL_MS", 200)
        .set("NODE_DOWN_AFTER_SECS", 1)
        .set("NODE_UP_AFTER_SECS", 1)
        .set("NODE_MOVE_RETRY_MS", 100)
        .set("NODE_LOAD_INTERVAL_SECS", 1)
        .set("NODE_STATE_POLL_MS", 100)
        .set("INSTANCE_BEAT_MS", 200)
        // Only what the events request may end rooms.
        .set("SFU_RECONCILE_SECS", 3600)
}

fn requested(media: Media) -> v1::CreateSessionRequest {
    v1::CreateSessionRequest {
        media: media.into(),
        ..create("appointment-1")
    }
}

/// Two nodes, and a service with a session on one of them.
struct Stage {
    world: World,
    nodes: [LiveKitServer; 2],
}

const NAMES: [&str; 2] = ["node-a", "node-b"];

impl Stage {
    async fn with(media: Media) -> Self {
        let nodes = [
            LiveKitServer::start(Options::default()).await,
            LiveKitServer::start(Options::default()).await,
        ];
        let urls = nodes.each_ref().map(LiveKitServer::http_url);
        let setup = on(&[(NAMES[0], &urls[0]), (NAMES[1], &urls[1])]);
        let service = setup.start().await;
        for name in NAMES {
            health_is(&mut service.nodes(), name, SfuNodeHealth::Up).await;
        }
        let mut client = service.client();
        let session_id = created(&mut client, requested(media)).await.session_id;
        let world = World {
            service,
            client,
            session_id,
        };
        Self { world, nodes }
    }

    /// The index of the session's node.
    async fn here(&mut self) -> usize {
        let node_id = self.world.session().await.sfu_node_id;
        NAMES.iter().position(|name| *name == node_id).unwrap()
    }

    fn driver(&self, node: usize) -> Arc<LiveKit> {
        let config = Config {
            api_url: self.nodes[node].http_url(),
            public_url: None,
            api_key: API_KEY.to_owned(),
            api_secret: SecretString::from(API_SECRET),
        };
        Arc::new(LiveKit::new(&config).unwrap())
    }

    /// Waits until another session has moved, so that what would have moved with it has moved, too: its node is started again.
    async fn until_sessions_move(&mut self, node: usize) {
        let mut number = 10;
        let other = loop {
            let request = v1::CreateSessionRequest {
                appointment_id: format!("appointment-{number}"),
                ..requested(Media::Sfu)
            };
            let session = created(&mut self.world.client, request).await;
            if session.sfu_node_id == NAMES[node] {
                break session.session_id;
            }
            number += 1;
        };
        let session_id = std::mem::replace(&mut self.world.session_id, other);
        let mut page = self.world.admitted(Role::Doctor).await;
        self.nodes[node].restart().await;
        is_on_node(&page.expect("media-changed").await, 2, "node-lost");
        self.world.session_id = session_id;
    }

    async fn rooms(&self, node: usize) -> Vec<String> {
        self.driver(node).list_rooms().await.unwrap()
    }
}

async fn node(nodes: &mut NodeClient, node_id: &str) -> v1::SfuNodeStatus {
    let listed = nodes.list_nodes(v1::ListNodesRequest {}).await.unwrap();
    let mut listed = listed.into_inner().nodes.into_iter();
    listed.find(|node| node.node_id == node_id).unwrap()
}

async fn node_is(
    nodes: &mut NodeClient,
    node_id: &str,
    wanted: impl Fn(&v1::SfuNodeStatus) -> bool,
) -> v1::SfuNodeStatus {
    patiently(async {
        loop {
            let status = node(nodes, node_id).await;
            if wanted(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

async fn health_is(nodes: &mut NodeClient, node_id: &str, health: SfuNodeHealth) {
    node_is(nodes, node_id, |node| node.health() == health).await;
}

/// Waits until a node has these events, and no others: they are recorded some time after what they record.
async fn history_is(nodes: &mut NodeClient, node_id: &str, types: &[&str]) {
    node_is(nodes, node_id, |node| {
        let events = node.events.iter().map(|event| event.r#type.as_str());
        events.eq(types.iter().copied())
    })
    .await;
}

/// Both pages hear that the call goes another way.
async fn told(pages: [&mut Page; 2]) -> Value {
    let [first, second] = pages;
    let heard = first.expect("media-changed").await;
    let also = second.expect("media-changed").await;
    for field in ["media", "generation", "cause"] {
        assert_eq!(heard[field], also[field]);
    }
    heard
}

fn is_on_node(told: &Value, generation: i64, cause: &str) {
    assert_eq!(told["media"], "livekit", "{told}");
    assert_eq!(told["generation"], generation, "{told}");
    assert_eq!(told["cause"], cause, "{told}");
    let url = told["url"].as_str().unwrap();
    assert!(url.ends_with(&format!("/{generation}")), "{url}");
}

/// For whoever wants to know how long it took: `--nocapture`.
fn report(what: &str, since: Instant) {
    println!("{what}: {:.1} s", since.elapsed().as_secs_f64());
}

async fn moves_of(world: &mut World) -> Vec<String> {
    let request = v1::ListSessionEventsRequest {
        session_id: world.session_id.clone(),
        page_size: 500,
        ..Default::default()
    };
    let events = world.client.list_session_events(request).await.unwrap();
    let types = events.into_inner().events.into_iter();
    types
        .map(|event| event.r#type)
        .filter(|kind| {
            ["session.moved", "session.placed", "session.medium_changed"].contains(&&**kind)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_call_goes_on_at_another_node_when_its_own_is_killed() {
    let mut stage = Stage::with(Media::Sfu).await;
    let here = stage.here().await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    // Nobody has come to this one yet; strict rotation puts every other session on the same node.
    let mut scheduled = Vec::new();
    for appointment in ["appointment-2", "appointment-3"] {
        let request = v1::CreateSessionRequest {
            appointment_id: appointment.to_owned(),
            ..requested(Media::Sfu)
        };
        scheduled.push(created(&mut stage.world.client, request).await);
    }
    let found = (scheduled.iter()).find(|session| session.sfu_node_id == NAMES[here]);
    let waiting = found.unwrap().session_id.clone();

    let killed = Instant::now();
    stage.nodes[here].kill();
    is_on_node(&told([&mut doctor, &mut patient]).await, 2, "node-lost");
    report("killed, pages told", killed);
    let session = stage.world.session().await;
    assert_eq!(session.sfu_node_id, NAMES[1 - here]);
    assert_eq!(moves_of(&mut stage.world).await, ["session.moved"]);
    patiently(async {
        while get(&mut stage.world.client, &waiting)
            .await
            .unwrap()
            .sfu_node_id
            == NAMES[here]
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut nodes = stage.world.service.nodes();
    node_is(&mut nodes, NAMES[here], |node| {
        let is_recorded = (node.events.last()).is_some_and(|event| event.r#type == "node.lost");
        is_recorded && node.health() == SfuNodeHealth::Lost
    })
    .await;
    let metrics = stage.world.service.admin("/metrics").await;
    let counted = "sfu_sessions_moved_total{cause=\"node-lost\",to=\"node\"} 2";
    assert!(metrics.contains(counted), "{metrics}");

    // Back, it is of use again, and nothing moves to it.
    let back = Instant::now();
    stage.nodes[here].restart().await;
    health_is(&mut nodes, NAMES[here], SfuNodeHealth::Up).await;
    report("back, usable", back);
    let status = node(&mut nodes, NAMES[here]).await;
    assert!(status.load.is_some());
    assert_eq!((status.sessions_live, status.sessions_scheduled), (0, 0));
    stage.until_sessions_move(here).await;
    assert_eq!(moves_of(&mut stage.world).await, ["session.moved"]);
    doctor.nothing_more().await;
    patient.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_frozen_node_loses_its_calls_and_their_rooms() {
    let mut stage = Stage::with(Media::Sfu).await;
    let here = stage.here().await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    // As a native client would: the room is there now.
    let request = v1::JoinSessionRequest {
        with_sfu_ticket: true,
        ..join(&stage.world.session_id, Role::Doctor)
    };
    stage.world.client.join_session(request).await.unwrap();
    assert_eq!(stage.rooms(here).await.len(), 1);

    let frozen = Instant::now();
    stage.nodes[here].freeze(true);
    is_on_node(&told([&mut doctor, &mut patient]).await, 2, "node-lost");
    report("frozen, pages told", frozen);

    let thawed = Instant::now();
    stage.nodes[here].freeze(false);
    patiently(async {
        while !stage.rooms(here).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    report("thawed, room ended", thawed);
    let mut nodes = stage.world.service.nodes();
    health_is(&mut nodes, NAMES[here], SfuNodeHealth::Up).await;
    // It is the same process, so nothing was started.
    let history = ["node.started", "node.lost", "node.back"];
    history_is(&mut nodes, NAMES[here], &history).await;
    doctor.nothing_more().await;
    patient.nothing_more().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_node_that_is_started_again_at_once_has_its_calls_in_new_rooms() {
    let mut stage = Stage::with(Media::Sfu).await;
    let here = stage.here().await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    let restarted = Instant::now();
    stage.nodes[here].restart().await;
    is_on_node(&told([&mut doctor, &mut patient]).await, 2, "node-lost");
    report("restarted, pages told", restarted);
    assert_eq!(stage.here().await, here);
    let mut nodes = stage.world.service.nodes();
    let history = ["node.started", "node.started", "node.renewed"];
    history_is(&mut nodes, NAMES[here], &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn calls_get_their_new_rooms_though_the_instance_that_was_to_give_them_died() {
    let server = LiveKitServer::start(Options::default()).await;
    let setup = on(&[("node-a", &server.http_url())])
        .set("INSTANCE_LEASE_SECS", 2)
        .set("RECONNECT_GRACE_SECS", 1);
    let mut world = World::with(&setup, create("another")).await;
    health_is(&mut world.service.nodes(), "node-a", SfuNodeHealth::Up).await;
    let call = created(&mut world.client, requested(Media::Sfu)).await;
    world.session_id = call.session_id;
    world.admitted(Role::Doctor).await;
    world.service.process.kill().await;
    // What an instance leaves that recorded the node's start, and was killed before it did anything about it.
    {
        let file = setup.path("data/video-session.db");
        let db = rusqlite::Connection::open(file).unwrap();
        let renewed_by = "UPDATE nodes SET body = json_set(body, '$.renewed_by', 'dead')";
        assert_eq!(db.execute(renewed_by, []).unwrap(), 1);
        let heartbeat = "INSERT INTO instances (instance_id, expires_ms) VALUES ('dead', 1)";
        assert_eq!(db.execute(heartbeat, []).unwrap(), 1);
    }
    let service = setup.start().await;
    world = World {
        client: service.client(),
        service,
        session_id: world.session_id,
    };
    let history = ["node.started", "node.renewal_taken_over", "node.renewed"];
    history_is(&mut world.service.nodes(), "node-a", &history).await;
    let request = v1::ListSessionEventsRequest {
        session_id: world.session_id.clone(),
        page_size: 100,
        ..Default::default()
    };
    let events = world.client.list_session_events(request).await.unwrap();
    let events = events.into_inner().events;
    let moved = events.iter().find(|event| event.r#type == "session.moved");
    let Some(Detail::Moved(moved)) = &moved.unwrap().detail else {
        panic!("{moved:?}");
    };
    assert_eq!((&*moved.to_sfu_node_id, moved.generation), ("node-a", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn without_any_node_a_call_goes_on_between_the_browsers() {
    let mut stage = Stage::with(Media::Auto).await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    let guest = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let token = stage.world.invite(guest).await.unwrap().join.unwrap().token;
    let ticket = stage.world.exchange(&token).await;
    let mut guest = stage.world.connect(&ticket).await;
    assert_eq!(guest.expect("connected").await["media"], "livekit");
    for page in [&mut doctor, &mut patient] {
        let changed = page.until("media-changed").await;
        is_on_node(&changed, 1, "third-publisher");
    }

    let killed = Instant::now();
    for node in &mut stage.nodes {
        node.kill();
    }
    for page in [&mut doctor, &mut patient, &mut guest] {
        // Perhaps by way of the other node, if the one was lost before it.
        let changed = loop {
            let changed = page.until("media-changed").await;
            if changed["media"] == "builtin" {
                break changed;
            }
        };
        assert_eq!(changed["cause"], "node-lost");
    }
    report("all killed, pages told", killed);
    for name in NAMES {
        health_is(&mut stage.world.service.nodes(), name, SfuNodeHealth::Lost).await;
    }
    // Sessions that need no media server are created without any node.
    for (appointment, media) in [
        ("appointment-2", Media::Auto),
        ("appointment-3", Media::PeerToPeer),
    ] {
        let request = v1::CreateSessionRequest {
            appointment_id: appointment.to_owned(),
            ..requested(media)
        };
        created(&mut stage.world.client, request).await;
    }
    let request = v1::CreateSessionRequest {
        appointment_id: "appointment-4".to_owned(),
        ..requested(Media::Sfu)
    };
    let outcome = stage.world.client.create_session(request).await;
    refused(outcome, Reason::NoNodeAvailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_call_that_insists_on_a_node_waits_for_one() {
    let mut stage = Stage::with(Media::Sfu).await;
    let here = stage.here().await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    let mut nodes = stage.world.service.nodes();
    stage.nodes[1 - here].kill();
    health_is(&mut nodes, NAMES[1 - here], SfuNodeHealth::Lost).await;
    stage.nodes[here].kill();
    health_is(&mut nodes, NAMES[here], SfuNodeHealth::Lost).await;
    doctor.nothing_more().await;
    patient.nothing_more().await;
    stage.nodes[1 - here].restart().await;
    is_on_node(&told([&mut doctor, &mut patient]).await, 2, "node-lost");
    assert_eq!(stage.here().await, 1 - here);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_drain_with_a_deadline_moves_what_is_left() {
    let mut stage = Stage::with(Media::Sfu).await;
    let here = stage.here().await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    let mut nodes = stage.world.service.nodes();
    let drain = |seconds| v1::DrainNodeRequest {
        node_id: NAMES[here].to_owned(),
        reason: "new kernel".to_owned(),
        deadline: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    nodes.drain_node(drain(3600)).await.unwrap();
    stage.until_sessions_move(1 - here).await;
    assert!(moves_of(&mut stage.world).await.is_empty(), "not yet");
    doctor.nothing_more().await;
    patient.nothing_more().await;
    nodes.drain_node(drain(1)).await.unwrap();
    is_on_node(&told([&mut doctor, &mut patient]).await, 2, "node-drained");
    assert_eq!(stage.here().await, 1 - here);
    node_is(&mut nodes, NAMES[here], |node| {
        node.sessions_live == 0 && node.empty_time.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn the_backend_moves_a_call() {
    let mut stage = Stage::with(Media::Sfu).await;
    let here = stage.here().await;
    let (mut doctor, mut patient) = stage.world.couple().await;
    let mut nodes = stage.world.service.nodes();
    let to = |session_id: &str, target: &str| v1::MoveSessionRequest {
        session_id: session_id.to_owned(),
        target_node_id: target.to_owned(),
    };
    let id = stage.world.session_id.clone();
    let stays = nodes.move_session(to(&id, NAMES[here])).await.unwrap();
    assert_eq!(stays.into_inner().session.unwrap().sfu_node_id, NAMES[here]);
    doctor.nothing_more().await;
    // Named or not, it is the other one.
    let moved = nodes.move_session(to(&id, "")).await.unwrap();
    let moved = moved.into_inner().session.unwrap();
    assert_eq!(moved.sfu_node_id, NAMES[1 - here]);
    is_on_node(&told([&mut doctor, &mut patient]).await, 2, "backend");
    nodes.move_session(to(&id, NAMES[here])).await.unwrap();
    is_on_node(&told([&mut doctor, &mut patient]).await, 3, "backend");

    refused(
        nodes.move_session(to(&id, "nobody")).await,
        Reason::NodeNotFound,
    );
    let unknown = nodes.move_session(to("sess_0", "")).await;
    refused(unknown, Reason::SessionNotFound);
    let drain = v1::DrainNodeRequest {
        node_id: NAMES[1 - here].to_owned(),
        ..Default::default()
    };
    nodes.drain_node(drain).await.unwrap();
    for target in ["", NAMES[1 - here]] {
        let outcome = nodes.move_session(to(&id, target)).await;
        refused(outcome, Reason::NoNodeAvailable);
    }
    crate::harness::end(&mut stage.world.client, &id, "over").await;
    let outcome = nodes.move_session(to(&id, NAMES[here])).await;
    refused(outcome, Reason::SessionEnded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn a_node_that_makes_rooms_by_itself_is_not_used() {
    let options = Options {
        auto_create: true,
        ..Options::default()
    };
    let server = LiveKitServer::start(options).await;
    let service = on(&[("node-a", &server.http_url())]).start().await;
    // Also before anybody has looked.
    let outcome = service.client().create_session(requested(Media::Sfu)).await;
    refused(outcome, Reason::NoNodeAvailable);
    let mut nodes = service.nodes();
    node_is(&mut nodes, "node-a", |node| {
        node.health() == SfuNodeHealth::Lost && node.health_reason.contains("auto_create: false")
    })
    .await;
    let outcome = service.client().create_session(requested(Media::Sfu)).await;
    refused(outcome, Reason::NoNodeAvailable);
    let output = service.output();
    assert_eq!(output.matches("auto_create").count(), 1, "{output}");
}

/// An instance whose way to the first node may be another than the second's.
async fn instance(peer: &MongoPeer, nodes: &[(&str, &str)]) -> Service {
    on(nodes)
        .set("MONGO_URI", format!("mongodb://{}/failover", peer.addr))
        .set("INSTANCE_LEASE_SECS", 10)
        // The peer speaks the protocol, not MongoDB's speed.
        .set("STORE_TIMEOUT_MS", 20_000)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server, the MongoDB peer and toxiproxy; .ci/run installs them"]
async fn a_node_that_one_instance_cannot_reach_is_not_lost() {
    let peer = MongoPeer::start(0);
    let mut near = LiveKitServer::start(Options::default()).await;
    let way = Toxiproxy::start(&format!("127.0.0.1:{}", near.port)).await;
    let (direct, detour) = (near.http_url(), format!("http://{}", way.addr));
    let cut_off = instance(&peer, &[("node-a", &detour)]).await;
    let whole = instance(&peer, &[("node-a", &direct)]).await;
    health_is(&mut cut_off.nodes(), "node-a", SfuNodeHealth::Up).await;
    health_is(&mut whole.nodes(), "node-a", SfuNodeHealth::Up).await;
    let mut client = whole.client();
    let session_id = created(&mut client, requested(Media::Sfu)).await.session_id;
    let mut world = World {
        service: whole,
        client,
        session_id,
    };
    let mut doctor = world.admitted(Role::Doctor).await;
    let (mut of_cut_off, mut of_whole) = (cut_off.nodes(), world.service.nodes());

    way.inject(Fault::Cut).await;
    health_is(&mut of_cut_off, "node-a", SfuNodeHealth::Unreachable).await;
    let request = v1::CreateSessionRequest {
        appointment_id: "appointment-2".to_owned(),
        ..requested(Media::Sfu)
    };
    let outcome = cut_off.client().create_session(request.clone()).await;
    refused(outcome, Reason::NoNodeAvailable);
    created(&mut world.client, request).await;
    let status = node(&mut of_whole, "node-a").await;
    assert_eq!(status.health(), SfuNodeHealth::Up);
    assert!(
        status
            .events
            .iter()
            .all(|event| event.r#type != "node.lost")
    );
    doctor.nothing_more().await;

    // Once nobody reaches it, it is lost; and when it is back, two instances see its start and one of them acts.
    near.kill();
    health_is(&mut of_cut_off, "node-a", SfuNodeHealth::Lost).await;
    health_is(&mut of_whole, "node-a", SfuNodeHealth::Lost).await;
    way.heal(Fault::Cut).await;
    near.restart().await;
    is_on_node(&doctor.expect("media-changed").await, 2, "node-lost");
    health_is(&mut of_cut_off, "node-a", SfuNodeHealth::Up).await;
    health_is(&mut of_whole, "node-a", SfuNodeHealth::Up).await;
    doctor.nothing_more().await;
    // The calls may have their new rooms before or after the node counts as back.
    node_is(&mut of_whole, "node-a", |node| {
        let events: Vec<_> = node.events.iter().map(|event| &*event.r#type).collect();
        let (begun, rest) = events.split_at(events.len().min(3));
        begun == ["node.started", "node.lost", "node.started"]
            && [["node.back", "node.renewed"], ["node.renewed", "node.back"]]
                .iter()
                .any(|ends| rest == ends)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server and the MongoDB peer; .ci/run installs them"]
async fn pages_hear_where_their_call_goes_whichever_instance_decides_it() {
    let peer = MongoPeer::start(0);
    let servers = [
        LiveKitServer::start(Options::default()).await,
        LiveKitServer::start(Options::default()).await,
    ];
    let urls = servers.each_ref().map(LiveKitServer::http_url);
    let nodes = [(NAMES[0], urls[0].as_str()), (NAMES[1], urls[1].as_str())];
    let (here, there) = (instance(&peer, &nodes).await, instance(&peer, &nodes).await);
    for service in [&here, &there] {
        for name in NAMES {
            health_is(&mut service.nodes(), name, SfuNodeHealth::Up).await;
        }
    }
    let mut client = here.client();
    let session = created(&mut client, requested(Media::Auto)).await;
    let mut world = World {
        session_id: session.session_id.clone(),
        service: here,
        client,
    };
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let mut patient = ticket.connect(there.http).await.unwrap();
    patient.until("existing-participants").await;
    doctor.expect("user-joined").await;
    let guest = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let token = world.invite(guest).await.unwrap().join.unwrap().token;
    let ticket = world.exchange(&token).await;
    let mut guest = ticket.connect(there.http).await.unwrap();
    guest.until("existing-participants").await;
    for page in [&mut doctor, &mut patient] {
        let changed = page.until("media-changed").await;
        is_on_node(&changed, 1, "third-publisher");
    }
    for (service, generation) in [(&world.service, 2), (&there, 3)] {
        let request = v1::MoveSessionRequest {
            session_id: session.session_id.clone(),
            target_node_id: String::new(),
        };
        service.nodes().move_session(request).await.unwrap();
        let changed = told([&mut doctor, &mut patient]).await;
        is_on_node(&changed, generation, "backend");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server and the MongoDB peer; .ci/run installs them"]
async fn two_instances_move_each_session_of_a_lost_node_once() {
    let peer = MongoPeer::start(0);
    let mut servers = [
        LiveKitServer::start(Options::default()).await,
        LiveKitServer::start(Options::default()).await,
    ];
    let urls = servers.each_ref().map(LiveKitServer::http_url);
    let both = [(NAMES[0], urls[0].as_str()), (NAMES[1], urls[1].as_str())];
    let (here, there) = (instance(&peer, &both).await, instance(&peer, &both).await);
    for service in [&here, &there] {
        for name in NAMES {
            health_is(&mut service.nodes(), name, SfuNodeHealth::Up).await;
        }
    }
    let mut client = here.client();
    let mut on_first = Vec::new();
    for n in 0..60 {
        let request = v1::CreateSessionRequest {
            appointment_id: format!("appointment-{n}"),
            ..requested(Media::Sfu)
        };
        let session = created(&mut client, request).await;
        if session.sfu_node_id == NAMES[0] {
            on_first.push(session.session_id);
        }
    }
    assert_eq!(on_first.len(), 30);
    servers[0].kill();
    for service in [&here, &there] {
        health_is(&mut service.nodes(), NAMES[0], SfuNodeHealth::Lost).await;
    }
    node_is(&mut here.nodes(), NAMES[1], |node| {
        node.sessions_scheduled == 60
    })
    .await;
    let mut world = World {
        session_id: String::new(),
        service: here,
        client,
    };
    for session_id in on_first {
        world.session_id = session_id;
        assert_eq!(moves_of(&mut world).await, ["session.placed"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn nodes_that_are_added_while_the_service_runs_are_probed() {
    let server = LiveKitServer::start(Options::default()).await;
    let setup = on(&[("node-a", "http://127.0.0.1:9")]);
    let service = setup.start().await;
    let mut nodes = service.nodes();
    health_is(&mut nodes, "node-a", SfuNodeHealth::Lost).await;
    let text = std::fs::read_to_string(setup.path("nodes.toml")).unwrap();
    let text = text.replace("http://127.0.0.1:9", &server.http_url());
    let setup = setup.file("nodes.toml", &text);
    service.signal("HUP");
    health_is(&mut nodes, "node-a", SfuNodeHealth::Up).await;
    let second = LiveKitServer::start(Options::default()).await;
    let added = text.replace("node-a", "node-b");
    let added = text.clone() + &added.replace(&server.http_url(), &second.http_url());
    let _setup = setup.file("nodes.toml", &added);
    service.signal("HUP");
    patiently(async {
        loop {
            let listed = nodes.list_nodes(v1::ListNodesRequest {}).await.unwrap();
            let listed = listed.into_inner().nodes;
            if listed.len() == 2 && listed[1].health() == SfuNodeHealth::Up {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
