//! Those who do not keep to the rules: they are refused or cut off, and the others notice nothing.

use std::time::{Duration, Instant};

use futures::SinkExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use video_session::proto::v1::Role;

use crate::harness::{create, created, patiently};
use crate::world::{BASE, Page, Ticket, World, setup, socket};

/// A couple in a session of their own, undisturbed if they hear each other at once.
async fn assert_undisturbed(doctor: &mut Page, patient: &mut Page) {
    let started = Instant::now();
    doctor.send(&json!({"type": "offer", "data": {"sdp": "x"}}));
    patient.until("offer").await;
    patient.send(&json!({"type": "answer", "data": {"sdp": "x"}}));
    doctor.until("answer").await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn another_origin_is_refused() {
    let setup = setup().set(
        "HTTP_ALLOWED_ORIGINS",
        "https://portal.test, http://other.test:8080",
    );
    let mut world = World::with(&setup, create("appointment-1")).await;
    let ticket = world.ticket(Role::Patient).await;
    let http = world.service.http;
    for origin in [
        "",
        "null",
        "http://evil.test",
        "https://page.test",
        "http://page.test:80",
        "http://page.test.evil.test",
        "http://evil.test/http://page.test",
        "http://portal.test",
        "https://portal.test:444",
        "http://page.test/",
        // The very host that is asked: whoever makes the request chooses that name.
        &format!("http://{http}"),
        &format!("https://{http}"),
    ] {
        let outcome = ticket.connect_from(http, origin).await;
        assert_eq!(outcome.err(), Some(403), "{origin:?}");
    }
    for origin in [BASE, "https://portal.test", "http://other.test:8080"] {
        let mut page = ticket.connect_from(http, origin).await.unwrap();
        page.expect("connected").await;
    }
}

#[tokio::test]
async fn only_the_sessions_own_cookie_opens_a_connection() {
    let mut world = World::new().await;
    let http = world.service.http;
    let ticket = world.ticket(Role::Patient).await;
    let other = created(&mut world.client, create("appointment-2"))
        .await
        .session_id;
    let mine = std::mem::replace(&mut world.session_id, other);
    let theirs = world.ticket(Role::Doctor).await;
    world.session_id = mine;
    let (_, their_credential) = theirs.cookie.split_once('=').unwrap();
    let (_, my_credential) = ticket.cookie.split_once('=').unwrap();
    let with = |cookie: String| Ticket {
        cookie,
        ..ticket.clone()
    };
    let cases = [
        (with(String::new()), 401),
        (with("vs_x=y".to_owned()), 401),
        (with(format!("vs_{}=nonsense", ticket.slot)), 401),
        (with(format!("vs_{}={my_credential}x", ticket.slot)), 401),
        (with(format!("vs_{}={their_credential}", ticket.slot)), 403),
        (
            Ticket {
                session_id: theirs.session_id.clone(),
                ..ticket.clone()
            },
            403,
        ),
        (
            Ticket {
                slot: String::new(),
                ..ticket.clone()
            },
            401,
        ),
        (
            Ticket {
                session_id: "sess_unknown".to_owned(),
                ..ticket.clone()
            },
            403,
        ),
    ];
    for (ticket, status) in cases {
        assert_eq!(ticket.connect(http).await.err(), Some(status), "{ticket:?}");
    }
    ticket
        .connect(http)
        .await
        .unwrap()
        .expect("connected")
        .await;
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection() {
    let setup = setup().set("WS_MESSAGE_BYTES_MAX", 4096);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (mut doctor, mut patient) = world.couple().await;
    let of = |bytes: usize| format!(r#"{{"type":"offer","data":"{}"}}"#, "x".repeat(bytes));
    patient.say(of(4000));
    doctor.expect("offer").await;
    patient.say(of(10 * 1024 * 1024));
    assert_eq!(patient.closed().await, Some(1009));
    doctor.nothing_more().await;
    let mut patient = world.enter(Role::Patient).await;
    assert_eq!(patient.expect("connected").await["resumed"], true);
    patient.say(of(4097));
    assert_eq!(patient.closed_at_last().await, Some(1009));
}

#[tokio::test]
async fn whoever_says_too_much_is_told_so() {
    let setup = setup()
        .set("WS_MESSAGES_PER_SECOND", 1)
        .set("WS_MESSAGES_BURST", 5);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    for _ in 0..6 {
        doctor.ask("join");
    }
    assert_eq!(doctor.closed().await, Some(4008));
}

#[tokio::test]
async fn a_flood_ends_the_connection_and_nobody_elses() {
    let mut world = World::new().await;
    let (mut doctor, mut patient) = world.couple().await;
    let first = world.session_id.clone();
    world.session_id = created(&mut world.client, create("appointment-2"))
        .await
        .session_id;
    let (mut other_doctor, mut other_patient) = world.couple().await;
    world.session_id = first;
    for _ in 0..10_000 {
        patient.send(&json!({"type": "emoji", "data": {"emoji": "x"}}));
    }
    assert_undisturbed(&mut other_doctor, &mut other_patient).await;
    assert_eq!(patient.closed().await, Some(4008));
    world.ended_with(4008).await;
    // A sender's messages arrive in order, also over two connections.
    let patient = world.enter(Role::Patient).await;
    patient.send(&json!({"type": "emoji", "data": {"emoji": "last"}}));
    let mut heard = 0;
    loop {
        let message = doctor.message().await;
        if message["data"]["emoji"] == "last" {
            break;
        }
        heard += usize::from(message["type"] == "emoji");
    }
    assert!((250..1000).contains(&heard), "{heard}");
}

/// Resident memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_never_reads_is_cut_off_and_costs_a_bounded_queue() {
    let setup = setup()
        .set("WS_MESSAGES_PER_SECOND", 10_000)
        .set("WS_MESSAGES_BURST", 100_000)
        // It takes the sender a while to say so much, and the patient is to be away all the time.
        .set("WS_SILENCE_SECS", 60)
        .set("RECONNECT_GRACE_SECS", 300);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let path = format!("/join/{}/ws?p={}", ticket.session_id, ticket.slot);
    let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
    let mut deaf = socket(world.service.http, &path, &headers).await.unwrap();
    doctor.expect("user-joined").await;
    let pid = world.service.process.id();
    let before = resident(pid);
    let large = "x".repeat(60_000);
    for _ in 0..2000 {
        doctor.send(&json!({"type": "offer", "data": {"sdp": large}}));
    }
    doctor.nothing_more().await;
    let grown = resident(pid).saturating_sub(before);
    // What waits is at most the queue: 256 messages.
    assert!(grown < 48 * 1024 * 1024, "{grown} bytes more");
    world.ended_with(4009).await;
    let _ = deaf.close(None).await;
    let mut patient = world.enter(Role::Patient).await;
    assert_eq!(patient.expect("connected").await["resumed"], true);
}

#[tokio::test]
async fn headers_that_never_end_are_not_waited_for() {
    let setup = setup().set("HTTP_HEADER_TIMEOUT_SECS", 1);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut slow = Vec::new();
    let addresses = [world.service.http; 50].into_iter();
    for address in addresses.chain([world.service.admin; 50]) {
        for begun in [
            "GET /join/x HTTP/1.1\r\nhost: page.test\r\nx-a: ",
            "PRI * HT",
            "",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun.as_bytes()).await.unwrap();
            slow.push(stream);
        }
    }
    let (mut doctor, mut patient) = world.couple().await;
    assert_undisturbed(&mut doctor, &mut patient).await;
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed, with or without an answer.
        let _ = patiently(stream.read_to_end(&mut rest)).await;
        assert!(!rest.starts_with(b"HTTP/1.1 2"));
    }
}

#[tokio::test]
async fn one_address_takes_so_many_connections_and_no_more() {
    // A connection that was accepted would be waited for.
    let setup = setup()
        .set("HTTP_CONNECTIONS_PER_ADDRESS", 3)
        .set("HTTP_HEADER_TIMEOUT_SECS", 600);
    let world = World::with(&setup, create("appointment-1")).await;
    let http = world.service.http;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(http).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        held.push(stream);
    }
    let mut refused = TcpStream::connect(http).await.unwrap();
    let mut rest = Vec::new();
    let _ = patiently(refused.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    drop(held.pop());
    let mut status = 0;
    patiently(async {
        while status != 404 {
            let asked = reqwest::get(format!("http://{http}/")).await;
            status = asked.map_or(0, |answer| answer.status().as_u16());
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_takes_no_answer_is_not_waited_for() {
    let setup = setup()
        .set("HTTP_CONNECTIONS_MAX", 1)
        .set("HTTP_WRITE_TIMEOUT_SECS", 1);
    let world = World::with(&setup, create("appointment-1")).await;
    let http = world.service.http;
    let page = crate::world::fetch(http, "/", &[]).await.body;
    let (_, rest) = page.split_once("href=\"/assets/").unwrap();
    let version = rest.split('/').next().unwrap();
    let mut deaf = TcpStream::connect(http).await.unwrap();
    let ask = format!("GET /assets/{version}/css/page.css HTTP/1.1\r\nhost: page.test\r\n\r\n");
    // More than the buffers between here and there hold; what cannot be sent any more is the end of it.
    let _ = tokio::time::timeout(
        Duration::from_secs(1),
        deaf.write_all(ask.repeat(2000).as_bytes()),
    )
    .await;
    assert_eq!(
        patiently(crate::world::fetch(http, "/", &[])).await.status,
        404
    );
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let setup = setup()
        .set("HTTP_CONNECTIONS_MAX", 3)
        .set("HTTP_HEADER_TIMEOUT_SECS", 60);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (doctor, mut patient) = world.couple().await;
    let held = TcpStream::connect(world.service.http).await.unwrap();
    // Waits to be accepted until somebody goes.
    let http = world.service.http;
    let waiting = tokio::spawn(async move { crate::world::fetch(http, "/", &[]).await.status });
    doctor.send(&json!({"type": "offer", "data": {"sdp": "x"}}));
    patient.expect("offer").await;
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(patiently(waiting).await.unwrap(), 404);
}

#[tokio::test]
async fn frames_that_are_no_text_are_ignored() {
    let mut world = World::new().await;
    let mut doctor = world.admitted(Role::Doctor).await;
    let ticket = world.ticket(Role::Patient).await;
    let path = format!("/join/{}/ws?p={}", ticket.session_id, ticket.slot);
    let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
    let mut raw = socket(world.service.http, &path, &headers).await.unwrap();
    doctor.expect("user-joined").await;
    raw.send(Message::binary(vec![0xff; 100])).await.unwrap();
    raw.send(Message::Ping(vec![1, 2, 3].into())).await.unwrap();
    raw.send(Message::text(r#"{"type":"emoji","data":{"emoji":"x"}}"#))
        .await
        .unwrap();
    doctor.expect("emoji").await;
    doctor.nothing_more().await;
}

#[tokio::test]
async fn unfinished_requests_do_not_hold_up_the_end() {
    let setup = setup()
        .set("HTTP_HEADER_TIMEOUT_SECS", 600)
        .set("DRAIN_TIMEOUT_SECS", 3600);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let mut open = Vec::new();
    for begun in [
        "",
        "GET /join/x HTTP/1.1\r\nHost",
        "POST /join/sess_x/name?p=000000000000 HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n{",
    ] {
        let mut stream = TcpStream::connect(world.service.http).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        open.push(stream);
    }
    // So that the service has taken them all in.
    world.ticket(Role::Patient).await;
    world.service.process.signal("TERM");
    assert!(world.service.process.exit().await.success());
}
