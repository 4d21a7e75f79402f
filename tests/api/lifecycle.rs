//! The command line, starting, and stopping without losing a call.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use video_session::api::error::CallFault;
use video_session::domain::error::Reason;
use video_session::proto::v1;
use video_session::rpc::SERVICE_NAME;

use crate::harness::{
    Client, JWT_SECRET, SECRET, Service, Setup, create, created, patiently, readiness, refused,
};

const CONFIG_FAULT: Option<i32> = Some(78);
const FAILURE: Option<i32> = Some(1);

fn assert_has(output: &str, expected: &[&str]) {
    for text in expected {
        assert!(output.contains(text), "no {text:?} in:\n{output}");
    }
}

// === commands ===

#[tokio::test]
async fn version_needs_no_settings() {
    let (code, output) = Setup::bare(&["version"]).run().await;
    assert_eq!(code, Some(0));
    assert_eq!(output, concat!("video-session ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_refused() {
    let (code, output) = Setup::bare(&["destroy"]).run().await;
    assert_eq!(code, Some(2));
    assert_has(&output, &["destroy", "Usage"]);
}

#[tokio::test]
async fn production_refuses_to_start_without_its_secrets() {
    for args in [&[][..], &["serve"], &["check-config"]] {
        let (code, output) = Setup::bare(args).run().await;
        assert_eq!(code, CONFIG_FAULT);
        assert_has(&output, &["INTERNAL_SECRET", "VIDEO_JWT_SECRET", "--dev"]);
    }
    let short = Setup::new().set("VIDEO_JWT_SECRET", &JWT_SECRET[..31]);
    let (code, output) = short.run().await;
    assert_eq!(code, CONFIG_FAULT);
    assert_has(&output, &["VIDEO_JWT_SECRET", "32"]);
    assert!(!output.contains(&JWT_SECRET[..31]), "{output}");
}

#[tokio::test]
async fn check_config_names_every_fault_at_once_and_no_value() {
    const VALUE: &str = "hunter2\u{e9}";
    let settings = [
        "INTERNAL_SECRET",
        "INTERNAL_SECRET_PREVIOUS",
        "VIDEO_JWT_SECRET",
        "VIDEO_JWT_SECRET_PREVIOUS",
        "VIDEO_JWT_PRIVATE_KEY_FILE",
        "GRPC_ADDR",
        "ADMIN_ADDR",
        "HTTP_ADDR",
        "HEALTH_ADDR",
        "SFU_NODES",
        "CLIENT_BASE_URL",
        "LOG_FORMAT",
        "GRPC_REFLECTION",
        "JOIN_EARLY_SECS",
        "JOIN_LATE_SECS",
        "JOIN_TOKEN_TTL_SECS",
        "STORE_TIMEOUT_MS",
        "DRAIN_DELAY_SECS",
        "DRAIN_TIMEOUT_SECS",
        "MONGO_URI",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TLS_CLIENT_CA_FILE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    let mut setup = Setup::bare(&["check-config"]);
    for setting in settings {
        setup = setup.set(setting, VALUE);
    }
    let (code, output) = setup.run().await;
    assert_eq!(code, CONFIG_FAULT);
    assert_has(&output, &settings);
    assert!(!output.contains("hunter2"), "{output}");
}

#[tokio::test]
async fn check_config_finds_good_settings_good_and_starts_nothing() {
    let setup = Setup::new().args(&["check-config"]);
    let (code, output) = setup.run().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(!setup.path("data").exists());
}

#[tokio::test]
async fn dev_prints_two_complete_commands_and_stays_on_this_machine() {
    let setup = Setup::bare(&["--dev"])
        .set("GRPC_ADDR", "0.0.0.0:0")
        .set("ADMIN_ADDR", "0.0.0.0:0")
        .set("HTTP_ADDR", "0.0.0.0:0")
        .set("REST_ADDR", "0.0.0.0:0");
    let service = setup.start().await;
    let addrs = [
        service.grpc,
        service.admin,
        service.http,
        service.rest.unwrap(),
    ];
    assert!(addrs.iter().all(|addr| addr.ip().is_loopback()));
    service
        .line(|line| line.contains("not for production"))
        .await;
    let join = service
        .line(|line| line.contains("grpcurl") && line.contains("JoinSession"))
        .await;
    let create_line = service
        .line(|line| line.starts_with("grpcurl") && line.contains("CreateSession"))
        .await;
    let addr = service.grpc.to_string();
    let (_, rest) = create_line.split_once("x-internal-secret: ").unwrap();
    let (secret, _) = rest.split_once('\'').unwrap();
    for command in [&create_line, &join] {
        assert_has(command, &["grpcurl -plaintext", secret, &addr]);
    }
    assert!(secret.len() >= 32);
    created(&mut service.client_with(secret), create("appointment-1")).await;
    let outcome = service
        .client()
        .create_session(create("appointment-2"))
        .await;
    refused(outcome, CallFault::SecretInvalid);
}

#[tokio::test]
async fn dev_needs_no_settings_at_all_and_stops_at_once() {
    let setup = ["GRPC_ADDR", "ADMIN_ADDR", "HTTP_ADDR", "REST_ADDR"]
        .into_iter()
        .fold(Setup::bare(&["--dev"]), |setup, addr| {
            setup.set(addr, "127.0.0.1:0")
        });
    let mut service = setup.start().await;
    service.process.terminate().await;
}

#[tokio::test]
async fn a_dotenv_file_is_read_before_anything_looks_at_a_setting() {
    let lines = format!(
        "# a comment\nINTERNAL_SECRET={SECRET}\nVIDEO_JWT_SECRET=\"{JWT_SECRET}\"\nLOG_FORMAT=json\n\
         GRPC_ADDR=127.0.0.1:0\nADMIN_ADDR=127.0.0.1:0\nHTTP_ADDR=127.0.0.1:0\n\
         SFU_NODES=from-the-file\nDRAIN_DELAY_SECS=0\n"
    );
    let setup = Setup::bare(&[]).file(".env", &lines);
    let service = setup.start().await;
    let session = created(&mut service.client(), create("appointment-1")).await;
    assert_eq!(session.sfu_node_id, "from-the-file");
    service.process.kill().await;

    let service = setup.set("SFU_NODES", "from-the-environment").start().await;
    let session = created(&mut service.client(), create("appointment-2")).await;
    assert_eq!(session.sfu_node_id, "from-the-environment");
}

#[tokio::test]
async fn a_dotenv_file_that_cannot_be_read_is_refused_without_repeating_it() {
    let setup = Setup::new().file(".env", "INTERNAL_SECRET='hunter2\nnot a setting hunter2\n");
    let (code, output) = setup.run().await;
    assert_eq!(code, CONFIG_FAULT);
    assert_has(&output, &[".env"]);
    assert!(!output.contains("hunter2"), "{output}");
}

#[tokio::test]
async fn a_dotenv_value_that_no_environment_can_hold_is_refused_by_name() {
    let setup = Setup::new().file(".env", "SFU_NODES=hunter2\0hunter2\nDATA_DIR=\"\0\"\n");
    for args in [&[][..], &["check-config"], &["healthcheck"]] {
        let (code, output) = setup.clone().args(args).run().await;
        assert_eq!(code, CONFIG_FAULT, "{output}");
        assert_has(&output, &["SFU_NODES", "DATA_DIR"]);
        assert!(!output.contains("hunter2"), "{output}");
    }
}

// === healthcheck ===

async fn healthcheck(setup: &Setup, addr: SocketAddr, args: &[&str]) -> (Option<i32>, String) {
    let args = [&["healthcheck"], args].concat();
    setup.clone().set("GRPC_ADDR", addr).args(&args).run().await
}

#[tokio::test]
async fn healthcheck_tells_by_its_exit_code() {
    let setup = Setup::new().set("DRAIN_DELAY_SECS", 600);
    let service = setup.start().await;
    for args in [&[][..], &["--ready"]] {
        let (code, output) = healthcheck(&setup, service.grpc, args).await;
        assert_eq!((code, output.as_str()), (Some(0), "SERVING"));
    }
    service.signal("TERM");
    service.line(|line| line.contains("draining")).await;
    let mut health = service.health_client();
    patiently(async { while readiness(&mut health).await == ServingStatus::Serving {} }).await;
    let (code, output) = healthcheck(&setup, service.grpc, &["--ready"]).await;
    assert_eq!((code, output.as_str()), (FAILURE, "NOT_SERVING"));
    let (code, output) = healthcheck(&setup, service.grpc, &[]).await;
    assert_eq!((code, output.as_str()), (Some(0), "SERVING"));

    let addr = service.grpc;
    service.process.kill().await;
    let (code, output) = healthcheck(&setup, addr, &[]).await;
    assert_eq!(code, FAILURE);
    assert_has(&output, &["because", "refused"]);
}

#[tokio::test]
async fn healthcheck_calls_the_loopback_of_a_service_that_listens_everywhere() {
    let setup = Setup::new().set("GRPC_ADDR", "0.0.0.0:0");
    let process = setup.spawn();
    let line = process.line(|line| line.contains("listening")).await;
    let (_, rest) = line.split_once("0.0.0.0:").unwrap();
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let everywhere = format!("0.0.0.0:{port}").parse().unwrap();
    let (code, output) = healthcheck(&setup, everywhere, &[]).await;
    assert_eq!((code, output.as_str()), (Some(0), "SERVING"));
}

// === what stands in the way of a start ===

#[tokio::test]
async fn a_second_process_on_a_data_directory_is_refused() {
    let setup = Setup::new();
    let service = setup.start().await;
    let (code, output) = setup.run().await;
    assert_eq!(code, FAILURE);
    assert_has(
        &output,
        &["another video-session process is using DATA_DIR"],
    );
    created(&mut service.client(), create("appointment-1")).await;

    service.process.kill().await;
    let mut next = setup.start().await;
    next.process.terminate().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    for setting in ["GRPC_ADDR", "ADMIN_ADDR", "HTTP_ADDR", "HEALTH_ADDR"] {
        let (code, output) = Setup::new().set(setting, addr).run().await;
        assert_eq!(code, FAILURE);
        assert_has(&output, &[setting, &addr.to_string()]);
    }
}

#[tokio::test]
async fn a_data_directory_that_is_none_is_named() {
    let setup = Setup::new().file("data", "not a directory");
    let (code, output) = setup.run().await;
    assert_eq!(code, FAILURE);
    assert_has(&output, &["DATA_DIR", "because"]);
    let broken = Setup::new().set("DATA_DIR", "store");
    std::fs::create_dir(broken.path("store")).unwrap();
    let broken = broken.file(
        "store/video-session.db",
        "this is no database, whatever it is called",
    );
    let (code, output) = broken.run().await;
    assert_eq!(code, FAILURE);
    assert_has(&output, &["the database in DATA_DIR"]);
}

/// What `check-config` and the service itself say of settings that both must refuse.
async fn refused_settings(setup: &Setup) -> [String; 2] {
    let (code, checked) = setup.clone().args(&["check-config"]).run().await;
    assert_eq!(code, CONFIG_FAULT, "{checked}");
    let (code, started) = setup.clone().args(&[]).run().await;
    assert_eq!(code, CONFIG_FAULT, "{started}");
    [checked, started]
}

#[tokio::test]
async fn livekit_nodes_without_livekit_client_are_refused_with_the_command_that_fetches_it() {
    let setup = Setup::new()
        .set("KEY", "0123456789abcdef0123456789abcdef")
        .set("SFU_NODES_FILE", "nodes.toml");
    let builtin = "[[node]]\nid = \"b\"\n";
    let livekit = "[[node]]\nid = \"lk\"\ndriver = \"livekit\"\nurl = \"ws://127.0.0.1:9\"\n\
        api_url = \"http://127.0.0.1:9\"\napi_key = \"k\"\napi_secret_env = \"KEY\"\n";
    std::fs::create_dir(setup.path("empty")).unwrap();
    std::fs::create_dir(setup.path("other")).unwrap();
    let setup = setup
        .file("other/livekit-client.js", "alert(1)")
        .file("nodes.toml", &format!("{builtin}{livekit}"));
    for (dir, fault) in [
        ("empty", "does not hold livekit-client, which"),
        ("nowhere", "does not hold livekit-client, which"),
        ("other", "but another file"),
    ] {
        let setup = setup.clone().set("LIVEKIT_CLIENT_DIR", dir);
        for output in refused_settings(&setup).await {
            let fetch = "run deploy/fetch-livekit-client";
            assert_has(&output, &["LIVEKIT_CLIENT_DIR", fault, fetch]);
        }
    }
    // Nothing else stands in its way.
    let setup = setup
        .set("LIVEKIT_CLIENT_DIR", "empty")
        .file("nodes.toml", builtin);
    let mut service = setup.start().await;
    service.process.terminate().await;
}

#[tokio::test]
async fn every_fault_of_a_nodes_file_is_named_and_no_secret() {
    let setup = Setup::new()
        .set("KEY", "hunter2-of-the-environment")
        .set("SFU_NODES_FILE", "nodes.toml")
        .file("secret", "hunter2-of-the-file");
    let many = "[[node]]\nid = \"not an id\"\ndriver = \"janus\"\nurl = \"ftp://user:hunter2@host\"\n\
        [[node]]\nid = \"lk\"\ndriver = \"livekit\"\napi_url = \"http://user:hunter2@host\"\napi_secret_env = \"KEY\"\n\
        [[node]]\nid = \"both\"\ndriver = \"livekit\"\napi_url = \"http://127.0.0.1:9\"\napi_key = \"hunter2\"\n\
        api_secret_env = \"KEY\"\napi_secret_file = \"secret\"\n\
        [[node]]\nid = \"none\"\ndriver = \"openvidu\"\napi_url = \"http://127.0.0.1:9\"\napi_secret_env = \"hunter2\"\n\
        [[node]]\nid = \"lk\"\nweight = 0\n";
    let named = [
        "node number 1: id",
        "node number 1: driver",
        "node number 1: url",
        "node lk: api_url",
        "node lk: api_key must be set",
        "node both: must have either api_secret_file or api_secret_env",
        "node none: has the api_url of node both",
        "node none: api_secret_env names a variable that is not set",
        "node lk: is listed twice",
        "node lk: weight",
    ];
    // What is no such file at all is named by its line.
    let misspelt = "[[node]]\nid = \"lk\"\napi_secret = \"hunter2\"\n";
    let broken = "[[node]]\nid = \"lk\"\nweight = \"hunter2\"\n";
    for (file, named) in [
        (many, &named[..]),
        (misspelt, &["line 3: unknown field `api_secret`"]),
        (broken, &["line 3: "]),
    ] {
        let setup = setup.clone().file("nodes.toml", file);
        for output in refused_settings(&setup).await {
            assert_has(&output, &["SFU_NODES_FILE"]);
            assert_has(&output, named);
            assert!(!output.contains("hunter2"), "{output}");
        }
    }
}

// === stopping ===

#[tokio::test]
async fn readiness_goes_first_and_calls_are_served_until_the_delay_is_over() {
    let setup = Setup::new().set("DRAIN_DELAY_SECS", 3);
    let mut service = setup.start().await;
    let mut client = service.client();
    let request = HealthCheckRequest {
        service: SERVICE_NAME.to_owned(),
    };
    let watch = service.health_client().watch(request).await;
    let mut watch = watch.unwrap().into_inner();
    let mut health = async || patiently(watch.message()).await;
    let first = health().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);

    service.signal("TERM");
    let second = health().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    created(&mut client, create("appointment-1")).await;
    created(&mut service.client(), create("on-a-new-connection")).await;
    let mut liveness = service.health_client();
    let liveness = liveness.check(HealthCheckRequest::default()).await;
    let liveness = liveness.unwrap().into_inner();
    assert_eq!(liveness.status(), ServingStatus::Serving);

    refused(health().await, Reason::ShuttingDown);
    assert_eq!(service.process.exit().await.code(), Some(0));
    let outcome = service.client().create_session(create("too-late")).await;
    assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_interrupt_and_a_hangup_stop_it_as_well() {
    for signal in ["INT", "HUP"] {
        let mut service = Setup::new().start().await;
        service.signal(signal);
        let status = service.process.exit().await;
        assert_eq!(status.code(), Some(0), "{signal}");
        assert_has(&service.output(), &["draining", "stopped"]);
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut service = Setup::new().set("DRAIN_TIMEOUT_SECS", 600).start().await;
    let mut client = service.client();
    created(&mut client, create("appointment-1")).await;
    let _silent = TcpStream::connect(service.admin).await.unwrap();
    let output = service.process.terminate().await;
    assert!(!output.contains("after DRAIN_TIMEOUT_SECS"), "{output}");
}

#[tokio::test]
async fn a_connection_that_never_spoke_holds_up_the_end_no_longer_than_the_timeout() {
    let setup = Setup::new()
        .set("DRAIN_TIMEOUT_SECS", 1)
        .set("HEALTH_ADDR", "127.0.0.1:0");
    let mut service = setup.start().await;
    let _silent = [
        TcpStream::connect(service.grpc).await.unwrap(),
        TcpStream::connect(service.health.unwrap()).await.unwrap(),
    ];
    service.process.terminate().await;
}

/// No call that reached the service is lost: each that its log knows was answered, and its caller got the answer. What
/// callers could not deliver any more was refused by the transport before it reached the service, so it is safe to repeat.
#[tokio::test]
async fn no_call_is_lost_when_it_stops_under_load() {
    let setup = Setup::new();
    let mut service = setup.start().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..64 {
        let client = service.client();
        callers.spawn(create_until_refused(client, caller, Arc::clone(&answered)));
    }
    patiently(async {
        while answered.load(Ordering::Relaxed) < 500 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let output = service.process.terminate().await;

    let mut told = BTreeSet::new();
    for (sessions, last) in patiently(callers.join_all()).await {
        // What a server answers has no such source.
        let source = last.source();
        let by_transport =
            source.is_some_and(<dyn std::error::Error>::is::<tonic::transport::Error>);
        assert!(by_transport, "{last:?}");
        told.extend(sessions);
    }
    let calls = output.lines().filter(|line| line.contains("call ended"));
    let (good, bad): (Vec<_>, Vec<_>) = calls.partition(|line| line.contains("\"OK\""));
    assert_eq!(bad, [""; 0]);
    assert_eq!(good.len(), told.len());
    assert!(!output.contains("after DRAIN_TIMEOUT_SECS"), "{output}");
    let service = setup.start().await;
    assert_eq!(stored(&service).await, told);
}

/// The sessions that a caller was told of, and the refusal that ended it.
async fn create_until_refused(
    mut client: Client,
    caller: usize,
    answered: Arc<AtomicUsize>,
) -> (Vec<String>, Status) {
    let mut sessions = Vec::new();
    loop {
        let request = create(&format!("caller-{caller}-{}", sessions.len()));
        match client.create_session(request).await {
            Ok(answer) => sessions.push(answer.into_inner().session.unwrap().session_id),
            Err(refusal) => return (sessions, refusal),
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

async fn stored(service: &Service) -> BTreeSet<String> {
    let mut client = service.client();
    let mut sessions = BTreeSet::new();
    let mut request = v1::ListSessionsRequest {
        page_size: 500,
        ..Default::default()
    };
    loop {
        let page = client.list_sessions(request.clone()).await.unwrap();
        let page = page.into_inner();
        sessions.extend(page.sessions.into_iter().map(|session| session.session_id));
        if page.next_page_token.is_empty() {
            return sessions;
        }
        request.page_token = page.next_page_token;
    }
}
