//! Whoever is closed or refused learns why, also if they were sending when it happened: every close code of
//! docs/signalling.md, and refusals of HTTP requests, hundreds of times side by side. A socket that is closed with bytes
//! unread is reset, and the reset overtakes what was sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;
use futures::{SinkExt as _, StreamExt as _};
use rusqlite::Connection;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use video_session::app::signalling::CloseCode;
use video_session::proto::v1;
use video_session::proto::v1::{Admission, Role};

use crate::harness::{create, created, patiently};
use crate::world::{BASE, Ticket, World, setup, socket};

/// How many connections are closed with each code, side by side.
const EACH: usize = 30;
/// How many of them are closed because they read too slowly: each costs the test what the queue and the buffers on the way
/// hold.
const SLOW: usize = 3;
/// How much of a request is under way when it is refused: more than the buffers on the way hold.
const BODY_BYTES: usize = 8 * 1024 * 1024;
/// What a page sends until it is closed, and after.
const NOISE: &str = r#"{"type":"join"}"#;
/// How many of these are under way at most when it is closed.
const NOISE_MAX: usize = 2000;

type Socket = WebSocketStream<TcpStream>;

/// Which codes were seen so far, by any test of this file.
static SEEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

async fn open(http: SocketAddr, ticket: &Ticket) -> Socket {
    let path = format!("/join/{}/ws?p={}", ticket.session_id, ticket.slot);
    let headers = [("origin", BASE), ("cookie", &*ticket.cookie)];
    socket(http, &path, &headers).await.unwrap()
}

/// Sends noise until the service closes, and reads to the very end: the code, unless the connection broke.
async fn read_code(mut socket: Socket, mut said: Vec<Message>) -> Result<u16, String> {
    said.extend(std::iter::repeat_n(Message::text(NOISE), NOISE_MAX));
    let mut said = said.into_iter();
    let frame = loop {
        let heard = tokio::select! {
            biased;
            heard = socket.next() => heard,
            sent = async { socket_send(&mut said).await } => match sent {
                Some(message) => {
                    socket.send(message).await.map_err(|error| format!("while sending: {error}"))?;
                    continue;
                }
                None => socket.next().await,
            },
        };
        match heard {
            Some(Ok(Message::Close(frame))) => break frame,
            Some(Ok(_)) => {}
            other => return Err(format!("instead of a close: {other:?}")),
        }
    };
    let code = frame.map(|frame| u16::from(frame.code));
    // Answers the close.
    let _ = socket.flush().await;
    let mut rest = Vec::new();
    let end = patiently(socket.get_mut().read_to_end(&mut rest)).await;
    end.map_err(|error| format!("after {code:?}: {error}"))?;
    code.ok_or_else(|| "a close without a code".to_owned())
}

async fn socket_send(said: &mut impl Iterator<Item = Message>) -> Option<Message> {
    tokio::task::yield_now().await;
    said.next()
}

/// All of these connections are closed with that code.
async fn assert_closed(
    code: CloseCode,
    reading: Vec<tokio::task::JoinHandle<Result<u16, String>>>,
) {
    let code = code.number();
    for outcome in patiently(join_all(reading)).await {
        assert_eq!(outcome.unwrap(), Ok(code));
    }
    SEEN.lock().unwrap().insert(code);
}

fn read_all(
    sockets: Vec<Socket>,
    said: &[Message],
) -> Vec<tokio::task::JoinHandle<Result<u16, String>>> {
    let read = |socket| tokio::spawn(read_code(socket, said.to_vec()));
    sockets.into_iter().map(read).collect()
}

/// A ticket of a patient to each of many sessions of their own.
async fn tickets(world: &mut World, name: &str) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    for n in 0..EACH {
        let request = v1::CreateSessionRequest {
            admission: Admission::Open.into(),
            max_participants: 2,
            ..create(&format!("{name}-{n}"))
        };
        world.session_id = created(&mut world.client, request).await.session_id;
        tickets.push(world.ticket(Role::Patient).await);
    }
    tickets
}

async fn open_all(world: &World, tickets: &[Ticket]) -> Vec<Socket> {
    join_all(
        tickets
            .iter()
            .map(|ticket| open(world.service.http, ticket)),
    )
    .await
}

/// Sockets of patients, each in a session of their own and told so.
async fn connected(world: &mut World, name: &str) -> (Vec<Ticket>, Vec<Socket>) {
    let tickets = tickets(world, name).await;
    let mut sockets = open_all(world, &tickets).await;
    for socket in &mut sockets {
        while !matches!(patiently(socket.next()).await, Some(Ok(Message::Text(text))) if text.contains("existing-participants"))
        {
        }
    }
    (tickets, sockets)
}

/// What the tests of this file need: room for noise, and time for a machine that does much else.
fn patient_setup() -> crate::harness::Setup {
    setup()
        .set("WS_MESSAGE_BYTES_MAX", 4096)
        .set("WS_MESSAGES_PER_SECOND", 10_000)
        .set("WS_MESSAGES_BURST", 100_000)
        .set("WS_SEND_TIMEOUT_SECS", 60)
        .set("WS_SILENCE_SECS", 60)
        .set("HTTP_LINGER_SECS", 30)
        .set("HTTP_REQUESTS_PER_MINUTE", 1_000_000)
}

/// Changes stored sessions behind the service's back while it is about to write: what it decided is stale then, so it reads
/// again and finds them changed.
async fn change_while_connecting(
    world: &World,
    directory: &Path,
    tickets: &[Ticket],
    sql: &str,
) -> Vec<Socket> {
    let mut db = Connection::open(directory.join("video-session.db")).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    let change = db
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let sockets = open_all(world, tickets).await;
    for ticket in tickets {
        assert_eq!(change.execute(sql, [&ticket.session_id]).unwrap(), 1);
    }
    change.commit().unwrap();
    sockets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_close_code_arrives() {
    let data = tempfile::tempdir().unwrap();
    let setup = patient_setup()
        .set("DATA_DIR", data.path().display())
        .set("STORE_TIMEOUT_MS", 3000);
    let mut world = World::with(&setup, create("appointment-1")).await;

    let (_, sockets) = connected(&mut world, "left").await;
    let leave = [Message::text(NOISE), Message::text(r#"{"type":"leave"}"#)];
    assert_closed(CloseCode::Left, read_all(sockets, &leave)).await;

    let (_, sockets) = connected(&mut world, "large").await;
    let mut reading = Vec::new();
    for (n, socket) in sockets.into_iter().enumerate() {
        let large = Message::text("x".repeat(4097 + n * 10_000));
        reading.extend(read_all(vec![socket], &[large]));
    }
    assert_closed(CloseCode::MessageTooBig, reading).await;

    let (tickets_removed, sockets) = connected(&mut world, "removed").await;
    let reading = read_all(sockets, &[]);
    for ticket in &tickets_removed {
        world.session_id.clone_from(&ticket.session_id);
        world.remove("patient-1", false).await;
    }
    assert_closed(CloseCode::Removed, reading).await;

    let (tickets_ended, sockets) = connected(&mut world, "ended").await;
    let reading = read_all(sockets, &[]);
    for ticket in &tickets_ended {
        crate::harness::end(&mut world.client, &ticket.session_id, "").await;
    }
    assert_closed(CloseCode::Ended, reading).await;

    let (tickets_replaced, sockets) = connected(&mut world, "replaced").await;
    let reading = read_all(sockets, &[]);
    let newer = open_all(&world, &tickets_replaced).await;
    assert_closed(CloseCode::Replaced, reading).await;
    drop(newer);

    close_those_who_find_no_room(&mut world).await;

    let waiting = tickets(&mut world, "not-let-in").await;
    let sql = "UPDATE sessions SET version = version + 1, patient_id = 'another', \
        body = json_set(body, '$.patient_id', 'another', '$.version', version + 1) WHERE session_id = ?1";
    let sockets = change_while_connecting(&world, data.path(), &waiting, sql).await;
    assert_closed(CloseCode::CredentialInvalid, read_all(sockets, &[])).await;

    let waiting = tickets(&mut world, "corrupt").await;
    let sql = "UPDATE sessions SET version = version + 1, body = '{}' WHERE session_id = ?1";
    let sockets = change_while_connecting(&world, data.path(), &waiting, sql).await;
    assert_closed(CloseCode::Internal, read_all(sockets, &[])).await;

    let waiting = tickets(&mut world, "away").await;
    let mut db = Connection::open(data.path().join("video-session.db")).unwrap();
    let lock = db
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let sockets = open_all(&world, &waiting).await;
    assert_closed(CloseCode::StoreUnavailable, read_all(sockets, &[])).await;
    lock.rollback().unwrap();

    let (_, sockets) = connected(&mut world, "going").await;
    let reading = read_all(sockets, &[]);
    world.service.process.signal("TERM");
    assert_closed(CloseCode::GoingAway, reading).await;
    assert!(patiently(world.service.process.exit()).await.success());

    close_floods_and_slow_readers().await;
    let all: BTreeSet<u16> = CloseCode::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(*SEEN.lock().unwrap(), all);
}

async fn close_those_who_find_no_room(world: &mut World) {
    // The patient and a guest, and there is no room for another.
    let (tickets_full, patients) = connected(world, "full").await;
    let mut guests = Vec::new();
    for ticket in &tickets_full {
        world.session_id.clone_from(&ticket.session_id);
        for n in 1..=2 {
            let request = v1::InviteParticipantRequest {
                role: Role::Guest.into(),
                user_id: format!("guest-{n}"),
                ..Default::default()
            };
            let token = world.invite(request).await.unwrap().join.unwrap().token;
            guests.push(world.exchange(&token).await);
        }
    }
    let first: Vec<_> = guests.iter().step_by(2).cloned().collect();
    let second: Vec<_> = guests.iter().skip(1).step_by(2).cloned().collect();
    let mut inside = open_all(world, &first).await;
    for socket in &mut inside {
        while !matches!(patiently(socket.next()).await, Some(Ok(Message::Text(text))) if text.contains("existing-participants"))
        {
        }
    }
    let sockets = open_all(world, &second).await;
    assert_closed(CloseCode::Full, read_all(sockets, &[])).await;
    drop((patients, inside));
}

async fn close_floods_and_slow_readers() {
    let setup = patient_setup()
        .set("WS_MESSAGES_PER_SECOND", 1)
        .set("WS_MESSAGES_BURST", 5);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (_, sockets) = connected(&mut world, "flood").await;
    assert_closed(CloseCode::Flood, read_all(sockets, &[])).await;

    // Far more than the queue and the buffers on the way hold.
    let setup = patient_setup()
        .set("WS_QUEUE_MAX", 128)
        .set("WS_MESSAGE_BYTES_MAX", 1_048_576);
    let mut world = World::with(&setup, create("appointment-1")).await;
    let (tickets, sockets) = connected(&mut world, "slow").await;
    let large = json!({"type": "offer", "data": {"sdp": "x".repeat(60_000)}}).to_string();
    let sockets: Vec<_> = sockets.into_iter().take(SLOW).collect();
    let mut doctors = Vec::new();
    for ticket in &tickets[..SLOW] {
        world.session_id.clone_from(&ticket.session_id);
        let doctor = world.admitted(Role::Doctor).await;
        for _ in 0..300 {
            doctor.say(large.clone());
        }
        doctors.push(doctor);
    }
    // Nobody reads until the service has given up; then what was sent before comes first, and at last the code.
    patiently(async {
        while world.count_of_endings(CloseCode::TooSlow.number()).await < SLOW as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_closed(CloseCode::TooSlow, read_all(sockets, &[])).await;
}

/// Sends a request whose body is under way when it is refused, and reads to the end: the status.
async fn refused(http: SocketAddr, request: String) -> Result<u16, String> {
    let mut stream = TcpStream::connect(http).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let (sent, read) = tokio::join!(
        writing.write_all(request.as_bytes()),
        reading.read_to_end(&mut answer)
    );
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    match (sent, read, status) {
        (Ok(()), Ok(_), Some(status)) => Ok(status.parse().unwrap()),
        (sent, read, _) => Err(format!("{sent:?}, {read:?} after {:?}", answer.get(..40))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_arrive_while_a_body_is_under_way() {
    let mut world = World::with(&patient_setup(), create("appointment-1")).await;
    let ticket = world.ticket(Role::Patient).await;
    let limited = World::with(
        &patient_setup().set("HTTP_REQUESTS_PER_MINUTE", 1),
        create("appointment-1"),
    )
    .await;
    let post_as = |origin: &str, path: &str, bytes: usize| {
        let body = "x".repeat(bytes);
        let cookie = &ticket.cookie;
        format!(
            "POST {path} HTTP/1.1\r\nhost: page.test\r\norigin: {origin}\r\ncookie: {cookie}\r\n\
             content-length: {bytes}\r\n\r\n{body}"
        )
    };
    let post = |path: &str, bytes: usize| post_as(BASE, path, bytes);
    let name = format!("/join/{}/name?p={}", ticket.session_id, ticket.slot);
    let headers = format!(
        "GET / HTTP/1.1\r\nhost: page.test\r\nx-a: {}\r\n\r\n",
        "x".repeat(BODY_BYTES)
    );
    // Uses up what an address may ask for.
    let used = refused(limited.service.http, post("/", 1)).await;
    drop(used);
    for (http, request, status) in [
        (world.service.http, post(&name, BODY_BYTES), 422),
        (
            world.service.http,
            post_as("https://evil.test", &name, BODY_BYTES),
            403,
        ),
        (world.service.http, post("/nothing", BODY_BYTES), 404),
        (world.service.http, headers, 431),
        (limited.service.http, post(&name, BODY_BYTES), 429),
    ] {
        let all = (0..EACH).map(|_| tokio::spawn(refused(http, request.clone())));
        for outcome in patiently(join_all(all)).await {
            assert_eq!(outcome.unwrap(), Ok(status));
        }
    }
}
