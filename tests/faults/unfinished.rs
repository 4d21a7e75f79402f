//! Calls whose message does not arrive, and deadlines that pass: made with HTTP/2 frames of their own, since a gRPC client
//! sends its message at once and watches its deadline itself.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use futures::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::Status as Details;
use video_session::proto::v1::{CreateSessionRequest, WatchSessionRequest};

use crate::probes::Probes;
use crate::service::{Service, program};

const SECRET: &str = "a-secret-of-the-tests";
const CREATE: &str = "/videosession.v1.VideoSessionService/CreateSession";
const WATCH: &str = "/videosession.v1.VideoSessionService/WatchSession";
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Far more than anything here takes: what exceeds it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("this should have happened by now")
}

async fn connect(addr: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends a call's headers; the message is up to the test.
async fn begin(
    connection: &SendRequest<Bytes>,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut connection = connection.clone().ready().await.unwrap();
    connection
        .send_request(request.body(()).unwrap(), false)
        .unwrap()
}

/// A message as it is framed in a call's body.
fn framed(message: &[u8]) -> Bytes {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(message);
    body.into()
}

/// The code that a call ends with, and the reason in its details, if it has any.
async fn end_of(answer: ResponseFuture) -> (Code, Option<String>) {
    patiently(async {
        let answer = answer.await.expect("an answer");
        let headers = answer.headers().clone();
        let trailers = read_to_end(answer.into_body()).await;
        let status = trailers.unwrap_or(headers);
        let code = status["grpc-status"].to_str().unwrap().parse().unwrap();
        (Code::from_i32(code), reason(&status))
    })
    .await
}

async fn read_to_end(mut body: RecvStream) -> Option<HeaderMap> {
    while let Some(data) = body.data().await {
        let data = data.expect("the call ends with a status");
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    body.trailers().await.expect("the call ends with a status")
}

fn reason(status: &HeaderMap) -> Option<String> {
    let details = status.get("grpc-status-details-bin")?.to_str().unwrap();
    let bytes = STANDARD_NO_PAD
        .decode(details)
        .or_else(|_| STANDARD.decode(details))
        .unwrap();
    let details = Details::decode(&*bytes).unwrap();
    let info = details.details.first()?;
    let info = tonic_types::pb::ErrorInfo::decode(&*info.value).unwrap();
    Some(info.reason)
}

fn create(appointment_id: &str) -> CreateSessionRequest {
    CreateSessionRequest {
        appointment_id: appointment_id.to_owned(),
        doctor_id: "doctor-1".into(),
        patient_id: "patient-1".into(),
        ..CreateSessionRequest::default()
    }
}

fn start(settings: &[(&str, &str)]) -> (Service, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program();
    command.env("DATA_DIR", dir.path());
    command.envs(settings.iter().copied());
    (Service::start(command), dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_checks_do_not_keep_liveness_from_answering() {
    let (service, _dir) = start(&[("HEALTH_ADDR", "127.0.0.1:0")]);
    let health: SocketAddr = service.listening["health_addr"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let probes = Probes::of(&service).await;
    let mut unfinished = Vec::new();
    for addr in [service.grpc, health] {
        for _ in 0..25 {
            let connection = connect(addr).await;
            // Fewer than a connection may have open, and together more than GRPC_IN_FLIGHT_MAX.
            for _ in 0..200 {
                unfinished.push((begin(&connection, CHECK, &[]).await, connection.clone()));
            }
            // The service has read them all once it has answered a call that came after them.
            let (answer, mut body) = begin(&connection, CHECK, &[]).await;
            body.send_data(framed(b""), true).unwrap();
            assert_eq!(end_of(answer).await, (Code::Ok, None));
        }
        assert!(probes.is_live().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_calls_take_no_place_from_others() {
    let (service, _dir) = start(&[("GRPC_IN_FLIGHT_MAX", "10")]);
    let connection = connect(service.grpc).await;
    let secret = [("x-internal-secret", SECRET)];
    let mut unfinished = Vec::new();
    for _ in 0..30 {
        let (answer, mut body) = begin(&connection, CREATE, &secret).await;
        // The beginning of a message.
        body.send_data(framed(&[0; 10]).slice(..8), false).unwrap();
        unfinished.push((answer, body));
    }
    let message = framed(&create("appointment-1").encode_to_vec());
    let (answer, mut body) = begin(&connection, CREATE, &secret).await;
    body.send_data(message, true).unwrap();
    assert_eq!(end_of(answer).await, (Code::Ok, None));
    let mut client = service.client().await;
    client
        .create_session(create("appointment-2"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_does_not_arrive_in_time_ends_its_call() {
    let (service, _dir) = start(&[("GRPC_BODY_TIMEOUT_SECS", "1")]);
    let connection = connect(service.grpc).await;
    let secret = [("x-internal-secret", SECRET)];
    let message = framed(&create("appointment-1").encode_to_vec());
    let mut calls = Vec::new();
    // Nothing; half a message; a whole one that is not followed by the end of the stream.
    for sent in [0, message.len() / 2, message.len()] {
        let (answer, mut body) = begin(&connection, CREATE, &secret).await;
        body.send_data(message.slice(..sent), false).unwrap();
        calls.push((answer, body));
    }
    let (answers, _bodies): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    for end in join_all(answers.into_iter().map(end_of)).await {
        let expected = (
            Code::DeadlineExceeded,
            Some("REQUEST_INCOMPLETE".to_owned()),
        );
        assert_eq!(end, expected);
    }
    let (answer, _body) = begin(&connection, CHECK, &[]).await;
    assert_eq!(end_of(answer).await, (Code::DeadlineExceeded, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_claims_to_be_too_large_is_refused_before_it_arrives() {
    let (service, _dir) = start(&[("GRPC_MESSAGE_BYTES_MAX", "1024")]);
    let connection = connect(service.grpc).await;
    let secret = [("x-internal-secret", SECRET)];
    let large = framed(&[0; 2000]);
    for sent in [5, large.len()] {
        let (answer, mut body) = begin(&connection, CREATE, &secret).await;
        body.send_data(large.slice(..sent), false).unwrap();
        let expected = (
            Code::ResourceExhausted,
            Some("MESSAGE_TOO_LARGE".to_owned()),
        );
        assert_eq!(end_of(answer).await, expected);
        let (answer, mut body) = begin(&connection, CHECK, &[]).await;
        body.send_data(large.slice(..sent), false).unwrap();
        assert_eq!(end_of(answer).await, (Code::ResourceExhausted, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_passes_is_told_as_such() {
    let (service, _dir) = start(&[]);
    let connection = connect(service.grpc).await;
    let headers = [("x-internal-secret", SECRET), ("grpc-timeout", "300m")];
    let passed = (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED".to_owned()));
    // A call that waits for its message.
    let (answer, _body) = begin(&connection, CREATE, &headers).await;
    assert_eq!(end_of(answer).await, passed);
    // A stream that has been answered and goes on.
    let mut client = service.client().await;
    let created = client.create_session(create("appointment-1")).await;
    let session = created.unwrap().into_inner().session.unwrap();
    let watch = WatchSessionRequest {
        session_id: session.session_id,
        after_sequence: 0,
    };
    let headers = [("x-internal-secret", SECRET), ("grpc-timeout", "3S")];
    let (answer, mut body) = begin(&connection, WATCH, &headers).await;
    body.send_data(framed(&watch.encode_to_vec()), true)
        .unwrap();
    assert_eq!(end_of(answer).await, passed);
    // Health has no details.
    let (answer, _body) = begin(&connection, CHECK, &[("grpc-timeout", "300m")]).await;
    assert_eq!(end_of(answer).await, (Code::DeadlineExceeded, None));
    // The metrics know it too.
    let probes = Probes::of(&service).await;
    probes.idle().await;
    for method in [CREATE, WATCH, CHECK] {
        let series =
            format!("video_session_rpcs_total{{method=\"{method}\",code=\"DEADLINE_EXCEEDED\"}} ");
        assert_eq!(probes.gauge(&series).await, 1, "{method}");
    }
}
