//! Nothing that opens a LiveKit node stands in the log, however much is logged.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::proto::v1::Role;

use crate::harness::{Client, join, jwt_part, patiently, refused};
use crate::livekit::{API_SECRET, LiveKitServer, Options};
use crate::sfu_nodes::{call, nodes_file, on};
use crate::world::{BASE, Ticket, World, fetch, socket};

/// Not the node's, which repeats the token when it refuses it.
const WRONG_SECRET: &str = "a wrong secret with 32 characters";

const RTC: &str = "rtc?protocol=15";

/// A way to a node that keeps what passes on it.
struct Tap {
    url: String,
    /// What passed on each connection, one way.
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    async fn start(server: &LiveKitServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (node, kept) = (("127.0.0.1", server.port), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((service, _)) = listener.accept().await {
                let Ok(node) = TcpStream::connect(node).await else {
                    continue;
                };
                let (from_service, to_service) = service.into_split();
                let (from_node, to_node) = node.into_split();
                tokio::spawn(pass(from_service, to_node, Arc::clone(&kept)));
                tokio::spawn(pass(from_node, to_service, Arc::clone(&kept)));
            }
        });
        Self { url, seen }
    }

    /// Whether this text passed.
    fn saw(&self, text: &str) -> bool {
        let seen = self.seen.lock().unwrap();
        (seen.iter()).any(|bytes| String::from_utf8_lossy(bytes).contains(text))
    }

    /// Every token that passed, in whatever it stood.
    fn tokens(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let texts = seen.iter().map(|bytes| String::from_utf8_lossy(bytes));
        let tokens = texts.flat_map(|text| {
            let is_outside = |c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c);
            let words = text.split(is_outside).filter_map(|word| {
                let (_, token) = word.split_once("eyJ")?;
                (token.split('.').count() == 3).then(|| format!("eyJ{token}"))
            });
            words.collect::<Vec<_>>()
        });
        tokens.collect()
    }
}

/// Passes on what comes, and keeps it.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let place = {
        let mut kept = kept.lock().unwrap();
        kept.push(Vec::new());
        kept.len() - 1
    };
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        kept.lock().unwrap()[place].extend(&bytes[..count]);
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

async fn ticket(client: &mut Client, session_id: &str) -> Result<String, Status> {
    let request = v1::JoinSessionRequest {
        with_sfu_ticket: true,
        ..join(session_id, Role::Doctor)
    };
    let answer = client.join_session(request).await?;
    Ok(answer.into_inner().sfu.unwrap().ticket)
}

fn door(ticket: &Ticket, rest: &str) -> String {
    format!("/join/{}/sfu/{}/1/{rest}", ticket.session_id, ticket.slot)
}

fn headers(ticket: &Ticket) -> [(&str, &str); 2] {
    [("origin", BASE), ("cookie", &ticket.cookie)]
}

async fn until(wanted: impl Fn() -> bool) {
    patiently(async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs livekit-server; .ci/run installs it"]
async fn the_log_tells_no_key_no_ticket_and_no_token_of_a_node() {
    let mut server = LiveKitServer::start(Options::default()).await;
    let (tap, refusing) = (Tap::start(&server).await, Tap::start(&server).await);
    let setup = on(&[&server])
        .set("LOG_FILTER", "trace,reqwest=trace,hyper=trace,h2=trace")
        .file("wrong.secret", WRONG_SECRET);
    let good = nodes_file(&setup, &[&server]).replace(&server.http_url(), &tap.url);
    // A second one refuses the service's tokens, and gets no session.
    let wrong = nodes_file(&setup, &[&server])
        .replace(&server.http_url(), &refusing.url)
        .replace("livekit.secret", "wrong.secret")
        .replace("sfu-1\"\n", "sfu-2\"\nstate = \"draining\"\n");
    let setup = setup.file("nodes.toml", &format!("{good}{wrong}"));
    let mut world = World::with(&setup, call()).await;
    let http = world.service.http;
    let issued = ticket(&mut world.client, &world.session_id).await.unwrap();

    // In the call, through the door, and asking why it was closed.
    let patient = world.ticket(Role::Patient).await;
    let mut page = world.connect(&patient).await;
    page.expect("connected").await;
    page.expect("existing-participants").await;
    let opened = patiently(async {
        loop {
            match socket(http, &door(&patient, RTC), &headers(&patient)).await {
                Ok(socket) => return socket,
                // A node on a busy machine is late.
                Err(status) => assert_eq!(status, 503),
            }
        }
    })
    .await;
    let validate = door(&patient, "rtc/validate");
    fetch(http, &validate, &headers(&patient)).await;
    // No ticket is theirs: the service made the token for the door.
    let is_theirs = |token: &String| jwt_part(token, 1)["sub"] == "patient-1";
    until(|| tap.saw("/rtc/validate?") && tap.tokens().iter().any(is_theirs)).await;
    until(|| refusing.saw("401") && world.service.output().contains("sfu-2")).await;
    // Their removal, the node's loss, and what fails from then on.
    world.remove("patient-1", false).await;
    page.until("removed").await;
    drop(opened);
    let patient = world.ticket(Role::Patient).await;
    let mut page = world.connect(&patient).await;
    page.expect("connected").await;
    server.kill();
    let closed = socket(http, &door(&patient, RTC), &headers(&patient)).await;
    assert_eq!(closed.err(), Some(503));
    world
        .service
        .line(|line| line.contains("could not be connected to its SFU node"))
        .await;
    let missing = ticket(&mut world.client, &world.session_id).await;
    refused(missing, Reason::SfuNodeUnavailable);

    let log = world.service.process.terminate().await;
    let (taken, rejected) = (tap.tokens(), refusing.tokens());
    assert!(taken.len() > 3 && !rejected.is_empty(), "{taken:?}");
    for token in [&issued].into_iter().chain(&taken).chain(&rejected) {
        // The header is the same for all and tells nothing.
        for part in token.split('.').skip(1) {
            let told = log.lines().find(|line| line.contains(part));
            assert_eq!(told, None, "{part} is in the log");
        }
    }
    for secret in [API_SECRET, WRONG_SECRET, "access_token"] {
        let told = log.lines().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret:?} is in the log");
    }
}
