//! STUN and TURN, as participants are given them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{Setup, create, in_secs};
use crate::livekit::{LiveKitServer, Options};
use crate::sfu_nodes::{call, on};
use crate::world::{World, fetch, setup};

fn by_relay_only(setup: Setup) -> Setup {
    setup
        .set("STUN_URLS", "stun:stun.test:3478")
        .set(
            "TURN_URLS",
            "turn:turn.test:3478?transport=udp, turns:turn.test:443",
        )
        .set("TURN_SECRET", "shared with coturn")
        .set("TURN_TTL_SECS", 600)
        .set("ICE_POLICY", "relay")
}

/// Checks that a page was given both servers, and the policy; answers the name with which TURN knows it.
fn username_of_relay(told: &Value) -> String {
    assert_eq!(told["ice_policy"], "relay");
    let [stun, turn] = &told["ice_servers"].as_array().unwrap()[..] else {
        panic!("two servers: {told}");
    };
    assert_eq!(*stun, json!({"urls": ["stun:stun.test:3478"]}));
    let urls = json!(["turn:turn.test:3478?transport=udp", "turns:turn.test:443"]);
    assert_eq!(turn["urls"], urls);
    let username = turn["username"].as_str().unwrap();
    let (expires, who) = username.split_once(':').unwrap();
    let expires: i64 = expires.parse().unwrap();
    assert!((in_secs(590).seconds..=in_secs(601).seconds).contains(&expires));
    assert!(!who.contains("doctor") && !who.contains("patient"));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"shared with coturn");
    let expected = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    assert_eq!(turn["credential"], expected);
    username.to_owned()
}

#[tokio::test]
async fn everybody_gets_credentials_of_their_own_that_expire() {
    let setup = by_relay_only(setup());
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut names = Vec::new();
    for role in [Role::Doctor, Role::Patient] {
        let mut page = world.enter(role).await;
        names.push(username_of_relay(&page.expect("connected").await));
    }
    assert_ne!(names[0], names[1]);
    assert!(!world.service.output().contains("shared with coturn"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn the_way_to_a_livekit_node_uses_the_same_servers() {
    let server = LiveKitServer::start(Options::default()).await;
    let request = v1::CreateSessionRequest {
        media: v1::Media::Auto.into(),
        ..call()
    };
    let setup = by_relay_only(on(&[&server]));
    let mut world = World::with(&setup, request).await;
    let mut doctor = world.enter(Role::Doctor).await;
    assert_eq!(doctor.expect("connected").await["media"], "builtin");
    let _patient = world.enter(Role::Patient).await;
    let mut names = Vec::new();
    // The call moves to the node for the third one. Those who are there are told then, and those who come later at once.
    let guest = v1::InviteParticipantRequest {
        role: Role::Guest.into(),
        user_id: "guest-1".to_owned(),
        ..Default::default()
    };
    let token = world.invite(guest).await.unwrap().join.unwrap().token;
    let ticket = world.exchange(&token).await;
    let _guest = world.connect(&ticket).await;
    let changed = doctor.until("media-changed").await;
    assert_eq!(changed["media"], "livekit");
    names.push(username_of_relay(&changed));
    let mut page = world.enter(Role::Doctor).await;
    let connected = page.expect("connected").await;
    assert_eq!(connected["media"], "livekit");
    names.push(username_of_relay(&connected));
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_page_gets_them_before_it_joins_by_its_cookie_only() {
    let setup = setup()
        .set("TURN_URLS", "turn:turn.test:3478")
        .set("TURN_SECRET", "shared with coturn");
    let mut world = World::with(&setup, create("appointment-1")).await;
    let ticket = world.ticket(Role::Patient).await;
    let path = format!("/join/{}/ice?p={}", ticket.session_id, ticket.slot);
    let answer = fetch(world.service.http, &path, &[("cookie", &ticket.cookie)]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let ice: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(ice["ice_policy"], "all");
    let turn = &ice["ice_servers"][0];
    assert_eq!(turn["urls"], json!(["turn:turn.test:3478"]));
    let username = turn["username"].as_str().unwrap();
    let expires: i64 = username.split_once(':').unwrap().0.parse().unwrap();
    assert!(
        expires <= in_secs(121).seconds,
        "for a test only: {username}"
    );
    for cookie in ["", "vs_x=y"] {
        let refused = fetch(world.service.http, &path, &[("cookie", cookie)]).await;
        assert_eq!(refused.status, 401, "{cookie}");
        assert!(!refused.body.contains("turn.test"));
    }
    // Nobody has joined by that.
    assert_eq!(world.event_types().await, Vec::<String>::new());
}

#[tokio::test]
async fn settings_that_would_leave_nobody_a_way_are_refused() {
    let check = async |settings: &[(&str, &str)]| {
        let setup = settings.iter().fold(
            Setup::new().args(&["check-config"]),
            |setup, (name, value)| setup.set(name, value),
        );
        setup.run().await
    };
    let turn = ("TURN_URLS", "turn:turn.test");
    let secret = ("TURN_SECRET", "hunter2-hunter2");
    for (settings, named) in [
        (&[("ICE_POLICY", "relay")][..], "ICE_POLICY"),
        (&[("ICE_POLICY", "none")], "ICE_POLICY"),
        (&[turn], "TURN_SECRET"),
        (&[secret], "TURN_SECRET"),
        (&[("TURN_URLS", "http://turn.test"), secret], "TURN_URLS"),
        (&[("STUN_URLS", "stun.test:3478")], "STUN_URLS"),
        (&[("FRAME_ANCESTORS", "*")], "FRAME_ANCESTORS"),
        (
            &[("FRAME_ANCESTORS", "'self'; script-src *")],
            "FRAME_ANCESTORS",
        ),
        (&[("TRUSTED_PROXIES", "proxy.test")], "TRUSTED_PROXIES"),
        (
            &[("HTTP_ALLOWED_ORIGINS", "portal.test")],
            "HTTP_ALLOWED_ORIGINS",
        ),
        (&[("CLIENT_BASE_URL", "ftp://page.test")], "CLIENT_BASE_URL"),
        (&[("MAX_PARTICIPANTS", "1")], "MAX_PARTICIPANTS"),
        (&[("WS_SILENCE_SECS", "2")], "WS_SILENCE_SECS"),
        (&[("INSTANCE_LEASE_SECS", "3")], "INSTANCE_LEASE_SECS"),
    ] {
        let (code, output) = check(settings).await;
        assert_eq!(code, Some(78), "{settings:?}");
        assert!(
            output.contains(named) && !output.contains("hunter2"),
            "{output}"
        );
    }
    let (code, output) = check(&[turn, secret, ("ICE_POLICY", "relay")]).await;
    assert_eq!(code, Some(0), "{output}");
}
