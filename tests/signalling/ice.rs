//! STUN and TURN, as participants are given them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use video_session::proto::v1::Role;

use crate::harness::{Setup, create, in_secs};
use crate::world::{World, fetch, setup};

#[tokio::test]
async fn everybody_gets_credentials_of_their_own_that_expire() {
    let setup = setup()
        .set("STUN_URLS", "stun:stun.test:3478")
        .set(
            "TURN_URLS",
            "turn:turn.test:3478?transport=udp, turns:turn.test:443",
        )
        .set("TURN_SECRET", "shared with coturn")
        .set("TURN_TTL_SECS", 600)
        .set("ICE_POLICY", "relay");
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut names = Vec::new();
    for role in [Role::Doctor, Role::Patient] {
        let mut page = world.enter(role).await;
        let connected = page.expect("connected").await;
        assert_eq!(connected["ice_policy"], "relay");
        let [stun, turn] = &connected["ice_servers"].as_array().unwrap()[..] else {
            panic!("two servers: {connected}");
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
        names.push(username.to_owned());
    }
    assert_ne!(names[0], names[1]);
    assert!(!world.service.output().contains("shared with coturn"));
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
