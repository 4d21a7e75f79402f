//! What operators see: metrics, log lines, spans.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;
use video_session::proto::v1::Role;

use crate::harness::{Service, Setup, create, created, end, get, join, patiently, refused};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_ID: &str = "00f067aa0ba902b7";
const CREATE: &str = "/videosession.v1.VideoSessionService/CreateSession";

/// The value of the sample that begins with `series`, labels included.
async fn sample(service: &Service, series: &str) -> f64 {
    let metrics = service.admin("/metrics").await;
    let found = metrics.lines().find_map(|line| {
        let value = line.strip_prefix(series)?.strip_prefix(' ')?;
        value.parse().ok()
    });
    found.unwrap_or_else(|| panic!("no {series} in:\n{metrics}"))
}

#[tokio::test]
async fn metrics_count_calls_store_operations_assignments_and_tokens() {
    let service = Setup::new().set("SFU_NODES", "a,b").start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    created(&mut client, create("appointment-2")).await;
    created(&mut client, create("appointment-3")).await;
    client
        .create_session(create("appointment-3"))
        .await
        .unwrap();
    for role in [Role::Doctor, Role::Patient, Role::Doctor] {
        let request = join(&session.session_id, role);
        client.join_session(request).await.unwrap();
    }
    refused(
        get(&mut client, "sess_unknown").await,
        Reason::SessionNotFound,
    );
    let mut stranger = service.client_with("wrong");
    refused(
        stranger.create_session(create("appointment-4")).await,
        CallFault::SecretInvalid,
    );

    let service_path = "/videosession.v1.VideoSessionService";
    for (series, expected) in [
        (
            format!("rpcs_total{{method=\"{CREATE}\",code=\"OK\"}}"),
            4.0,
        ),
        (
            format!("rpcs_total{{method=\"{CREATE}\",code=\"UNAUTHENTICATED\"}}"),
            1.0,
        ),
        (
            format!("rpcs_total{{method=\"{service_path}/GetSession\",code=\"NOT_FOUND\"}}"),
            1.0,
        ),
        (
            format!("rpc_duration_seconds_count{{method=\"{CREATE}\"}}"),
            5.0,
        ),
        (
            format!("rpc_duration_seconds_bucket{{le=\"+Inf\",method=\"{CREATE}\"}}"),
            5.0,
        ),
        (
            "store_operations_total{operation=\"insert\",outcome=\"ok\"}".to_owned(),
            // One of them found the session.
            4.0,
        ),
        (
            "store_operation_duration_seconds_count{operation=\"commit\"}".to_owned(),
            3.0,
        ),
        ("sfu_assignments_total{node=\"a\"}".to_owned(), 2.0),
        ("sfu_assignments_total{node=\"b\"}".to_owned(), 1.0),
        ("join_tokens_issued_total{role=\"doctor\"}".to_owned(), 2.0),
        ("join_tokens_issued_total{role=\"patient\"}".to_owned(), 1.0),
        ("store_up".to_owned(), 1.0),
        ("rpcs_in_flight".to_owned(), 0.0),
    ] {
        let value = sample(&service, &format!("video_session_{series}")).await;
        assert!((value - expected).abs() < 1e-9, "{series} is {value}");
    }
}

#[tokio::test]
async fn metrics_count_sessions_by_state() {
    let service = Setup::new()
        .set("SESSION_COUNT_INTERVAL_SECS", 1)
        .start()
        .await;
    let mut client = service.client();
    for n in 0..3 {
        created(&mut client, create(&format!("appointment-{n}"))).await;
    }
    let session = created(&mut client, create("ended")).await;
    end(&mut client, &session.session_id, "").await;
    patiently(async {
        loop {
            let metrics = service.admin("/metrics").await;
            let has = |sample: &str| metrics.lines().any(|line| line == sample);
            if has("video_session_sessions{state=\"created\"} 3")
                && has("video_session_sessions{state=\"ended\"} 1")
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_path_that_is_no_method_makes_no_series_of_its_own() {
    let service = Setup::new().start().await;
    for n in 0..10 {
        let path = format!("/videosession.v1.VideoSessionService/Guess{n}");
        let call = crate::wire::Call {
            path: &path,
            ..Default::default()
        };
        refused(
            call.send(&service.channel()).await,
            CallFault::SecretMissing,
        );
    }
    let metrics = service.admin("/metrics").await;
    assert!(!metrics.contains("Guess"), "{metrics}");
    let series = "video_session_rpcs_total{method=\"unknown\",code=\"UNAUTHENTICATED\"}";
    assert!((sample(&service, series).await - 10.0).abs() < 1e-9);
}

#[tokio::test]
async fn each_call_leaves_one_log_line() {
    let mut service = Setup::new().start().await;
    let mut client = service.client();
    let session = created(&mut client, create("appointment-1")).await;
    let mut request = Request::new(join(&session.session_id, Role::Doctor));
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", traceparent.parse().unwrap());
    client.join_session(request).await.unwrap();
    let unknown = "sess_00000000000000000000000000000000";
    // What is no session's id may be somebody's name.
    for session_id in [unknown, "patient-1"] {
        refused(get(&mut client, session_id).await, Reason::SessionNotFound);
    }

    let output = service.process.terminate().await;
    let calls: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["message"] == "call ended")
        .collect();
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            assert!(
                call["latency_ms"]
                    .as_f64()
                    .is_some_and(|millis| millis > 0.0)
            );
            let method = call["span"]["rpc.method"].as_str().unwrap();
            let (_, method) = method.rsplit_once('/').unwrap();
            let code = call["span"]["rpc.code"].as_str().unwrap();
            (method, code, call["span"]["session_id"].as_str())
        })
        .collect();
    let id = session.session_id.as_str();
    let expected = [
        ("CreateSession", "OK", Some(id)),
        ("JoinSession", "OK", Some(id)),
        ("GetSession", "NOT_FOUND", Some(unknown)),
        ("GetSession", "NOT_FOUND", None),
    ];
    assert_eq!(told, expected);
    assert_eq!(calls[1]["span"]["trace_id"], TRACE_ID);
}

struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            for scope in resource.scope_spans {
                for span in scope.spans {
                    self.0.send(span).unwrap();
                }
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// An OTLP collector in this process: where it listens, and what it receives.
async fn collector() -> (String, mpsc::UnboundedReceiver<Span>) {
    let (sender, spans) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Collector(sender)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (url, spans)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn spans_go_on_with_the_callers_trace() {
    let (url, mut spans) = collector().await;
    let mut service = Setup::new()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .start()
        .await;
    let mut request = Request::new(create("appointment-1"));
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", traceparent.parse().unwrap());
    let answer = service.client().create_session(request).await.unwrap();
    let session_id = answer.into_inner().session.unwrap().session_id;
    // What is left is sent before the process ends.
    service.process.terminate().await;

    let span = patiently(async {
        loop {
            let span = spans.recv().await.unwrap();
            if span.name == CREATE {
                return span;
            }
        }
    })
    .await;
    assert_eq!(hex(&span.trace_id), TRACE_ID);
    assert_eq!(hex(&span.parent_span_id), PARENT_ID);
    assert_eq!(span.kind(), SpanKind::Server);
    let attributes = format!("{:?}", span.attributes);
    for expected in ["rpc.method", "rpc.code", "\"OK\"", session_id.as_str()] {
        assert!(attributes.contains(expected), "{expected} in {attributes}");
    }
    for personal in ["doctor-1", "patient-1"] {
        assert!(!attributes.contains(personal), "{attributes}");
    }
}

#[tokio::test]
async fn a_traceparent_that_is_none_is_ignored() {
    let service = Setup::new().start().await;
    for nonsense in [
        "",
        "00-0-0-01",
        "00-00000000000000000000000000000000-0000000000000000-01",
    ] {
        let mut request = Request::new(create("appointment-1"));
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", nonsense.parse().unwrap());
        service.client().create_session(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_collector_that_is_gone_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut service = Setup::new()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .start()
        .await;
    created(&mut service.client(), create("appointment-1")).await;
    service.process.terminate().await;
}
