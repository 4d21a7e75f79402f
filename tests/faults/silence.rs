//! Connections that fall silent: they are cut in time, and they keep nobody else out.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use video_session::proto::v1::CreateSessionRequest;

use crate::probes::{Probes, until};
use crate::service::{Client, Service, configure, program};

const PROGRAM: &str = env!("CARGO_BIN_EXE_video-session");
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A PING frame: the first frame must not be one.
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// Far more than anything here takes: what exceeds it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many sockets an attack opens: more than GRPC_CONNECTIONS_MAX.
const SOCKETS: usize = 5000;

/// What a client may have sent of its handshake when it falls silent.
fn unfinished_handshakes() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        b"P".to_vec(),
        PREFACE[..12].to_vec(),
        PREFACE.to_vec(),
        [PREFACE, &SETTINGS[..5]].concat(),
        // The header of a SETTINGS frame that holds one setting, without the setting.
        [PREFACE, &[0, 0, 6, 4, 0, 0, 0, 0, 0]].concat(),
        [PREFACE, PING].concat(),
    ]
}

fn finished_handshake() -> Vec<u8> {
    [PREFACE, SETTINGS].concat()
}

fn health_addr(service: &Service) -> SocketAddr {
    let addr = service.listening["health_addr"].as_str().unwrap();
    addr.parse().unwrap()
}

/// Connects, sends that much, and waits until the service closes the connection.
async fn is_cut(addr: SocketAddr, sent: &[u8]) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut received = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut received));
    assert!(closed.await.is_ok(), "still open at {addr} after {sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_finish_its_handshake_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .env("DATA_DIR", dir.path())
        .env("HEALTH_ADDR", "127.0.0.1:0")
        .env("GRPC_HELLO_TIMEOUT_SECS", "1");
    let service = Service::start(command);
    for addr in [service.grpc, health_addr(&service)] {
        let forms = unfinished_handshakes();
        let cuts = forms.iter().map(|sent| is_cut(addr, sent));
        futures::future::join_all(cuts).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_answers_no_ping_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .env("DATA_DIR", dir.path())
        .env("GRPC_KEEPALIVE_SECS", "1");
    let service = Service::start(command);
    is_cut(service.grpc, &finished_handshake()).await;
}

/// Opens the sockets one after the other; each sends one of `openings` and nothing more.
async fn flood(addr: SocketAddr, openings: &[Vec<u8>]) -> Vec<TcpStream> {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut sockets = Vec::with_capacity(SOCKETS);
    for n in 0..SOCKETS {
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(addr)).await;
        let mut socket = connected.expect("a connection").unwrap();
        // One that the service has cut already cannot be written to.
        let _ = socket.write_all(&openings[n % openings.len()]).await;
        sockets.push(socket);
    }
    sockets
}

async fn create(client: &mut Client, appointment_id: &str) {
    let request = CreateSessionRequest {
        appointment_id: appointment_id.to_owned(),
        doctor_id: "doctor-1".into(),
        patient_id: "patient-1".into(),
        ..CreateSessionRequest::default()
    };
    let created = tokio::time::timeout(PATIENCE, client.create_session(request)).await;
    created.expect("an answer").unwrap();
}

/// The exit code of `healthcheck`.
async fn healthcheck(setting: &str, addr: SocketAddr) -> Option<i32> {
    let mut command = configure(Command::new(PROGRAM));
    command.arg("healthcheck").env(setting, addr.to_string());
    let status = tokio::task::spawn_blocking(move || command.status().unwrap());
    status.await.unwrap().code()
}

async fn terminate(mut service: Service) {
    let pid = service.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.unwrap().success());
    until("the service has stopped", PATIENCE, async || {
        service.child.try_wait().unwrap().is_some()
    })
    .await;
}

/// One test at a time floods: two would need more open files than many systems allow a process.
static FLOODING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Health, the clients from before, new clients and the drain go on beside thousands of silent sockets.
async fn nobody_notices(openings: &[Vec<u8>]) {
    let _one_at_a_time = FLOODING.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .env("DATA_DIR", dir.path())
        .env("HEALTH_ADDR", "127.0.0.1:0")
        // Time brings no help: neither the handshake's nor a ping's is over before the test.
        .env("GRPC_HELLO_TIMEOUT_SECS", "3600")
        .env("GRPC_KEEPALIVE_SECS", "3600")
        .env("DRAIN_DELAY_SECS", "0")
        // Far longer than the test: the drain must not need it.
        .env("DRAIN_TIMEOUT_SECS", "3600");
    let service = Service::start(command);
    let health = health_addr(&service);
    let probes = Probes::of(&service).await;
    assert!(probes.is_live().await);
    let mut client = service.client().await;
    create(&mut client, "before").await;

    let mut sockets = Vec::new();
    for (setting, addr) in [("GRPC_ADDR", service.grpc), ("HEALTH_ADDR", health)] {
        sockets.extend(flood(addr, openings).await);
        assert_eq!(healthcheck(setting, addr).await, Some(0), "{setting}");
    }
    assert!(probes.is_live().await);
    create(&mut client, "meanwhile").await;
    create(&mut service.client().await, "on-a-new-connection").await;
    terminate(service).await;
    drop(sockets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_unfinished_handshakes_keep_nobody_out() {
    nobody_notices(&unfinished_handshakes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_silent_connections_keep_nobody_out() {
    nobody_notices(&[finished_handshake()]).await;
}
